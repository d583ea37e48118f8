import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from speak_jax.nn import conv
from tests import jitted
from tests.nn.upfirdn import upfirdn

# Each function one program.
conv = jitted.functions(conv)


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
  rng = np.random.default_rng(0)
  x = rng.normal(size=(2, 8, 8, 3)).astype("f4")
  kernel = rng.normal(size=(size, size, 3, 5)).astype("f4")
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


def test_maps_of_four_places():
  rng = np.random.default_rng(0)
  x = rng.normal(size=(3, 2, 2, 4)).astype("f4")
  kernel = rng.normal(size=(3, 3, 4, 5)).astype("f4")
  np.testing.assert_allclose(
    conv.conv(x, kernel), plain(x, kernel, 1, 1), atol=1e-4
  )


def test_large_kernels_take_odd_sides():
  rng = np.random.default_rng(0)
  x = rng.normal(size=(2, 7, 8, 3)).astype("f4")
  kernel = rng.normal(size=(7, 7, 3, 5)).astype("f4")
  got = conv.conv(x, kernel)
  np.testing.assert_allclose(got, plain(x, kernel, 1, 3), atol=1e-4)


def plain(x, kernel, stride, pad):
  """XLA's convolution with XLA's gradients."""
  return lax.conv_general_dilated(
    x,
    kernel,
    (stride, stride),
    ((pad, pad), (pad, pad)),
    dimension_numbers=("NHWC", "HWIO", "NHWC"),
  )


# Those that take a way of their own, or give their own gradient.
OWN = [
  (1, 1, 4, 5),
  (1, 2, 4, 5),
  (1, 1, 4, 3),
  (3, 1, 4, 1),
  (4, 2, 4, 5),
  (7, 1, 4, 9),
  (7, 1, 9, 4),
  (7, 1, 9, 1),
  (5, 1, 9, 4),
]


@pytest.mark.parametrize(
  ("shape", "features", "size", "pad"),
  [
    ((2, 9, 11, 3), 5, 7, 3),
    ((2, 9, 11, 3), 5, 7, 0),
    ((33, 6, 7, 2), 3, 5, 2),  # more examples than are folded
    ((2, 7, 8, 41), 3, 7, 0),  # channels that are read as they are
    ((2, 7, 8, 41), 1, 7, 3),
    ((2, 8, 7, 3), 41, 5, 2),
  ],
)
def test_large_kernels_of_few_channels_equal_xlas(shape, features, size, pad):
  rng = np.random.default_rng(0)
  x = rng.normal(size=shape).astype("f4")
  kernel = rng.normal(size=(size, size, shape[-1], features)).astype("f4")

  def both(convolve):
    @jax.jit
    def run(x, kernel):
      y, pull = jax.vjp(convolve, x, kernel)
      return y, *pull(jnp.sin(y))

    return run(x, kernel)

  got = both(lambda x, kernel: conv.conv(x, kernel, valid=not pad))
  want = both(lambda x, kernel: plain(x, kernel, 1, pad))
  for ours, theirs in zip(got, want, strict=True):
    np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=5e-3)


@pytest.mark.parametrize(("size", "stride", "channels", "features"), OWN)
def test_own_gradients_and_r1_equal_xlas(size, stride, channels, features):
  rng = np.random.default_rng(0)
  x = rng.normal(size=(2, 8, 6, channels)).astype("f4")
  kernel = rng.normal(size=(size, size, channels, features)).astype("f4")
  pad = (size - 1) // 2

  def gradients(convolve):
    @jax.jit
    def run(x, kernel, slope):
      y, pull = jax.vjp(convolve, x, kernel)

      def penalty(kernel, slope):
        back = jax.vjp(lambda x: convolve(x, kernel), x)[1](slope)[0]
        return (back**2).sum()

      return y, pull(slope), jax.grad(penalty, (0, 1))(kernel, slope)

    return run(x, kernel, slope)

  shape = 2, 8 // stride, 6 // stride, features
  slope = rng.normal(size=shape).astype("f4")
  got = gradients(lambda x, k: conv.conv(x, k, stride))
  want = gradients(lambda x, k: plain(x, k, stride, pad))
  for ours, theirs in zip(*map(jax.tree.leaves, (got, want)), strict=True):
    np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-3)


def test_conv_up_is_stylegans():
  """Zeros between pixels, [1, 3, 3, 1] with gain 4, 3x3: in that order."""
  rng = np.random.default_rng(0)
  x = rng.normal(size=(2, 5, 4, 3)).astype("f4")
  kernel = rng.normal(size=(3, 3, 3, 2)).astype("f4")
  smoothed = upfirdn(x, up=2, pad=(3, 2), gain=4)
  # `kernel` spreads, so that it is read backwards here.
  want = plain(jnp.asarray(smoothed), kernel[::-1, ::-1], 1, 0)
  got = conv.conv_up(x, kernel)
  assert got.shape == (2, 10, 8, 2)
  np.testing.assert_allclose(got, want, atol=1e-4)


@pytest.mark.parametrize("size", [3, 4])
def test_conv_double_is_pytorchs_transposed_convolution(size):
  rng = np.random.default_rng(0)
  x = rng.normal(size=(2, 3, 4, 5)).astype("f4")
  kernel = rng.normal(size=(size, size, 5, 2)).astype("f4")
  # What each place spreads over size x size of twice the size; padding 1 takes
  # the first row and column off, output padding 1 leaves one more behind.
  spread = np.zeros((2, 2 * 3 + 2, 2 * 4 + 2, 2))
  for i, j in itertools.product(range(3), range(4)):
    spread[:, 2 * i : 2 * i + size, 2 * j : 2 * j + size] += np.einsum(
      "bc,hwcd->bhwd", x[:, i, j], kernel
    )
  got = conv.conv_double(x, kernel)
  np.testing.assert_allclose(got, spread[:, 1:7, 1:9], atol=1e-5)


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


def test_valid_keeps_what_lies_inside():
  x = jax.random.normal(jax.random.key(0), (2, 9, 8, 3))
  kernel = jax.random.normal(jax.random.key(1), (7, 7, 3, 4))
  found = conv.conv(x, kernel, valid=True)
  assert found.shape == (2, 3, 2, 4)
  np.testing.assert_allclose(
    found, conv.conv(x, kernel)[:, 3:-3, 3:-3], rtol=1e-4, atol=1e-4
  )
