"""Every term of every loss moves the modules it is meant for, and no other.

All terms of a stage are compiled once: their weights are an argument here.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from speak_jax.stages import (
  base,
  emotion_input,
  irfd,
  motion,
  speak,
  syncnet,
)
from speak_jax.training.state import init_state
from tests.stages import small

ENCODERS = {
  "identity_net",
  "identity_head",
  "pose_net",
  "pose_head",
  "pose_squeeze",
  "emotion_net",
  "emotion_head",
  "mouth_net",
  "mouth_head",
}
# Identity maps go round the codes; they are wide enough to be projected at
# larger sizes alone.
PICTURE = {f"encoders/{name}" for name in ENCODERS} | {
  "decoder/mlp",
  "decoder/geometry",
  "decoder/generator",
}
CODES = {
  f"encoders/{code}_{part}"
  for code in ("identity", "pose", "emotion")
  for part in ("net", "head")
} | {"encoders/pose_squeeze"}
IRFD = {
  "pixel": PICTURE,
  "gradient": PICTURE,
  "structure": PICTURE,
  # The geometry sees the codes themselves, not the styles.
  "flow": PICTURE - {"decoder/generator", "decoder/mlp"},
  "expression": PICTURE - {"decoder/generator", "decoder/mlp"},
  "appearance": {
    "encoders/identity_net",
    "encoders/identity_head",
    "decoder/appearance",
  },
  "mouth_box": PICTURE,
  "self": PICTURE,
  "angles": {
    f"encoders/{name}"
    for name in ("pose_net", "pose_head", "pose_squeeze", "angle_head")
  },
  # On the inputs' codes and, through the decoder, on re-encoded frames; the
  # classifier learns from the inputs.
  "classify": PICTURE | {"encoders/classifier"},
  "swap_pose": PICTURE,
  "swap_emotion": PICTURE,
  "swap_identity": PICTURE,
  "gan": PICTURE,
  "covariance": CODES,
  "variance": CODES | {"encoders/mouth_net", "encoders/mouth_head"},
}
TALK = {
  "speak/audio",
  "speak/facial",
  "speak/editing",
  "speak/generator",
}
SPEAK = {
  "pixel": TALK,
  "gradient": TALK,
  "structure": TALK,
  "flow": {"speak/audio", "speak/generator"},
  "expression": {"speak/audio", "speak/generator"},
  "mouth_box": TALK,
  "sync": TALK,
  "perceptual": TALK,
  "gan": TALK,
  "features": TALK,
  "opening": {"speak/audio", "speak/mouth"},
  "covariance": {"speak/audio"},
}
# Convolutions over what is heard, and what the points' offsets add up from.
HEARD = {
  *(f"motion/front{i}" for i in range(3)),
  "motion/layer0",
  "motion/speech",
}
OFFSETS = HEARD | {"motion/lids", "motion/emotion"}
MOTION = {
  "points": OFFSETS,
  "lips": OFFSETS,
  "speed": OFFSETS - {"motion/emotion"},  # the same in all frames of a clip
  "gap": OFFSETS,
}


def moved(stage, phase_index: int, weights: dict[str, float]) -> Any:
  """function(name of a term) -> modules with a gradient, of all groups that
  the phase's optimizer trains."""
  phase = stage.phases[phase_index]
  trains = stage.optims[phase.optim].trains

  def weigh(terms, given, ramps=None):
    del ramps
    assert set(terms) == set(given)
    loss = sum(weights[name] * term().mean() for name, term in terms.items())
    return loss, {}

  state = init_state(stage, 0, {})
  batch = small.batch(stage)
  # A floor under the codes' variance acts on examples that are alike only.
  alike = jax.tree.map(
    lambda x: (x[:1] + (x - x[:1].astype(float)) / 32).astype(x.dtype), batch
  )

  @jax.jit
  def gradient(chosen, params, vars, batch):
    weights.update(chosen)

    def loss(trained):
      key = jax.random.key(1)
      step = jnp.asarray(3)
      with pytest.MonkeyPatch.context() as patch:
        patch.setattr(base, "weighted_sum", weigh)
        out = phase.loss({**params, **trained}, vars, batch, step, key)
      return out.loss

    grads = jax.grad(loss)({g: params[g] for g in trains})
    return {
      f"{group}/{module}": jnp.sqrt(
        sum(jnp.sum(x**2) for x in jax.tree.leaves(tree))
      )
      for group in trains
      for module, tree in grads[group].items()
    }

  def of(name):
    chosen = {k: jnp.float32(k == name) for k in weights}
    given = alike if name == "variance" else batch
    norms = gradient(chosen, state.params, state.vars, given)
    return {k for k, v in norms.items() if v > 0}

  return of


@pytest.fixture(scope="module")
def irfd_terms():
  config = small.config(
    # Unit vectors are no further apart: the triplet is never content.
    irfd__margin=4.0,
    irfd__batch=4,  # of two examples every correlation is 1 or -1
    irfd__microbatch=4,
    # Alike examples stay so: each would get other colours.
    data__augment__pose=False,
    data__augment__stretch=0.0,
    data__augment__emotion=False,
    **{f"irfd__weights__{name}": 1.0 for name in IRFD},
  )
  stage = irfd.make(config)
  index = [phase.name for phase in stage.phases].index("gen")
  return moved(stage, index, dict.fromkeys(IRFD, 0.0))


@pytest.fixture(scope="module")
def speak_terms():
  config = small.config(
    speak__batch=4,
    speak__microbatch=4,
    **{f"speak__weights__{name}": 1.0 for name in SPEAK},
  )
  stage = speak.make(config)
  index = [phase.name for phase in stage.phases].index("gen")
  return moved(stage, index, dict.fromkeys(SPEAK, 0.0))


