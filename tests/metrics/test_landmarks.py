"""Landmark distances and the mouth box against plain loops."""

import math

import numpy as np
import pytest

from speak_jax import spec
from speak_jax.metrics import landmarks, mouth


@pytest.fixture
def points():
  return np.random.default_rng(0).uniform(0, 64, (4, 68, 2))


@pytest.mark.parametrize(
  ("metric", "chosen"),
  [(landmarks.f_lmd, range(68)), (landmarks.m_lmd, range(48, 68))],
)
def test_by_loops(metric, chosen, points):
  other = points + np.random.default_rng(1).normal(size=points.shape)
  for n in range(4):
    p = [points[n, i] for i in chosen]
    q = [other[n, i] for i in chosen]
    mp, mq = sum(p) / len(p), sum(q) / len(q)
    total = sum(
      math.hypot(*((a - mp) - (b - mq))) for a, b in zip(p, q, strict=True)
    )
    assert metric(points, other)[n] == pytest.approx(total / len(p))


@pytest.mark.parametrize("metric", [landmarks.f_lmd, landmarks.m_lmd])
def test_zero_iff_equal_up_to_a_shift_and_grows_with_noise(metric, points):
  np.testing.assert_allclose(
    metric(points + np.array([3, -7]), points), 0, atol=1e-12
  )
  moved = points.copy()
  moved[:, 50, 0] += 1
  assert np.all(metric(moved, points) > 0)
  noise = np.random.default_rng(1).normal(size=points.shape)
  rows = [metric(points + s * noise, points) for s in (0.1, 1, 5)]
  assert np.all(np.diff(rows, axis=0) > 0)


def test_only_f_lmd_sees_the_brows(points):
  moved = points.copy()
  moved[:, 20] += 4
  assert np.all(landmarks.m_lmd(moved, points) == 0)
  assert np.all(landmarks.f_lmd(moved, points) > 0)


def test_mouth_box_holds_every_lip_point_and_stays_in_the_frame():
  rng = np.random.default_rng(3)
  face = np.zeros((5, 68, 2))
  face[:, spec.LEFT_EYE], face[:, spec.RIGHT_EYE] = [20, 24], [44, 24]
  face[:, spec.MOUTH] = rng.uniform([24, 40], [40, 48], (5, 20, 2))
  box = mouth.mouth_box(face, 64)
  for mask, lips in zip(box, face[:, spec.MOUTH], strict=True):
    assert all(mask[round(y), round(x)] for x, y in lips)
    assert not mask[:30].any()
    assert mask.mean() < 0.2
  outside = mouth.mouth_box(face + np.array([0, 500]), 64)
  assert np.all(outside.sum((1, 2)) >= 1)
