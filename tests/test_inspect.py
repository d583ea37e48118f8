import json
import subprocess
import sys

import cv2
import numpy as np
import pytest

from data_pipelines import inspect
from data_pipelines.dataset import opening, writer
from data_pipelines.dataset.index import read_index
from data_pipelines.ingest.run import prepare
from data_pipelines.media import decoder
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
  prepare(tasks, tmp_path / "d", workers=0, meta={"source": "toy"})
  return tmp_path / "d"


def test_says_what_is_there(data):
  text = inspect.describe(inspect.Prepared(data))
  assert "source: toy" in text
  assert "train: 3 clips, 3 identities, 0.00 hours, 15 frames" in text
  assert "test: 1 clips, 1 identities" in text
  assert "  mouths: 16 px grey 3\n" in text  # half of the crops' side
  assert "  meshes: of 0 clips\n" in text
  bytes_ = sum(path.stat().st_size for path in data.glob("speak-train*"))
  an_hour = bytes_ / 15 * 25 * 3600 / 1e9
  assert f"  disk: 0.00 GB, {an_hour:.2f} GB an hour\n" in text
  rows = [line.split() for line in text.splitlines()]
  assert ["neutral", "2"] in rows and ["angry", "1"] in rows
  assert ["clips", "level", "3"] in rows
  assert "rejects: 0" in text


def test_counts_views_and_tells_why_clips_were_rejected(tmp_path):
  path = tmp_path / writer.shard_name("train", 0, 1)
  clips = [
    toy_records.record(0, view="front", take="a", level=1),
    toy_records.record(1, view="left_30", take="a", emotion=-1, level=0),
    toy_records.record(2, view="front", take="b", level=2),
  ]
  licence = {"name": "x", "terms_url": "http://x", "line": "Not for sale."}
  rows = writer.write_shard(path, clips)
  writer.write_metadata(tmp_path, rows, meta={"licence": licence})
  reject = {"file": "f", "start": None, "stop": None}
  lines = [
    reject | {"clip": f"c{n}", "reason": f"face too small ({n} px)"}
    for n in range(3)
  ]
  text = "".join(json.dumps(line) + "\n" for line in lines)
  (tmp_path / "rejects.jsonl").write_text(text)
  path.unlink()  # what is said of a set comes from its index
  text = inspect.describe(inspect.Prepared(tmp_path))
  assert "views: front 2, left_30 1" in text
  assert "takes of several views: 1" in text
  assert "mouths: none 3" in text
  assert "licence: Not for sale. http://x" in text
  assert "3  face too small (N px), such as c0" in text
  table = [line.split() for line in text.splitlines()]
  assert ["neutral", "0", "1", "1"] in table
  assert ["unknown", "1", "0", "0"] in table


def test_histograms_say_how_many_clips_they_read(data):
  text = inspect.histograms(inspect.Prepared(data), 2)
  assert "train: 10 frames of 2 of 3 clips" in text
  faces, yaws = (
    [line for line in text.splitlines() if word in line]
    for word in ("face, source px", "yaw, degrees")
  )
  side = np.ptp(toy_records.landmarks(5, 32), axis=1).max(1)
  assert f"median {np.median(side):.0f}" in faces[0]
  assert "median 1" in yaws[0]  # the yaw of clips 0 and 2 is their number
  assert "0 to 15 100.0% ####" in text


def test_a_clip_is_played_with_its_sound(data, tmp_path):
  line = inspect.play(inspect.Prepared(data), 1, tmp_path / "1.mp4")
  index = read_index(data)
  assert f"{index[1].clip}, {index[1].identity}" in line
  info = decoder.probe(tmp_path / "1.mp4")
  assert (info.width, info.has_audio) == (inspect.PLAY_PX, True)
  frames = list(decoder.Frames(tmp_path / "1.mp4", 25.0))
  assert len(frames) == 5
  green = (frames[0][..., 1] > 200) & (frames[0][..., 0] < 100)
  assert green.sum() > 300  # landmarks
  with pytest.raises(ValueError, match="no clip 4; it has 0 to 3"):
    inspect.play(inspect.Prepared(data), 4, tmp_path / "4.mp4")


def test_sheet_shows_every_clip(data):
  sheet = inspect.sheet(inspect.Prepared(data))
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


def test_the_index_is_read_once(data, monkeypatch):
  folders = []

  def counted(folder):
    folders.append(folder)
    return read_index(folder)

  for module in (inspect, opening):
    monkeypatch.setattr(module, "read_index", counted)
  prepared = inspect.Prepared(data)
  inspect.describe(prepared)
  inspect.histograms(prepared)
  inspect.sheet(prepared)
  assert len(folders) == 1
