"""What is measured of moved photographs is right where the answer is known."""

import numpy as np
import pytest

from data_pipelines.faces.tracker import Tracker
from speak_jax.common import packaged
from speak_jax.evaluation.metric_table import MetricTable
from speak_jax.evaluation.photographs import (
  cross_driven,
  emotions,
  landmark_pose,
  lip_sync,
  methods,
  report,
  self_driven,
)
from speak_jax.evaluation.photographs.clips import Clip
from speak_jax.evaluation.photographs.emotions import ASKED, Named
from speak_jax.evaluation.photographs.judges import EVERY, Judges
from speak_jax.evaluation.photographs.measure import STATIC, TRUTH, measure
from speak_jax.evaluation.readers.own_syncnet import OwnSyncNet
from speak_jax.inference.expression import EXPRESSIONS
from speak_jax.inference.settings import Framing, Settings
from speak_jax.inference.synthesizer import Synthesizer
from speak_jax.photograph import composition, head_motion
from speak_jax.photograph.textured_mesh import POINTS, Motion

FRAMES = 14
LOWER_LIP = [14, 87, 317, 178, 402, 17, 84, 314, 152, 148, 377]


@pytest.fixture(scope="module")
def judges(face_models):
  return Judges(Tracker(face_models), None)


@pytest.fixture(scope="module")
def clip(photograph, judges):
  """A drawn person whose head turns and whose lips open: a known truth."""
  one = composition.portrait(*photograph)
  frames = []
  for turn in np.sin(np.linspace(0, 5, FRAMES)):
    open_lips = np.zeros((POINTS, 3))
    open_lips[LOWER_LIP, 1] = 0.1 * (1 + turn)
    rotation = head_motion.rotation_of(*np.radians([12 * turn, 4 * turn, 0]))
    motion = Motion(rotation, np.zeros(2), 1.0)
    frames.append(composition.compose(one, open_lips, motion))
  speech = np.random.default_rng(0).integers(-9_000, 9_000, 640 * FRAMES)
  track = judges.tracker.track(frames)
  return Clip("one", np.stack(frames), track, speech.astype(np.int16))


@pytest.fixture(scope="module")
def truth(clip, judges):
  return self_driven.truth_of(clip, judges.see(clip.frames, clip.track.mesh))


def values(table):
  return {name: x.value for name, x in table.values(0).items()}


def test_the_truth_itself_is_flawless(truth):
  table = MetricTable()
  self_driven.add(table, truth, truth.seen, truth.seen)
  found = values(table)
  for name in ("f_lmd", "m_lmd", "f_lmd_2", "f_lmd_over", "m_lmd_2_over"):
    assert found[name] == 0
  for name in ("sharpness", "gap_r", "gap_r_2", "pose_r2"):
    assert found[name] == pytest.approx(1)
  assert found["psnr_face"] == found["psnr"] == 100
  assert found["psnr_face_gain"] > 40
  assert found["identity_beyond"] == found["gap_r_gain"] == 0
  assert 0 < found["identity"] < self_driven.STRANGER


def test_a_still_frame_gains_nothing(truth):
  table = MetricTable()
  still = truth.seen.still(FRAMES)
  assert len(still.identity) == len(truth.seen.identity) == 1 + 13 // EVERY
  self_driven.add(table, truth, still, still)
  found = values(table)
  assert found["psnr_face_gain"] == found["psnr_gain"] == 0
  for name in ("f_lmd_over", "m_lmd_over", "f_lmd_2_over", "m_lmd_2_over"):
    assert found[name] == pytest.approx(1)
  assert found["pose_r2"] < 0.2 and np.isnan(found["gap_r"])
  assert found["identity"] == 0 and found["identity_beyond"] < 0


def test_a_lost_face_is_a_failure(truth):
  lost = truth.seen._replace(
    mesh=truth.seen.mesh * np.nan,
    points=truth.seen.points * np.nan,
    identity=truth.seen.identity * np.nan,
  )
  table = MetricTable()
  self_driven.add(table, truth, lost, lost)
  found = values(table)
  assert found["f_lmd"] > 20 and found["f_lmd_2"] > 20
  assert found["identity"] == self_driven.STRANGER


def test_two_readers_see_the_same_turn(truth):
  seen, shape = truth.seen, truth.clip.track.mesh[0]
  by_mesh = landmark_pose.by_mesh(seen.mesh)
  by_points = landmark_pose.by_points(seen.points, shape)
  assert np.ptp(by_mesh[:, 1]) > 15  # yaw
  np.testing.assert_array_equal(by_mesh[0], 0)
  assert np.corrcoef(by_mesh[:, 1], by_points[:, 1])[0, 1] > 0.9


def test_r2_of_a_turn_is_one_where_it_is_followed(truth):
  table, still = MetricTable(), MetricTable()
  seen = truth.seen
  cross_driven.add(table, truth.clip, seen, seen, seen)
  cross_driven.add(still, truth.clip, seen, seen.still(FRAMES), seen)
  assert values(table)["pose_r2"] == values(table)["pose_r2_2"] == 1
  assert values(still)["pose_r2"] < 0.1 and values(still)["pose_r2_2"] < 0.1
  assert values(still)["identity"] == 0
  assert [cross_driven.driver_of(i, 5) for i in range(5)] == [2, 3, 4, 0, 1]


