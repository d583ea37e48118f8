"""Each ablation of the paper is one override, and can be trained."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from speak_jax.nn.pixels import as_frames
from speak_jax.stages import init, irfd, speak, syncnet
from speak_jax.training.state import init_state
from speak_jax.training.step import update
from tests.stages import small, traces

CODES = ("identity", "pose", "emotion")

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


def traced(module, **changes):
  """Every phase of a stage by name; nothing is compiled."""
  stage = module.make(small.config(**PAPER | changes))
  return {
    phase.name: traces.trace(stage, index)
    for index, phase in enumerate(stage.phases)
  }


def logged(module, **changes):
  """Names of what every phase of one step logs."""
  stage = module.make(small.config(**PAPER | changes))
  return {
    f"{phase.name}/{name}"
    for index, phase in enumerate(stage.phases)
    for name in traces.logged(stage, index)
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


@pytest.mark.parametrize("code", CODES)
def test_irfd_without_an_encoder(code):
  found = traced(irfd, model__ablate=code)["gen"]
  assert f"std/{code}" not in found.logged
  assert f"{code}_net" not in found.state.params["encoders"]
  networks = found.moved("encoders")
  for other in set(CODES) - {code}:
    assert f"std/{other}" in found.logged
    assert f"{other}_net" in networks


@pytest.mark.parametrize("code", CODES)
def test_speak_without_an_encoder(code):
  found = traced(speak, model__ablate=code)["gen"]
  assert "generator" in found.moved("speak")
  assert ("perceptual" in found.logged) == (code != "identity")


def test_an_unknown_code_is_one_line():
  with pytest.raises(ValueError, match=r"model\.ablate 'hair'"):
    irfd.make(small.config(model__ablate="hair"))


FRESH = {"speak__encoders": "fresh", "model__norm": "batch"}


def test_speak_without_irfd():
  stage = speak.make(small.config(**FRESH))
  assert set(stage.pretrained_from) == {"sync"}
  found = traced(speak, **FRESH)["gen"]
  assert found.moved("encoders") >= {"identity_net", "pose_net"}
  # Its batch statistics go on.
  means = "collections/encoders/batch_stats/pose_net/"
  changed, _ = found.needed(means)
  assert any(x.startswith("1/") for x in changed)


def test_both_readings_of_equation_12():
  """To the sound or to the real frames' mouths; the same frames are made."""
  heard = {}
  for target in ("audio", "video"):
    found = traced(speak, speak__sync_target=target)["gen"]
    used, _ = found.needed("scalars/sync")
    heard[target] = any(x.startswith("0/params/sync/sound/") for x in used)
    heard[target, "made"] = found.needed("scalars/pixel")
  assert heard["audio"] and not heard["video"]
  assert heard["audio", "made"] == heard["video", "made"]
  with pytest.raises(ValueError, match=r"speak\.sync_target 'both'"):
    speak.make(small.config(speak__sync_target="both"))


def test_equation_12_measures_to_the_sound_or_to_the_real_mouths():
  """By value: what each reading hears and sees, and what it does not."""
  stage = speak.make(small.config())
  batch, other = (
    jax.tree.map(jnp.asarray, small.batch(stage, seed)) for seed in (0, 1)
  )
  frames = as_frames(batch.frames)
  config = small.config()
  net = speak.SpeakLosses.of(config).nets.sync
  group = jax.jit(lambda: syncnet.initial_group(config, net, 0))()
  found = {}
  for target in ("audio", "video"):
    losses = speak.SpeakLosses.of(small.config(speak__sync_target=target))
    measure = jax.jit(
      functools.partial(losses.sync_loss, *init.split_kinds({"sync": group}))
    )
    found[target] = {
      "own": measure(frames, batch),
      "other sound": measure(frames, batch._replace(audio=other.audio)),
      "other mouths": measure(frames, batch._replace(frames=other.frames)),
    }
  assert all(x.shape == (2,) for x in jax.tree.leaves(found))
  audio, video = found["audio"], found["video"]
  # The frames are the real ones: nothing is to be gained from their mouths.
  np.testing.assert_array_equal(video["own"], 0)
  np.testing.assert_array_equal(video["other sound"], 0)
  np.testing.assert_array_equal(audio["other mouths"], audio["own"])
  for apart in (
    audio["own"],
    np.abs(audio["other sound"] - audio["own"]),
    video["other mouths"],
  ):
    assert float(apart.min()) > 1e-4


ABLATED = [
  *((irfd, {"model__ablate": code}) for code in CODES),
  *((speak, {"model__ablate": code}) for code in CODES),
  (speak, FRESH),
  (speak, {"speak__sync_target": "video"}),
]


@pytest.mark.campaign
@pytest.mark.parametrize(("module", "changes"), ABLATED)
def test_an_ablated_step_is_finite_and_moves_what_it_trains(module, changes):
  """Compiled and run, half a minute each."""
  stage = module.make(small.config(**PAPER | changes))
  batch = small.batch(stage)
  state = before = init_state(stage, 0, {})
  for index in range(len(stage.phases)):
    # Unoptimised: it runs once.
    run = jax.jit(update(stage, index)).lower(state, batch, jax.random.key(0))
    run = run.compile({"xla_backend_optimization_level": "0"})
    state, metrics = run(state, batch, jax.random.key(0))
    assert not metrics["bad"]
    assert all(np.isfinite(float(x)) for x in metrics.values())
  for group in stage.optims["gen"].trains:
    old, new = before.params[group], state.params[group]
    still = jax.tree.map(jnp.array_equal, old, new)
    assert not all(jax.tree.leaves(still)), group


def test_sync_sees_the_square_that_the_config_names(monkeypatch):
  """Of generated frames, the one that SyncNet learned from."""
  seen, cut = [], speak.align.align_lips

  def look(frames, landmarks, size, square):
    seen.append(square)
    return cut(frames, landmarks, size, square)

  monkeypatch.setattr(speak.align, "align_lips", look)
  stage = speak.make(small.config(**PAPER, model__lips_square=(1.4, 0.45)))
  traces.trace(stage, 0)
  assert seen and set(seen) == {(1.4, 0.45)}
