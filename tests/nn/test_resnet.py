import jax
import jax.numpy as jnp
import numpy as np
import pytest

from speak_jax.nn.resnet import ResNet


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


def test_remat_changes_nothing_but_memory():
  frames = jax.random.normal(jax.random.key(0), (1, 8, 8, 3))
  variables = net().init(jax.random.key(1), frames)
  again = net(remat=True)
  assert jax.tree.structure(
    again.init(jax.random.key(1), frames)
  ) == jax.tree.structure(variables)

  def loss(model, variables):
    return model.apply(variables, frames).pooled.sum()

  plain = jax.grad(lambda v: loss(net(), v))(variables)
  kept = jax.grad(lambda v: loss(again, v))(variables)
  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5), plain, kept
  )


def test_unknown_stem_is_named():
  with pytest.raises(ValueError, match="'wide' is not one of"):
    net(stem="wide").init(jax.random.key(0), jnp.zeros((1, 8, 8, 3)))
