"""A photograph and speech to an mp4, by the command that users run."""

import wave

import numpy as np
import pytest
from PIL import Image

from data_pipelines.dataset.pictures import decode_frame
from data_pipelines.faces.tracker import Tracker
from data_pipelines.media import decoder, mp4
from data_pipelines.media.error import MediaError
from data_pipelines.synthetic import render
from speak_jax import bundle as bundles
from speak_jax.inference import (
  emotion_label,
  motion_model,
  talking_photograph,
)
from speak_jax.inference.motion_model import MotionModel
from speak_jax.stages import motion
from tests.stages import small

FPS, SECONDS = 25, 1.0


@pytest.fixture(scope="module")
def made():
  """(config, variables) of an untrained motion stage."""
  config = small.config()
  params, _ = small.parameters(motion.make(config))
  return config, {"motion": {"params": params["motion"]}}


@pytest.fixture(scope="module")
def bundle(made, tmp_path_factory):
  """Its bundle on disk."""
  config, variables = made
  settings = motion_model.settings_of(config)
  expression = motion_model.expression_of(config)
  flat = {
    f"motion/params/{layer}/{name}": np.asarray(array)
    for layer, arrays in variables["motion"]["params"].items()
    for name, array in arrays.items()
  }
  content = bundles.Bundle(
    config={"settings": settings._asdict()},
    weights=flat,
    artifacts=motion_model.serialize(expression, variables, settings),
  )
  path = tmp_path_factory.mktemp("motion") / "bundle"
  bundles.write(path, content, "# Card\n")
  return path


@pytest.fixture(scope="module")
def files(photograph, tmp_path_factory):
  """A drawn photograph that is no square, speech, and a film of a head."""
  folder = tmp_path_factory.mktemp("inputs")
  frame = np.pad(photograph[0], ((10, 41), (0, 0), (0, 0)), mode="edge")
  Image.fromarray(frame).save(folder / "face.png")
  rng = np.random.default_rng(0)
  with wave.open(str(folder / "speech.wav"), "wb") as out:
    out.setnchannels(1)
    out.setsampwidth(2)
    out.setframerate(16_000)
    sound = rng.normal(0, 3_000, round(16_000 * SECONDS))
    out.writeframes(sound.astype("<i2").tobytes())
  recipe = render.recipes(
    seed=1,
    identities=1,
    held_out=0,
    clips_per_identity=1,
    seconds=0.6,
    size=160,
    framing="medium",
  )[0]
  film = [decode_frame(x) for x in render.render_clip(recipe).frames]
  mp4.write_video(folder / "pose.mp4", film)
  return folder


@pytest.fixture(scope="module")
def tracker(face_models):
  return Tracker(face_models)


def generate(bundle, files, tracker, out, **change):
  arguments = {
    "identity": files / "face.png",
    "audio": files / "speech.wav",
    "output": out,
    "tracker": tracker,
    "say": lambda line: None,
  }
  model = MotionModel.from_bundle(bundle)
  return talking_photograph.generate(model, **(arguments | change))


def test_the_bundle_moves_points_as_the_network_does(made, bundle):
  config, variables = made
  ours = MotionModel(
    motion_model.expression_of(config),
    variables,
    motion_model.settings_of(config),
  )
  shipped = MotionModel.from_bundle(bundle)
  rng = np.random.default_rng(0)
  sound = rng.integers(-9_000, 9_000, 16_000 * 3, np.int16)
  lids, happy = rng.random(75).tolist(), emotion_label.strengths("happy")
  a, b = (
    np.stack(list(model.stream(sound, lids, happy)))
    for model in (ours, shipped)
  )
  assert a.shape == (75, 468, 3)
  np.testing.assert_allclose(a, b, atol=1e-6)


def test_stretches_meet_without_a_seam(bundle):
  """The second stretch is what it would be further on in longer sound."""
  model = MotionModel.from_bundle(bundle)
  rng = np.random.default_rng(1)
  sound = rng.integers(-9_000, 9_000, 16_000 * 4, np.int16)
  calm, each = emotion_label.strengths("neutral"), model.settings.frames
  whole = np.stack(list(model.stream(sound, [0.0] * 100, calm)))
  later = sound[640 * each :]
  alone = np.stack(list(model.stream(later, [0.0] * 50, calm)))
  reach = model.settings.context  # of the sound that is not there
  assert reach < each
  np.testing.assert_allclose(whole[each + reach :], alone[reach:], atol=1e-5)


