import numpy as np

from speak_jax.nn import matrices
from tests import jitted

apply, inverse, product = map(
  jitted.compiled, (matrices.apply, matrices.inverse, matrices.product)
)


def drawn(*shape):
  return np.random.default_rng(0).normal(size=shape).astype(np.float32)


def test_they_are_those_of_numpy():
  left, right = drawn(2, 5, 2, 2)
  np.testing.assert_allclose(product(left, right), left @ right, rtol=1e-5)
  np.testing.assert_allclose(
    inverse(left), np.linalg.inv(left), rtol=1e-3, atol=1e-4
  )
  point = drawn(5, 2)
  np.testing.assert_allclose(
    apply(left, point), (left @ point[..., None])[..., 0], rtol=1e-5
  )


def test_leading_axes_broadcast():
  one, many = drawn(1, 2, 2), drawn(4, 3, 2, 2)
  assert product(one, many).shape == (4, 3, 2, 2)
  assert apply(one, drawn(4, 7, 2)).shape == (4, 7, 2)


def test_a_flat_matrix_has_a_large_inverse():
  flat = np.ones((1, 2, 2), np.float32)
  found = np.asarray(inverse(flat))
  assert np.isfinite(found).all() and np.abs(found).max() >= 1e5
  slopes = jitted.grad(lambda x: inverse(x).sum())(flat)
  assert np.isfinite(slopes).all()
