"""A long video takes no more memory than a short one.

What Python and NumPy hold is counted, so the bounds are those of no machine;
`tests/benchmarks/endless.py` measures the rest.
"""

import errno
import gc
import os
import tracemalloc
import weakref
from collections.abc import Callable

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from data_pipelines.faces.eyes import EyeReader
from data_pipelines.media import audio, decoder
from data_pipelines.media.error import MediaWarning
from data_pipelines.media.loudness import gain, levelled
from data_pipelines.synthetic import motion as drawn
from speak_jax import spec
from speak_jax.common.files import FileError
from speak_jax.common.on_disk import Rows
from speak_jax.inference import driver as driver_module
from speak_jax.inference import talking_photograph, windows
from speak_jax.inference.driver import VideoDriver
from speak_jax.inference.inputs import Rules, read_speech
from speak_jax.inference.motion_model import MotionModel, MotionSettings
from speak_jax.inference.request import Request
from speak_jax.photograph import composition, gaze, head_motion
from tests import glass
from tests.inference.test_exactness import bursts, loud, several
from tests.test_generate import Centred

MIB = 1 << 20
SHORT_S, LONG_S = 10, 90
GROWS = 0.5 * MIB  # at most; 80 s of speech alone are 2.4


@pytest.fixture(scope="module")
def sounds(tmp_path_factory):
  """Files of SHORT_S and of LONG_S."""
  folder = tmp_path_factory.mktemp("sounds")
  paths = [folder / f"{seconds}.wav" for seconds in (SHORT_S, LONG_S)]
  for path, seconds in zip(paths, (SHORT_S, LONG_S), strict=True):
    soundfile.write(path, bursts(seconds, 16_000, 1), 16_000, "PCM_16")
  return paths


def growth(sounds, work: Callable) -> float:
  """How many bytes more the long file takes at the most than the short."""
  work(sounds[0])  # what is loaded once
  peaks = []
  for path in sounds:
    gc.collect()
    tracemalloc.start()
    work(path)
    peaks.append(tracemalloc.get_traced_memory()[1])
    tracemalloc.stop()
  return peaks[1] - peaks[0]


