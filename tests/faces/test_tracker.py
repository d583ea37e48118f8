import itertools

import cv2
import numpy as np
import pytest

from data_pipelines.faces import nets
from data_pipelines.faces.tracker import Tracker
from data_pipelines.media.image import read_image
from data_pipelines.media.video import read_frames
from speak_jax import spec


@pytest.fixture(scope="module")
def tracker(face_models):
  return Tracker(face_models)


def frames(shared, name, n):
  path = shared / "data" / name
  return list(itertools.islice(read_frames(path), n))


def test_landmarks_are_where_the_parts_are(tracker, shared):
  picture = read_image(
    shared / "data" / "real" / "images" / "id05_studio_man.png"
  )
  track = tracker.track([picture])
  assert track.found[0] and track.faces == 1
  points = track.landmarks[0]
  # Read off the picture by eye, 551 x 672.
  for part, x, y in (
    (spec.LEFT_EYE, 206, 290),
    (spec.RIGHT_EYE, 345, 291),
    (spec.MOUTH, 278, 455),
  ):
    centre = points[part].mean(0)
    np.testing.assert_allclose(centre, [x, y], atol=8)


def test_a_tilted_picture_changes_roll_alone(tracker, shared):
  (frame,) = frames(shared, "real/clips/clip06_congressman.mp4", 1)
  height, width = frame.shape[:2]
  # OpenCV's angle is anticlockwise.
  turn = cv2.getRotationMatrix2D((width / 2, height / 2), -15, 0.9)
  tilted = cv2.warpAffine(frame, turn, (width, height))
  before, after = (tracker.track([x]).pose[0] for x in (frame, tilted))
  np.testing.assert_allclose(after - before, [0, 0, 15], atol=1.5)


def test_a_mirrored_picture_turns_the_other_way(tracker, shared):
  (frame,) = frames(shared, "real/clips/clip12_talkshow_woman.mp4", 1)
  before = tracker.track([frame]).pose[0]
  after = tracker.track([np.ascontiguousarray(frame[:, ::-1])]).pose[0]
  assert before[0] < -10  # she looks to the picture's left
  np.testing.assert_allclose(after, before * [-1, 1, -1], atol=5)


def test_a_face_that_leaves_is_lost_and_found(tracker, shared):
  track = tracker.track(frames(shared, "awkward/face_leaves.mp4", 125))
  assert track.found[:35].all() and track.found[102:].all()
  assert not track.found[52:85].any()
  assert np.isnan(track.landmarks[60]).all() and np.isnan(track.pose[60]).all()


def test_of_two_faces_one_is_followed(tracker, shared):
  track = tracker.track(frames(shared, "awkward/two_faces.mp4", 60))
  assert track.found.all() and track.faces == 2
  x = track.landmarks[:, :, 0].mean(1)
  assert np.ptp(x) < 60  # no jump across the 512 px


def test_no_face_is_no_face(tracker, shared):
  picture = read_image(shared / "data" / "awkward" / "no_face.png")
  track = tracker.track([picture, picture])
  assert not track.found.any() and track.faces == 0
  assert tracker.track([]).landmarks.shape == (0, 68, 2)


@pytest.mark.parametrize(
  "shape", [(1, 1), (1, 2), (2, 1), (1, 50), (50, 1), (2, 100), (15, 15)]
)
def test_the_smallest_pictures_show_no_face(tracker, shape):
  picture = np.full((*shape, 3), 90, np.uint8)
  assert (tracker.votes(picture) == 0).all()
  assert not tracker.track([picture, picture]).found.any()


@pytest.mark.parametrize(
  "shape", [(16, 1_000_000), (1_000_000, 17), (40, 100_000), (1, 10_000_000)]
)
def test_a_strip_is_not_searched_for_ever(monkeypatch, shape):
  looked = []

  def look(self, frame, x, y, side):
    looked.append(side)
    return []

  monkeypatch.setattr(nets.BlazeFace, "_detect_square", look)
  picture = np.broadcast_to(np.uint8(90), (*shape, 3))
  detector = nets.BlazeFace.__new__(nets.BlazeFace)
  assert not any(detector.levels(picture))
  assert len(looked) <= nets.FINEST * nets.MOST_TILES
  assert min(looked) >= nets.LEAST_PX
