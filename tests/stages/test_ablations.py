"""Each ablation of the paper is one override, and can be trained."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from speak_jax.stages import irfd, speak
from speak_jax.training.state import init_state
from speak_jax.training.step import update
from tests.stages import small

# The paper's terms, at a size that trains on anything.
PAPER = {
  "irfd__losses": "paper",
  "irfd__norms": "sum",
  "irfd__unit_identity": False,
  "irfd__batch": 4,  # enough for a code's deviation to count
  "irfd__microbatch": 4,
  "irfd__weights__pixel": 0.0,
  "irfd__weights__self": 1.0,
  "irfd__weights__classify": 1.0,
  "irfd__weights__swap_pose": 1.0,
  "irfd__weights__swap_emotion": 1.0,
  "irfd__weights__swap_identity": 1.0,
  "speak__weights__perceptual_encoders": 1.0,
  "speak__sync_ramp": (0, 0),
}


def step(module, **changes):
  """Every phase of one step: what it logged, and the state before and after."""
  stage = module.make(small.config(**PAPER | changes))
  batch = small.batch(stage)
  before = init_state(stage, 0, {})
  state, told = before, {}
  for index, phase in enumerate(stage.phases):
    # Unoptimised: it runs once.
    run = jax.jit(update(stage, index)).lower(state, batch, jax.random.key(0))
    run = run.compile({"xla_backend_optimization_level": "0"})
    state, metrics = run(state, batch, jax.random.key(0))
    told |= {f"{phase.name}/{k}": float(v) for k, v in metrics.items()}
  assert not any(v for k, v in told.items() if k.endswith("/bad"))
  assert all(np.isfinite(v) for v in told.values())
  return told, before, state


def logged(module, **changes):
  """Names of what every phase of one step logs; traced, not run."""
  stage = module.make(small.config(**PAPER | changes))
  state = jax.eval_shape(lambda: init_state(stage, 0, {}))
  names = set()
  for index, phase in enumerate(stage.phases):
    state, metrics = jax.eval_shape(
      update(stage, index), state, small.batch(stage), jax.random.key(0)
    )
    names |= {f"{phase.name}/{name}" for name in metrics}
  return names


def moved(before, after, group):
  """Names of the networks of a group that a step has changed."""
  return {
    name
    for name, tree in after.params[group].items()
    if not all(
      jax.tree.leaves(
        jax.tree.map(jnp.array_equal, tree, before.params[group][name])
      )
    )
  }


@pytest.mark.parametrize(
  "term", ["self", "classify", "swap_pose", "swap_emotion", "swap_identity"]
)
def test_irfd_without_a_loss(term):
  told = logged(irfd, **{f"irfd__weights__{term}": 0.0})
  assert f"gen/{term}" not in told
  assert "gen/mouth_box" in told


@pytest.mark.parametrize(
  ("term", "gan"), [("gan", 0.0), ("perceptual", 1.0), ("sync", 0.0)]
)
def test_speak_without_a_loss(term, gan):
  key = "perceptual_encoders" if term == "perceptual" else term
  changes = {"speak__weights__gan": gan, f"speak__weights__{key}": 0.0}
  told = logged(speak, **changes)
  assert f"gen/{term}" not in told
  assert ("disc/loss" in told) == ("gen/gan" in told) == bool(gan)


@pytest.mark.parametrize("code", ["identity", "pose", "emotion"])
def test_irfd_without_an_encoder(code):
  told, before, after = step(irfd, model__ablate=code)
  assert f"gen/std/{code}" not in told
  networks = moved(before, after, "encoders")
  assert f"{code}_net" not in before.params["encoders"]
  for other in {"identity", "pose", "emotion"} - {code}:
    assert f"gen/std/{other}" in told
    assert f"{other}_net" in networks


@pytest.mark.parametrize("code", ["identity", "pose", "emotion"])
def test_speak_without_an_encoder(code):
  told, before, after = step(speak, model__ablate=code)
  assert "generator" in moved(before, after, "speak")
  assert ("gen/perceptual" in told) == (code != "identity")


def test_an_unknown_code_is_one_line():
  with pytest.raises(ValueError, match=r"model\.ablate 'hair'"):
    irfd.make(small.config(model__ablate="hair"))


def test_speak_without_irfd():
  changes = {"speak__encoders": "fresh", "model__norm": "batch"}
  stage = speak.make(small.config(**changes))
  assert set(stage.pretrained_from) == {"sync"}
  _, before, after = step(speak, **changes)
  assert moved(before, after, "encoders") >= {"identity_net", "pose_net"}
  means = jax.tree.map(
    jnp.array_equal, before.vars["encoders"], after.vars["encoders"]
  )
  assert not all(jax.tree.leaves(means["batch_stats"]["pose_net"]))


def test_both_readings_of_equation_12():
  audio, _, _ = step(speak)
  video, _, _ = step(speak, speak__sync_target="video")
  assert audio["gen/sync"] != video["gen/sync"]
  same = video["gen/pixel"]  # the same frames were made
  assert audio["gen/pixel"] == pytest.approx(same, rel=1e-4)
  with pytest.raises(ValueError, match=r"speak\.sync_target 'both'"):
    speak.make(small.config(speak__sync_target="both"))


def test_sync_sees_the_square_that_the_config_names(monkeypatch):
  """Of generated frames, the one that SyncNet learned from."""
  seen, cut = [], speak.align.align_lips

  def look(frames, landmarks, size, square):
    seen.append(square)
    return cut(frames, landmarks, size, square)

  monkeypatch.setattr(speak.align, "align_lips", look)
  stage = speak.make(small.config(**PAPER, model__lips_square=(1.4, 0.45)))
  state = jax.eval_shape(lambda: init_state(stage, 0, {}))
  batch = small.batch(stage)
  jax.eval_shape(update(stage, 0), state, batch, jax.random.key(0))
  assert seen and set(seen) == {(1.4, 0.45)}
