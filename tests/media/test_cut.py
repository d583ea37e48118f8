import warnings

import numpy as np
import pytest

from data_pipelines.media import cut, face
from data_pipelines.media.error import MediaError, MediaWarning
from data_pipelines.records import decode_frame


def track(found, shift=0.0):
  """A track whose face moves `shift` face sizes a frame."""
  n = len(found)
  rng = np.random.default_rng(0)
  landmarks = np.repeat(rng.uniform(0, 100, (1, 68, 2)), n, 0)
  landmarks += np.arange(n)[:, None, None] * 100 * shift
  return face.Track(landmarks, np.zeros((n, 3)), np.array(found, bool), 1)


def test_long_stretches_are_split_evenly():
  assert cut._stretches(track([True] * 100), 40) == [
    (0, 33),
    (33, 66),
    (66, 100),
  ]


def test_gaps_end_a_stretch_and_short_ones_are_dropped():
  found = [True] * 30 + [False] * 20 + [True] * 10
  assert cut._stretches(track(found), 1024) == [(0, 30)]


def test_a_wandering_face_and_a_jump_end_a_stretch():
  wandering = cut._stretches(track([True] * 120, 0.01), 1024)
  assert [b - a for a, b in wandering[:2]] == [wandering[0][1]] * 2
  assert 30 < wandering[0][1] < 60
  still = track([True] * 60)
  still.landmarks[30:] += 90
  assert cut._stretches(still, 1024) == [(0, 30), (30, 60)]


def test_real_clip_is_cut_in_step(shared, face_models):
  path = shared / "data" / "real" / "clips" / "clip12_talkshow_woman.mp4"
  pieces = cut.cut(path, size=64, max_frames=50)
  assert [len(piece.frames) for piece in pieces] == [42, 43, 43]
  assert [piece.start for piece in pieces] == [0, 42, 85]
  for piece in pieces:
    n = len(piece.frames)
    assert len(piece.audio) == n * 640
    assert piece.landmarks.shape == (n, 68, 2) and piece.pose.shape == (n, 3)
    assert piece.landmarks.min() > 0 and piece.landmarks.max() < 64
    assert decode_frame(piece.frames[0]).shape == (64, 64, 3)
  whole = np.concatenate([piece.audio for piece in pieces])
  assert np.abs(whole.astype(int)).max() > 3000


@pytest.mark.parametrize(
  ("name", "reason"),
  [
    ("no_audio", "no audio track"),
    ("one_frame", "no audio track"),
    ("tiny_96px", "face too small"),
    ("zero_byte", "empty file"),
    ("text_renamed", "cannot be read"),
    ("truncated_no_moov", "cannot be read"),
  ],
)
def test_unusable_files_are_refused(shared, face_models, name, reason):
  path = shared / "data" / "awkward" / f"{name}.mp4"
  with pytest.raises(MediaError, match=reason):
    cut.cut(path, size=64)


def test_silence_can_be_allowed(shared, face_models):
  path = shared / "data" / "awkward" / "no_audio.mp4"
  (piece,) = cut.cut(path, size=64, allow_silent=True)
  assert len(piece.audio) == 75 * 640 and not piece.audio.any()


def test_all_shared_clips_come_through(shared, face_models):
  paths = sorted((shared / "data" / "real" / "clips").glob("*.mp4"))
  assert len(paths) == 12
  with warnings.catch_warnings():
    warnings.simplefilter("ignore", MediaWarning)
    for path in paths:
      pieces = cut.cut(path, size=64)
      lengths = [(len(p.audio), len(p.frames) * 640) for p in pieces]
      assert lengths and all(a == b for a, b in lengths), path
