"""Readers give one kind of reading; batches have one size and keep order."""

from typing import NamedTuple

import cv2
import numpy as np
import pytest

from data_pipelines.synthetic.render import random_frames
from speak_jax import spec
from speak_jax.common import batching
from speak_jax.evaluation.readers import aligned, face_reader, own_syncnet
from speak_jax.models import judge
from tests.stages import small


def test_batches_are_padded_and_kept_in_order():
  sizes = []

  def run(a, b):
    sizes.append(len(a))
    return a + b, a[:, None]

  x = np.arange(2 * batching.BATCH + 3)
  total, column = batching.in_batches(run, x, 2 * x)
  assert sizes == [batching.BATCH] * 3
  np.testing.assert_array_equal(total, 3 * x)
  assert column.shape == (len(x), 1)


def test_the_judge_reads_larger_frames_in_their_own_pixels():
  made = random_frames(3, 8, 128, "tight")
  shrunk = np.stack(
    [cv2.resize(x, (64, 64), interpolation=cv2.INTER_AREA) for x in made.frames]
  )
  read = face_reader.judge_reader(judge.load())
  large, own = read(made.frames), read(shrunk)
  assert large.found.all()
  np.testing.assert_allclose(
    large.landmarks + 0.5, 2 * (own.landmarks + 0.5), atol=1e-3
  )
  miss = np.linalg.norm(large.landmarks - made.landmarks, axis=-1).mean()
  assert miss < 5


def test_the_tracker_tells_neither_emotion_nor_identity():
  class Track(NamedTuple):
    landmarks: np.ndarray
    pose: np.ndarray
    found: np.ndarray

  class Tracker:
    def track(self, frames):
      n = len(list(frames))
      points = np.random.default_rng(0).uniform(0, 64, (n, 68, 2))
      found = np.arange(n) != 1
      points[1] = np.nan
      return Track(points, np.zeros((n, 3)), found)

  seen = face_reader.tracker_reader(Tracker())(
    np.zeros((3, 64, 64, 3), np.uint8)
  )
  assert seen.emotion is None
  assert seen.identity is None
  np.testing.assert_array_equal(np.isnan(seen.opening), [False, True, False])
  np.testing.assert_allclose(
    seen.opening[0], spec.mouth_opening(seen.landmarks[0])
  )

  def look(faces):
    assert faces.shape == (3, aligned.SIZE, aligned.SIZE, 3)
    return faces[:, 0, 0].astype(float)

  told = face_reader.tracker_reader(Tracker(), look)
  seen = told(np.full((3, 64, 64, 3), 9, np.uint8))
  np.testing.assert_array_equal(seen.identity, [[9] * 3, [np.nan] * 3, [9] * 3])


def test_sync_windows_of_sound_and_picture_start_together():
  n = 9
  frames = np.zeros((n, 4, 4, 3), np.uint8)
  frames[:, 3] = np.arange(n)[:, None, None]
  audio = np.arange(n, dtype=np.int16).repeat(640)
  lips = own_syncnet.OwnSyncNet(
    lip_tower=lambda mouth: (mouth[:, :, 1, 0, 0].astype(float),),
    sound_tower=lambda sound: (sound[:, 320::640].astype(float),),
    frames=5,
    fps=25.0,
  )
  seen = lips.lip_codes(frames, np.zeros((n, 68, 2)))
  assert seen.shape == (5, 5)
  np.testing.assert_array_equal(seen, lips.sound_codes(audio, n))


@pytest.mark.parametrize("square", [spec.LIPS_SQUARE, (1.4, 0.45)])
def test_sync_sees_the_mouth_where_the_face_is(square):
  n, face = 9, small.face() / small.IMAGE * 64
  points = np.stack([face + np.array([t, 0]) for t in range(n)])
  frames = np.zeros((n, 64, 64, 3), np.uint8)
  for t in range(n):
    x, y = spec.lips_square(points[t], square)[0].astype(int)
    frames[t, y - 3 : y + 4, x - 3 : x + 4] = 20 * t
  lips = own_syncnet.OwnSyncNet(
    lip_tower=lambda mouth: (mouth[:, :, 12, 12, 0].astype(float),),
    sound_tower=lambda sound: (sound,),
    frames=5,
    fps=25.0,
    mouth=24,
    square=square,
  )
  want = 20.0 * np.add.outer(range(5), range(5))
  np.testing.assert_allclose(lips.lip_codes(frames, points), want, atol=1)
  lost = points.copy()
  lost[4] = np.nan  # it is where its neighbours have it
  np.testing.assert_allclose(lips.lip_codes(frames, lost), want, atol=1)
  assert lips.lip_codes(frames, np.full_like(points, np.nan)) is None
