"""Figures of one clip against plain loops, and planted losses of faces."""

import math

import cv2
import numpy as np
import pytest
from skimage import metrics as skimage

from speak_jax import spec
from speak_jax.evaluation.readers.aligned import TEMPLATE, align
from speak_jax.evaluation.readers.face_reader import Reading
from speak_jax.evaluation.reenactment import comparison

N, SIZE = 9, 96


def _face():
  """The template with a mouth below it, in pixels of SIZE."""
  points = np.tile([64.0, 90.0], (68, 1))
  points[27:45] = TEMPLATE
  points[45:48] = [[96, 26], [87, 29], [78, 29]]
  around = np.linspace(0, 2 * np.pi, 20, endpoint=False)
  points[spec.MOUTH] = np.stack(
    [64 + 14 * np.cos(around), 85 + 6 * np.sin(around)], -1
  )
  return points * (SIZE / 128)


@pytest.fixture
def true():
  rng = np.random.default_rng(0)
  coarse = rng.integers(0, 256, (N, 12, 12, 3)).astype(np.uint8)
  frames = np.stack(
    [cv2.resize(x, (SIZE, SIZE), interpolation=cv2.INTER_CUBIC) for x in coarse]
  )
  points = _face() + rng.normal(size=(N, 1, 2)) * 2
  return comparison.read_side(
    frames,
    Reading(
      np.ones(N, bool),
      points,
      rng.normal(size=(N, 3)) * 9,
      rng.random(N),
      np.eye(8)[np.arange(N) % 3],
      rng.normal(size=(N, 4)),
    ),
  )


def _lost(side, where):
  """The same clip, of which no face is found in some frames."""
  gone = np.isin(np.arange(N), where)
  seen = side.reading
  points = np.where(gone[:, None, None], np.nan, seen.landmarks)
  return comparison.read_side(
    side.frames, seen._replace(found=~gone, landmarks=points)
  )


def _values(found):
  return {name: x.statistic(x.row[None]) for name, x in found.items()}


def test_a_clip_against_itself(true):
  found = _values(
    comparison.face_metrics(true.reading, true.reading, SIZE)
    | comparison.aligned_metrics(true.aligned, true.aligned)
  )
  assert found.pop("found") == 1
  for best in ("aligned_ssim", "pose_r", "pose_r2", "mouth_r"):
    assert found.pop(best) == pytest.approx(1)
  assert found.pop("identity_cosine") == pytest.approx(1)
  assert found.pop("aligned_psnr") == 100
  assert set(found.values()) == {0.0}


def test_the_aligned_crop_by_scikit_image(true):
  rng = np.random.default_rng(1)
  noise = rng.integers(-20, 21, true.frames.shape)
  frames = (true.frames.astype(int) + noise).clip(0, 255).astype(np.uint8)
  points = true.reading.landmarks + rng.normal(size=(N, 68, 2))
  made = align(frames, points)
  found = _values(comparison.aligned_metrics(made, true.aligned))
  pairs = list(zip(made.frames, true.aligned.frames, strict=True))
  want = [skimage.peak_signal_noise_ratio(b, a) for a, b in pairs]
  assert found["aligned_psnr"] == pytest.approx(np.mean(want))
  want = [
    skimage.structural_similarity(a, b, channel_axis=-1) for a, b in pairs
  ]
  assert found["aligned_ssim"] == pytest.approx(np.mean(want))
  want = []
  for p, q in zip(made.landmarks, true.aligned.landmarks, strict=True):
    p, q = p[48:] - p[48:].mean(0), q[48:] - q[48:].mean(0)
    want.append(np.mean([math.dist(a, b) for a, b in zip(p, q, strict=True)]))
  assert made.frames.shape[1] == 128
  assert found["aligned_m_lmd"] == pytest.approx(np.mean(want))


def test_a_lost_face_makes_every_distance_worse(true):
  rng = np.random.default_rng(2)
  seen = true.reading._replace(
    landmarks=true.reading.landmarks + rng.normal(size=(N, 68, 2))
  )
  made = comparison.read_side(true.frames, seen)
  rows = []
  for gone in ((), (3,), (3, 4, 7), range(N)):
    one = _lost(made, gone)
    found = comparison.face_metrics(one.reading, true.reading, SIZE)
    found |= comparison.aligned_metrics(one.aligned, true.aligned)
    rows.append(_values(found))
    assert rows[-1]["undetected"] == pytest.approx(len(gone) / N)
    assert rows[-1]["found"] == pytest.approx(1 - len(gone) / N)
  for metric in (
    *("f_lmd", "m_lmd", "f_lmd_eyes", "m_lmd_eyes"),
    *("aligned_f_lmd", "aligned_m_lmd"),
  ):
    assert np.all(np.diff([row[metric] for row in rows]) > 0)
  for metric in ("aligned_psnr", "aligned_ssim"):
    assert np.all(np.diff([row[metric] for row in rows]) < 0)
  # What cannot be read is left out.
  assert "pose_error" in rows[2]
  assert "pose_error" not in rows[3]


