"""Videos by one Python call: what is in memory is as good as files."""

import subprocess
import sys
import tempfile
import wave
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

import speak_jax
from data_pipelines.media import mp4, video
from data_pipelines.media.error import MediaError, MediaWarning
from speak_jax.common.files import FileError
from speak_jax.inference.materials import stored
from speak_jax.inference.synthesizer import Synthesizer
from tests import glass, talking
from tests.test_generate import Centred

RATE = 16_000


@pytest.fixture(scope="module")
def model():
  made = Synthesizer(
    glass.functions(), glass.VARIABLES, glass.SETTINGS, windows=4
  )
  return talking.model(made, Centred())


@pytest.fixture(scope="module")
def voice():
  rng = np.random.default_rng(0)
  return rng.integers(-8000, 8000, RATE, np.int16)


@pytest.fixture(scope="module")
def picture():
  rng = np.random.default_rng(1)
  return rng.integers(60, 140, (96, 96, 3), np.uint8)


@pytest.fixture(scope="module")
def files(tmp_path_factory, voice, picture):
  folder = tmp_path_factory.mktemp("files")
  Image.fromarray(picture).save(folder / "face.png")
  with wave.open(str(folder / "speech.wav"), "wb") as out:
    out.setparams((1, 2, RATE, 0, "NONE", ""))
    out.writeframes(voice.tobytes())
  return folder


@pytest.fixture(scope="module")
def frames(model, files):
  """Of a video out of files."""
  return model.generate(files / "face.png", files / "speech.wav").frames


def in_rgba(picture):
  opaque = np.full((*picture.shape[:2], 1), 255, np.uint8)
  return np.concatenate([picture, opaque], 2)


@pytest.mark.parametrize("kind", [np.copy, Image.fromarray, in_rgba])
def test_a_picture_in_memory_is_as_good_as_a_file(
  model, files, frames, picture, kind
):
  made = model.generate(kind(picture), files / "speech.wav")
  assert np.array_equal(made.frames, frames)


@pytest.mark.parametrize(
  "kind",
  [
    lambda x: x,
    lambda x: (x / 32768).astype(np.float32),
    lambda x: x[:, None],
    lambda x: (x / 32768)[:, None],
  ],
)
def test_sound_in_memory_is_as_good_as_a_file(
  model, files, frames, voice, kind
):
  made = model.generate(files / "face.png", (kind(voice), RATE))
  assert np.array_equal(made.frames, frames)
  sound, rate = made.audio
  assert (sound.shape, rate) == ((RATE, 1), RATE)
  np.testing.assert_allclose(sound[:, 0], voice / 32768, atol=1e-6)


def test_pictures_in_memory_drive_as_a_video_does(model, files, tmp_path):
  """Lossless there, so not quite the same colours here."""
  levels = np.linspace(40, 200, 25).astype(np.uint8)
  clip = np.broadcast_to(levels[:, None, None, None], (25, 96, 96, 3)).copy()
  mp4.write_video(tmp_path / "pose.mp4", clip)
  inputs = files / "face.png", files / "speech.wav"
  driven = model.generate(*inputs, pose=tmp_path / "pose.mp4").frames
  ours = model.generate(*inputs, pose=(clip, 25)).frames
  assert np.abs(ours.astype(int) - driven).max() <= 3
  assert np.ptp(ours[..., 0].astype(int)) > 50


def test_frames_come_as_they_are_asked_for(model, files, frames):
  made = model.generate(files / "face.png", files / "speech.wav")
  assert (len(made), made.fps, made.width, made.height) == (25, 25, 8, 8)
  first = next(iter(made))
  assert np.array_equal(first, frames[0])
  assert np.array_equal(np.stack(list(made)), frames)  # from the start again
  assert np.array_equal(made.frames, frames)
  assert made.frames is made.frames


