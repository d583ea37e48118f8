"""The self-test passes here, and fails when a mistake is planted."""

import numpy as np
import pytest

from speak_jax import spec
from speak_jax.evaluation.readers.face_reader import Reading
from speak_jax.metrics import image, mouth
from speak_jax.tools.self_test import check, expectations
from speak_jax.tools.self_test.expectations import Outcome

N, SIZE = 40, 64
MIDDLE = f"H.264 crf {check.CRF}"


def test_the_evaluator_works_here():
  outcome = check.run()
  missed = [row for row in outcome.rows if not row.passed]
  assert outcome.passed, check.lines(Outcome(missed))
  value = {(row.pair, row.metric): row.value for row in outcome.rows}
  assert value["itself", "psnr"] == image.PSNR_CEILING
  assert value["itself", "m_lmd"] == 0
  assert value["10 frames late", "sync_offset"] == 10
  assert value["judge", "mouth_r"] > 0.9


def _points():
  around = np.linspace(0, 2 * np.pi, 68, endpoint=False)
  points = 12 * np.stack([np.cos(around), np.sin(around)], -1)
  points[spec.LEFT_EYE], points[spec.RIGHT_EYE] = [-8, -6], [8, -6]
  return points


def _clip(seed):
  """A red ball that rolls over a slope of grey and opens like a mouth."""
  rng = np.random.default_rng(seed)
  opening = rng.random(N)
  at = np.stack([24 + 0.4 * np.arange(N), 34 + 3 * rng.random(N)], -1)
  y, x = np.mgrid[:SIZE, :SIZE]
  frames = np.zeros((N, SIZE, SIZE, 3))
  for t, (u, v) in enumerate(at):
    ball = np.exp(-((x - u) ** 2 + (y - v) ** 2) / (30 + 60 * opening[t]))
    slope = 40 + x + 0.5 * y
    frames[t] = np.stack([slope + 130 * ball, slope, 0.6 * slope], -1)
  return check.Clip(
    frames.round().clip(0, 255).astype(np.uint8),
    at[:, None] + _points(),
    np.stack([opening * 20, *at.T], -1),
    opening,
    audio=rng.integers(-9000, 9000, N * 640).astype(np.int16) * _speaks(N),
    emotion=0,
  )


def _speaks(n):
  """1 for samples of speech, 0 in a pause of twelve frames."""
  silent = np.isin(np.arange(n), np.arange(14, 26))
  return (~silent).astype(np.int16).repeat(640)


def _read(frames):
  """The ball's place and width, from red less green."""
  ball = (frames[..., 0].astype(float) - frames[..., 1]).clip(8) - 8
  mass = ball.sum((1, 2)).clip(1e-3)
  u = (ball.sum(1) @ np.arange(SIZE)) / mass
  v = (ball.sum(2) @ np.arange(SIZE)) / mass
  opening = mass / 2e4
  at = np.stack([u, v], -1)
  return Reading(
    np.ones(len(frames), bool),
    at[:, None] + _points(),
    np.stack([opening * 20, u, v], -1),
    opening,
    None,
    None,
  )


@pytest.fixture(scope="module")
def clips():
  return [_clip(0)]


@pytest.fixture(scope="module")
def expected(clips):
  return expectations.expectations(check.measure(clips, _read))


def _missed(clips, expected, read=_read, compress=check.through_h264):
  measured = check.measure(clips, read, compress)
  outcome = expectations.compare(measured, expected)
  missed = {(row.pair, row.metric) for row in outcome.rows if not row.passed}
  assert outcome.passed == (not missed)
  return missed


def test_twice_the_same(clips, expected):
  assert _missed(clips, expected) == set()
  assert {metric for _, metric in _every(expected)} < set(
    expectations.TOLERANCES
  )


def _every(expected):
  return [(pair, metric) for pair in expected for metric in expected[pair]]


def _resampled(frames):
  """Two frames lost and the rest stretched over the clip, as some scripts."""
  kept = np.delete(frames, (7, 8), axis=0)
  at = np.linspace(0, len(kept) - 1, len(frames)).astype(int)
  return kept[at]


@pytest.mark.parametrize(
  ("mistake", "metric"),
  [
    (lambda x: np.delete(x, 7, axis=0), "frames_lost"),
    (lambda x: np.delete(x, 7, axis=0), "psnr"),
    (_resampled, "psnr"),
    (lambda x: np.concatenate([x[:1], x[:-1]]), "psnr"),  # one frame late
    (lambda x: x[..., ::-1], "psnr"),
    (lambda x: x[..., ::-1], "mouth_r"),
    (lambda x: (16 + x * (219 / 255)).astype(np.uint8), "psnr"),
    (lambda x: x[:, ::-1], "ssim"),
  ],
)
def test_a_mistake_in_the_codec(clips, expected, mistake, metric):
  missed = _missed(
    clips, expected, compress=lambda x: mistake(check.through_h264(x))
  )
  assert (MIDDLE, metric) in missed
  assert {pair for pair, _ in missed} == {MIDDLE}


def test_wrapped_bytes(clips, expected, monkeypatch):
  def wraps(pred, true, mask=None):
    error = ((pred - true) ** 2).mean((1, 2, 3))  # all in uint8
    return np.minimum(10 * np.log10(255**2 / error.clip(1e-12)), 100)

  monkeypatch.setattr(image, "psnr", wraps)
  missed = _missed(clips, expected)
  assert ("1 px to the right", "psnr") in missed
  # A clip against itself does not show it: hence the other pairs.
  assert ("itself", "psnr") not in missed


def test_wrong_data_range(clips, expected, monkeypatch):
  monkeypatch.setattr(
    image, "_paired", lambda pred, true: (pred / 255.0, true / 255.0)
  )
  missed = _missed(clips, expected)
  assert {(MIDDLE, "psnr"), (MIDDLE, "ssim")} <= missed


def test_a_reader_that_loses_faces_or_drifts(clips, expected):
  def blind(frames):
    seen = _read(frames)
    found = np.arange(len(frames)) % 5 > 0
    points = np.where(found[:, None, None], seen.landmarks, np.nan)
    return seen._replace(found=found, landmarks=points)

  assert ("itself", "undetected") in _missed(clips, expected, blind)

  def drifts(frames):
    seen = _read(frames)
    return seen._replace(landmarks=seen.landmarks * 1.2)

  assert ("judge", "f_lmd") in _missed(clips, expected, drifts)


def test_silence_that_is_heard_at_another_time(clips, expected, monkeypatch):
  heard = mouth.silent

  def late(audio, frames, fps):
    return np.roll(heard(audio, frames, fps), 12)

  assert ("itself", "silent_opening") in _every(expected)
  monkeypatch.setattr(mouth, "silent", late)
  missed = _missed(clips, expected)
  assert ("itself", "silent_opening") in missed
  assert {metric for _, metric in missed} == {"silent_opening"}


def test_what_was_not_measured_is_no_pass(expected):
  outcome = expectations.compare({}, expected)
  assert not outcome.passed
  assert not any(row.passed for row in outcome.rows)
  assert "not as expected" in check.lines(outcome)[-1]
