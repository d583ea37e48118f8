import jax
import jax.numpy as jnp
import numpy as np
import pytest

from speak_jax.nn import resize
from tests import jitted
from tests.nn.upfirdn import upfirdn

# Each function one program.
resize = jitted.functions(resize)


def normal(seed, *shape):
  return np.random.default_rng(seed).normal(size=shape).astype("f4")


@pytest.mark.parametrize("size", [(4, 6), (8, 12), (3, 5), (11, 7), (1, 1)])
def test_linear_is_jaxs_own(size):
  x = jax.random.normal(jax.random.key(0), (2, 4, 6, 3))
  want = jax.image.resize(x, (2, *size, 3), "linear")
  got = resize.linear(x, *size)
  np.testing.assert_allclose(got, want, atol=1e-6)


def test_double_is_bilinear():
  x = normal(0, 2, 4, 6, 3)
  want = jax.image.resize(x, (2, 8, 12, 3), "bilinear")
  np.testing.assert_allclose(resize.upsample2x(x), want, atol=1e-6)


def test_double_is_stylegans_filter_inside():
  x = normal(0, 2, 5, 6, 3)
  want = upfirdn(x, up=2, pad=(2, 1), gain=4)
  got = resize.upsample2x(x)
  np.testing.assert_allclose(got[:, 1:-1, 1:-1], want[:, 1:-1, 1:-1], atol=1e-6)
  flat = resize.upsample2x(jnp.ones((1, 3, 3, 1)))
  np.testing.assert_allclose(flat, 1, atol=1e-6)  # no dark frame


def test_halve_is_stylegans_filter_inside():
  x = normal(0, 2, 10, 8, 3)
  want = upfirdn(x, down=2, pad=(1, 1))
  got = resize.downsample2x(x)
  assert got.shape == (2, 5, 4, 3)
  np.testing.assert_allclose(got[:, 1:-1, 1:-1], want[:, 1:-1, 1:-1], atol=1e-6)
  flat = resize.downsample2x(jnp.ones((1, 4, 4, 1)))
  np.testing.assert_allclose(flat, 1, atol=1e-6)


def test_smooth_is_stylegans_filter():
  x = normal(0, 2, 7, 6, 3)
  want = upfirdn(x, pad=(1, 0), gain=4)
  np.testing.assert_allclose(resize.blur(x), want, atol=1e-6)


@pytest.mark.parametrize("name", ["upsample2x", "downsample2x", "blur"])
def test_own_gradient_is_the_transpose(name):
  function = getattr(resize, name)

  @jax.jit
  def look(x, slope, at):
    y, pull = jax.vjp(function, x)
    sums = (slope * function(at)).sum(), (pull(slope)[0] * at).sum()
    # R1 differentiates gradients again.
    return y, sums, jax.grad(lambda g: (pull(g)[0] * x).sum())(slope)

  x = normal(0, 2, 6, 8, 3)
  slope = normal(1, *function(x).shape)
  # <slope, A x> = <A^T slope, x> for every x.
  for at in (x, normal(2, *x.shape)):
    y, (want, got), again = look(x, slope, at)
    np.testing.assert_allclose(got, want, rtol=1e-4)
    np.testing.assert_allclose(again, y, atol=1e-5)


def test_halve_max_is_the_maximum():
  x = jnp.arange(16.0).reshape(1, 4, 4, 1)
  np.testing.assert_allclose(resize.max_pool2x(x)[0, 0, :, 0], [5, 7])
