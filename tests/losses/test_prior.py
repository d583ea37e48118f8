"""The prior's losses: known frames are not scored, jumps are."""

import jax.numpy as jnp
import numpy as np
import pytest

from speak_jax.losses import prior


def _world():
  rng = np.random.default_rng(0)
  pred, true = rng.normal(size=(2, 2, 4, 3)).astype(np.float32)
  known = np.array([[True, True, False, False], [False] * 4])
  return pred, true, known


def test_known_frames_are_not_scored():
  pred, true, known = _world()
  loss = prior.clean_squared(*map(jnp.asarray, (pred, true, known)))
  squared = ((pred - true) ** 2).mean(-1)
  wanted = [squared[0, 2:].mean(), squared[1].mean()]
  np.testing.assert_allclose(loss, wanted, rtol=1e-5)


def test_velocity_goes_on_from_what_is_known():
  pred, true, known = _world()
  loss = prior.velocity_squared(*map(jnp.asarray, (pred, true, known)))
  shown = np.where(known[..., None], true, pred)
  squared = ((np.diff(shown, axis=1) - np.diff(true, axis=1)) ** 2).mean(-1)
  wanted = [squared[0, 1:].mean(), squared[1].mean()]
  np.testing.assert_allclose(loss, wanted, rtol=1e-5)


@pytest.mark.parametrize("loss", [prior.clean_squared, prior.velocity_squared])
def test_the_truth_costs_nothing(loss):
  _, true, known = _world()
  true, known = jnp.asarray(true), jnp.asarray(known)
  assert not loss(true, true, known).any()
  # A constant error has no velocity of its own, but one jump.
  off = loss(true + 1, true, known)
  both = {prior.clean_squared: [1, 1], prior.velocity_squared: [0.5, 0]}
  np.testing.assert_allclose(off, both[loss], atol=1e-5)
