"""What a dry run finds and draws."""

import numpy as np
import pytest
from PIL import Image

from data_pipelines.faces.face_rule import is_number, named, parse_face_rule
from data_pipelines.faces.tracker import Tracker
from data_pipelines.media import mp4
from data_pipelines.media.error import MediaError
from data_pipelines.synthetic import render
from speak_jax.inference import dry_run
from speak_jax.inference.inputs import Rules
from speak_jax.inference.request import Request
from speak_jax.inference.synthesizer import Synthesizer
from tests import glass, talking


@pytest.fixture(scope="module")
def tracker(face_models):
  return Tracker(face_models)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
  """Two drawn people in a picture, the left one smaller, and a second."""
  folder = tmp_path_factory.mktemp("pair")
  small, large = (
    render.random_frames(seed, 1, side, "tight").frames[0]
    for seed, side in ((3, 200), (5, 256))
  )
  small = np.pad(small, ((0, 56), (0, 0), (0, 0)), mode="edge")
  Image.fromarray(np.hstack([small, large])).save(folder / "pair.png")
  mp4.write_video(folder / "nods.mp4", np.repeat(large[None], 5, 0))
  sound = np.random.default_rng(0).integers(-9_000, 9_000, 16_000, np.int16)
  grey = np.full((25, 64, 64, 3), 90, np.uint8)
  mp4.write_video(folder / "speech.mp4", grey, audio=sound)
  return folder


@pytest.fixture(scope="module")
def model(tracker):
  network = Synthesizer(
    glass.functions(), glass.VARIABLES, glass.SETTINGS, windows=4
  )
  return talking.model(network, tracker)


def colours(path, colour):
  """Columns of a sheet that have a colour."""
  with Image.open(path) as image:
    pixels = np.asarray(image.convert("RGB"))
  return np.flatnonzero((pixels == colour).all(-1).any(0))


@pytest.mark.parametrize("number", [1, 2])
@pytest.mark.filterwarnings("ignore::data_pipelines.media.error.MediaWarning")
def test_faces_are_found_and_the_chosen_one_is_green(
  model, tracker, files, tmp_path, number
):
  sheet, said = tmp_path / "plan.png", []
  request = Request(
    identity=files / "pair.png",
    audio=files / "speech.mp4",
    rules=Rules(parse_face_rule(str(number))),
  )
  dry_run.write(model.take, tracker, request, sheet, said.append)
  scale = dry_run.HIGH / 256  # the panel begins at the left
  middle = dry_run.GAP + 200 * scale
  green, orange = (
    colours(sheet, colour) for colour in (dry_run.CHOSEN, dry_run.OTHER)
  )
  left, right = (green, orange) if number == 1 else (orange, green)
  assert left.size and left.max() < middle < right.min()
  assert "25 frames at 25 a second, 8 px" in said
  assert f"sheet     {sheet}" in said


def test_a_face_that_is_not_there_is_one_line(model, tracker, files, tmp_path):
  request = Request(
    identity=files / "pair.png", audio=files / "speech.mp4", rules=Rules("3")
  )
  line = "no face found that is number 3 from the left"
  with pytest.raises(MediaError, match=r"pair\.png: " + line):
    dry_run.write(model.take, tracker, request, tmp_path / "p.png")
  assert not list(tmp_path.iterdir())


@pytest.mark.filterwarnings("ignore::data_pipelines.media.error.MediaWarning")
def test_a_video_is_planned_before_it_is_made(model, files, tmp_path):
  inputs = files / "pair.png", files / "speech.mp4"
  made = model.generate(*inputs, pose=files / "nods.mp4")
  made.plan(tmp_path / "plan.png")
  alone = model.generate(*inputs)
  alone.plan(tmp_path / "alone.png")
  with Image.open(tmp_path / "plan.png") as image:
    high = image.height
  with Image.open(tmp_path / "alone.png") as image:
    assert high > image.height  # another row of panels
  with pytest.raises(MediaError.__base__, match=r"name it so"):
    made.plan(tmp_path / "plan.jpg")
  assert len(made.frames) == 25


def test_faces_have_numbers_from_the_left(tracker, files):
  with Image.open(files / "pair.png") as image:
    frame = np.asarray(image)
  left, right = tracker.boxes(frame)
  assert left[0] + left[2] < 200 < right[0] + 20
  for rule, box in (("1", left), ("2", right), ("largest", right)):
    (step,) = tracker.stream([frame], rule)
    x, y = step.landmarks.mean(0)
    assert box[0] < x < box[0] + box[2] and box[1] < y < box[1] + box[3]
    assert step.faces == 2
  (step,) = tracker.stream([frame], "3")
  assert not step.found


def test_rules_in_words():
  assert [is_number(x) for x in ("2", "0", "10", "first", (1.0, 1, 1, 1))] == [
    True,
    *[False] * 4,
  ]
  assert named("2") == "number 2 from the left"
  assert named("largest") == "the largest one"
  for text in ("0", "10", "-1", "two"):
    with pytest.raises(ValueError, match="is not largest, first, a number"):
      parse_face_rule(text)
