"""Flags of other tools ask for what our own do."""

import pytest

from speak_jax.inference import aliases

OURS = ["--identity=a.png", "--audio=b.wav", "-o=c.mp4"]


@pytest.fixture
def asked(forked, tmp_path):
  """What words ask for, or the line that refuses them."""
  for name in ("a.png", "b.wav", "nods.mp4"):
    (tmp_path / name).write_text("something")

  def ask(*words):
    done = forked.run("tests.asked", *words, cwd=tmp_path)
    return done.stdout if done.returncode == 0 else done.stderr

  return ask


@pytest.mark.parametrize(
  ("theirs", "ours"),
  [
    (
      "--source_image a.png --driven_audio=b.wav --ref_pose nods.mp4 -o c.mp4",
      [*OURS, "--pose=nods.mp4"],
    ),
    (
      "--source_image=example --driven_audio example -o c.mp4",
      ["--identity=example", "--audio=example", "-o=c.mp4"],
    ),
    (
      "--source_image a.png --driven_audio b.wav --still --result_dir new/out"
      " --expression_scale 1.5 --no-blink",
      [
        *OURS[:2],
        "-o=new/out/a--b.mp4",
        "--pose=still",
        "--mouth=1.5",
        "--noblink",
      ],
    ),
  ],
)
def test_an_alias_asks_for_what_its_own_name_does(
  asked, tmp_path, theirs, ours
):
  found = asked(*theirs.split())
  assert found.startswith("Request(")
  assert found == asked(*ours)
  assert (tmp_path / "new" / "out").is_dir() == ("result_dir" in theirs)


def test_degrees_are_a_sweep(asked):
  degrees = ("--input_yaw", "-20", "30.5", "10", "--input_roll=5", "-5")
  spaced = asked(*OURS, *degrees)
  assert "Sweep(yaw=(-20.0, 30.5, 10.0), pitch=(), roll=(5.0, -5.0))" in spaced
  assert spaced == asked(*OURS, "--input_yaw=-20,30.5,10", "--input_roll=5,-5")


@pytest.mark.parametrize(
  ("words", "line"),
  [
    ("--source_image d.png", "--identity and --source_image are the same"),
    ("--pose nods.mp4 --ref_pose nods.mp4", "--pose and --ref_pose are the sa"),
    ("--pose nods.mp4 --still", "--pose and --still both turn the head"),
    ("--ref_pose nods.mp4 --input_yaw 5", "--ref_pose and --input_yaw both"),
    ("--still --input_roll 5", "--still and --input_roll both turn the head"),
    ("--result_dir out", "give --output, the mp4, or --result_dir, its folder"),
    ("--input_yaw=5,far", "--input_yaw 'far' is not from -180 to 180"),
    ("--input_yaw 200", "--input_yaw '200' is not from -180 to 180"),
    ("--input_yaw", "--input_yaw is empty"),
  ],
)
def test_what_is_said_twice_or_is_no_angle_is_one_line(asked, words, line):
  said = asked(*OURS, *words.split())
  assert line in said and said.count("\n") == 1


def test_where_to_is_asked_for(asked):
  assert "give --output" in asked(*OURS[:2])


def test_degrees_end_where_words_do():
  words = ["me", "--input_pitch", "1", "-2", "--still", "3", "--", "4"]
  known = ["me", "--input_pitch=1,-2", "--still", "3", "--", "4"]
  assert aliases.translated(words) == known
