import concurrent.futures
import contextlib
import errno
import functools
import json
import multiprocessing
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import time
import types
import warnings
from pathlib import Path

import pytest

from data_pipelines.dataset import opening, writer
from data_pipelines.dataset.index import VERSION, read_index
from data_pipelines.ingest import assemble, guard, plan, pool, run
from data_pipelines.ingest.guard import TooManyRejectsError
from data_pipelines.ingest.outcomes import PrepareError
from data_pipelines.ingest.summary import read_reasons
from data_pipelines.media.error import MediaError, MediaWarning, reject
from data_pipelines.sources.task import Task
from speak_jax.common import files, progress
from tests import toy_records

META = {"source": "toy", "size": 32}


def make(number, log=None, wait=0.0):
  """A clip; every third cannot be used, every fourth is odd."""
  if log is not None:
    with open(log, "a") as file:
      file.write(f"{number}\n")
  time.sleep(wait)
  if number % 4 == 1:
    warnings.warn(f"raw{number}.mp4: odd", MediaWarning, stacklevel=2)
    reject(f"raw{number}.mp4", 0.5, 1.25, "a shot of 12 frames")
  if number % 3 == 2:
    raise MediaError(f"raw{number}.mp4", "no face found")
  record = toy_records.record(number % 20, identity=number, frames=4)
  return [record._replace(clip=f"clip{number}")]


def task(number, call):
  split = "test" if number == 0 else "train"
  return Task(f"clip{number}", f"person{number}", split, call)


def listed(n, **options):
  return [task(i, functools.partial(make, i, **options)) for i in range(n)]


def broken():
  raise FileNotFoundError("models are missing: fetch them")


def prepare(tasks, output, workers=0, meta=META, **options):
  return run.prepare(tasks, output, workers=workers, meta=meta, **options)


def lines(path):
  return [json.loads(line) for line in path.read_text().splitlines()]


def content(folder):
  return {p.name: p.read_bytes() for p in folder.iterdir() if p.is_file()}


@pytest.fixture(autouse=True)
def parts_of_several_clips(monkeypatch):
  monkeypatch.setattr(plan, "FEW", 3)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
  """n clips made at once, without a worker: what every other way must give."""

  @functools.cache
  def made(n):
    folder = tmp_path_factory.mktemp("whole")
    prepare(listed(n), folder)
    return content(folder)

  return made


def test_a_data_set_with_its_rejects_and_notes(tmp_path):
  summary = prepare(listed(8), tmp_path)
  assert summary[:2] == (6, 24) and summary.rejects == 2
  assert summary.seconds == pytest.approx(24 / 25)
  train = opening.open_records(tmp_path, "train")
  names = [f"clip{i}" for i in (1, 3, 4, 6, 7)]
  assert [row.clip for row in train.index] == names
  assert train[2].clip == "clip4"
  clips = [
    {
      "clip": f"clip{i}",
      "file": f"raw{i}.mp4",
      "start": None,
      "stop": None,
      "reason": "no face found",
    }
    for i in (2, 5)
  ]
  stretches = [
    {
      "clip": f"clip{i}",
      "file": f"raw{i}.mp4",
      "start": 0.5,
      "stop": 1.25,
      "reason": "a shot of 12 frames",
    }
    for i in (1, 5)
  ]
  rejects = lines(tmp_path / "rejects.jsonl")
  assert rejects == [stretches[0], clips[0], stretches[1], clips[1]]
  notes = lines(tmp_path / "notes.jsonl")
  assert notes == [
    {"clip": f"clip{i}", "note": f"raw{i}.mp4: odd"} for i in (1, 5)
  ]


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
  for module in (run, progress):
    monkeypatch.setattr(module, "time", clock)
  prepare(listed(7), tmp_path)
  done = "0.00 h of video, 0.0x real time"
  assert capsys.readouterr().err.splitlines(keepends=True) == [
    f"prepare 2/7  0.12 clips/s  0:40 left  {done}, 0 rejected\n",
    f"prepare 4/7  0.12 clips/s  0:24 left  {done}, 1 rejected\n",
    f"prepare 6/7  0.12 clips/s  0:08 left  {done}, 2 rejected\n",
    f"prepare 7/7  0.12 clips/s  0:00 left  {done}, 2 rejected\n",
  ]


def test_bytes_do_not_depend_on_workers(tmp_path, whole):
  """Nor on clips of which two processes or machines make the same part."""
  for workers in (1, 4):
    prepare(listed(9), tmp_path / str(workers), workers)
    assert content(tmp_path / str(workers)) == whole(9)
  assert len(whole(9)) >= 8


