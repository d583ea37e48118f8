import functools
import json
import subprocess
import sys
import time
import warnings
from pathlib import Path

import pytest
from absl import flags
from absl.testing import flagsaver

from data_pipelines import prepare, records
from data_pipelines.media.error import MediaError, MediaWarning
from data_pipelines.sources.task import Task
from speak_jax import progress
from tests import toy_records

META = {"source": "toy", "size": 32}


def make(number, log=None, wait=0.0):
  """A clip; every third cannot be used, every fourth is odd."""
  if log is not None:
    with open(log, "a") as file:
      file.write(f"{number}\n")
  time.sleep(wait)
  if number % 3 == 2:
    raise MediaError(f"raw{number}.mp4", "no face found")
  if number % 4 == 1:
    warnings.warn(f"raw{number}.mp4: odd", MediaWarning, stacklevel=2)
  record = toy_records.record(number % 20, identity=number, frames=4)
  return [record._replace(clip=f"clip{number}")]


def listed(n, **options):
  return [
    Task(
      f"clip{i}",
      f"person{i}",
      "test" if i == 0 else "train",
      functools.partial(make, i, **options),
    )
    for i in range(n)
  ]


def lines(path):
  return [json.loads(line) for line in path.read_text().splitlines()]


def content(folder):
  return {p.name: p.read_bytes() for p in folder.iterdir() if p.is_file()}


def test_a_data_set_with_its_rejects_and_notes(tmp_path):
  summary = prepare.prepare(listed(8), tmp_path, workers=1, meta=META)
  assert summary[:2] == (6, 24) and summary.rejects == 2
  assert summary.seconds == pytest.approx(24 / 25)
  train = records.open_records(tmp_path, "train")
  assert [row.clip for row in train.index] == [
    f"clip{i}" for i in (1, 3, 4, 6, 7)
  ]
  assert train[2].clip == "clip4"
  rejects = lines(tmp_path / "rejects.jsonl")
  assert rejects == [
    {"clip": f"clip{i}", "file": f"raw{i}.mp4", "reason": "no face found"}
    for i in (2, 5)
  ]
  notes = lines(tmp_path / "notes.jsonl")
  assert notes == [{"clip": "clip1", "note": "raw1.mp4: odd"}]


def test_progress_is_few_whole_lines_without_a_terminal(
  tmp_path, monkeypatch, capsys
):
  class Clock:
    """Four seconds pass whenever somebody looks."""

    now = 0.0

    def monotonic(self):
      self.now += 4.0
      return self.now

  clock = Clock()
  for module in (prepare, progress):
    monkeypatch.setattr(module, "time", clock)
  prepare.prepare(listed(7), tmp_path, workers=1, meta=META)
  assert capsys.readouterr().err.splitlines(keepends=True) == [
    "prepare 2/7  0.12 clips/s  0:40 left  0 frames/s, 1 rejected\n",
    "prepare 4/7  0.12 clips/s  0:24 left  0 frames/s, 1 rejected\n",
    "prepare 6/7  0.12 clips/s  0:08 left  0 frames/s, 2 rejected\n",
    "prepare 7/7  0.12 clips/s  0:00 left  0 frames/s, 2 rejected\n",
  ]


def test_bytes_do_not_depend_on_workers(tmp_path, monkeypatch):
  monkeypatch.setattr(prepare, "SHARDS", 3)  # two clips a shard
  prepare.prepare(listed(6), tmp_path / "one", workers=1, meta=META)
  prepare.prepare(listed(6), tmp_path / "two", workers=2, meta=META)
  one, two = content(tmp_path / "one"), content(tmp_path / "two")
  assert one.keys() == two.keys() and len(one) >= 8
  assert one == two


def test_a_rerun_makes_only_what_is_missing(tmp_path):
  log, data = tmp_path / "log", tmp_path / "data"
  tasks = listed(6, log=log)

  def broken():
    raise RuntimeError("a fault of the code")

  spoilt = [*tasks[:4], tasks[4]._replace(make=broken), tasks[5]]
  with pytest.raises(
    prepare.PrepareError, match="clip4: RuntimeError: a fault"
  ):
    prepare.prepare(spoilt, data, workers=1, meta=META)
  with pytest.raises(ValueError, match="not finished"):
    records.read_index(data)
  assert log.read_text().split() == ["1", "2", "3"]  # "test" comes last
  prepare.prepare(tasks, data, workers=1, meta=META)
  assert log.read_text().split() == ["1", "2", "3", "4", "5", "0"]
  before = content(data)
  prepare.prepare(tasks, data, workers=1, meta=META)
  assert len(log.read_text().split()) == 6
  assert content(data) == before
  # Another clip: the old ones are kept, and the set is as if made at once.
  prepare.prepare(listed(7, log=log), data, workers=1, meta=META)
  assert log.read_text().split()[6:] == ["6"]
  prepare.prepare(listed(7), tmp_path / "fresh", workers=1, meta=META)
  assert content(data) == content(tmp_path / "fresh")


