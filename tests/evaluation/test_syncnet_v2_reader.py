"""The public SyncNet's figures, against the released procedure by loops."""

import cv2
import numpy as np
import pytest

from speak_jax.evaluation.readers import syncnet_v2
from speak_jax.evaluation.readers.syncnet_v2 import OfficialSyncNet
from speak_jax.nn.mfcc import mfcc
from speak_jax.pretrained import syncnet
from speak_jax.pretrained.tensors import Tensors
from tests.pretrained import narrow_syncnet

WAVE = np.where(np.arange(640) % 2, 1, -1)  # of one frame


def _released_score(lips, sound, vshift=15):
  """SyncNetInstance.evaluate after the network, one number at a time."""
  curve = []
  for shift in range(2 * vshift + 1):
    total = 0.0
    for i in range(len(lips)):
      j = i + shift - vshift
      heard = sound[j] if 0 <= j < len(sound) else np.zeros_like(lips[i])
      total += np.sqrt(sum((lips[i] - heard + 1e-6) ** 2))
    curve.append(total / len(lips))
  best = curve.index(min(curve))
  confidence = sorted(curve)[vshift] - curve[best]
  return confidence, curve[best], vshift - best


def _toy(fps=25.0):
  """Codes that tell the brightness of five crops, and five loudnesses."""

  def see(clips):
    bright = clips[:, :, 112, 112].astype(float).mean(-1) / 200
    return (np.cos(np.arange(1, 9) * bright.mean(1)[:, None] * 4),)

  def hear(rows):
    full = mfcc((1000 * WAVE).astype(np.int16))[1, 0]
    loud = np.exp((rows[:, 1::4, 0].astype(float) - full) / 2)
    return (np.cos(np.arange(1, 9) * loud.mean(1)[:, None] * 4),)

  return OfficialSyncNet(see, hear, fps)


def _face(size=64):
  """Brows at .3, chin at .8 of the picture, as wide as high."""
  turn = np.linspace(0, np.pi, 17)
  points = np.full((68, 2), 0.5)
  points[:17] = np.c_[0.5 - 0.25 * np.cos(turn), 0.45 + 0.35 * np.sin(turn)]
  points[17:27, 1] = 0.3
  return points * size


def _clip(frames, lag=0):
  """Brightness of frame t is the loudness at t - lag."""
  rng = np.random.default_rng(frames)
  level = rng.random(frames)
  pictures = np.zeros((frames, 64, 64, 3), np.uint8)
  pictures[:] = (np.roll(level, lag) * 200).astype(np.uint8)[
    :, None, None, None
  ]
  audio = (level[:, None] * 1000 * WAVE).astype(np.int16).ravel()
  return pictures, np.repeat(_face()[None], frames, 0), audio


@pytest.mark.parametrize("frames", [8, 20, 60])
@pytest.mark.parametrize("lag", [-3, 0, 5])
def test_score_and_padding_are_the_released_ones(frames, lag):
  pictures, landmarks, audio = _clip(frames, lag)
  toy = _toy()
  seen, heard = (
    toy.lip_codes(pictures, landmarks),
    toy.sound_codes(audio, frames),
  )
  # One window fewer than fit.
  assert len(seen) == len(heard) == frames - 5
  got = toy.metrics(seen, heard)
  want = _released_score(seen, heard)
  assert sorted(got) == ["sync_c", "sync_d", "sync_offset"]
  for name, value in zip(
    ("sync_c", "sync_d", "sync_offset"), want, strict=True
  ):
    np.testing.assert_allclose(got[name], [value], rtol=1e-9)
  if frames == 60:
    assert got["sync_offset"] == [lag]
    assert got["sync_d"] < 0.6
    assert got["sync_c"] > 0.5


def test_windows_are_those_of_the_released_code():
  frames, taken = 10, {}
  rng = np.random.default_rng(0)
  audio = rng.integers(-9000, 9000, frames * 640).astype(np.int16)
  pictures = rng.integers(0, 256, (frames, 224, 224, 3)).astype(np.uint8)

  def keep(name):
    def run(x):
      taken.setdefault(name, []).append(np.array(x))
      return (np.zeros((len(x), 1)),)

    return run

  net = OfficialSyncNet(keep("clips"), keep("rows"), 25.0)
  points = np.repeat(_face(200)[None], frames, 0)
  net.lip_codes(pictures, points)
  net.sound_codes(audio, frames)
  clips = np.concatenate(taken["clips"])[: frames - 5]
  rows = np.concatenate(taken["rows"])[: frames - 5]
  assert clips.shape == (5, 5, 224, 224, 3)
  crops = syncnet_v2.crops(pictures, syncnet_v2.face_boxes(points))
  want = mfcc(audio).astype(np.float32)
  for i in range(frames - 5):
    for j in range(5):  # blue first
      np.testing.assert_array_equal(clips[i, j], crops[i + j][..., ::-1])
    np.testing.assert_array_equal(rows[i], want[4 * i : 4 * i + 20])


def test_crop_is_the_released_one():
  """crop_video of run_pipeline.py, for one box that does not move."""
  rng = np.random.default_rng(1)
  picture = rng.integers(0, 256, (90, 120, 3)).astype(np.uint8)
  x, y, s = 55.3, 31.8, 23.6
  border = int(s * 1.8)
  wide = np.full((90 + 2 * border, 120 + 2 * border, 3), 110, np.uint8)
  wide[border : border + 90, border : border + 120] = picture
  top, bottom = int(y + border - s), int(y + border + s * 1.8)
  left, right = int(x + border - s * 1.4), int(x + border + s * 1.4)
  want = cv2.resize(wide[top:bottom, left:right], (224, 224))
  assert (want[:, -1] == 110).any() or (want[0] == 110).any()
  frames = np.repeat(picture[None], 3, 0)
  got = syncnet_v2.crops(frames, np.array([[x, y, s]] * 3))
  for face in got:
    np.testing.assert_array_equal(face, want)