def test_machines_that_share_the_work(tmp_path, whole):
  """In one directory, and in one each that are copied together."""
  log = tmp_path / "log"
  for i in (3, 1, 2):
    own = tmp_path / f"own{i}"
    part = prepare(listed(9), own, shard=(i, 3))
    assert part == prepare(listed(9, log=log), tmp_path / "all", shard=(i, 3))
    assert not (own / "dataset_info.json").exists()
    assert 0 < part.clips + part.rejects < 9
    shutil.copytree(own, tmp_path / "copied", dirs_exist_ok=True)
  assert sorted(log.read_text().split()) == list("012345678")
  for name in ("all", "copied"):
    summary = prepare(listed(9, log=log), tmp_path / name)
    assert summary.clips == 6 and content(tmp_path / name) == whole(9)
  assert len(log.read_text().split()) == 9


def test_two_runs_in_one_directory_do_no_harm(tmp_path, whole, monkeypatch):
  """Where a file system locks nothing: another run does all of it meanwhile."""
  monkeypatch.setattr(run, "locked", lambda *_, **__: contextlib.nullcontext())
  data = tmp_path / "data"
  tasks = listed(9)

  def meanwhile():
    prepare(listed(9), data)
    return make(6)

  prepare([*tasks[:6], tasks[6]._replace(records=meanwhile), *tasks[7:]], data)
  assert content(data) == whole(9)
  run.prepare(tasks, data, workers=0, meta=META)
  assert content(data) == whole(9)


def test_a_set_has_one_format(tmp_path, monkeypatch):
  """A finished one of before stays as it is, and nothing is added to it."""
  data, begun = tmp_path / "data", tmp_path / "begun"
  spoilt = [*listed(3), task(3, broken)]
  for module in (assemble, writer):
    monkeypatch.setattr(module, "VERSION", "1.4.0")
  prepare(listed(3), data)
  with pytest.raises(PrepareError, match="models are missing"):
    prepare(spoilt, begun)
  monkeypatch.undo()
  before = content(data)
  prepare(listed(3), data)
  assert content(data) == before
  remedy = f", and new ones {VERSION}; choose another output or remove it"
  for change in ({"tasks": listed(4)}, {"tasks": listed(3), "retry": True}):
    with pytest.raises(PrepareError, match=r"have format 1\.4\.0") as error:
      prepare(output=data, **change)
    assert str(error.value).endswith(remedy) and content(data) == before
  with pytest.raises(PrepareError, match=r"have format 1\.4\.0, and new ones"):
    prepare(listed(4), begun)
  (begun / ".parts" / "format").unlink()  # as it was before any was kept
  with pytest.raises(PrepareError, match=r"have format before 1\.5\.0, and"):
    prepare(listed(4), begun)


def test_a_rerun_makes_only_what_is_missing(tmp_path, monkeypatch):
  monkeypatch.setattr(plan, "FEW", 64)  # another clip moves no other
  log, data = tmp_path / "log", tmp_path / "data"
  tasks = listed(6, log=log)

  spoilt = [*tasks[:4], tasks[4]._replace(records=broken), tasks[5]]
  with pytest.raises(PrepareError, match="models are missing"):
    prepare(spoilt, data)
  with pytest.raises(ValueError, match="not finished"):
    read_index(data)
  first = log.read_text().split()
  assert 0 < len(first) < 6
  prepare(tasks, data)
  assert sorted(log.read_text().split()) == list("012345")
  before = content(data)
  prepare(tasks, data)
  assert len(log.read_text().split()) == 6
  assert content(data) == before
  # Another clip: the old ones are kept, and the set is as if made at once.
  prepare(listed(7, log=log), data)
  assert log.read_text().split()[6:] == ["6"]
  prepare(listed(7), tmp_path / "fresh")
  assert content(data) == content(tmp_path / "fresh")


def test_a_clip_that_is_given_to_another_person_is_made_again(tmp_path):
  log, data = tmp_path / "log", tmp_path / "data"
  tasks = listed(3, log=log)
  prepare(tasks, data)
  prepare([*tasks[:1], tasks[1]._replace(identity="other"), tasks[2]], data)
  assert log.read_text().split()[3:] == ["1"]


