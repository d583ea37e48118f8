import subprocess
import sys

import cv2
import pytest

from data_pipelines import inspect, prepare
from data_pipelines.sources.task import Task
from tests import toy_records


class Make:
  """A clip of one person and emotion."""

  def __init__(self, number, emotion):
    self.record = toy_records.record(
      number, identity=number, emotion=emotion, frames=5
    )

  def __call__(self):
    return [self.record]


@pytest.fixture
def data(tmp_path):
  tasks = [
    Task(
      f"clip{i}", f"person{i}", "test" if i == 3 else "train", Make(i, i % 2)
    )
    for i in range(4)
  ]
  prepare.prepare(tasks, tmp_path / "d", workers=1, meta={"source": "toy"})
  return tmp_path / "d"


def test_says_what_is_there(data):
  text = inspect.describe(data)
  assert "source: toy" in text
  assert "train: 3 clips, 3 identities, 0.00 hours, 15 frames" in text
  assert "test: 1 clips, 1 identities" in text
  assert "emotion: angry 3 1, neutral 3 2" in text
  assert "rejects: 0" in text


def test_sheet_shows_every_clip(data):
  sheet = inspect.sheet(data)
  height, width = sheet.shape[:2]
  assert width == inspect.COLUMNS * inspect.CELL_PX
  assert height == 4 * (inspect.CELL_PX + 16)
  # Each row has its own colour: red is the clip's number.
  row = inspect.CELL_PX + 16
  reds = [sheet[i * row + 30, 64, 0] for i in range(4)]
  assert [round(red / toy_records.STEP) for red in reds] == [0, 1, 2, 3]


def test_command_writes_the_sheet(data, tmp_path, root):
  path = tmp_path / "sheet.png"
  command = [sys.executable, "-m", "data_pipelines.inspect"]
  run = subprocess.run(
    [*command, str(data), f"--sheet={path}"],
    cwd=root,
    capture_output=True,
    text=True,
    check=False,
  )
  assert run.returncode == 0, run.stderr
  assert cv2.imread(str(path)).shape[1] == 1024
  run = subprocess.run(
    [*command, str(tmp_path)],
    cwd=root,
    capture_output=True,
    text=True,
    check=False,
  )
  assert run.returncode == 1
  assert run.stderr.startswith("inspect: ") and "Traceback" not in run.stderr
