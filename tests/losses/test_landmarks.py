"""Losses of landmarks and attention, by hand."""

import jax.numpy as jnp
import numpy as np
import pytest

from speak_jax.losses import landmarks
from tests import jitted

landmarks = jitted.functions(landmarks)


def test_coefficients_by_hand():
  true = np.zeros((2, 3, 6), "f4")
  pred = true.copy()
  pred[1, 0, 2] = 3
  np.testing.assert_allclose(
    landmarks.coefficients_squared(pred, true), [0, 9 / 18]
  )


@pytest.mark.parametrize(
  ("point", "axis", "weight"),
  [(0, 1, 1), (47, 1, 1), (48, 0, 1), (48, 1, 1e4), (67, 1, 1e4)],
)
def test_rows_of_the_mouth_count_most(point, axis, weight):
  true = np.random.default_rng(0).normal(size=(2, 3, 68, 2)).astype("f4")
  pred = true.copy()
  pred[0, 1, point, axis] += 2
  got = landmarks.landmarks_squared(pred, true)
  np.testing.assert_allclose(got, [4 * weight / (3 * 136), 0], rtol=1e-4)


def test_pixels_count_by_their_attention():
  rng = np.random.default_rng(0)
  pred, target = rng.uniform(-1, 1, (2, 2, 3, 4, 4, 3)).astype("f4")
  attention = rng.uniform(size=(2, 3, 4, 4, 1)).astype("f4")
  wanted = (np.abs(pred - target) * (attention + 0.5)).mean((1, 2, 3, 4))
  got = landmarks.attended_l1(pred, target, attention)
  np.testing.assert_allclose(got, wanted, rtol=1e-5)

  def total(pred, target, attention):
    return landmarks.attended_l1(pred, target, attention).sum()

  by_pred, by_attention = jitted.grad(total, (0, 2))(
    *map(jnp.asarray, (pred, target, attention))
  )
  np.testing.assert_allclose(
    by_pred,
    np.sign(pred - target) * (attention + 0.5) / (3 * 4 * 4 * 3),
    rtol=1e-5,
  )
  assert not np.asarray(by_attention).any()
