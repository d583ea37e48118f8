import jax
import jax.numpy as jnp
import numpy as np
import pytest

from speak_jax.nn.resnet import ResNet
from tests import jitted


def net(**changes):
  settings = dict(stages=(1, 1), width=8, bottleneck=False, stem="small")
  return ResNet(**(settings | changes))


def test_maps_halve_and_any_size_goes():
  frames = jax.random.normal(jax.random.key(0), (2, 16, 16, 3))
  variables = net().init(jax.random.key(1), frames)
  for size in (16, 24):
    x = jnp.zeros((2, size, size, 3))
    out = net().apply(variables, x)
    assert [m.shape for m in out.stages] == [
      (2, size // 2, size // 2, 8),
      (2, size // 4, size // 4, 16),
    ]
    assert out.pooled.shape == (2, 16)


def test_deep_stem_quarters():
  x = jax.ShapeDtypeStruct((1, 64, 64, 3), jnp.float32)
  model = net(stem="deep", bottleneck=True, norm="batch")
  out = jax.eval_shape(
    lambda x: model.init_with_output(jax.random.key(0), x), x
  )
  assert [m.shape for m in out[0].stages] == [(1, 16, 16, 32), (1, 8, 8, 64)]
  assert set(out[1]) == {"params", "batch_stats"}


def test_fine_stem_halves_maps_of_any_channels():
  x = jax.ShapeDtypeStruct((1, 16, 16, 5), jnp.float32)
  model = net(stem="fine")
  out, variables = jax.eval_shape(
    lambda x: model.init_with_output(jax.random.key(0), x), x
  )
  assert [m.shape for m in out.stages] == [(1, 8, 8, 8), (1, 4, 4, 16)]
  assert variables["params"]["stem"]["kernel"].shape == (3, 3, 5, 8)


def test_remat_changes_nothing_but_memory():
  frames = jax.random.normal(jax.random.key(0), (1, 8, 8, 3))
  variables = net().init(jax.random.key(1), frames)
  again = net(remat=True)
  assert jax.tree.structure(
    again.init(jax.random.key(1), frames)
  ) == jax.tree.structure(variables)

  def loss(model, variables):
    return model.apply(variables, frames).pooled.sum()

  plain = jitted.grad(lambda v: loss(net(), v))(variables)
  kept = jitted.grad(lambda v: loss(again, v))(variables)
  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5), plain, kept
  )


def test_widths_of_every_stage_and_the_stem_can_be_given():
  frames = jax.random.normal(jax.random.key(0), (1, 16, 16, 3))
  model = net(width=(4, 6), stem="deep", bottleneck=True, stem_width=10)
  out, variables = model.init_with_output(jax.random.key(1), frames)
  assert out.stem.shape == (1, 4, 4, 10)
  assert [m.shape[-1] for m in out.stages] == [16, 24]
  assert variables["params"]["stem"]["kernel"].shape == (7, 7, 3, 10)


def test_a_width_is_doubled_from_stage_to_stage():
  frames = jnp.zeros((1, 16, 16, 3))
  short, long = net(width=4), net(width=(4, 8), stem_width=4)
  shapes = [
    jax.tree.map(jnp.shape, model.init(jax.random.key(0), frames))
    for model in (short, long)
  ]
  assert shapes[0] == shapes[1]


def test_a_block_with_a_stride_projects_even_one_pixel():
  """As torchvision does, whose rule looks at the stride, not the map."""
  frames = jnp.zeros((1, 2, 2, 3))
  model = net(width=(8, 8))
  params = model.init(jax.random.key(0), frames)["params"]
  assert "project" in params["stage2_block1"]
  assert "project" not in params["stage1_block1"]


def test_widths_that_do_not_fit_the_stages_are_named():
  with pytest.raises(ValueError, match="3 widths of 2 stages"):
    net(width=(4, 8, 16)).init(jax.random.key(0), jnp.zeros((1, 8, 8, 3)))


def test_unknown_stem_is_named():
  with pytest.raises(ValueError, match="'wide' is not one of"):
    net(stem="wide").init(jax.random.key(0), jnp.zeros((1, 8, 8, 3)))
