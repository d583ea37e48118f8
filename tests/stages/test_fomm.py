"""FOMM's stage: who learns from what, and that moving pictures learn."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from configs import eamm as presets
from speak_jax.stages import fomm
from speak_jax.stages.fomm import GENERATOR, KEYPOINTS, VGG
from tests.stages import small, traces


def _config(*words, **changes):
  sizes = {"fomm.batch": 2, "fomm.microbatch": 2, **changes}
  pairs = [f"{k}={v}" for k, v in sizes.items()]
  return presets.get_config(",".join(["demo", *words, *pairs]))


@pytest.fixture(scope="module")
def started():
  losses = fomm.FommLosses.of(_config())
  stage = fomm.make(losses.config)
  arrays = (*small.parameters(stage), small.batch(stage))
  return losses, *jax.tree.map(jnp.asarray, arrays)


def _slopes(losses, groups, params, collections, batch):
  """How much each group's gradient is, and what the loss returns."""

  def total(chosen):
    out = losses.fit(
      params | chosen, collections, batch, jnp.int32(0), jax.random.key(0)
    )
    return out.loss, out

  chosen = {name: params[name] for name in groups}
  slopes, out = jax.jit(jax.grad(total, has_aux=True))(chosen)
  return {
    name: sum(float(np.abs(x).sum()) for x in jax.tree.leaves(tree))
    for name, tree in slopes.items()
  }, out


def test_both_networks_learn(started):
  losses, *rest = started
  moved, out = _slopes(losses, [KEYPOINTS, GENERATOR], *rest)
  assert moved[KEYPOINTS] > 0 and moved[GENERATOR] > 0
  assert set(out.collections) == {KEYPOINTS, GENERATOR}
  means = {k: float(v) for k, v in out.metrics.items()}
  asked = losses.config.fomm.weights.to_dict()
  assert set(asked) - set(means) == {"perceptual"}
  assert float(out.loss) == pytest.approx(
    sum(w * means[k] for k, w in asked.items() if k in means), rel=1e-4
  )
  assert 0 < means["occlusion"] < 1
  assert means["l1_of_still"] > 0.1
  for old, new in zip(
    jax.tree.leaves(rest[1]), jax.tree.leaves(out.collections), strict=True
  ):
    assert (np.asarray(old) != np.asarray(new)).any()


@pytest.mark.parametrize(
  ("term", "groups"),
  [
    ("points", {KEYPOINTS}),
    ("jacobians", {KEYPOINTS}),
    ("pixel", {KEYPOINTS, GENERATOR}),
  ],
)
def test_each_half_of_a_loss_moves_what_it_should(term, groups):
  """What must stick moves the detector alone; pixels move both."""
  weights = _config().fomm.weights
  stage = fomm.make(
    _config(**{f"fomm.weights.{k}": float(k == term) for k in weights})
  )
  traced = traces.trace(stage, 0)
  moved = {
    group
    for group in (KEYPOINTS, GENERATOR)
    if any(x.startswith("1/") for x in traced.needed(f"grads/{group}/")[0])
  }
  assert moved == groups


def test_the_sheet_has_five_pictures_of_each_example(started):
  losses, *rest = started
  sheet = jax.jit(losses.sample_grids)(*rest)["frames"]
  side = losses.config.model.image
  assert sheet.shape == (2, 5, side, side, 3)


def test_dots_lie_on_their_points():
  points = jnp.array([[[-0.5, 0.0], [0.5, 0.25]]])
  picture = np.asarray(jax.jit(fomm.marked)(jnp.zeros((1, 64, 64, 3)), points))[
    0
  ]
  rows, columns = np.nonzero(picture.any(-1))
  left = columns < 32
  for side, (x, y) in ((left, points[0, 0]), (~left, points[0, 1])):
    assert abs((columns[side].mean() + 0.5) / 32 - 1 - x) < 0.05
    assert abs((rows[side].mean() + 0.5) / 32 - 1 - y) < 0.05


def test_without_vgg_nothing_is_perceived():
  losses = fomm.FommLosses.of(_config())
  assert losses.weights["perceptual"] == 0
  assert any("there is no VGG-19" in note for note in losses.notes)
  assert VGG not in fomm.make(losses.config).public


def test_vgg_sees_every_scale_that_is_large_enough():
  """Traced: 32 px and 16 px, five maps each; its group stays as it is."""
  config = _config(**{"pretrained.vgg": "somewhere"})
  stage = fomm.make(config)
  assert VGG in stage.public
  assert VGG not in stage.optims["fit"].trains
  params, collections = jax.eval_shape(lambda: stage.init(0, {}))
  inputs = (stage.batch, jnp.int32(0), jax.random.key(0))
  program = jax.make_jaxpr(stage.phases[0].loss)(params, collections, *inputs)
  assert (
    "perceptual"
    in jax.eval_shape(
      stage.phases[0].loss, params, collections, *inputs
    ).metrics
  )
  # relu1_1 of four pictures: 32 and 16 px, ours and the true one.
  first = str(program).count(",64] = conv_general_dilated")
  assert first >= 4


def test_sizes_must_halve():
  with pytest.raises(ValueError, match=r"image 36 is not a multiple of 8"):
    fomm.make(_config(**{"model.image": 36}))


def test_released_reads_as_the_public_code_does():
  config = presets.get_config("released")
  assert not fomm.generator(config).aligned
  used = {k for k, v in config.fomm.weights.items() if v}
  assert used == {"perceptual", "points", "jacobians"}
  assert fomm.generator(presets.get_config()).aligned
