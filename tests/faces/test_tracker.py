import itertools

import cv2
import numpy as np
import pytest

from data_pipelines.dataset.pictures import decode_frame
from data_pipelines.faces import nets
from data_pipelines.faces.tracker import IBUG, Tracker
from data_pipelines.media.image import read_image
from data_pipelines.media.video import read_frames
from data_pipelines.synthetic import demo_inputs
from speak_jax import spec

PARTS = (spec.LEFT_EYE, spec.RIGHT_EYE, spec.MOUTH)


@pytest.fixture(scope="module")
def tracker(face_models):
  return Tracker(face_models)


def frames(path, n):
  return list(itertools.islice(read_frames(path), n))


def test_landmarks_are_where_the_parts_are(tracker, recordings):
  if recordings:
    path = recordings / "real" / "images" / "id05_studio_man.png"
    picture = read_image(path)
    # Read off the picture by eye, 551 x 672.
    wanted = [206, 290], [345, 291], [278, 455]
    near = 8
  else:
    clip = demo_inputs.clip(0, 2, "neutral", 1, seconds=0.04)
    picture = decode_frame(clip.frames[0])
    wanted = [clip.landmarks[0, part].mean(0) for part in PARTS]
    near = 4  # of 256 px
  track = tracker.track([picture])
  assert track.found[0] and track.faces == 1
  for part, place in zip(PARTS, wanted, strict=True):
    centre = track.landmarks[0, part].mean(0)
    np.testing.assert_allclose(centre, place, atol=near)
  np.testing.assert_array_equal(track.mesh[:, IBUG, :2], track.landmarks)
  # The nose is nearer than the ears, by a third of the face's width.
  tip, ears = track.mesh[0, 4], track.mesh[0, [234, 454]]
  assert tip[2] < ears[:, 2].min() - np.ptp(ears[:, 0]) / 3


def test_a_tilted_picture_changes_roll_alone(tracker, awkward):
  (frame,) = frames(awkward.plain(), 1)
  height, width = frame.shape[:2]
  # OpenCV's angle is anticlockwise.
  turn = cv2.getRotationMatrix2D((width / 2, height / 2), -15, 0.9)
  tilted = cv2.warpAffine(frame, turn, (width, height))
  before, after = (tracker.track([x]).pose[0] for x in (frame, tilted))
  np.testing.assert_allclose(after - before, [0, 0, 15], atol=1.5)


def test_a_mirrored_picture_turns_the_other_way(tracker, recordings):
  if recordings:
    clips = recordings / "real" / "clips"
    (frame,) = frames(clips / "clip12_talkshow_woman.mp4", 1)
  else:
    clip = demo_inputs.clip(0, 6, "neutral", 1, seconds=1.2)
    frame = decode_frame(clip.frames[int(clip.pose[:, 0].argmin())])
  before = tracker.track([frame]).pose[0]
  after = tracker.track([np.ascontiguousarray(frame[:, ::-1])]).pose[0]
  assert before[0] < -10  # she looks to the picture's left
  np.testing.assert_allclose(after, before * [-1, 1, -1], atol=5)


def test_a_face_that_leaves_is_lost_and_found(tracker, awkward):
  track = tracker.track(frames(awkward.path("face_leaves.mp4"), 125))
  assert track.found[:35].all() and track.found[102:].all()
  assert not track.found[52:85].any()
  assert np.isnan(track.landmarks[60]).all() and np.isnan(track.pose[60]).all()


def test_of_two_faces_one_is_followed(tracker, awkward):
  track = tracker.track(frames(awkward.path("two_faces.mp4"), 60))
  assert track.found.all() and track.faces == 2
  x = track.landmarks[:, :, 0].mean(1)
  assert np.ptp(x) < 60  # no jump across the 512 px


def test_no_face_is_no_face(tracker, awkward):
  picture = read_image(awkward.path("no_face.png"))
  track = tracker.track([picture, picture])
  assert not track.found.any() and track.faces == 0
  empty = tracker.track([])
  assert empty.landmarks.shape == (0, 68, 2)
  assert empty.mesh.shape == (0, 468, 3)


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
