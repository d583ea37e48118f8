"""Heads, gazes and emotions as users say them: words, angles and tables."""

from pathlib import Path

import numpy as np
import pytest

from data_pipelines.faces import headpose
from data_pipelines.media.error import MediaError
from speak_jax.inference import curve, emotion_label, head
from speak_jax.inference.curve import Curve
from speak_jax.inference.head import Idle, Sweep
from speak_jax.inference.materials import stored_emotion, stored_pose
from speak_jax.inference.request import Request, RequestError, check
from speak_jax.photograph import head_motion

ROWS = "0,0,0,0\n1,10,-5,2\n3,10,5,0\n"


def write(folder, text, name="pose.csv"):
  path = folder / name
  path.write_text(text)
  return path


@pytest.mark.parametrize(
  "text",
  [
    ROWS,
    "time,yaw,pitch,roll\n" + ROWS,
    "\ufeffTime, Yaw, Pitch, Roll\r\n" + ROWS.replace("\n", "\r\n"),
    "# my head\n\n" + ROWS + "\n",
    "yaw,time,pitch,roll\n0,0,0,0\n10,1,-5,2\n10,3,5,0\n",
  ],
)
def test_a_table_is_a_curve(tmp_path, text):
  found = head.read_pose(write(tmp_path, text))
  assert isinstance(found, Curve)
  assert found.times.tolist() == [0, 1, 3]
  assert found.values.tolist() == [[0, 0, 0], [10, -5, 2], [10, 5, 0]]


@pytest.mark.parametrize(
  ("text", "line"),
  [
    ("", "has no row"),
    ("time,yaw,pitch,roll\n", "has no row of time, yaw, pitch, roll"),
    ("0,0,0\n", "row 1: 3 values; 4 are wanted: time, yaw, pitch, roll"),
    ("time,yaw,pitch,role\n" + ROWS, "row 1: time 'time' is not from 0"),
    ("0,0,0,0\n0,1,0,0\n", "row 2: time 0 is not after the row before"),
    ("0,0,0,0\n-1,1,0,0\n", "row 2: time '-1' is not from 0 to 14400"),
    ("0,0,0,0\n\n1,nan,0,0\n", "row 3: yaw 'nan' is not from -180 to 180"),
    ("0,0,0,0\n1,0,inf,0\n", "row 2: pitch 'inf' is not"),
    ("0,0,0,x\n1,0,0,y\n2,0,0,200\n", r"row 1: roll 'x'.*\(and 2 more rows\)"),
    ("0;0;0;0\n", "row 1: 1 values"),
    ('0,"0,0,0\n', "row 1: 2 values"),
  ],
)
def test_a_malformed_row_is_one_line_with_its_number(tmp_path, text, line):
  with pytest.raises(MediaError, match=r"pose\.csv: " + line) as error:
    head.read_pose(write(tmp_path, text))
  assert "\n" not in str(error.value)


def test_what_is_no_text_is_one_line(tmp_path):
  path = tmp_path / "pose.csv"
  path.write_bytes(b"\xff\xfe\x00")
  with pytest.raises(MediaError, match="is no text in UTF-8"):
    head.read_pose(path)
  with pytest.raises(MediaError, match="cannot be read"):
    head.read_pose(tmp_path / "gone.csv")


def test_a_table_has_an_end(tmp_path, monkeypatch):
  monkeypatch.setattr(curve, "MOST_ROWS", 2)
  with pytest.raises(MediaError, match="over 2 rows"):
    head.read_pose(write(tmp_path, ROWS))


def test_a_curve_is_smooth_held_and_never_overshoots():
  one = Curve(np.array([1.0, 2, 4]), np.array([[0.0], [30], [30]]))
  seconds = np.linspace(0, 5, 501)
  found = one.at(seconds)[:, 0]
  assert found[0] == 0 and found[-1] == 30  # held
  assert found.min() >= 0 and found.max() <= 30
  assert found[100] == 0 and found[200] == 30 and found[300] == 30
  speed = np.diff(found) * 100
  assert np.abs(np.diff(speed)).max() < 5  # degrees a second, in 0.01 s
  single = Curve(np.array([1.0]), np.array([[7.0]]))
  assert single.at(seconds[:3]).tolist() == [[7.0]] * 3