def test_boxes_are_smoothed_and_never_leave_the_picture():
  frames = np.zeros((30, 40, 40, 3), np.uint8)
  frames[:, 20, 20] = 255
  boxes = np.array([[20.0, 20.0, 10.0]] * 30)
  boxes[13:17] = 900, -900, 3  # a few wild ones
  made = syncnet_v2.crops(frames, boxes)
  np.testing.assert_array_equal(made, np.repeat(made[:1], 30, 0))
  wild = syncnet_v2.crops(frames, np.array([[900.0, -900.0, 0.0]] * 30))
  assert wild.shape == (30, 224, 224, 3)


def test_face_lies_in_the_crop_as_in_the_released_ones():
  """Box from above the brows to the chin, crop 1.4 times as large."""
  points = _face(100)
  ((x, y, half),) = syncnet_v2.face_boxes(points[None])
  top, chin = 30 - 0.3 * 50, 80
  np.testing.assert_allclose((x, y), (50, (top + chin) / 2), atol=1e-6)
  np.testing.assert_allclose(half, (chin - top) / 2, atol=1e-6)
  # The chin is at 2 of 2.8 half boxes from the top.
  frame = np.zeros((1, 100, 100, 3), np.uint8)
  frame[0, 78:82] = 255
  (face,) = syncnet_v2.crops(frame, np.array([[x, y, half]]))
  line = np.flatnonzero(face[:, 112, 0] > 127).mean()
  assert line == pytest.approx(224 * 2 / 2.8, abs=3)


def test_frames_without_a_face_lie_between_their_neighbours():
  points = np.stack([_face() + 2 * t for t in range(5)])
  whole = syncnet_v2.face_boxes(points)
  points[2:4] = np.nan
  np.testing.assert_allclose(syncnet_v2.face_boxes(points), whole)


def test_no_face_gives_no_codes():
  pictures, landmarks, _ = _clip(8)
  toy = _toy()
  assert toy.lip_codes(pictures, np.full_like(landmarks, np.nan)) is None


@pytest.mark.parametrize(
  ("frames", "fps", "want"),
  [
    (5, 25.0, [0, 1, 2, 3, 4]),
    (12, 30.0, [0, 1, 2, 4, 5, 6, 7, 8, 10, 11]),
    (12, 50.0, [0, 2, 4, 6, 8, 10]),
    (5, 12.5, [0, 0, 1, 2, 2, 2, 3, 4, 4, 4]),
  ],
)
def test_other_rates_take_the_nearest_frame(frames, fps, want):
  got = syncnet_v2.resampled(frames, fps)
  assert len(got) == len(want)
  distance = np.abs(got / fps - np.arange(len(got)) / 25)
  best = np.abs(np.array(want) / fps - np.arange(len(want)) / 25)
  np.testing.assert_allclose(distance, best, atol=1e-9)


def test_at_30_frames_the_sound_keeps_step():
  frames = 72  # 2.4 s
  level = np.random.default_rng(2).random(60)
  pictures = np.zeros((frames, 64, 64, 3), np.uint8)
  at = (np.arange(frames) / 30 * 25 + 0.5).astype(int).clip(0, 59)
  pictures[:] = (level[at] * 200).astype(np.uint8)[:, None, None, None]
  audio = (level[:, None] * 1000 * WAVE).astype(np.int16).ravel()
  toy = _toy(30.0)
  landmarks = np.repeat(_face()[None], frames, 0)
  seen, heard = (
    toy.lip_codes(pictures, landmarks),
    toy.sound_codes(audio, frames),
  )
  assert len(seen) == len(heard) == 55
  assert toy.metrics(seen, heard)["sync_offset"] == [0]


def test_five_frames_are_too_few():
  pictures, landmarks, audio = _clip(5)
  with pytest.raises(ValueError, match="5 frames at 25 frames/s are too few"):
    _toy().lip_codes(pictures, landmarks)
  with pytest.raises(ValueError, match="too few"):
    _toy().sound_codes(audio, 5)


def test_the_network_itself():
  """Codes are the converted network's, whatever the batch."""
  converted = syncnet.convert(Tensors(narrow_syncnet.weights(), "w"))
  net = syncnet_v2.official_syncnet(converted.variables, converted.sizes, 25.0)
  rng = np.random.default_rng(3)
  clips = rng.integers(0, 256, (2, 5, 224, 224, 3)).astype(np.uint8)
  rows = rng.normal(size=(2, 20, 13)).astype(np.float32)
  want = syncnet.outputs(
    converted,
    {
      "clip": clips.transpose(0, 4, 1, 2, 3),
      "mfcc": rows.transpose(0, 2, 1)[:, None],
    },
  )
  np.testing.assert_allclose(net.lip_tower(clips)[0], want["lip"], rtol=1e-5)
  np.testing.assert_allclose(net.sound_tower(rows)[0], want["audio"], rtol=1e-5)


def test_a_network_for_other_pictures_is_refused():
  converted = syncnet.convert(Tensors(narrow_syncnet.weights(), "w"))
  sizes = converted.sizes | {"lip_last": (2, 2)}
  with pytest.raises(ValueError, match="224 px"):
    syncnet_v2.official_syncnet(converted.variables, sizes, 25.0)
