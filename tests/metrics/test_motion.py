"""Jitter, flicker and sharpness over time, by loops and by hand."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from speak_jax import spec
from speak_jax.metrics import image, motion, sums


def _walk(seed, n=9):
  rng = np.random.default_rng(seed)
  face = rng.uniform(0, 64, (68, 2))
  face[spec.LEFT_EYE], face[spec.RIGHT_EYE] = [16, 20], [48, 20]
  return face + np.arange(n)[:, None, None] * rng.normal(size=2)


@given(st.integers(0, 2**20), st.floats(0.2, 5))
@settings(max_examples=20, deadline=None)
def test_jitter_by_loops_and_without_units(seed, zoom):
  rng = np.random.default_rng(seed)
  even = _walk(seed)
  np.testing.assert_allclose(motion.jitter(even, 25.0), 0, atol=1e-9)
  points = even + rng.normal(size=even.shape)
  found = motion.jitter(points, 25.0)
  eyes = np.mean(
    [math.dist(p[36:42].mean(0), p[42:48].mean(0)) for p in points]
  )
  for t in range(7):
    want = np.mean(
      [
        math.hypot(*(points[t + 2, i] - 2 * points[t + 1, i] + points[t, i]))
        for i in range(68)
      ]
    )
    assert found[t] == pytest.approx(want / eyes * 625)
  np.testing.assert_allclose(motion.jitter(zoom * points + 3, 25.0), found)
  rows = [
    motion.jitter(even + s * (points - even), 25.0).mean()
    for s in (0.1, 0.3, 1)
  ]
  assert rows[0] < rows[1] < rows[2]


def test_jitter_where_a_face_is_lost():
  points = _walk(0)
  points[4] = np.nan
  row = sums.found_row(motion.jitter(points, 25.0))[None]
  assert sums.missed(row) == pytest.approx(3 / 7)


@given(st.integers(0, 2**20), st.floats(0.2, 5))
@settings(max_examples=20, deadline=None)
def test_speeds_by_loops_and_without_units(seed, zoom):
  rng = np.random.default_rng(seed)
  still = np.repeat(_walk(seed)[:1], 6, 0)
  path = rng.normal(size=(6, 1, 2)).cumsum(0)
  points = still + path
  eyes = math.dist([16, 20], [48, 20])
  want = [math.dist(*path[t : t + 2, 0]) / eyes * 25 for t in range(5)]
  np.testing.assert_allclose(motion.head_speed(points, 25.0), want)
  np.testing.assert_allclose(motion.head_speed(zoom * points, 25.0), want)
  # A head that moves as a whole leaves the lips as they are ...
  np.testing.assert_allclose(motion.lip_speed(points, 25.0), 0, atol=1e-9)
  # ... and lips that part do not move the head, but count among its points.
  points = still.copy()
  points[1:, 48:58] += np.array([0.0, 2.0])
  points[1:, 58:68] -= np.array([0.0, 2.0])
  parted = [2 / eyes * 25, 0, 0, 0, 0]
  np.testing.assert_allclose(motion.lip_speed(points, 25.0), parted, atol=1e-9)
  np.testing.assert_allclose(
    motion.head_speed(points, 25.0), np.multiply(parted, 20 / 68), atol=1e-9
  )
  np.testing.assert_allclose(
    motion.lip_speed(zoom * points, 50.0), np.multiply(parted, 2), atol=1e-9
  )


def test_speed_where_a_face_is_lost():
  points = _walk(0)
  points[4] = np.nan
  for run in (motion.head_speed, motion.lip_speed):
    row = sums.found_row(run(points, 25.0))[None]
    assert sums.missed(row) == pytest.approx(2 / 8)


def test_flicker_by_loops():
  frames = np.random.default_rng(0).integers(0, 256, (5, 6, 4, 3))
  frames = frames.astype(np.uint8)
  for t, value in enumerate(motion.flicker(frames)):
    a, b, c = (frames[t + i].astype(float).ravel() for i in range(3))
    want = np.mean(
      [abs(x - 2 * y + z) for x, y, z in zip(a, b, c, strict=True)]
    )
    assert value == pytest.approx(want)
  fade = np.arange(0, 250, 50, np.uint8)[:, None, None, None]
  fade = np.broadcast_to(fade, (5, 6, 4, 3))
  assert np.all(motion.flicker(fade) == 0)
  # 0, 255, 0: as far as uint8 goes, without wrapping.
  blink = np.zeros((3, 2, 2, 3), np.uint8)
  blink[1] = 255
  assert motion.flicker(blink)[0] == 510


def test_sharpness_of_what_blurs_as_it_goes_on():
  true = np.random.default_rng(0).integers(0, 256, (6, 16, 16, 3))
  true = true.astype(np.uint8)
  energy = image.gradient_energy(true)
  np.testing.assert_array_equal(motion.sharpness(energy, energy), 0)
  grey = true.mean((1, 2), keepdims=True)
  share = np.linspace(0, 0.6, 6)[:, None, None, None]
  pred = (true + share * (grey - true)).round().astype(np.uint8)
  found = motion.sharpness(image.gradient_energy(pred), energy)
  # Contrast falls by 1 - share, energy by its square.
  np.testing.assert_allclose(found, 2 * np.log(1 - share.ravel()), atol=0.01)
  row = sums.slope_row(found, 25.0)
  slope = stats.linregress(np.arange(6) / 25, found).slope
  assert sums.ratio(row[None]) == pytest.approx(slope)
  assert sums.ratio(np.stack([row, sums.slope_row(found + 9, 25.0)])) == (
    pytest.approx(slope)
  )
