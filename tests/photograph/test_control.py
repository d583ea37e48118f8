"""Photographs that do as they are told: turns, gazes, lids, lips, emotions."""

import numpy as np
import pytest

from data_pipelines.faces import headpose
from speak_jax import spec
from speak_jax.common import packaged
from speak_jax.inference import emotion_label
from speak_jax.inference.motion_model import MotionModel
from tests import talking


@pytest.fixture(scope="module")
def network(bundle):
  return MotionModel.from_bundle(bundle)


@pytest.fixture(scope="module")
def make(network, files, tracker):
  """Makes the frames of a request."""
  model = talking.model(network, tracker)

  def frames(**fields):
    made = model.generate(files / "face.png", files / "speech.wav", **fields)
    return np.stack(list(made)).astype(int)

  return frames


@pytest.fixture(scope="module")
def idle(make):
  return make()


def yaw(face_mesh, frame):
  return headpose.head_pose(face_mesh(frame.astype(np.uint8))[None])[0, 0]


def test_a_head_turns_as_a_table_says(make, face_mesh, tmp_path, idle):
  table = tmp_path / "pose.csv"
  table.write_text("time,yaw,pitch,roll\n0,0,0,0\n0.8,18,0,0\n")
  frames = make(pose=table)
  own, turned = (yaw(face_mesh, frames[i]) for i in (0, -1))
  assert turned - own == pytest.approx(18, abs=5)
  half = make(pose=table, pose_scale=0.5)
  assert yaw(face_mesh, half[-1]) - own == pytest.approx(9, abs=4)
  rows = np.array([[0, 0, 0, 0], [0.8, 18, 0, 0]])
  assert np.array_equal(make(pose=rows), frames)
  assert np.array_equal(make(pose="sampled"), idle)


def test_a_still_head_still_talks(make, idle):
  still, none = make(pose="still"), make(pose_scale=0.0)
  assert np.abs(still - idle).max() > 20
  assert np.array_equal(still, none)  # sways, blinks and looks by one seed
  calm = make(pose="still", blink=False, gaze="still", mouth=0.0)
  assert np.abs(calm[0] - calm[-1]).max() <= 1
  assert np.abs(still[0] - still[-1]).max() > 20


def test_lips_open_as_far_as_they_are_told(network):
  """Away from where silence has them, and in even steps."""
  sound = np.random.default_rng(0).integers(-9_000, 9_000, 48_000, np.int16)
  calm = emotion_label.strengths("neutral")

  def points(mouth, sound=sound):
    made = network.stream(sound, [0.5] * 75, calm, mouth)
    return np.stack(list(made))

  one = points(1.0)
  closed = points(0.0)
  assert np.ptp(closed, 0).max() < 1e-6  # as in silence, all the time
  silence = points(1.0, np.zeros_like(sound))
  np.testing.assert_allclose(closed[30], silence[30], atol=1e-6)
  np.testing.assert_allclose(points(2.0) - one, one - closed, atol=1e-5)


def test_an_emotion_of_each_frame_is_what_it_is_of_all(network):
  sound = np.random.default_rng(1).integers(-9_000, 9_000, 48_000, np.int16)
  n = 75  # one stretch and a half
  happy, sad = map(emotion_label.strengths, ("happy", "sad:0.5"))
  levels = np.where(np.arange(n)[:, None] < 60, happy, sad)
  made = np.stack(list(network.stream(sound, [0.0] * n, levels.__getitem__)))
  ours, later = (
    np.stack(list(network.stream(sound, [0.0] * n, mood)))
    for mood in (happy, sad)
  )
  np.testing.assert_allclose(made[:60], ours[:60], atol=1e-5)
  np.testing.assert_allclose(made[60:], later[60:], atol=1e-5)
  assert np.abs(ours - later).max() > 1e-3


def test_an_emotion_adds_its_level_times_what_it_adds_at_1():
  """Points go along straight lines: no level looks less than a lower one."""
  network = MotionModel.from_bundle(packaged.PHOTOGRAPH)
  sound = np.random.default_rng(2).integers(-9_000, 9_000, 6_400, np.int16)

  def points(name, level):
    strengths = emotion_label.strengths(f"{name}:{level}")
    return np.stack(list(network.stream(sound, [0.0] * 10, strengths)))

  for name in spec.EMOTIONS[1:]:
    calm, full = points(name, 0), points(name, 1)
    assert np.linalg.norm(full - calm, axis=-1).max() > 0.02, name
    for level in (0.25, 0.75, 1.5):
      added = points(name, level) - calm
      np.testing.assert_allclose(added, level * (full - calm), atol=2e-6)


def test_an_emotion_grows_along_a_time_line(make):
  rows = [(0, "neutral", 0), (0.9, "happy", 1.0)]
  still = {"pose": "still", "blink": False, "gaze": "still", "mouth": 0.0}
  grows = make(emotion=rows, **still)
  calm, happy = (make(emotion=x, **still) for x in ("neutral", "happy"))
  assert np.abs(grows[0] - calm[0]).max() <= 1
  assert np.abs(grows[-1] - happy[-1]).max() <= 2
  steps = np.abs(np.diff(grows, axis=0)).mean((1, 2, 3))
  assert steps.max() < 0.2 * np.abs(happy[0] - calm[0]).mean()


def test_eyes_look_where_they_are_told(make):
  still = {"pose": "still", "blink": False, "mouth": 0.0}
  own, right, again = (
    make(gaze=gaze, **still) for gaze in ("still", "20,0", (20, 0))
  )
  assert np.array_equal(right, again)
  apart = np.abs(right[0] - own[0]).max(-1)
  rows, columns = np.nonzero(apart > 30)
  assert len(rows)  # both eyes, and nothing else
  assert np.ptp(rows) < 40 and np.ptp(columns) < 140


def test_a_driven_heads_lids_and_gaze_may_be_kept(make, files):
  follows = make(pose=files / "pose.mp4")
  keeps = make(pose=files / "pose.mp4", gaze="still", blink=False)
  still = make(pose=files / "pose.mp4", pose_scale=0.0)
  assert np.abs(follows - keeps).max() > 10
  assert np.abs(follows - still).max() > 20
