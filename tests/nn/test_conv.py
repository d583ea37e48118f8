import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from speak_jax.nn import conv


@pytest.mark.parametrize(
  ("size", "stride", "before", "after"),
  [
    (3, 1, 1, 1),
    (3, 2, 1, 1),
    (7, 2, 3, 3),
    (1, 1, 0, 0),
    (1, 2, 0, 0),
    (4, 2, 1, 1),
    (4, 1, 1, 2),
  ],
)
def test_conv_pads_like_its_docstring(size, stride, before, after):
  x = jax.random.normal(jax.random.key(0), (2, 8, 8, 3))
  kernel = jax.random.normal(jax.random.key(1), (size, size, 3, 5))
  want = lax.conv_general_dilated(
    x,
    kernel,
    (stride, stride),
    ((before, after), (before, after)),
    dimension_numbers=("NHWC", "HWIO", "NHWC"),
  )
  got = conv.conv(x, kernel, stride)
  assert got.shape == (2, 8 // stride, 8 // stride, 5)
  np.testing.assert_allclose(got, want, atol=1e-4)


def test_conv1d_pads_both_ends():
  layer = conv.Conv1d(1, 3, stride=2, pad=1, kernel_init=jnp_ones)
  x = jnp.arange(1.0, 7.0)[None, :, None]
  y = layer.apply(layer.init(jax.random.key(0), x), x)
  np.testing.assert_allclose(y[0, :, 0], [0 + 1 + 2, 2 + 3 + 4, 4 + 5 + 6])


def jnp_ones(key, shape):
  del key
  return jnp.ones(shape)


def test_leaky_keeps_the_scale_of_a_normal():
  x = jax.random.normal(jax.random.key(0), (100_000,))
  assert abs(float((conv.leaky(x) ** 2).mean()) - 1.04) < 0.02


def test_bfloat16_computes_in_bfloat16_with_float32_parameters():
  layer = conv.Conv(4, dtype=jnp.bfloat16)
  x = jnp.ones((1, 4, 4, 3))
  variables = layer.init(jax.random.key(0), x)
  assert variables["params"]["kernel"].dtype == jnp.float32
  assert layer.apply(variables, x).dtype == jnp.bfloat16
