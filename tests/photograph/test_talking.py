"""A photograph and speech to an mp4, by the command that users run."""

import warnings
import wave

import numpy as np
import pytest
from PIL import Image

from data_pipelines.faces import eyes as faces_eyes
from data_pipelines.faces import headpose
from data_pipelines.media import decoder, mp4
from data_pipelines.media.error import MediaError, MediaWarning
from speak_jax import bundle as bundles
from speak_jax import spec
from speak_jax.common.files import FileError
from speak_jax.inference import (
  contact_sheet,
  emotion_label,
  expression,
  inputs,
  motion_lowering,
)
from speak_jax.inference.motion_model import MotionModel
from speak_jax.inference.request import POSE_MODES, RequestError
from speak_jax.models import face_blocks
from speak_jax.photograph import composition, gaze, head_motion
from speak_jax.photograph.textured_mesh import Motion
from tests import talking

FPS, SECONDS = 25, 1.0


def generate(bundle, files, tracker, out, **change):
  arguments = {
    "identity": files / "face.png",
    "audio": files / "speech.wav",
    "output": out,
    "tracker": tracker,
    "say": lambda line: None,
  }
  model = MotionModel.from_bundle(bundle)
  return talking.generate(model, **(arguments | change))


def test_the_bundle_moves_points_as_the_network_does(made, bundle):
  config, variables = made
  ours = MotionModel(
    motion_lowering.expression_of(config),
    variables,
    motion_lowering.settings_of(config),
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


@pytest.mark.filterwarnings("ignore:.*a single picture")
def test_a_picture_as_driver_turns_an_absolute_head(
  bundle, files, tracker, photograph, face_mesh, tmp_path
):
  one = composition.portrait(*photograph)
  aside = tmp_path / "aside.png"
  turn = Motion(head_motion.rotation_of(0.35, 0, 0), np.zeros(2), 1.0)
  drawn = composition.compose(one, composition.NO_EXPRESSION, turn)
  Image.fromarray(drawn).save(aside)
  yaws = {}
  for mode in POSE_MODES:
    out = tmp_path / f"{mode}.mp4"
    generate(bundle, files, tracker, out, pose=aside, pose_mode=mode)
    first = next(iter(decoder.Frames(out, 25.0)))
    yaws[mode] = headpose.head_pose(face_mesh(first)[None])[0, 0]
  own, his = (
    headpose.head_pose(face_mesh(x)[None])[0, 0] for x in (photograph[0], drawn)
  )
  assert his > own + 10
  assert yaws["relative"] == pytest.approx(own, abs=3)
  assert yaws["absolute"] == pytest.approx(his, abs=5)


def test_there_are_two_pose_modes(bundle, files, tracker, tmp_path):
  with pytest.raises(RequestError, match="'near' is not relative or absolute"):
    generate(bundle, files, tracker, tmp_path / "out.mp4", pose_mode="near")


def test_eyes_that_cannot_be_read_are_said(
  bundle, files, tracker, tmp_path, monkeypatch
):
  nothing = np.zeros(2, bool)
  pose = {"pose": files / "pose.mp4"}
  monkeypatch.setattr(gaze, "readable", lambda *found: nothing)
  with pytest.warns(MediaWarning, match=r"pose\.mp4: the gaze is seen in 0 of"):
    generate(bundle, files, tracker, tmp_path / "a.mp4", **pose)
  monkeypatch.setattr(faces_eyes, "readable", lambda *found: nothing)
  with pytest.warns(MediaWarning, match=r"face\.png: its eyes are shut"):
    generate(bundle, files, tracker, tmp_path / "b.mp4", **pose)


@pytest.mark.parametrize(("px", "said"), [(4, False), (30, True)])
def test_a_driver_whose_camera_moves_is_said(
  bundle, files, tracker, photograph, tmp_path, px, said
):
  wide = np.full((256, 560, 3), 128, np.uint8)
  panned = []
  for i in range(10):
    frame = wide.copy()
    frame[:, px * i : px * i + 256] = photograph[0]
    panned.append(frame)
  pose = tmp_path / "pan.mp4"
  mp4.write_video(pose, panned)
  with warnings.catch_warnings(record=True) as lines:
    warnings.simplefilter("always", MediaWarning)
    generate(bundle, files, tracker, tmp_path / "out.mp4", pose=pose)
  moved = [x for x in lines if "as if the camera moved" in str(x.message)]
  assert len(moved) == said


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
  with pytest.raises(
    RequestError, match=f"size: {size} is not from 16 to 2048"
  ):
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


def shares(**of):
  """A frame's probabilities, by the names of expressions."""
  return np.array([of.get(x, 0.0) for x in expression.EXPRESSIONS], np.float32)


def test_strengths_are_mean_probabilities_but_neutrals():
  seen = [
    shares(neutral=0.2, happy=0.8),
    shares(neutral=0.1, happy=0.7, surprised=0.2),
  ]
  found = expression.strengths(np.stack(seen))
  by_name = dict(zip(spec.EMOTIONS, found.tolist(), strict=True))
  assert by_name.pop("happy") == pytest.approx(0.75)
  assert by_name.pop("surprised") == pytest.approx(0.1)
  assert not any(by_name.values())
  assert emotion_label.described(found) == "happy 0.75, surprised 0.10"
  calm = expression.strengths(shares(neutral=1.0)[None])
  assert emotion_label.described(calm) == "neutral"


@pytest.mark.parametrize("name", ["pose.mp4", "face.png"])
def test_a_file_gives_the_emotion(
  bundle, files, tracker, tmp_path, monkeypatch, name
):
  """It moves the face as names of these strengths would; a sheet shows it."""
  asked = []

  def smiling(params, faces):
    asked.append(len(faces))
    return np.stack([shares(happy=0.75, neutral=0.25)] * len(faces))

  monkeypatch.setattr(expression, "of_faces", smiling)
  monkeypatch.setattr(inputs, "EXPRESSION_FACES", 10)
  said, sheet = [], tmp_path / "sheet.png"
  mood = files / name
  for out, emotion in (("a.mp4", str(mood)), ("b.mp4", "happy:0.75")):
    generate(
      bundle,
      files,
      tracker,
      tmp_path / out,
      emotion=emotion,
      sheet=sheet if out == "a.mp4" else None,
      say=said.append,
    )
  assert asked == [10 if name == "pose.mp4" else 1]
  assert f"emotion   {mood}: happy 0.75" in said
  ours, named = (
    (list(decoder.read_frames(path)), decoder.read_audio(path))
    for path in (tmp_path / "a.mp4", tmp_path / "b.mp4")
  )
  np.testing.assert_array_equal(ours[0], named[0])
  np.testing.assert_array_equal(ours[1], named[1])
  with Image.open(sheet) as image:
    height = contact_sheet.CELL_PX + contact_sheet._TITLE_PX
    assert image.height == 3 * height  # identity, emotion, made


def test_faces_are_cut_upright_for_the_network(files, tracker):
  rules = inputs.Rules()
  faces = inputs.read_expression(files / "pose.mp4", 25.0, tracker, rules)
  assert faces.shape == (15, face_blocks.SIDE, face_blocks.SIDE, 3)
  seen = expression.of_faces(expression.load(), faces)
  np.testing.assert_allclose(seen.sum(1), 1, rtol=1e-5)


def test_a_file_counts_more_than_a_name(files, tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  assert not emotion_label.is_file("happy")
  (tmp_path / "happy").touch()
  assert emotion_label.is_file("happy")


def test_a_picture_of_nobody_is_one_line(bundle, files, tracker, tmp_path):
  grey = tmp_path / "grey.png"
  Image.new("RGB", (96, 96), (90, 90, 90)).save(grey)
  with pytest.raises(MediaError, match=r"grey\.png: no face found"):
    generate(bundle, files, tracker, tmp_path / "out.mp4", emotion=str(grey))
  assert not (tmp_path / "out.mp4").exists()


def test_the_emotions_film_is_not_replaced(bundle, files, tracker):
  film = files / "pose.mp4"
  with pytest.raises(FileError, match="pose"):
    generate(bundle, files, tracker, film, emotion=film)


@pytest.mark.parametrize(
  ("text", "line"),
  [
    ("glad", "'glad' is not one of neutral, angry"),
    ("happy:1.6", "not from 0 to 1.5"),
    ("happy:much", "not from 0 to 1.5"),
  ],
)
def test_emotions_are_names_and_strengths(text, line):
  with pytest.raises(ValueError, match=line):
    emotion_label.strengths(text)


def test_an_emotion_may_be_overdone():
  once, more = map(emotion_label.strengths, ("angry", "angry:1.5"))
  assert np.array_equal(more, 1.5 * once) and once.any()


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