def test_speech_is_read_levelled_and_heard_in_pieces(sounds):
  def work(path):
    speech, own = read_speech(path, None)
    n = windows.frames_of(speech, 25.0)
    settings = MotionSettings(50, 2, 25.0)
    for first in range(-(-n // 50)):
      windows.cut_sound(speech, first, 1, settings)
    spec.sound_level(speech)
    assert sum(x.shape[1] for x in own().chunks) == len(speech)

  assert growth(sounds, work) < GROWS


def test_whoever_decodes_holds_no_more_of_a_long_sound(sounds):
  def work(path):
    for _ in audio.read_pieces(path, 0):
      pass

  assert growth(sounds, work) < GROWS


@pytest.mark.parametrize("fps", [None, 30.0])
def test_a_take_of_an_idle_head_keeps_nothing(sounds, monkeypatch, fps):
  """All but the drawing of frames, which knows one frame at a time."""
  blank = dict.fromkeys(composition.Portrait._fields)
  still = np.zeros((16, 16, 3), np.uint8)
  portrait = composition.Portrait(**(blank | {"photograph": still}))
  levels = np.linspace(0, 1, 8)

  def nobody(model, request, n, tracker, say, *, eyes):
    return talking_photograph.Actor(
      portrait,
      lambda index: index[:, None] % 2 * levels,
      lambda: head_motion.idle(n, 25.0),
      lambda shown: [],
      None,
    )

  def grey(ones, moves):
    for _ in moves:
      yield still

  monkeypatch.setattr(talking_photograph, "actor", nobody)
  monkeypatch.setattr(talking_photograph, "composed_all", grey)
  model = MotionModel(loud, {}, MotionSettings(50, 2, 25.0))

  def work(path):
    take = talking_photograph.take(
      model,
      Request(identity="nobody", audio=path, fps=fps),
      Centred(),
      lambda line: None,
      eyes=EyeReader(),
    )
    assert sum(1 for _ in take.frames) == take.count

  assert growth(sounds, work) < GROWS


class Driver(VideoDriver):
  """Shows the same face again and again, and counts its pictures."""

  def __init__(self, frames):
    self.path, self._n, self.most = "pose.mp4", frames, 0
    self._mesh = np.random.default_rng(0).normal(0, 9, (468, 3))

  def opening_meshes(self):
    yield self._mesh

  def faces(self):
    pictures: list[weakref.ref] = []
    for _ in range(self._n):
      frame = np.zeros((64, 64, 3), np.uint8)
      pictures.append(weakref.ref(frame))
      self.most = max(self.most, sum(one() is not None for one in pictures))
      yield frame, self._mesh


def test_few_pictures_of_a_driver_are_alive_at_once():
  """What splits a stream must not keep some, as `itertools.tee` would."""
  driver = Driver(150)
  request = Request(identity="nobody", audio="nothing")
  looks = gaze.Driver(EyeReader())  # sees none in pictures that are black
  drives = talking_photograph._driven(driver, looks, 150, request, None)
  with pytest.warns(MediaWarning, match="gaze is seen in 0 of 150"):
    assert len(list(drives)) == 150
  assert driver.most <= 3


def test_a_driver_far_into_his_video_is_read_in_pieces(sounds, monkeypatch):
  """His first second is looked at; what lies behind leaves nothing."""
  monkeypatch.setattr(driver_module, "LOOK_S", 1.0)

  def work(path):
    n = (LONG_S if path == sounds[1] else SHORT_S) * 25

    def frames(path, fps, span=None, turns=0):
      for i in range(n):
        yield np.full((96, 96, 3), 80 + i % 100, np.uint8)

    monkeypatch.setattr(decoder, "read_frames", frames)
    driver = VideoDriver("pose.mp4", n, glass.SETTINGS, Centred(), Rules())
    codes = (np.full(15, float(i)) for i, _ in enumerate(driver.faces()))
    # As long again, back and forth.
    assert sum(1 for _ in windows.drive(codes, 2 * n)) == 2 * n

  assert growth(sounds, work) < GROWS


@pytest.mark.parametrize("fps", [25.0, 29.97])
@pytest.mark.parametrize("n", [1, 63, 64, 65, 700])
def test_idle_motion_is_that_of_the_whole_video(monkeypatch, n, fps):
  ours = [x.packed() for x in head_motion.idle(n, fps, 3)]
  monkeypatch.setattr(head_motion, "PIECE", 10_000)
  whole = [x.packed() for x in head_motion.idle(n, fps, 3)]
  np.testing.assert_array_equal(ours, whole)
  rngs = [np.random.default_rng([3, number]) for number in range(2)]
  sway = drawn.swaying(rngs[0], n, fps, 5, head_motion.IDLE_SECONDS)(
    np.arange(n)
  )
  shifts = (sway - sway[0])[:, 3:] * head_motion.IDLE_SHIFT
  np.testing.assert_array_equal(np.array(ours)[:, 9:11], shifts)
  lids = drawn.blinks(rngs[1], n, fps)
  np.testing.assert_array_equal(np.array(ours)[:, head_motion.LIDS], lids)


def test_a_blink_is_nothing_beyond_its_reach():
  """So that those far away need not be looked at."""
  beyond = drawn._BLINK_REACH_S / drawn._BLINK_S
  assert np.exp(-(beyond**4)) == 0


@several(20)
@given(st.integers(1, 300_000), st.integers(-9_000, 9_000), st.integers(0, 99))
def test_a_recording_is_an_array(tmp_path, length, offset, seed):
  rng = np.random.default_rng(seed)
  sound = (offset + rng.integers(-3_000, 3_000, length)).astype(np.int16)
  path = tmp_path / "sound.wav"
  soundfile.write(path, sound, 16_000)
  read = decoder.read_recording(path, 0)
  assert len(read) == length
  np.testing.assert_array_equal(read[:], decoder.read_audio(path))
  ours, want = read.with_gain(gain(read)), levelled(sound)
  np.testing.assert_array_equal(ours[:], want)
  for start, stop in rng.integers(0, length + 99, (5, 2)):
    np.testing.assert_array_equal(ours[start:stop], want[start:stop])
  np.testing.assert_array_equal(spec.sound_level(ours), spec.sound_level(want))


def test_rows_on_the_disk_are_those_of_an_array():
  rows = Rows(np.float32, (2, 3))
  assert rows[:].shape == (0, 2, 3)
  one = np.arange(6, dtype=np.float32).reshape(1, 2, 3)
  rows.append(one)
  rows.put(3, np.concatenate([one + 1, one + 2]))
  rows.put(7, np.zeros((0, 2, 3)))  # what was never written is 0
  want = np.zeros((7, 2, 3), np.float32)
  want[[0, 3, 4]] = np.concatenate([one, one + 1, one + 2])
  assert len(rows) == 7
  np.testing.assert_array_equal(rows[:], want)
  np.testing.assert_array_equal(rows[2:4], want[2:4])
  np.testing.assert_array_equal(rows[-3:], want[-3:])
  assert rows[5:2].shape == (0, 2, 3)
  with pytest.raises(ValueError, match="step of 2"):
    rows[::2]


def test_rows_leave_no_file_and_none_open(tmp_path, monkeypatch):
  monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
  rows = Rows(np.int16)
  rows.append(np.arange(100, dtype=np.int16))
  file = rows._file
  assert not list(tmp_path.iterdir())
  os.fstat(file)
  del rows
  gc.collect()
  with pytest.raises(OSError, match="descriptor"):
    os.fstat(file)


def test_a_full_disk_is_one_line(tmp_path, monkeypatch):
  def full(file, raw, at):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

  rows = Rows(np.int16)
  monkeypatch.setattr(os, "pwrite", full)
  with pytest.raises(FileError, match=r"written \(No space left"):
    rows.append(np.zeros(9, np.int16))
  monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "nowhere"))
  with pytest.raises(FileError, match="nowhere: cannot be written"):
    Rows(np.int16)