@pytest.fixture(scope="module")
def motion_terms():
  return moved(motion.make(small.config()), 0, dict.fromkeys(MOTION, 0.0))


@pytest.mark.parametrize("term", IRFD)
def test_irfd_term(term, irfd_terms):
  assert irfd_terms(term) == IRFD[term]


@pytest.mark.parametrize("term", SPEAK)
def test_speak_term(term, speak_terms):
  assert speak_terms(term) == SPEAK[term]


@pytest.mark.parametrize("term", MOTION)
def test_motion_term(term, motion_terms):
  assert motion_terms(term) == MOTION[term]


def test_sync_trains_both_towers():
  stage = syncnet.make(small.config())
  state = init_state(stage, 0, {})
  batch = small.batch(stage)
  grads = jax.jit(
    jax.grad(
      lambda params, batch: (
        stage.phases[0]
        .loss(params, state.vars, batch, state.step, jax.random.key(0))
        .loss
      )
    )
  )(state.params, batch)
  for tower in ("lips", "sound"):
    for leaf in jax.tree.leaves(grads["sync"][tower]):
      assert jnp.abs(leaf).max() > 0


@pytest.mark.parametrize(("module", "name"), [(irfd, "irfd"), (speak, "speak")])
def test_discriminator_phases(module, name):
  """Both move the discriminator alone; without weight they do not exist."""
  config = small.config(
    **{
      f"{name}__weights__gan": 1.0,
      f"{name}__r1_every": 3,
      f"{name}__gan_ramp": (70, 90),
      f"{name}__gan_lead": 10,
    }
  )
  stage = module.make(config)
  named = {phase.name: phase for phase in stage.phases}
  assert list(named) == ["disc", "disc_r1", "gen"]
  assert named["disc_r1"].every == 3
  # It learns from shortly before the generator hears it.
  assert [phase.start for phase in stage.phases] == [60, 60, 0]
  assert stage.optims["disc"].trains == ("discriminator",)
  assert "discriminator" not in stage.optims["gen"].trains
  plain = module.make(small.config())
  assert [phase.name for phase in plain.phases] == ["gen"]
  params = jax.eval_shape(lambda: plain.init(0, {})[0])
  assert "discriminator" not in params


def test_weighted_sum_calls_no_term_of_weight_zero():
  def never():
    raise AssertionError

  loss, metrics = base.weighted_sum(
    {"a": lambda: jnp.array([1.0, 3.0]), "b": never}, {"a": 0.5, "b": 0.0}
  )
  assert loss == 1.0
  assert metrics == {"a": 2.0}  # unweighted
  with pytest.raises(ValueError, match="c"):
    base.weighted_sum({"a": never}, {"a": 1.0, "c": 1.0})


def test_encoders_train_when_asked():
  frozen = speak.make(small.config())
  tuned = speak.make(small.config(speak__encoders="tuned"))
  assert "encoders" not in frozen.optims["gen"].trains
  assert "encoders" in tuned.optims["gen"].trains
  assert "sync" not in tuned.optims["gen"].trains


def test_what_the_emotion_encoder_sees_is_a_face_or_a_frame():
  assert emotion_input.side(small.config()) == 12
  assert emotion_input.side(small.config(model__emotion_input="frame")) == 16
  for make in (irfd.make, speak.make):
    with pytest.raises(ValueError, match="emotion_input 'mouth' is not"):
      make(small.config(model__emotion_input="mouth"))


def test_pairs_are_treated_that_are_flagged():
  terms = small.config().irfd.weights.to_dict()
  off = {f"irfd__weights__{name}": 0.0 for name in terms if name != "pixel"}
  stage = irfd.make(small.config(**off))
  state = init_state(stage, 0, {})
  batch = small.batch(stage)
  run = jax.jit(
    lambda batch, key: stage.phases[-1].loss(
      state.params, state.vars, batch, jnp.int32(0), key
    )
  )

  def loss(treated, lends, turned=False):
    flags = [np.full(2, flag) for flag in (treated, lends)]
    some = batch._replace(treated=flags[0], lends=flags[1])
    if turned:
      some = some._replace(donor=255 - batch.donor)
    return float(run(some, jax.random.key(0)).metrics["pixel"])

  plain = loss(False, True)
  assert np.isfinite(plain) and plain == loss(False, True, turned=True)
  assert plain == loss(False, False)
  assert plain != loss(True, False) == loss(True, False, turned=True)
  assert loss(True, False) != loss(True, True) != loss(True, True, turned=True)


def test_the_pose_encoder_sees_treated_frames_and_the_sheet_plain_ones():
  """The encoder's pictures alone change, what is to be made does not."""
  terms = (
    "gradient",
    "structure",
    "flow",
    "expression",
    "mouth_box",
    "opening",
    "sync",
  )
  stage = speak.make(
    small.config(**{f"speak__weights__{name}": 0.0 for name in terms})
  )
  state = init_state(stage, 0, {})
  batch = small.batch(stage)
  others = batch._replace(donor=255 - batch.donor)
  loss = jax.jit(
    lambda batch: stage.phases[-1].loss(
      state.params, state.vars, batch, jnp.int32(0), jax.random.key(0)
    )
  )
  one, other = loss(batch).metrics["pixel"], loss(others).metrics["pixel"]
  assert jnp.isfinite(one) and one != other
  assert stage.sample_grids is not None
  sheet = jax.jit(
    lambda batch: stage.sample_grids(state.params, state.vars, batch)
  )
  same = sheet(batch)["windows"], sheet(others)["windows"]
  assert jnp.array_equal(*same)
