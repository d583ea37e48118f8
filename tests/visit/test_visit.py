"""A small visit by all doors, and that its judge sees what is wrong."""

import importlib.util
import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from data_pipelines.media.audio import whole
from data_pipelines.media.mp4 import write_video
from speak_jax.common import packaged
from tests.visit import cases, doors, inside, outcome, report
from tests.visit.doors import Fault, Refusal

ROOT = Path(__file__).parents[2]
SIDE, RATE = 64, 16_000


def film(path, color=None):
  """Ten frames of noise, or of one colour, with their sound."""
  rng = np.random.default_rng(0)
  frames = [
    rng.integers(0, 255, (SIDE, SIDE, 3), np.uint8)
    if color is None
    else np.full((SIDE, SIDE, 3), color, np.uint8)
    for _ in range(10)
  ]
  write_video(path, frames, 25.0, whole(np.zeros(round(0.4 * RATE), np.int16)))


class Door:
  """Does what a test says."""

  name = "door"

  def __init__(self, does):
    self.visit = does

  def close(self):
    pass


@pytest.fixture
def case(tmp_path):
  path = tmp_path / "some file.jpg"
  path.write_bytes(b"0")
  plain = {"identity": Path("face.jpg"), "audio": Path("voice.wav")}
  return cases.Case(
    "x/some file.jpg", path, "identity", {**plain, "identity": path}
  )


@pytest.fixture
def visit(case, tmp_path):
  place = tmp_path / "work"
  place.mkdir()

  def visited(does, limit_s=10.0):
    seen = doors.visited(Door(does), case, place, limit_s)
    assert not list(place.iterdir())
    return seen.outcome

  return visited


def raising(error):
  def does(case, output):
    raise error

  return does


def test_a_video_works(visit, case):
  def does(case, output):
    film(output)
    return [f"warning: {case.path}: dark", f"{case.path}: dark"]

  seen = visit(does)
  assert (seen.verdict, seen.warnings, seen.frames) == ("works", ("dark",), 10)


def test_one_line_that_names_the_file_is_a_refusal(visit, case):
  for line in (f"{case.path}: no face", f"error: {case.path.name}: no face"):
    seen = visit(raising(Refusal(line)))
    assert (seen.verdict, seen.line) == ("refused", "no face")
  seen = visit(raising(Refusal("no face", "identity")))
  assert (seen.verdict, seen.line) == ("refused", "no face")


@pytest.mark.parametrize(
  ("line", "role", "why"),
  [
    ("no face", None, "does not name the file"),
    ("some file.jpg: no\nface", None, "not one line"),
    ("", "identity", "not one line"),
    ("some file.jpg: " + "x" * 500, None, "a long line"),
    ("some file.jpg: ValueError('x')", None, "words of Python"),
    ("no face", "audio", "beside the wrong input"),
  ],
)
def test_another_line_is_a_fault(visit, line, role, why):
  seen = visit(raising(Refusal(line, role)))
  assert seen.verdict == "fault"
  assert seen.line.startswith(why)


def test_what_nobody_may_meet_is_a_fault(visit, tmp_path):
  assert visit(raising(KeyError("a"))).line == "KeyError: 'a'"
  assert visit(raising(Fault("noise"))).line == "noise"

  def hangs(case, output):
    while True:
      pass

  assert visit(hangs, 0.2).line == "hangs for over 0.2 s"

  def half(case, output):
    (output.parent / ".x.partial").write_bytes(b"0")
    raise Refusal("no face", "identity")

  assert visit(half).line == "left behind: .x.partial"

  def black(case, output):
    film(output, color=0)
    return []

  assert visit(black).line == "frames of one colour"

  def nothing(case, output):
    return []

  assert visit(nothing).verdict == "fault"


def test_a_command_ends_with_a_video_or_one_line():
  says = ["speech    a.wav", "generate 2/50  3 frames/s", "warning: a: dark"]
  assert inside.read(0, says) == ["warning: a: dark"]
  with pytest.raises(Refusal, match="a: no face"):
    inside.read(1, [*says, "error: a: no face"])
  for code, more in (
    (0, ["Traceback (most recent call last):"]),
    (0, ["error: a: no face"]),
    (1, []),
    (1, ["error: a: no face", "error: b: no face"]),
    (2, ["error: a: no face"]),
  ):
    with pytest.raises(Fault):
      inside.read(code, [*says, *more])


def row(door, **changed):
  plain = dict(
    file="x/a.jpg",
    role="identity",
    door=door,
    stamp="1-1",
    verdict="works",
    seconds=1.0,
    digest="ab",
  )
  return outcome.Outcome(**plain | changed)


@pytest.mark.parametrize(
  ("changed", "what"),
  [
    ({}, None),
    ({"seconds": 9.0}, None),
    ({"verdict": "refused", "line": "no face"}, "verdict and line"),
    ({"warnings": ("dark",)}, "warnings"),
    ({"digest": "cd"}, "frames"),
  ],
)
def test_doors_are_compared(changed, what):
  apart = report.disagreements([row("page"), row("server", **changed)])
  assert {key: line.split(": ")[0] for key, line in apart.items()} == (
    {}
    if what is None
    else {("x/a.jpg", "identity"): f"x/a.jpg as identity, {what}"}
  )


def test_a_log_goes_on_where_it_was_cut(tmp_path):
  path = tmp_path / "visits.jsonl"
  log = outcome.Log(path, resume=False)
  log.add(row("page", warnings=("dark",)))
  with path.open("a") as file:
    file.write('{"file": "x/b')
  log = outcome.Log(path, resume=True)
  key = ("x/a.jpg", "identity", "page")
  assert log.outcomes[key] == row("page", warnings=("dark",))
  assert log.knows(key, "1-1") and not log.knows(key, "1-2")
  log.add(row("page", verdict="fault"))
  assert not log.knows(key, "1-1")  # perhaps it was mended
  assert not outcome.Log(path, resume=False).outcomes


def test_all_doors_agree(tmp_path, face_models):
  """The tool as anybody runs it."""
  for needed in ("gradio", "fastapi"):
    if importlib.util.find_spec(needed) is None:
      pytest.skip(f"no {needed} here")
  folder, out = tmp_path / "mine", tmp_path / "out"
  folder.mkdir()
  shutil.copy(packaged.PORTRAIT, folder / "face.jpg")
  (folder / "note.mp4").write_text("This is no video.")
  sound, rate = soundfile.read(packaged.SENTENCE, dtype="int16")
  soundfile.write(folder / "voice.wav", sound[: rate // 2], rate)
  words = ["--folder", folder, "--out", out, "--processes", "0"]
  done = subprocess.run(
    [sys.executable, "-m", "tests.visit", *words, "--seconds", "0.4"],
    cwd=ROOT,
    capture_output=True,
    text=True,
  )
  assert done.returncode == 0, done.stdout + done.stderr
  lines = (out / "visits.jsonl").read_text().splitlines()
  rows = [json.loads(line) for line in lines]
  verdicts = {(x["file"], x["role"], x["door"]): x["verdict"] for x in rows}
  assert len(verdicts) == 3 * 4 * 4
  for (file, role, _), verdict in verdicts.items():
    fits = file == "mine/voice.wav" if role == "audio" else "face" in file
    assert verdict == ("works" if fits else "refused"), (file, role)
  for name in ("summary.md", "table.tsv", "identity-1.png"):
    assert (out / name).exists()
