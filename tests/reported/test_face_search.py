"""Where the face is: small, in a box, behind a title, in a crowd."""

import cv2
import numpy as np
import pytest
from PIL import Image

from data_pipelines.faces import footage
from data_pipelines.faces.follow import NoFaceError
from data_pipelines.media import mp4
from data_pipelines.media.error import MediaWarning
from tests.reported.upright import found_upright


def test_group4k_jpg(reported, tracker):
  path = reported / "group4k.jpg"
  found, points, said = found_upright(path, tracker)
  assert said == [] and found.turns == 0
  assert 80 < np.ptp(points[:, 0]) < 110  # of some 180 px of head
  boxed, points, _ = found_upright(path, tracker, (1490.0, 900.0, 200.0, 200.0))
  assert boxed.rule == (1490.0, 900.0, 200.0, 200.0)
  assert points[:, 0].min() > 1490 and points[:, 0].max() < 1690
  assert points[:, 1].min() > 900 and points[:, 1].max() < 1100


@pytest.mark.parametrize("scale", [0.35, 0.5, 0.8])
def test_small_faces_in_large_pictures_are_found(
  tmp_path, tracker, drawn, scale
):
  large = np.full((2160, 3840, 3), 90, np.uint8)
  small = cv2.resize(
    drawn[0], None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA
  )
  corners = ((300, 200), (1900, 1700), (3400, 900))
  for x, y in corners:
    large[y : y + len(small), x : x + len(small)] = small
  Image.fromarray(large).save(tmp_path / "a.png")
  place = (1900.0, 1700.0, float(len(small)), float(len(small)))
  for which in ("first", place):
    _, points, said = found_upright(tmp_path / "a.png", tracker, which)
    x, y = corners[0 if which == "first" else 1]
    assert said == [] and x < points[:, 0].min()
    assert points[:, 0].max() < x + len(small) + 8
    assert y < points[:, 1].min() and points[:, 1].max() < y + len(small) + 8


def test_a_box_follows_a_picture_that_is_turned(tmp_path, tracker, drawn):
  two = np.full((300, 700, 3), 90, np.uint8)
  two[20:276, 20:276], two[20:276, 420:676] = drawn[0], drawn[0]
  Image.fromarray(np.rot90(two)).save(tmp_path / "a.png")
  box = (20.0, 24.0, 256.0, 256.0)
  found, points, _ = found_upright(tmp_path / "a.png", tracker, box)
  assert found.turns == 3
  assert points[:, 0].min() > 420  # the right one
  assert found.rule == (420.0, 20.0, 256.0, 256.0)


@pytest.mark.parametrize(
  "box",
  [(9000, 0, 50, 50), (0, 9000, 50, 50), (-900, -900, 50, 50),
   (-1e30, 1e30, 1e30, 1e30), (1e9, 1e9, 1e-9, 1e-9)],
)  # fmt: skip
def test_a_box_beyond_the_picture_holds_no_face(tmp_path, tracker, drawn, box):
  path = tmp_path / "a.png"
  cv2.imwrite(str(path), drawn[0][..., ::-1])
  with pytest.raises(NoFaceError, match="no face found in the box"):
    footage.find(path, tracker, box)
  assert not tracker.track([drawn[0]], box).found[0]


def test_two_people_drawn_png(reported, tracker):
  path = reported / "two_people_drawn.png"
  _, points, _ = found_upright(path, tracker)
  assert points[:, 0].max() < 320
  _, points, _ = found_upright(path, tracker, (440.0, 110.0, 110.0, 130.0))
  assert points[:, 0].min() > 440


def found_after_twelve_seconds(path, tracker):
  """Finds the face of a film that begins with a title."""
  asked = []
  found = footage.find(path, tracker, progress=asked.append)
  assert found.start == pytest.approx(12, abs=0.05)
  assert asked[-1] >= 12 and len(asked) == 61  # every look is told
  with pytest.raises(NoFaceError, match="no face found in 10 s"):
    footage.find(path, tracker, seconds=10.0)
  with pytest.warns(MediaWarning, match="no face in the first 12.0 s: left"):
    begins = found.with_lead()
  assert tracker.track(list(begins.frames(25.0))[:5]).found.all()


def test_a_face_is_searched_for_behind_a_title(tmp_path, tracker, drawn):
  path = tmp_path / "a.mp4"
  title = np.full((256, 256, 3), 30, np.uint8)
  cv2.putText(title, "PART ONE", (30, 130), 0, 1.2, (220, 220, 220), 3)
  mp4.write_video(path, [title] * 300 + drawn)
  found_after_twelve_seconds(path, tracker)


def test_title12_mp4(reported, tracker):
  found_after_twelve_seconds(reported / "title12.mp4", tracker)


@pytest.mark.parametrize(
  "name", ["wide_prophoto.jpg", "iphone_grid.heic", "heic_named.jpg",
           "photo.jfif", "mp108.jpg", "dvd169.mpg", "hdr_hlg.mov", "clip.mts",
           "clip.ogv", "clip.wmv", "clip.gif", "anim.gif", "mirrored.mp4"]
)  # fmt: skip
def test_their_faces_are_found_and_as_wide_as_they_are(reported, tracker, name):
  like = {"dvd169.mpg": "ok_emotion.mp4", "hdr_hlg.mov": "ok_emotion.mp4",
          "mirrored.mp4": "ok_pose.mp4"}  # fmt: skip
  if name.startswith("clip"):
    like[name] = "ok_emotion.mp4"
  (_, points, _), (_, plain, _) = (
    found_upright(reported / x, tracker)
    for x in (name, like.get(name, "ok_identity.png"))
  )
  wide, high = np.ptp(points, axis=0)
  assert wide / high == pytest.approx(
    np.divide(*np.ptp(plain, axis=0)), rel=0.05
  )