def test_nothing_is_left_of_another_list_of_clips(tmp_path, whole):
  for n in (9, 4):
    prepare(listed(n), tmp_path)
  assert content(tmp_path) == whole(4)
  keys = [part.key for part in plan.plan_shards(listed(4), META)]
  left = {path.name for path in (tmp_path / ".parts").iterdir()}
  kept = {"lock", "meta.json", "format"}
  assert left == kept | {f"{key}.json" for key in keys}


def test_a_kept_clip_that_is_damaged_is_made_again(tmp_path, whole):
  tasks = listed(9)
  with pytest.raises(PrepareError, match="models are missing"):
    prepare(
      [*tasks[:5], tasks[5]._replace(records=broken), *tasks[6:]], tmp_path
    )
  cut_off, wrong = sorted(tmp_path.rglob("*.clip"))
  cut_off.write_bytes(b"")
  damaged = bytearray(wrong.read_bytes())
  damaged[len(damaged) // 2] ^= 1
  wrong.write_bytes(damaged)
  prepare(tasks, tmp_path)
  assert content(tmp_path) == whole(9)


def test_a_shard_that_was_lost_is_made_again(tmp_path, whole):
  for i in (1, 2):
    prepare(listed(9), tmp_path, shard=(i, 2))
  shards = sorted((tmp_path / ".parts").glob("*.array_record"))
  shards[0].unlink()
  prepare(listed(9), tmp_path)
  assert content(tmp_path) == whole(9)


@pytest.mark.parametrize(
  ("clips", "size"), [(64, 1), (65, 2), (5000, 32), (131_073, 33)]
)
def test_shards_grow_with_the_set_alone(monkeypatch, clips, size):
  monkeypatch.setattr(plan, "FEW", 64)
  tasks = [Task(str(i), "a", "train", list) for i in range(clips)]
  parts = plan.plan_shards(tasks, META)
  assert [len(part.tasks) for part in parts[:-1]] == [size] * (len(parts) - 1)
  assert [task for part in parts for task in part.tasks] == tasks


@pytest.mark.parametrize(
  ("running", "next_one", "waits"),
  [
    ((1, 1), (1, 1), True),
    ((1, 2), (1, 1), True),
    ((1, 2), (1, 2), True),
    ((1, 2), (2, 2), False),
  ],
)
def test_a_run_waits_for_another_in_its_directory(
  tmp_path, capsys, running, next_one, waits
):
  (tmp_path / ".parts").mkdir()
  with concurrent.futures.ThreadPoolExecutor(1) as thread:
    with run._locked(tmp_path, running):
      call = thread.submit(prepare, listed(4), tmp_path, shard=next_one)
      said = ""
      while not call.done() and "waiting for another run" not in said:
        time.sleep(0.01)
        said += capsys.readouterr().err
      assert call.done() != waits
    assert call.result(timeout=60).clips > 0


def test_other_settings_are_refused(tmp_path):
  prepare(listed(2), tmp_path)
  before = content(tmp_path)
  with pytest.raises(PrepareError, match="another size"):
    prepare(listed(2), tmp_path, meta={"source": "toy", "size": 64})
  assert content(tmp_path) == before


def test_bad_lists_are_refused(tmp_path):
  with pytest.raises(PrepareError, match="no clips"):
    prepare([], tmp_path)
  with pytest.raises(PrepareError, match="two clips are called clip0"):
    prepare(listed(1) * 2, tmp_path)


# --- rejects ---------------------------------------------------------------


def test_an_odd_exception_rejects_its_clip_alone(tmp_path):
  def odd():
    raise RuntimeError("a fault\nof the code")

  tasks = listed(6)
  tasks[4] = tasks[4]._replace(records=odd, file="raw4.avi")
  tasks[3] = tasks[3]._replace(records=list)
  summary = prepare(tasks, tmp_path, max_reject=0.7)
  assert summary.clips == 2
  found = {x["clip"]: x for x in lines(tmp_path / "rejects.jsonl")}
  assert found["clip4"]["file"] == "raw4.avi"
  assert (
    found["clip4"]["reason"] == "unexpected RuntimeError: a fault of the code"
  )
  assert found["clip3"]["reason"] == "gave no record"


def test_reasons_are_counted_without_their_numbers(tmp_path):
  def small(side):
    raise MediaError("a.mp4", f"face too small ({side} px)")

  tasks = listed(9)
  tasks[3] = tasks[3]._replace(records=functools.partial(small, 40))
  tasks[4] = tasks[4]._replace(records=functools.partial(small, 41.5))
  summary = prepare(tasks, tmp_path, max_reject=0.8)
  reasons = [
    (3, 0, "no face found"),
    (2, 0, "face too small (N px)"),
    (0, 2, "a shot of N frames"),
  ]
  assert summary.reasons == reasons == read_reasons(tmp_path)


def test_too_many_rejects(tmp_path):
  log = tmp_path / "log"
  with pytest.raises(TooManyRejectsError, match=r"2 of 12 .*raw\d\.mp4: no"):
    prepare(listed(12, log=log), tmp_path, max_reject=0.1)
  # Two of the twelve are more than a tenth, whatever the others are.
  tried = log.read_text().split()
  assert len(tried) < 12 and sum(int(i) % 3 == 2 for i in tried) == 2
  rejects = lines(tmp_path / "rejects.jsonl")
  assert sum(x["stop"] is None for x in rejects) == 2
  assert not (tmp_path / "dataset_info.json").exists()
  with pytest.raises(TooManyRejectsError):  # it is known at once
    prepare(listed(12, log=log), tmp_path, max_reject=0.1)
  assert log.read_text().split() == tried
  summary = prepare(listed(12, log=log), tmp_path, max_reject=0.4)
  assert summary.clips == 8 and len(log.read_text().split()) == 12


def test_as_many_rejects_as_are_allowed_are_no_error(tmp_path):
  """Also where the product of share and clips is a little less: 28.99..."""
  assert prepare(listed(12), tmp_path, max_reject=4 / 12).rejects == 4
  counter = guard.RejectGuard(100, 0.29, set())
  for i in range(29):
    counter.add(str(i), 1)
    counter.check()
  counter.add("29", 1)
  with pytest.raises(TooManyRejectsError, match="30 of 100"):
    counter.check()


def test_an_unusable_set_is_known_from_few_clips(tmp_path):
  log = tmp_path / "log"
  tasks = [task(i, functools.partial(make, 3 * i + 2, log)) for i in range(900)]
  with pytest.raises(
    TooManyRejectsError,
    match="28 of 28 clips drawn at random rejected",
  ):
    prepare(tasks, tmp_path)
  tried = [int(number) // 3 for number in log.read_text().split()]
  assert len(tried) == 28
  # From everywhere, not from the first folder alone.
  assert min(tried) < 200 and max(tried) > 700


@pytest.mark.parametrize("share", [0.0, 0.5, 0.9])
def test_a_set_that_may_pass_is_not_condemned_by_its_sample(share):
  rng = random.Random(0)
  for _ in range(100):
    names = [str(i) for i in range(256)]
    counter = guard.RejectGuard(10_000, share, set(names))
    for name in names:
      counter.add(name, int(rng.random() < share))
      counter.check()


def test_rejected_clips_are_tried_again_when_asked(tmp_path, whole):
  log, data = tmp_path / "log", tmp_path / "data"

  def missing():
    raise MediaError("raw.mp4", "cannot be read")

  good = listed(9, log=log)
  bad = [
    t if i % 2 else t._replace(records=missing) for i, t in enumerate(good)
  ]
  for tasks in (bad, good):
    prepare(tasks, data, max_reject=0.8)
  assert len(log.read_text().split()) == 4  # the good list alone is no reason
  prepare(good, data, retry=True)
  again = log.read_text().split()[4:]
  assert sorted(again) == sorted("02468" + "5")  # 5 is rejected both times
  assert content(data) == whole(9)


def test_rejects_of_an_unfinished_part_are_tried_again_too(tmp_path, whole):
  log, data = tmp_path / "log", tmp_path / "data"
  tasks = listed(9, log=log)
  bad = [
    *tasks[:4],
    tasks[4]._replace(records=list),
    tasks[5]._replace(records=broken),
  ]
  with pytest.raises(PrepareError, match="models are missing"):
    prepare([*bad, *tasks[6:]], data)
  made = log.read_text().split()
  assert "6" in made and not {"4", "5"} & set(made)
  prepare(tasks, data, retry=True)
  assert log.read_text().split().count("6") == 1
  assert content(data) == whole(9)


# --- processes -------------------------------------------------------------


def crash(path):
  if not os.path.exists(path):
    Path(path).touch()
    os.abort()
  return make(3)


def hang(seconds):
  time.sleep(seconds)


def test_a_clip_that_kills_or_hangs_costs_itself_alone(
  tmp_path, monkeypatch, capsys
):
  monkeypatch.setattr(run, "CLIP_S", 3.0)
  data = tmp_path / "data"
  tasks = listed(8)
  tasks[1] = tasks[1]._replace(records=os.abort, file="bad.mp4")
  # Once only, as if a neighbour had taken the memory.
  tasks[3] = tasks[3]._replace(
    records=functools.partial(crash, str(tmp_path / "once"))
  )
  tasks[6] = tasks[6]._replace(
    records=functools.partial(hang, 600), file="slow.mp4"
  )
  summary = prepare(tasks, data, 2, max_reject=0.7)
  assert summary.clips == 4
  rejects = lines(data / "rejects.jsonl")
  assert [(x["clip"], x["file"], x["reason"]) for x in rejects] == [
    ("clip1", "bad.mp4", "killed its worker twice (SIGABRT)"),
    ("clip2", "raw2.mp4", "no face found"),
    ("clip5", "raw5.mp4", "a shot of 12 frames"),
    ("clip5", "raw5.mp4", "no face found"),
    ("clip6", "slow.mp4", "took longer than 3 s"),
  ]
  said = capsys.readouterr().err
  assert "clip1: its worker died (SIGABRT); it is tried once more" in said
  assert "clip3: its worker died (SIGABRT)" in said
  assert multiprocessing.active_children() == []


def test_a_long_video_has_more_time(tmp_path, monkeypatch):
  video = types.SimpleNamespace(seconds=1800.0)
  monkeypatch.setattr(run.decoder, "probe", lambda file: video)
  given = []
  clip = listed(1)[0]._replace(file="raw0.mp4")
  run._make_clip(tmp_path, "key", 0, clip, given.append)
  assert given == [20 * 1800.0]


def take_long(more):
  more(60.0)
  time.sleep(1.6)
  return "done"


def test_a_job_may_ask_for_more_time():
  jobs = iter([pool.Job("long", take_long, 1.0)])
  assert list(pool.run(lambda: next(jobs, None), 1)) == [("long", "done")]


def alive(process):
  """Whether a process runs; one that only awaits its burial does not."""
  try:
    return bool((process / "cmdline").read_bytes())
  except OSError:
    return False


def made_so_far(log):
  return len(Path(log).read_text().split()) if os.path.exists(log) else 0


def die_after(log, seconds):
  before = made_so_far(log)
  while made_so_far(log) == before:
    time.sleep(0.001)
  time.sleep(float(seconds))
  os.kill(os.getpid(), signal.SIGKILL)


@pytest.fixture
def start(tmp_path, root):
  """Starts a process that prepares 40 slow clips in tmp_path / "data".

  It kills itself some seconds after its first clip, if so told: nobody else
  would be in time on a busy machine.
  """
  script = tmp_path / "run.py"
  script.write_text(
    "import sys, threading\n"
    f"sys.path.insert(0, {str(root)!r})\n"
    "from tests.ingest import test_run as t\n"
    "t.plan.FEW = 3\n"
    "if __name__ == '__main__':\n"
    "  tasks = t.listed(40, log=sys.argv[1], wait=float(sys.argv[2]))\n"
    "  if len(sys.argv) > 4:\n"
    "    die = t.functools.partial(t.die_after, sys.argv[1], sys.argv[4])\n"
    "    threading.Thread(target=die, daemon=True).start()\n"
    f"  t.prepare(tasks, {str(tmp_path / 'data')!r}, int(sys.argv[3]))\n"
  )

  def started(log, *options):
    command = [sys.executable, script, log, *map(str, options)]
    return subprocess.Popen(command, stderr=subprocess.DEVNULL)

  return started


def wait_until(happens, run):
  deadline = time.monotonic() + 120
  while not happens():
    assert time.monotonic() < deadline and run.poll() is None
    time.sleep(0.005)


def test_a_killed_run_leaves_no_worker_and_loses_no_clip(
  tmp_path, start, whole, monkeypatch
):
  log, data = tmp_path / "log", tmp_path / "data"
  run = start(log, 0.2, 2)
  wait_until(lambda: made_so_far(log) > 5, run)
  children = Path(f"/proc/{run.pid}/task/{run.pid}/children")
  workers = [Path("/proc") / pid for pid in children.read_text().split()]
  run.kill()
  run.wait()
  deadline = time.monotonic() + 60
  while any(alive(worker) for worker in workers):
    assert time.monotonic() < deadline, "a worker outlived its parent"
    time.sleep(0.05)
  assert len(workers) >= 2 and data.exists()
  begun = len(log.read_text().split())
  prepare(listed(40, log=log), data)
  # At most the two clips that were in work are made twice.
  assert 40 <= len(log.read_text().split()) <= 42 and begun < 40
  assert content(data) == whole(40)


def test_kills_at_random_moments_change_no_byte(tmp_path, start, whole):
  log, data = tmp_path / "log", tmp_path / "data"
  rng = random.Random(0)
  for _ in range(3):
    run = start(log, 0.02, 0, rng.uniform(0.0, 0.1))
    assert run.wait(timeout=120) == -signal.SIGKILL
  assert not (data / "dataset_info.json").exists(), "the kills came too late"
  prepare(listed(40, log=log), data)
  assert content(data) == whole(40)
  assert 40 <= len(log.read_text().split()) <= 43


# --- disk ------------------------------------------------------------------


def test_a_full_disk_is_one_line_and_loses_nothing(
  tmp_path, monkeypatch, whole
):
  log, data = tmp_path / "log", tmp_path / "data"
  whole_write, room = files.write, [9]

  def write(path, data, **given):
    if not room[0]:
      raise OSError(errno.ENOSPC, "No space left on device", str(path))
    room[0] -= 1
    whole_write(path, data, **given)

  monkeypatch.setattr(files, "write", write)
  with pytest.raises(PrepareError, match=r"data: No space left .*run again"):
    prepare(listed(9, log=log), data)
  made = len(log.read_text().split())
  assert 1 < made < 9
  monkeypatch.setattr(files, "write", whole_write)
  prepare(listed(9, log=log), data)
  # Only the clip that found no room, if it was one, is made again.
  assert made <= 9 <= len(log.read_text().split()) <= 10
  assert content(data) == whole(9)


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EMFILE])
def test_no_clip_answers_for_its_machine(tmp_path, number):
  def stuck():
    raise OSError(number, os.strerror(number))

  tasks = listed(4)
  with pytest.raises(PrepareError, match=os.strerror(number)):
    prepare([*tasks[:3], tasks[3]._replace(records=stuck)], tmp_path)


