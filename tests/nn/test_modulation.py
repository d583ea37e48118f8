import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from speak_jax.nn.conv import conv_up
from speak_jax.nn.modulation import StyleConv


def setup(demodulate=True, dtype=jnp.float32, size=3):
  layer = StyleConv(7, size, demodulate, dtype)
  x = jax.random.normal(jax.random.key(0), (3, 6, 6, 5))
  latent = jax.random.normal(jax.random.key(1), (3, 4))
  variables = layer.init(jax.random.key(2), x, latent)
  return layer, variables, x, latent


@pytest.mark.parametrize("demodulate", [True, False])
@pytest.mark.parametrize("size", [1, 3])
def test_equals_weights_made_for_each_example(demodulate, size):
  layer, variables, x, latent = setup(demodulate, size=size)
  params = variables["params"]
  style = latent @ params["style"]["kernel"] + params["style"]["bias"]

  def one(x, style):
    kernel = params["kernel"] * style[:, None]
    if demodulate:
      kernel = kernel / jnp.sqrt((kernel**2).sum((0, 1, 2)) + 1e-8)
    return lax.conv_general_dilated(
      x[None],
      kernel,
      (1, 1),
      "SAME",
      dimension_numbers=("NHWC", "HWIO", "NHWC"),
    )[0]

  want = jax.vmap(one)(x, style)
  got = layer.apply(variables, x, latent)
  np.testing.assert_allclose(got, want, atol=1e-5)


def deviations(demodulate, strength):
  """Of each example and channel, in and out of a wide layer."""
  layer = StyleConv(48, 3, demodulate)
  x = jax.random.normal(jax.random.key(5), (3, 34, 34, 64))
  latent = strength * jax.random.normal(jax.random.key(1), (3, 16))
  y = layer.apply(layer.init(jax.random.key(2), x, latent), x, latent)
  return y[:, 1:-1, 1:-1].std((1, 2))


@pytest.mark.parametrize("strength", [0.0, 1.0, 30.0])
def test_demodulated_output_has_unit_variance_whatever_the_style(strength):
  made = deviations(True, strength)
  np.testing.assert_allclose((made**2).mean(-1), 1, atol=0.02)
  np.testing.assert_allclose(made, 1, atol=0.12)  # of 1024 places


def test_without_demodulation_the_style_sets_the_variance():
  assert (deviations(False, 30.0) > 5).all()


@pytest.mark.parametrize("demodulate", [True, False])
def test_up_equals_stylegans_modulated_transposed_convolution(demodulate):
  layer, variables, x, latent = setup(demodulate)
  params = variables["params"]
  style = latent @ params["style"]["kernel"] + params["style"]["bias"]

  def one(x, style):
    kernel = params["kernel"] * style[:, None]
    if demodulate:
      kernel = kernel / jnp.sqrt((kernel**2).sum((0, 1, 2)) + 1e-8)
    return conv_up(x[None], kernel)[0]

  got = layer.clone(up=True).apply(variables, x, latent)
  assert got.shape == (3, 12, 12, 7)
  np.testing.assert_allclose(got, jax.vmap(one)(x, style), atol=1e-5)


def test_bfloat16_stays_close():
  layer, variables, x, latent = setup()
  low = StyleConv(7, dtype=jnp.bfloat16).apply(variables, x, 1e4 * latent)
  high = layer.apply(variables, x, 1e4 * latent)
  assert low.dtype == jnp.bfloat16
  np.testing.assert_allclose(low.astype(jnp.float32), high, atol=0.06)
