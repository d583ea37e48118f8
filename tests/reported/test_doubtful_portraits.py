"""What limits a result is said: seen from the side, cut off, covered."""

import cv2
import numpy as np
import pytest

from data_pipelines.dataset.pictures import decode_frame
from data_pipelines.faces import portrait
from data_pipelines.media import decoder
from data_pipelines.synthetic import demo_inputs, drawing, factors, head, render
from speak_jax import spec

SIDE = "seen from the side (turned by 58 degrees)"


BORDER = "the face is cut off by the picture's border"


MASK = "the mouth seems to be covered"


def doubted(picture, tracker) -> list[str]:
  """What is said of the face of a picture."""
  track = tracker.track([picture])
  assert track.found[0]
  return portrait.doubts(picture, track.landmarks[0], track.pose[0])


@pytest.mark.parametrize(
  ("name", "line"),
  [("yaw70.png", SIDE), ("closeup.png", BORDER), ("mask.png", MASK),
   ("ok_identity.png", ""), ("wide_prophoto.jpg", ""), ("photo.jfif", "")],
)  # fmt: skip
def test_what_limits_the_result_is_said(reported, tracker, name, line):
  said = doubted(decoder.read_image(reported / name), tracker)
  assert len(said) == bool(line)
  assert all(x.startswith(line) for x in said)


@pytest.mark.parametrize(
  ("yaw", "doubt"), [(60, True), (-60, True), (20, False)]
)
def test_a_face_seen_from_the_side_is_doubted(tracker, yaw, doubt):
  model = head.model(0, "test", 2)
  shown = factors.zeros(1)._replace(yaw=np.array([yaw]), scale=np.array([0.75]))
  channels, _ = render.channels_of(model.person, 0, 1, 1)
  scene = drawing.lit(np.random.default_rng(0), model, shown, channels, 256)
  (picture,), _ = drawing.draw(scene, 256)
  said = doubted(picture, tracker)
  assert [x.startswith("seen from the side (turned by ") for x in said] == (
    [True] * doubt
  )


@pytest.mark.parametrize(
  "colour_of", [(235, 235, 230), (30, 30, 32), (150, 190, 215), (180, 30, 40)]
)
@pytest.mark.parametrize("folds", [0, 0.05])
def test_masks_of_many_colours_are_seen(drawn, tracker, colour_of, folds):
  picture = drawn[0].copy()
  points = tracker.track([picture]).landmarks[0]
  nose = (points[28] + points[29]) / 2
  outline = np.concatenate([points[2:15], nose[None]]).astype(np.int32)
  inside = np.zeros(picture.shape[:2], np.uint8)
  cv2.fillPoly(inside, [outline], 255)
  rows = np.arange(len(picture))[:, None, None]
  cloth = np.array(colour_of) * (1 + folds * np.sin(rows / 3))
  cloth = np.broadcast_to(cloth, picture.shape).clip(0, 255)
  picture[inside > 0] = cloth.astype(np.uint8)[inside > 0]
  assert [x.startswith(MASK) for x in doubted(picture, tracker)] == [True]


def test_good_portraits_are_not_doubted(drawn, tracker):
  for picture in drawn[::5]:
    assert doubted(picture, tracker) == []
    grey = np.repeat(picture.mean(-1, keepdims=True), 3, -1).astype(np.uint8)
    assert doubted(grey, tracker) == []


@pytest.mark.parametrize(("person", "emotion"), [(3, "happy"), (7, "neutral")])
def test_lips_of_dark_skin_are_no_mask(tracker, person, emotion):
  for frame in demo_inputs.clip(0, person, emotion, 3, 1.0).frames[::6]:
    assert doubted(decode_frame(frame), tracker) == []


def test_nobody_of_the_shared_portraits_is_doubted(shared, tracker):
  paths = sorted((shared / "data" / "faces" / "portraits").glob("*.jpg"))
  if not paths:
    pytest.skip("no folder data/faces/portraits in shared/")
  for path in paths[::25]:
    picture = decoder.read_image(path)
    track = tracker.track([picture])
    if track.found[0]:
      assert not portrait.doubts(picture, track.landmarks[0], track.pose[0])


def test_a_cut_off_face_is_said(drawn, tracker):
  points = tracker.track([drawn[0]]).landmarks[0]
  low = points[spec.MOUTH].max(0)[1]
  picture = np.ascontiguousarray(drawn[0][: int(low) + 2])
  assert any(x.startswith(BORDER) for x in doubted(picture, tracker))