def test_a_file_is_written_whole_or_not_at_all(tmp_path, monkeypatch):
  def fail(file):
    raise OSError(errno.EIO, "Input/output error")

  path = tmp_path / "facts.json"
  files.write(path, b"old")
  monkeypatch.setattr(os, "fsync", fail)
  with pytest.raises(OSError, match="Input/output error"):
    files.write(path, b"new")
  assert content(tmp_path) == {"facts.json": b"old"}


def test_a_shard_that_cannot_be_written_is_one_line(tmp_path, whole):
  """With a real limit, which the shard's writer meets in its own code."""
  limits = resource.getrlimit(resource.RLIMIT_FSIZE)
  tasks = listed(9)
  with pytest.raises(PrepareError) as error:
    resource.setrlimit(resource.RLIMIT_FSIZE, (30_000, limits[1]))
    try:
      prepare(tasks, tmp_path / "data")
    finally:
      resource.setrlimit(resource.RLIMIT_FSIZE, limits)
  assert "\n" not in str(error.value) and "too large" in str(error.value)
  assert not list(tmp_path.rglob("*.partial*"))
  prepare(tasks, tmp_path / "data")
  assert content(tmp_path / "data") == whole(9)


def test_a_disk_too_small_is_known_from_the_sample(tmp_path, monkeypatch):
  log = tmp_path / "log"
  small = shutil.disk_usage(tmp_path)._replace(free=20_000)
  monkeypatch.setattr(shutil, "disk_usage", lambda path: small)
  with pytest.raises(
    PrepareError, match=r"30 clips more need about 0\.0 GB, but 0\.0 GB are"
  ):
    prepare(listed(40, log=log), tmp_path / "data")
  assert len(log.read_text().split()) == 10  # a quarter


def test_a_look_ahead_says_nothing(tmp_path, monkeypatch):
  """How long a video is; what is odd about it is said as it is made."""

  def probe(path):
    warnings.warn(MediaWarning(f"{path}: breaks off"), stacklevel=2)
    raise MediaError(path, "is broken")

  monkeypatch.setattr(run.decoder, "probe", probe)
  video = task(0, functools.partial(make, 0))._replace(file="film.avi")
  with warnings.catch_warnings(record=True) as said:
    warnings.simplefilter("always")
    run._make_clip(tmp_path, "key", 0, video, lambda seconds: None)
  assert not said
