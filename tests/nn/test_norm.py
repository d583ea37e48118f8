import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from speak_jax.nn import norm
from tests import jitted

# Each function one program.
norm = jitted.functions(norm)


@pytest.mark.parametrize("channels", [24, 32, 64])
def test_group_norm_equals_flax(channels):
  x = 3 + 2 * jax.random.normal(jax.random.key(0), (2, 5, 6, channels))
  params = {
    "scale": jax.random.normal(jax.random.key(1), (channels,)),
    "bias": jax.random.normal(jax.random.key(2), (channels,)),
  }
  groups = np.gcd(channels, 32)
  reference = nn.GroupNorm(int(groups), epsilon=1e-5)
  want = reference.apply({"params": params}, x)
  got = norm.GroupNorm().apply({"params": params}, x)
  np.testing.assert_allclose(got, want, atol=2e-5)


@pytest.mark.parametrize("shape", [(2, 5, 6, 24), (3, 7, 64), (2, 32)])
def test_group_norms_gradient_equals_flaxs(shape):
  keys = jax.random.split(jax.random.key(0), 4)
  x = 3 + 2 * jax.random.normal(keys[0], shape)
  params = {
    "scale": jax.random.normal(keys[1], shape[-1:]),
    "bias": jax.random.normal(keys[2], shape[-1:]),
  }
  weight = jax.random.normal(keys[3], shape)
  reference = nn.GroupNorm(
    int(np.gcd(shape[-1], 32)), epsilon=1e-5, use_fast_variance=False
  )

  def gradient(layer):
    def loss(params, x):
      return (layer.apply({"params": params}, x) ** 2 * weight).sum()

    return jitted.grad(loss, (0, 1))(params, x)

  got, want = gradient(norm.GroupNorm()), gradient(reference)
  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b, rtol=2e-4, atol=2e-4),
    got,
    want,
  )


def test_a_gradient_of_group_norms_gradient():
  # As R1 asks for.
  x = jax.random.normal(jax.random.key(0), (2, 4, 3, 8))
  params = {"scale": jnp.linspace(0.5, 2, 8), "bias": jnp.zeros(8)}

  def steepness(layer):
    def loss(x):
      return (layer.apply({"params": params}, x) ** 3).sum()

    return jitted.grad(lambda x: (jax.grad(loss)(x) ** 2).sum())(x)

  reference = nn.GroupNorm(8, epsilon=1e-5, use_fast_variance=False)
  got, want = steepness(norm.GroupNorm()), steepness(reference)
  assert np.abs(want).max() > 1e-3
  np.testing.assert_allclose(got, want, rtol=2e-3, atol=1e-3)


def test_group_norm_measures_bfloat16_in_float32():
  # A mean of 100 eats bfloat16's 8 bits: only wide statistics survive.
  x = (100 + jax.random.normal(jax.random.key(0), (1, 16, 16, 32))).astype(
    jnp.bfloat16
  )
  layer = norm.GroupNorm(jnp.bfloat16)
  y = layer.apply(layer.init(jax.random.key(0), x), x)
  assert y.dtype == jnp.bfloat16
  assert abs(float(y.astype(jnp.float32).std()) - 1) < 0.02


def test_batch_norm_learns_its_statistics_in_training_alone():
  layer = norm.Norm("batch")
  x = 5 + jax.random.normal(jax.random.key(0), (8, 4, 4, 3))
  variables = layer.init(jax.random.key(0), x)
  y, new = layer.apply(variables, x, train=True, mutable=["batch_stats"])
  assert abs(float(y.mean())) < 1e-4
  assert float(new["batch_stats"]["batch"]["mean"].min()) > 0.4
  assert float(layer.apply(variables, x).mean()) > 4


def test_unknown_norm_is_named():
  with pytest.raises(ValueError, match="'layer' is not one of"):
    norm.Norm("layer").init(jax.random.key(0), jnp.ones((1, 2, 2, 3)))


def test_standardize_and_unit():
  x = 7 + 3 * jax.random.normal(jax.random.key(0), (4, 64))
  y = norm.standardize(x)
  np.testing.assert_allclose(y.mean(-1), 0, atol=1e-5)
  np.testing.assert_allclose(y.std(-1), 1, atol=1e-4)
  np.testing.assert_allclose(jnp.linalg.norm(norm.unit(x), axis=-1), 1, 1e-5)


def test_group_norm_is_exported_for_any_number_of_examples():
  layer = norm.GroupNorm()
  params = {"params": {"scale": jnp.ones(8), "bias": jnp.zeros(8)}}
  shape = jax.export.symbolic_shape("b, 4, 3, 8")
  program = jax.export.export(jax.jit(lambda x: layer.apply(params, x)))(
    jax.ShapeDtypeStruct(shape, jnp.float32)
  )
  assert program.out_avals[0].shape == shape
