"""Batches made in processes are those that are made here."""

import contextlib
import functools
import os
import signal
import subprocess
import sys
import textwrap
import time

import pytest

from data_pipelines.dataset import damage, opening
from data_pipelines.ingest import pool
from data_pipelines.sampling import augment, workers
from data_pipelines.sampling.batched import batched
from data_pipelines.sampling.clips import sample_clips
from data_pipelines.sampling.pairs import sample_pairs
from data_pipelines.sampling.sync_windows import sample_sync_windows
from speak_jax.training import config_validation, input_pipeline
from tests import toy_records
from tests.dataset.shards import prepared, rewrite
from tests.sampling.samplers import CLIP, PAIR, equal
from tests.stages import small

MAKE = {
  "sync": functools.partial(sample_sync_windows, size=32, seed=1),
  "pairs": functools.partial(sample_pairs, mix={"self": 1.0}, seed=1, **PAIR),
  "clips": functools.partial(sample_clips, seed=1, **CLIP),
}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
  folder = tmp_path_factory.mktemp("data")
  prepared(folder, [toy_records.record(i, identity=i // 2) for i in range(8)])
  return folder


def recipe(folder, make, process_index=0, process_count=1):
  return workers.Recipe(
    functools.partial(opening.open_records, str(folder), "train"),
    make,
    1 << 20,
    2,
    process_index,
    process_count,
  )


@contextlib.contextmanager
def started(folder, make, count, limit=0, say=None, **processes):
  stream = workers.Workers(
    recipe(folder, make, **processes), count, damage.Damage(limit, say)
  )
  try:
    yield stream
  finally:
    stream.close()


def alive(pid):
  """Whether a process runs; one that has ended and waits for its parent not."""
  try:
    with open(f"/proc/{pid}/stat") as file:
      return file.read().rsplit(")", 1)[1].split()[0] != "Z"
  except (FileNotFoundError, ProcessLookupError):
    return False


def gone(pids, seconds=20):
  """Waits until none of the processes runs."""
  end = time.monotonic() + seconds
  while time.monotonic() < end:
    if not any(map(alive, pids)):
      return True
    time.sleep(0.05)
  return False


@pytest.mark.parametrize("make", MAKE.values(), ids=MAKE)
def test_batches_are_the_same_for_any_number_of_workers(data, make):
  alone = batched(make(opening.open_records(data, "train")), 2, threads=0)
  expected = [next(alone) for _ in range(5)]
  for count in (1, 3):
    with started(data, make, count) as stream:
      for batch in expected:
        got = next(stream)
        assert type(got) is type(batch) and equal(got, batch)
        assert all(x.flags.writeable for x in got)


def test_resume_is_exact_with_another_number_of_workers(data):
  make = MAKE["clips"]
  inline = batched(make(opening.open_records(data, "train")), 2, threads=2)
  with started(data, make, 2) as stream:
    for _ in range(3):
      next(stream), next(inline)
    state = stream.get_state()
    assert state == inline.get_state()  # threads and processes go on alike
    expected = [next(stream) for _ in range(3)]
    stream.set_state(state)  # back, in the same run
    assert equal(next(stream), expected[0])
  with started(data, make, 3) as stream:
    stream.set_state(state)
    assert all(equal(next(stream), batch) for batch in expected)
  inline.set_state(state)
  assert equal(next(inline), expected[0])


def test_training_processes_share_what_one_would_see(data):
  make = MAKE["clips"]
  dataset = make(opening.open_records(data, "train"))
  for p in range(2):
    mine = batched(dataset, 2, p, 2, threads=0)
    with started(data, make, 2, process_index=p, process_count=2) as stream:
      for _ in range(3):
        assert equal(next(stream), next(mine))


@pytest.mark.parametrize("stage", ["syncnet", "irfd", "speak"])
def test_a_run_has_the_same_batches_with_workers(data, stage):
  def batches_of(count):
    config = small.config(data__path=str(data), data__workers=count)
    clips = opening.open_records(data, "train")
    return input_pipeline.batches(config, stage, clips, 3, True, (0, 1), 1)

  with contextlib.closing(batches_of(2)) as apart:
    assert isinstance(apart, workers.Workers)
    for threads, _ in zip(batches_of(0), range(3), strict=False):
      assert equal(next(apart), threads)


@pytest.mark.parametrize("stage", ["irfd", "speak"])
def test_held_out_pictures_are_plain(data, stage):
  def first(training, **changes):
    config = small.config(data__workers=0, irfd__pairs="same_clip", **changes)
    clips = opening.open_records(data, "train")
    part = 0, 1
    return next(
      input_pipeline.batches(config, stage, clips, 3, training, part, 1)
    )

  plain = {
    f"data__augment__{name}": value
    for name, value in augment.PLAIN._asdict().items()
  }
  assert equal(first(False), first(True, **plain))
  assert not equal(first(False), first(True))


def test_so_many_workers_as_cores_are_left(monkeypatch, data):
  config = small.config(data__path=str(data))
  assert config.data.workers == input_pipeline.AUTO
  for cores, devices, want in (
    *((1, 1, 0), (2, 8, 0), (4, 1, 2), (16, 1, 14), (96, 1, 16)),
    *((96, 2, 32), (96, 8, 94), (208, 8, 128)),  # one process for all GPUs
  ):
    monkeypatch.setattr(pool, "cores", lambda cores=cores: cores)
    assert input_pipeline._workers(config, devices) == want
  with pytest.raises(ValueError, match=r"data\.workers = -2 is not -1 or a"):
    config_validation.validate(small.config(data__workers=-2))


def damaged(folder):
  """One of eight clips has no picture."""
  paths = prepared(
    folder, [toy_records.record(i, identity=i // 2) for i in range(8)]
  )
  rewrite(paths[1], lambda jpeg: b"")


@pytest.mark.parametrize("count", [1, 3])
def test_damage_is_counted_once_and_with_its_batch(tmp_path, count):
  damaged(tmp_path)
  make = MAKE["clips"]
  here = opening.open_records(tmp_path, "train")
  here.damage = damage.Damage(8)
  alone = batched(make(here), 2, threads=0)
  lines = []
  with started(tmp_path, make, count, 8, lines.append) as stream:
    for _ in range(8):
      assert equal(next(stream), next(alone))
      assert len(stream._damage) == len(here.damage)
  assert len(lines) == len(here.damage) == 1
  assert all("; replaced (" in line for line in lines)


def test_too_much_damage_ends_the_run(tmp_path):
  damaged(tmp_path)
  with (
    started(tmp_path, MAKE["clips"], 2, 0) as stream,
    pytest.raises(damage.TooManyDamagedError, match="1 damaged clips, 0 all"),
  ):
    for _ in range(20):
      next(stream)


def test_what_a_worker_raises_is_raised_here(data):
  with started(data, toy_records.refuse, 2) as stream:
    for _ in range(2):
      with pytest.raises(ValueError, match=r"no .*train"):
        next(stream)


def test_a_worker_that_is_killed_is_told(data):
  with started(data, MAKE["clips"], 2) as stream:
    next(stream)
    parent, *forked = stream.pids
    assert len(forked) == 2
    os.kill(forked[0], signal.SIGKILL)
    with pytest.raises(workers.WorkerError, match="a data worker was killed"):
      for _ in range(40):
        next(stream)
  assert gone([parent, *forked])


def test_workers_leave_interrupts_to_the_trainer_and_go_when_closed(data):
  with started(data, MAKE["clips"], 2) as stream:
    next(stream)
    pids = stream.pids
    for pid in pids:
      os.kill(pid, signal.SIGINT)
      os.kill(pid, signal.SIGTERM)
    for _ in range(12):
      next(stream)
    assert all(map(alive, pids))
    with open(f"/proc/{pids[1]}/maps") as file:  # no JAX
      assert "jaxlib" not in file.read()
  assert gone(pids)
  del stream


TRAINER = """
import sys, time
from tests.sampling.test_workers import MAKE, recipe
from data_pipelines.dataset import damage
from data_pipelines.sampling import workers
stream = workers.Workers(recipe(sys.argv[1], MAKE["clips"]), 2, damage.Damage())
next(stream)
print(*stream.pids, flush=True)
time.sleep({seconds})
"""


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM, None])
def test_no_worker_outlives_its_trainer(data, how):
  code = textwrap.dedent(TRAINER).format(seconds=0 if how is None else 600)
  trainer = subprocess.Popen(
    [sys.executable, "-c", code, str(data)],
    stdout=subprocess.PIPE,
    text=True,
  )
  assert trainer.stdout is not None
  pids = [int(x) for x in trainer.stdout.readline().split()]
  assert len(pids) == 3
  if how is not None:
    assert all(map(alive, pids))
    trainer.send_signal(how)
  trainer.wait(60)
  trainer.stdout.close()
  assert gone(pids)