def test_a_file_counts_more_than_a_word(tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  assert head.read_pose("still") is Idle.STILL
  assert head.read_pose("sampled") is head.read_pose(None) is Idle.SAMPLED
  assert head.file_of("still") is None
  (tmp_path / "still").touch()
  assert head.read_pose("still") == head.file_of("still") == "still"
  assert head.read_pose(Path("sampled")) == Path("sampled")


def turned(pose, n, own, mode):
  """The turns of all n frames, which are those of each by itself."""
  turns = head.turns(pose, n, 25.0, own, mode)
  assert turns is not None
  found = turns(np.arange(n))
  each = np.concatenate([turns(np.array([i])) for i in range(n)])
  np.testing.assert_array_equal(found, each)
  return found


def test_turns_are_beside_the_photographs_pose_or_the_heads_own():
  own = head_motion.rotation_of(*np.radians([12, 3, -4]))
  pose = Curve(np.array([0.0, 1]), np.array([[0.0, 0, 0], [20, -8, 5]]))

  def last(mode, pose=pose):
    found = turned(pose, 26, own, mode)
    assert found.shape == (26, 3, 3)
    return found[-1]

  for mode, made in (("relative", np.eye(3)), ("absolute", own)):
    angles = np.degrees(headpose.angles((last(mode) @ made)[None]))[0]
    np.testing.assert_allclose(angles, [20, -8, 5], atol=1e-9)
  np.testing.assert_array_equal(last(None), last("relative"))
  assert np.array_equal(last(None, Idle.STILL), np.eye(3))
  assert head.turns(Idle.SAMPLED, 26, 25.0, own, None) is None


def test_a_sweep_goes_at_an_even_speed():
  """Degrees of a list as SadTalker has them: absolute, over all frames."""
  own = head_motion.rotation_of(*np.radians([12, 3, -4]))
  sweep = Sweep(yaw=(-20.0, 30.0, 10.0))
  found = turned(sweep, 71, own, None)
  angles = np.degrees(headpose.angles(found @ own))
  np.testing.assert_allclose(angles[[0, 50, 70], 0], [-20, 30, 10], atol=1e-6)
  np.testing.assert_allclose(np.abs(np.diff(angles[:, 0])), 1, atol=1e-6)
  np.testing.assert_allclose(angles[:, 1:], [[3, -4]] * 71, atol=1e-6)
  beside = turned(sweep, 71, own, "relative")
  angles = np.degrees(headpose.angles(beside))
  np.testing.assert_allclose(angles[0], [-20, 0, 0], atol=1e-6)
  one = Sweep(roll=(7.0, 7.0)).at(np.linspace(0, 1, 3), np.array([1.0, 2, 3]))
  assert one.tolist() == [[1, 2, 7]] * 3
  assert head.described(sweep, sweep) == "yaw -20 to 30 to 10"


@pytest.mark.parametrize(
  ("sweep", "line"),
  [
    (Sweep(), "no angles"),
    (Sweep(pitch=(0.0, 181.0)), "pitch 181.0 is not from -180 to 180"),
    (Sweep(yaw=(np.nan,)), "yaw nan"),
  ],
)
def test_a_sweep_of_impossible_angles_is_one_line(sweep, line):
  with pytest.raises(RequestError, match="pose: " + line):
    check(Request(identity="a", audio="b", pose=sweep), True)


def test_a_head_goes_a_share_of_its_way():
  turn = head_motion.rotation_of(*np.radians([20, 0, 0]))
  drive = head_motion.Drive(
    head_motion.Motion(turn, np.array([0.2, 0.1]), 1.21), 0.8, (3.0, 1.0)
  )
  assert head_motion.Steering()(drive) == drive
  half = head_motion.Steering(0.5)(drive)
  angles = np.degrees(headpose.angles(half.motion.rotation[None]))[0]
  np.testing.assert_allclose(angles, [10, 0, 0], atol=1e-9)
  np.testing.assert_allclose(half.motion.shift, [0.1, 0.05])
  assert half.motion.scale == pytest.approx(1.1)
  assert (half.lids, half.gaze) == (0.8, (3.0, 1.0))
  kept = head_motion.Steering(0.0, blinks=False, gaze=(9.0, 0.0))(drive)
  np.testing.assert_allclose(kept.motion.rotation, np.eye(3), atol=1e-12)
  assert (kept.lids, kept.gaze, kept.motion.scale) == (0.0, (9.0, 0.0), 1.0)


def test_a_still_head_blinks_as_one_that_sways():
  turns = head.turns(Idle.STILL, 100, 25.0, np.eye(3), None)
  sways = list(head_motion.idle(100, 25.0, 3))
  still = list(head_motion.idle(100, 25.0, 3, turns))
  assert [x[1:] for x in still] == [x[1:] for x in sways]
  assert any(x.lids for x in still)
  assert all(np.array_equal(x.motion.rotation, np.eye(3)) for x in still)
  assert not any(x.motion.shift.any() for x in still)


@pytest.mark.parametrize(
  ("value", "found"),
  [
    (None, "follow"),
    ("still", "still"),
    ("20,-5", (20, -5)),
    ((20, -5), (20, -5)),
    ("-40, 25", (-40, 25)),
  ],
)
def test_gazes_are_words_or_degrees(value, found):
  assert head.read_gaze(value) == found


def test_a_gaze_is_beside_the_photographs_or_the_heads():
  own = np.array([4.0, 1.0])
  assert head.gaze_beside("follow", own) is None
  assert head.gaze_beside("still", own) == (0, 0)
  assert head.gaze_beside((10.0, 0.0), own) == (6, -1)
  assert head.gaze_beside((10.0, 0.0), None) == (10, 0)


# --- emotions over time ------------------------------------------------------

MOODS = "0,neutral,0\n1,happy,1\n1,surprised,0.5\n3,sad,1.5\n"


def test_a_time_line_is_a_curve_of_strengths(tmp_path):
  path = write(tmp_path, "time,emotion,level\n" + MOODS, "moods.csv")
  found = emotion_label.read(path)
  assert isinstance(found, Curve)
  happy, surprised, sad = (
    emotion_label.strengths(name) for name in ("happy", "surprised", "sad")
  )
  levels = found.at(np.array([0.0, 1, 3, 9]))
  np.testing.assert_allclose(
    levels, [0 * sad, happy + 0.5 * surprised, 1.5 * sad, 1.5 * sad]
  )
  rows = [(0, "neutral", 0), (1, "happy", 1), (1, "surprised", 0.5)]
  ours = stored_emotion([*rows, (3, "sad", 1.5)], tmp_path)
  assert isinstance(ours, Curve)
  assert np.array_equal(ours.values, found.values)


def test_levels_change_without_jumps(tmp_path):
  """The quickest that a time line may ask for."""
  rows = "0.4,happy,0\n0.6,happy,0\n0.8,happy,1.5\n"  # binary, less than 0.2
  path = write(tmp_path, rows, "moods.csv")
  found = emotion_label.read(path)
  assert isinstance(found, Curve)
  levels = found.at(np.arange(50) / 25).max(1)
  assert levels.min() == 0 and levels.max() == 1.5
  assert (np.diff(levels) >= 0).all() and np.diff(levels).max() < 0.45


@pytest.mark.parametrize(
  ("text", "line"),
  [
    ("0,glad,1\n", "row 1: emotion 'glad' is not one of neutral, angry"),
    ("0,happy,1\n1,happy,1.6\n", "row 2: level '1.6' is not from 0 to 1.5"),
    ("0,happy,1\n0.1,sad,1\n", "row 2: time 0.1 is not 0.2 s after 0"),
    ("2,happy,1\n1,sad,1\n", "row 2: time 1 is not 0.2 s after 2"),
    ("0,happy,1\n0,happy,1\n", "row 2: happy has a level at 0 s already"),
    ("0,happy\n", "row 1: 2 values; 3 are wanted: time, emotion, level"),
  ],
)
def test_a_malformed_mood_is_one_line_with_its_number(tmp_path, text, line):
  path = write(tmp_path, text, "moods.csv")
  with pytest.raises(MediaError, match=r"moods\.csv: " + line):
    emotion_label.read(path)


# --- in memory ---------------------------------------------------------------


def test_angles_in_memory_are_as_good_as_a_table(tmp_path):
  table = head.read_pose(write(tmp_path, ROWS))
  rows = np.array([[0, 0, 0, 0], [1, 10, -5, 2], [3, 10, 5, 0]])
  ours = stored_pose(rows, tmp_path)
  assert isinstance(ours, Curve) and isinstance(table, Curve)
  assert np.array_equal(ours.times, table.times)
  assert np.array_equal(ours.values, table.values)
  found = stored_pose((rows[:, 1:].astype(float), 50), tmp_path)
  assert isinstance(found, Curve)
  assert found.times.tolist() == [0, 0.02, 0.04]
  assert stored_pose("still", tmp_path) == "still"
  assert stored_pose(ours, tmp_path) is ours


@pytest.mark.parametrize(
  ("value", "line"),
  [
    (np.zeros((0, 4)), "angles are"),
    (np.zeros((2, 4)), "row 2: time 0 is not after"),
    (np.full((1, 4), np.nan), "row 1"),
    (np.array([[0, 0, 0, 300.0]]), "an angle is beyond 180 degrees"),
    ((np.zeros((3, 3)), 0), "0 is no rate"),
    (np.zeros((3, 5)), "float64"),
  ],
)
def test_angles_that_cannot_be_are_one_line(tmp_path, value, line):
  with pytest.raises(ValueError, match="pose: " + line):
    stored_pose(value, tmp_path)
  with pytest.raises(ValueError, match="emotion: row 2: emotion 'glad'"):
    stored_emotion([(0, "happy", 1), (1, "glad", 1)], tmp_path)


# --- what a model cannot do --------------------------------------------------


@pytest.mark.parametrize(
  ("fields", "line"),
  [
    ({"pose_scale": 2.1}, "pose_scale: 2.1 is not from 0 to 2"),
    ({"pose_scale": np.nan}, "pose_scale"),
    ({"mouth": -1}, "mouth: -1 is not from 0 to 2"),
    ({"gaze": "left"}, "gaze: 'left' is not follow, still or YAW,PITCH"),
    ({"gaze": "41,0"}, "gaze: yaw '41' is not from -40 to 40"),
    ({"gaze": (0, 26)}, "gaze: pitch 26 is not from -25 to 25"),
    ({"gaze": "follow"}, "gaze: there is no video to follow; leave it out"),
    (
      {"pose": "still", "pose_mode": "absolute"},
      "pose_mode: there is no pose to follow",
    ),
    ({"pose": "still", "pose_scale": 0.5}, "pose_scale: the head keeps still"),
    ({"emotion": "x" * 5000}, "emotion: x+: no such file, nor an emotion's"),
    ({"emotion": Curve(np.zeros(1), np.zeros((1, 3)))}, "emotion"),
  ],
)
def test_what_cannot_be_of_a_photograph_is_one_line(fields, line):
  with pytest.raises(RequestError, match=line) as error:
    check(Request(identity="a.png", audio="b.wav", **fields), True)
  assert "\n" not in str(error.value)


@pytest.mark.parametrize(
  ("fields", "field"),
  [
    ({"pose": "sampled"}, "pose"),
    ({"pose": "pose.csv"}, "pose"),
    ({"pose": Sweep(yaw=(1.0,))}, "pose"),
    ({"pose_scale": 0.5}, "pose_scale"),
    ({"gaze": "still"}, "gaze"),
    ({"blink": False}, "blink"),
    ({"mouth": 0.5}, "mouth"),
    ({"emotion": "moods.csv"}, "emotion"),
  ],
)
def test_what_a_model_that_draws_cannot_do_is_one_line(
  fields, field, tmp_path, monkeypatch
):
  monkeypatch.chdir(tmp_path)
  write(tmp_path, ROWS)
  write(tmp_path, MOODS, "moods.csv")
  request = Request(identity="a.png", audio="b.wav", **fields)
  with pytest.raises(RequestError, match=field + ": .*this model"):
    check(request, False)
  check(Request(identity="a.png", audio="b.wav", pose="still"), False)
