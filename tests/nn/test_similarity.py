"""The similarity of least squares, and its inverse."""

import jax
import numpy as np

from speak_jax.nn import similarity


@jax.jit
def both_ways(source, goal):
  fitted = similarity.fit(source, goal)
  x, y = similarity.read_at(fitted, goal[:, :, 0, None], goal[:, :, 1, None])
  return similarity.moved(fitted, source), x, y


def test_a_turn_a_scale_and_a_shift_are_found_and_undone():
  rng = np.random.default_rng(0)
  source = rng.normal(size=(2, 5, 2)).astype(np.float32)
  turn = 1.7 * np.exp(0.6j)
  places = turn * (source[..., 0] + 1j * source[..., 1]) + (3 - 2j)
  goal = np.stack([places.real, places.imag], -1).astype(np.float32)
  there, x, y = both_ways(source, goal)
  np.testing.assert_allclose(there, goal, atol=1e-5)
  np.testing.assert_allclose(x[..., 0], source[..., 0], atol=1e-5)
  np.testing.assert_allclose(y[..., 0], source[..., 1], atol=1e-5)
