"""Landmark distances and the mouth box against plain loops."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from speak_jax import spec
from speak_jax.metrics import landmarks, mouth, sums


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


@given(
  st.integers(0, 2**20), st.floats(0.3, 4), st.sampled_from([64, 128, 512])
)
@settings(max_examples=20, deadline=None)
def test_distances_do_not_depend_on_the_picture_size(seed, zoom, size):
  rng = np.random.default_rng(seed)
  true = rng.uniform(0, 64, (3, 68, 2))
  pred = true + rng.normal(size=true.shape)
  found = landmarks.distances(pred, true, size)
  # The same faces in a picture that is larger as a whole ...
  grown = landmarks.distances(pred * 2, true * 2, size * 2)
  for a, b in zip(found, grown, strict=True):
    np.testing.assert_allclose(a, b)
  # ... and larger faces in the same picture: over the eyes, no difference.
  near = landmarks.distances(pred * zoom, true * zoom, size)
  np.testing.assert_allclose(near.f_lmd_eyes, found.f_lmd_eyes)
  np.testing.assert_allclose(near.m_lmd, zoom * found.m_lmd)


def test_distances_at_256_by_hand(points):
  moved = points.copy()
  moved[:, 48:58] += np.array([3.0, 0])
  moved[:, 58:68] -= np.array([3.0, 0])
  found = landmarks.distances(moved, points, 128)
  np.testing.assert_allclose(found.m_lmd, 6)
  np.testing.assert_allclose(found.f_lmd, 6 * 20 / 68)
  left, right = points[:, 36:42].mean(1), points[:, 42:48].mean(1)
  eyes = np.hypot(*(left - right).T)
  np.testing.assert_allclose(found.m_lmd_eyes, 3 / eyes)


def test_a_lost_face_is_counted(points):
  pred = points.copy()
  pred[1] = np.nan
  found = landmarks.distances(pred, points, 64).m_lmd
  rows = sums.found_row(found)[None]
  assert sums.mean(rows) == 0
  assert sums.missed(rows) == 0.25


def test_a_lost_face_is_worse_than_any_other(points):
  pred = points + np.random.default_rng(1).normal(size=points.shape)
  want = landmarks.distances(pred, points, 64)
  np.testing.assert_equal(landmarks.counted(pred, points, 64), want)
  lost = pred.copy()
  lost[1] = np.nan
  found = landmarks.counted(lost, points, 64)
  spread = [
    math.dist(point, points[1, 48:].mean(0)) for point in points[1, 48:]
  ]
  assert found.m_lmd[1] == pytest.approx(4 * np.mean(spread))
  assert found.m_lmd[1] > 5 * want.m_lmd[1]
  assert found.f_lmd_eyes[1] > 5 * want.f_lmd_eyes[1]
  np.testing.assert_array_equal(found.f_lmd[[0, 2]], want.f_lmd[[0, 2]])
  # Nothing can be said where the true face is unknown.
  true = points.copy()
  true[2] = np.nan
  row = sums.found_row(landmarks.counted(lost, true, 64).f_lmd)[None]
  assert sums.missed(row) == 0.25


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


def _loud(pattern, step=640):
  rng = np.random.default_rng(0)
  noise = rng.uniform(-1, 1, len(pattern) * step)
  return (noise * np.repeat(pattern, step)).astype(np.int16)


def _rms(audio, step=640):
  return np.sqrt((audio.astype(float).reshape(-1, step) ** 2).mean(1))


@pytest.mark.campaign
def test_rms_is_librosas():
  import librosa

  audio = _loud(np.array([0, 9000, 50]))
  want = librosa.feature.rms(
    y=audio.astype(float), frame_length=640, hop_length=640, center=False
  )
  np.testing.assert_allclose(_rms(audio), want[0])


def test_silence_by_rms_and_its_neighbours():
  pattern = np.array([0, 0, 0, 9000, 5000, 60, 40, 50, 8000, 0, 0])
  audio = _loud(pattern)
  rms = _rms(audio)
  quiet = rms <= rms.max() * 10 ** (-35 / 20)
  n = len(pattern)
  want = [
    all(quiet[j] for j in range(max(i - 1, 0), min(i + 2, n))) for i in range(n)
  ]
  np.testing.assert_array_equal(mouth.silent(audio, n, 25.0), want)
  assert want == [1, 1, 0, 0, 0, 0, 1, 0, 0, 0, 1]


@given(st.floats(0.1, 1), st.integers(0, 2**20))
@settings(max_examples=20, deadline=None)
def test_silence_does_not_depend_on_the_volume(gain, seed):
  rng = np.random.default_rng(seed)
  audio = _loud(rng.choice([0, 20_000], 20))
  soft = (audio * gain).astype(np.int16)
  np.testing.assert_array_equal(
    mouth.silent(soft, 20, 25.0), mouth.silent(audio, 20, 25.0)
  )


def test_no_sound_at_all_and_sound_that_ends_early():
  assert mouth.silent(np.zeros(3200, np.int16), 5, 25.0).all()
  audio = _loud(np.full(5, 9000))
  np.testing.assert_array_equal(
    mouth.silent(audio, 8, 25.0), [0, 0, 0, 0, 0, 0, 1, 1]
  )
  # At 30 frames a second a frame has 533.3 samples.
  assert mouth.silent(audio, 6, 30.0).sum() == 0