def test_too_many_rejects(tmp_path):
  with pytest.raises(
    prepare.TooManyRejectsError, match=r"2 of 6 .*raw2\.mp4: no"
  ):
    prepare.prepare(listed(6), tmp_path, workers=1, meta=META, max_reject=0.3)
  assert len((tmp_path / "rejects.jsonl").read_text().splitlines()) == 2
  assert not (tmp_path / "dataset_info.json").exists()
  summary = prepare.prepare(
    listed(6), tmp_path, workers=1, meta=META, max_reject=0.4
  )
  assert summary.clips == 4


def test_other_settings_are_refused(tmp_path):
  prepare.prepare(listed(2), tmp_path, workers=1, meta=META)
  before = content(tmp_path)
  with pytest.raises(prepare.PrepareError, match="another size"):
    prepare.prepare(
      listed(2), tmp_path, workers=1, meta={"source": "toy", "size": 64}
    )
  assert content(tmp_path) == before


def test_bad_lists_are_refused(tmp_path):
  with pytest.raises(prepare.PrepareError, match="no clips"):
    prepare.prepare([], tmp_path, workers=1, meta=META)
  with pytest.raises(prepare.PrepareError, match="two clips are called clip0"):
    prepare.prepare(listed(1) * 2, tmp_path, workers=1, meta=META)


def alive(process):
  """Whether a process runs; one that only awaits its burial does not."""
  try:
    return bool((process / "cmdline").read_bytes())
  except OSError:
    return False


def test_a_killed_run_leaves_no_worker_and_goes_on(tmp_path, root):
  log, data = tmp_path / "log", tmp_path / "data"
  code = (
    "import sys\n"
    "from data_pipelines import prepare\n"
    "from tests import test_prepare as t\n"
    "if __name__ == '__main__':\n"
    f"  tasks = t.listed(40, log={str(log)!r}, wait=0.2)\n"
    f"  prepare.prepare(tasks, {str(data)!r}, workers=2, meta=t.META)\n"
  )
  script = tmp_path / "run.py"
  script.write_text(f"import sys\nsys.path.insert(0, {str(root)!r})\n{code}")
  run = subprocess.Popen([sys.executable, script], stderr=subprocess.DEVNULL)
  deadline = time.monotonic() + 120
  while len(list(data.glob(".parts/*.json"))) < 3:
    assert time.monotonic() < deadline and run.poll() is None
    time.sleep(0.05)
  children = Path(f"/proc/{run.pid}/task/{run.pid}/children")
  workers = [Path("/proc") / pid for pid in children.read_text().split()]
  run.kill()
  run.wait()
  while any(alive(worker) for worker in workers):
    assert time.monotonic() < deadline, "a worker outlived its parent"
    time.sleep(0.05)
  assert len(workers) >= 2 and 3 <= len(log.read_text().split()) < 40
  done = len(list(data.glob(".parts/*.json")))
  log.unlink()
  prepare.prepare(listed(40, log=log), data, workers=1, meta=META)
  assert len(log.read_text().split()) == 40 - done
  prepare.prepare(listed(40), tmp_path / "fresh", workers=1, meta=META)
  assert content(data) == content(tmp_path / "fresh")


@pytest.fixture
def command(tmp_path, capsys):
  """Runs the command in this process: (exit code, lines on stderr)."""
  flags.FLAGS.mark_as_parsed()

  def run(**values):
    with flagsaver.flagsaver(output=str(tmp_path / "data"), **values):
      code = prepare.main(["prepare"])
    return code, capsys.readouterr().err.splitlines()

  return run


@pytest.mark.parametrize(
  ("values", "line"),
  [
    ({"source": "folder", "input": "none"}, "none: no such folder"),
    ({"source": "folder"}, "--source folder needs --input FOLDER"),
    (
      {"source": "synthetic", "emotions": ["glad"]},
      "emotion 'glad' is not one",
    ),
  ],
)
def test_the_command_fails_in_one_line(command, tmp_path, values, line):
  code, lines = command(**values)
  assert code == 1
  assert len(lines) == 1 and lines[0].startswith(f"prepare: {line}")
  assert not (tmp_path / "data").exists()


def test_the_command_says_too_many_rejects_by_its_code(command, tmp_path):
  (tmp_path / "raw").mkdir()
  (tmp_path / "raw" / "a.mp4").write_text("no video")
  code, lines = command(source="folder", input=str(tmp_path / "raw"), workers=1)
  assert code == prepare.TOO_MANY_REJECTS
  assert "1 of 1 clips rejected" in lines[-1] and "a.mp4: cannot" in lines[-1]