def test_a_true_face_that_is_unknown_is_nobodys_failure(true):
  blind = _lost(true, (2, 5))
  found = _values(
    comparison.face_metrics(true.reading, blind.reading, SIZE)
    | comparison.aligned_metrics(true.aligned, blind.aligned)
  )
  assert found["m_lmd"] == found["aligned_m_lmd"] == 0
  assert found["aligned_psnr"] == 100
  assert found["undetected"] == 0


def test_pixels_over_time_by_loops(true):
  blurred = np.stack(
    [
      cv2.GaussianBlur(x, (0, 0), 0.3 + 0.2 * t)
      for t, x in enumerate(true.frames)
    ]
  )
  box = np.zeros((N, SIZE, SIZE), bool)
  box[:, 60:80, 30:60] = True
  found = _values(comparison.pixel_metrics(blurred, true.frames, box, 25.0))
  energies = []
  for frames in (blurred, true.frames):
    x = frames.astype(float)
    right, down = x[:, :-1, 1:] - x[:, :-1, :-1], x[:, 1:, :-1] - x[:, :-1, :-1]
    energies.append((right**2 + down**2).mean(-1))
  whole = [e.mean((1, 2)) for e in energies]
  assert found["gradient_energy"] == pytest.approx(
    whole[0].sum() / whole[1].sum()
  )
  lips = [e[:, 60:80, 30:60].mean((1, 2)) for e in energies]
  assert found["mouth_gradient_energy"] == pytest.approx(
    lips[0].sum() / lips[1].sum()
  )
  logs = np.log(whole[0] / whole[1])
  assert found["sharpness"] == pytest.approx(logs.mean())
  slope = np.polyfit(np.arange(N) / 25, logs, 1)[0]
  assert found["sharpness_slope"] == pytest.approx(slope)
  assert slope < -1
  x = blurred.astype(float)
  bends = [abs(x[t] - 2 * x[t + 1] + x[t + 2]).mean() for t in range(N - 2)]
  assert found["flicker"] == pytest.approx(np.mean(bends))


def test_silence_counts_where_it_is_and_where_a_face_is(true):
  hushed = np.isin(np.arange(N), (1, 2, 6))
  seen = _lost(true, (2,)).reading
  found = _values(comparison.silence_metrics(seen, hushed))
  opening = true.reading.opening
  assert found == {"silent_opening": pytest.approx(opening[[1, 6]].mean())}
  assert comparison.silence_metrics(seen, np.zeros(N, bool)) == {}


def test_emotions_of_faces_that_are_found(true):
  # Frames are taken for 0, 1, 2, 0, ...; two of the three 1s are lost.
  seen = _lost(true, (1, 4)).reading
  found = _values(comparison.emotion_metrics(seen, 1))
  assert found["emotion"] == pytest.approx(1 / 7)
  assert comparison.emotion_metrics(seen, spec.UNKNOWN) == {}
  assert comparison.emotion_metrics(seen._replace(emotion=None), 1) == {}
  # Over clips: the second emotion has a frame in nine, and counts as half.
  other = comparison.emotion_metrics(true.reading.part(np.arange(1)), 0)
  rows = np.stack(
    [
      x["emotion_balanced"].row
      for x in (comparison.emotion_metrics(seen, 1), other)
    ]
  )
  balanced = other["emotion_balanced"].statistic(rows)
  assert balanced == pytest.approx((1 / 7 + 1) / 2)


def test_motions_are_silent_without_a_face(true):
  assert comparison.motion_metrics(_lost(true, range(N)).reading, 25.0) == {}
  found = comparison.motion_metrics(_lost(true, (4,)).reading, 25.0)
  assert all(
    np.isfinite(x) and x > 0
    for x in (_values(found)["jitter"], _values(found)["head_speed"])
  )
  # The face moves as a whole here.
  assert _values(found)["lip_speed"] == pytest.approx(0, abs=1e-9)