def level(windows):
  """How loud each window of sound is."""
  return (np.abs(windows.astype(float)).mean(1, keepdims=True),)


def test_the_nearer_sound_wins(truth):
  sync = OwnSyncNet(
    lip_tower=lambda x: (np.zeros((len(x), 1)),),
    sound_tower=level,
    frames=5,
    fps=25.0,
  )
  long = truth.seen.still(50)
  loud = np.tile(truth.clip.speech, 4)[: 640 * 50]
  quiet = loud // 100

  def other(own, against):
    found = lip_sync.two_way(sync, long, own, against)
    return found.other.mean(), found.other_spans.mean()

  assert other(quiet, loud) == (1, 1)
  assert other(loud, quiet) == (0, 0)
  assert other(loud, loud) == (0.5, 0.5)
  found = lip_sync.two_way(sync, long, loud, quiet[: 640 * 30])
  assert len(found.other) == 26 and len(found.other_spans) == 6
  assert len(found.elsewhere) == 46 and len(found.elsewhere_spans) == 26
  short = lip_sync.two_way(sync, truth.seen, truth.clip.speech, quiet[:640])
  assert len(short.elsewhere) == 10
  assert not len(short.other) and not len(short.elsewhere_spans)


def test_the_place_of_the_sound_wins(truth):
  """Lips and sound that rise together are nearest where they belong."""
  rising = np.linspace(0, 9_000, 640 * 50).astype(np.int16)
  codes = level(np.stack([rising[640 * i :][:3200] for i in range(46)]))
  sync = OwnSyncNet(
    lip_tower=lambda x: (codes[0][: len(x)],),
    sound_tower=level,
    frames=5,
    fps=25.0,
  )
  # In one batch, as the tower does not know which windows it is given.
  found = lip_sync.two_way(sync, truth.seen.still(50), rising, rising // 2)
  assert found.elsewhere.mean() == found.elsewhere_spans.mean() == 1
  assert found.other_spans.mean() == 1


def test_emotions_are_counted():
  seen = [
    Named("neutral", dict.fromkeys(ASKED, "happy")),
    Named("happy", {x: x for x in ASKED}),
  ]
  ours, unmoved = MetricTable(), MetricTable()
  for one in seen:
    emotions.add(ours, unmoved, one)
  assert values(ours)["named"] == pytest.approx(0.6)
  assert values(ours)["named_of_neutral"] == pytest.approx(0.2)
  assert values(unmoved)["named"] == pytest.approx(0.2)
  shares = dict(zip(EXPRESSIONS, emotions.confusion(seen, "sad"), strict=True))
  assert shares["happy"] == shares["sad"] == 0.5
  assert emotions.confusion(seen, "").sum() == 1


def test_all_of_it_on_two_clips(clip, judges):
  method = methods.open_method(str(packaged.PHOTOGRAPH), "ours")
  assert method.takes_emotions
  measured = measure([method], [clip, clip._replace(name="two")], judges)
  tables = report.tables_of(measured, 0)
  titles = [table.title for table in tables]
  assert len(titles) == 7 and "Self-driven: lip sync" not in titles
  rows = {row.method: row for row in tables[0].rows}
  assert list(rows) == ["ours", STATIC, TRUTH]
  assert rows["ours"].values["psnr_face_gain"].value > 1
  assert rows["ours"].clips == 2
  assert values(measured.cross_driven["ours"])["pose_r2"] > 0.8
  assert values(measured.cross_driven["ours"])["pose_r2_2"] > 0.5
  assert (
    measured.silence["ours"] > 0 and measured.speed["ours"].frames_per_s > 1
  )
  assert measured.sheet.shape == (4 * 128, 6 * 128, 3)


class Echo(Synthesizer):
  """Draws the portrait, whatever it hears."""

  def __init__(self):
    self.settings = Settings(
      image=64, emotion=0, emotion_input="frame", frames=5, context=2, fps=25.0,
      framing=Framing(side=1.3, up=0.04, still_side=1.3, still_up=0.04),
    )  # fmt: skip
    self.neutral = np.zeros(3, np.float32)

  def portrait(self, frame, landmarks):
    del landmarks
    return frame

  def pose(self, frames):
    return np.zeros((len(frames), 2), np.float32)

  def stream(self, portrait, pose, emotion, audio):
    del emotion, audio
    for _ in pose:
      yield portrait[None]


def test_a_drawn_square_lies_where_it_was_cut(clip):
  method = methods.Drawn("drawn", Echo())
  (frame,) = method.frames(clip, clip.speech, clip, which=[3])
  apart = np.abs(frame.astype(int) - clip.frames[0])
  assert 0.5 < apart.mean() < 8  # a blur of the same, in the same place
  shifted = np.abs(np.roll(frame, 4, 1).astype(int) - clip.frames[0])
  assert apart.mean() < 0.7 * shifted.mean()
  assert len([*method.frames(clip, clip.speech, None)]) == FRAMES
  with pytest.raises(ValueError, match="takes no emotion by name"):
    next(method.frames(clip, clip.speech, None, "happy"))


def test_rows_have_names_of_their_own():
  assert methods.names_of(["a/x", "b/y"]) == ["x", "y"]
  assert methods.names_of(["a/x", "b/x"]) == ["a/x", "b/x"]
