import jax
import numpy as np

from speak_jax.nn import resize


def test_double_is_bilinear():
  x = jax.random.normal(jax.random.key(0), (2, 4, 6, 3))
  want = jax.image.resize(x, (2, 8, 12, 3), "bilinear")
  np.testing.assert_allclose(resize.double(x), want, atol=1e-6)


def test_halve_is_the_mean_and_halve_max_the_maximum():
  x = np.arange(16.0, dtype=np.float32).reshape(1, 4, 4, 1)
  x = jax.numpy.asarray(x)
  np.testing.assert_allclose(resize.halve(x)[0, 0, :, 0], [2.5, 4.5])
  np.testing.assert_allclose(resize.halve_max(x)[0, 0, :, 0], [5, 7])
