"""Whitening: unit covariance, and the way back."""

import jax
import jax.numpy as jnp
import numpy as np

from speak_jax.nn import whitening
from tests import jitted

# Each function one program.
whitening = jitted.functions(whitening)


def _codes(count=500):
  rng = np.random.default_rng(0)
  mixed = rng.normal(size=(count, 3)) @ rng.normal(size=(3, 3))
  return jnp.asarray(4 * mixed + [1, -2, 30], "float32")


def test_fresh_statistics_change_nothing():
  state, codes = whitening.fresh(3), _codes()
  white = whitening.whiten(state, codes)
  np.testing.assert_allclose(white, codes, rtol=1e-2)
  np.testing.assert_allclose(
    whitening.unwhiten(state, white), codes, rtol=1e-4, atol=1e-4
  )


def test_codes_come_to_have_unit_covariance():
  state, codes = whitening.fresh(3), _codes()
  for _ in range(300):
    state = whitening.update(state, codes)
  white = np.asarray(whitening.whiten(state, codes.reshape(5, 100, 3)))
  assert white.shape == (5, 100, 3)
  white = white.reshape(-1, 3)
  np.testing.assert_allclose(white.mean(0), 0, atol=0.02)
  # A little less where there is little: the ridge.
  covariance = np.cov(white.T)
  assert np.abs(covariance - np.diag(np.diag(covariance))).max() < 0.1
  assert (np.diag(covariance) < 1.01).all()
  assert (np.diag(covariance) > 0.5).all()
  np.testing.assert_allclose(
    whitening.unwhiten(state, jnp.asarray(white)), codes, rtol=1e-3, atol=1e-3
  )


def test_microbatches_may_be_averaged():
  """The mean of two halves' statistics is that of the whole."""
  state, codes = whitening.fresh(3), _codes(64)
  whole = whitening.update(state, codes)
  halves = [whitening.update(state, x) for x in (codes[:32], codes[32:])]
  mean = jax.tree.map(lambda *x: sum(x) / 2, *halves)
  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5), whole, mean
  )