def test_a_video_is_saved(model, files, frames, tmp_path):
  # Of less than 64 px x264 makes other pictures from run to run.
  made = model.generate(files / "face.png", files / "speech.wav", size=64)
  result = made.save(tmp_path / "out.mp4", sheet=tmp_path / "sheet.png")
  first = list(video.read_frames(tmp_path / "out.mp4"))
  assert result.frames == len(first) == 25
  with av.open(str(tmp_path / "out.mp4")) as out:
    assert len(out.streams.audio) == 1
  assert (tmp_path / "sheet.png").is_file()
  made.save(tmp_path / "out.mp4")
  assert np.array_equal(list(video.read_frames(tmp_path / "out.mp4")), first)
  with pytest.raises(FileError, match="no folder"):
    made.save(tmp_path / "none" / "out.mp4")


def test_what_is_odd_is_heard(model, files):
  silence = np.zeros(RATE, np.int16), RATE
  with pytest.warns(MediaWarning, match="silent"):
    made = model.generate(files / "face.png", silence)
  assert len(made.warnings) == 1 and "silent" in made.warnings[0]
  clip = np.full((10, 96, 96, 3), 90, np.uint8)
  clip[4:6] = 0  # no face
  with pytest.warns(MediaWarning):
    made = model.generate(files / "face.png", silence, pose=(clip, 25))
    list(made)
  assert any("the motion is interpolated" in line for line in made.warnings)


@pytest.mark.parametrize(
  ("change", "line"),
  [
    ({"identity": np.zeros((4, 4, 3))}, r"identity: float64 \(4, 4, 3\) is no"),
    ({"identity": np.zeros((4, 4, 2), np.uint8)}, r"is no uint8 picture"),
    ({"audio": (np.zeros(9), 0)}, "audio: 0 is no rate"),
    ({"audio": (np.zeros((2, 2, 2)), 16_000)}, "neither sound nor pictures"),
    ({"pose": (np.zeros((2, 8, 8, 3)), 25)}, "neither sound nor pictures"),
    ({"framing": "full"}, "framing: this model draws crops alone"),
    ({"size": 17}, "size: 17 is not even"),
  ],
)
def test_what_cannot_be_is_one_line(model, files, change, line):
  inputs = {"identity": files / "face.png", "audio": files / "speech.wav"}
  with pytest.raises(ValueError, match=line) as caught:
    model.generate(**(inputs | change))
  assert "\n" not in str(caught.value)


def test_nothing_is_left_in_the_temporary_folder(
  model, files, picture, monkeypatch, tmp_path
):
  monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
  made = model.generate(picture, files / "speech.wav")
  assert len(list(tmp_path.iterdir())) == 1
  del made
  with pytest.raises(ValueError, match="size"):
    model.generate(picture, files / "speech.wav", size=17)
  assert list(tmp_path.iterdir()) == []


def test_an_array_without_a_face_is_named(model, files):
  dark = np.zeros((96, 96, 3), np.uint8)
  with pytest.raises(MediaError, match=r"identity\.png: no face"):
    model.generate(dark, files / "speech.wav")


def test_what_is_no_input_at_all_is_one_line(tmp_path):
  with pytest.raises(ValueError, match="identity: int is no path"):
    stored(3, "identity", tmp_path)


SURFACE = """
import sys
import speak_jax
assert not {"jax", "numpy", "cv2"} & set(sys.modules), "loaded at import"
assert set(speak_jax.__all__) <= set(dir(speak_jax))
assert all(getattr(speak_jax, name) for name in speak_jax.__all__)
try:
  speak_jax.nothing
except AttributeError as error:
  print(error)
"""


def test_the_surface_is_lazy():
  said = subprocess.run(
    [sys.executable, "-c", SURFACE],
    cwd=Path(speak_jax.__file__).parents[1],
    capture_output=True,
    text=True,
    check=True,
  ).stdout
  assert said == "module 'speak_jax' has no attribute 'nothing'\n"