def test_an_idle_head_at_the_photographs_own_size(
  bundle, files, tracker, tmp_path
):
  out, sheet = tmp_path / "out.mp4", tmp_path / "out.png"
  result = generate(bundle, files, tracker, out, sheet=sheet)
  frames = list(decoder.Frames(out, 25.0))
  assert len(frames) == result.frames == round(SECONDS * FPS)
  assert frames[0].shape == (308, 256, 3)  # 307 is made even
  photograph = np.asarray(Image.open(files / "face.png")).astype(int)
  apart = np.abs(frames[0][:307].astype(int) - photograph)
  assert apart.mean() < 6  # H.264 and the first sound
  assert np.abs(frames[12].astype(int) - frames[0]).max() > 20
  assert decoder.probe(out).has_audio
  assert sheet.is_file()


def test_a_driver_turns_the_head(bundle, files, tracker, tmp_path):
  still = generate(bundle, files, tracker, tmp_path / "a.mp4")
  moved = generate(
    bundle,
    files,
    tracker,
    tmp_path / "b.mp4",
    pose=files / "pose.mp4",
    sheet=tmp_path / "b.png",
  )
  assert still.frames == moved.frames
  a, b = (
    np.stack(list(decoder.Frames(tmp_path / name, 25.0))).astype(int)
    for name in ("a.mp4", "b.mp4")
  )
  assert np.abs(a[-1] - b[-1]).max() > 20


@pytest.mark.parametrize(("size", "height", "width"), [(154, 154, 128)])
def test_size_is_the_longer_side(
  bundle, files, tracker, tmp_path, size, height, width
):
  out = tmp_path / "out.mp4"
  generate(bundle, files, tracker, out, size=size)
  assert next(iter(decoder.Frames(out, 25.0))).shape == (height, width, 3)


@pytest.mark.parametrize("size", [8, 100_000])
def test_a_size_that_cannot_be_is_one_line(
  bundle, files, tracker, tmp_path, size
):
  with pytest.raises(MediaError, match=f"size {size} is not from 16 to 2048"):
    generate(bundle, files, tracker, tmp_path / "out.mp4", size=size)


def test_a_crop_is_no_larger_than_the_photograph(
  bundle, files, tracker, tmp_path
):
  out = tmp_path / "out.mp4"
  generate(bundle, files, tracker, out, framing="crop")
  height, width, _ = next(iter(decoder.Frames(out, 25.0))).shape
  assert height <= 308 and width <= 256


def test_an_emotion_changes_the_face(bundle, files, tracker, tmp_path):
  for name in ("neutral", "happy:1"):
    generate(bundle, files, tracker, tmp_path / f"{name[:5]}.mp4", emotion=name)
  a, b = (
    next(iter(decoder.Frames(tmp_path / f"{name}.mp4", 25.0))).astype(int)
    for name in ("neutr", "happy")
  )
  assert np.abs(a - b).max() > 10


@pytest.mark.parametrize(
  ("text", "line"),
  [
    ("glad", "'glad' is not one of neutral, angry"),
    ("happy:2", "not from 0 to 1"),
    ("happy:much", "not from 0 to 1"),
  ],
)
def test_emotions_are_names(text, line):
  with pytest.raises(ValueError, match=line):
    emotion_label.strengths(text)


def test_sound_that_is_too_short_is_one_line(bundle, files, tracker, tmp_path):
  with wave.open(str(tmp_path / "click.wav"), "wb") as out:
    out.setparams((1, 2, 16_000, 100, "NONE", ""))
    out.writeframes(b"ab" * 100)
  with pytest.raises(MediaError, match="too short"):
    generate(
      bundle,
      files,
      tracker,
      tmp_path / "out.mp4",
      audio=tmp_path / "click.wav",
    )
  assert not (tmp_path / "out.mp4").exists()


def test_a_bundle_that_draws_frames_is_another():
  with pytest.raises(bundles.BundleError, match="moves no photographs"):
    MotionModel.from_bundle(bundles.REFERENCE)
