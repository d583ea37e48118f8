"""Bad batches, work that hangs, restarts in vain, and where time goes."""

import json
import subprocess
import sys
import time
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest

from speak_jax.supervision import attempts, goodput, heartbeat
from speak_jax.supervision.activity import KINDS, Activity, process_age
from speak_jax.supervision.profile import parse_steps
from speak_jax.supervision.watchdog import Limits, Watchdog
from speak_jax.tools import goodput as goodput_command
from speak_jax.training import checkpoints, loop
from speak_jax.training.checkpoint_manager import CheckpointManager
from speak_jax.training.state import TrainState, digest
from speak_jax.training.stream import BatchStream
from tests.training import toy

LIMITS = Limits(compile=5.0, data=0.5, step=1.0, save=5.0)


class Without:
  """Batches without some, as if those had never been there."""

  def __init__(self, batches, left_out):
    self._batches, self._left_out, self._next = batches, left_out, 0

  def __next__(self):
    while True:
      batch, number = next(self._batches), self._next
      self._next += 1
      if number not in self._left_out:
        return batch

  def get_state(self):
    return {"inner": self._batches.get_state(), "next": self._next}

  def set_state(self, state):
    self._batches.set_state(state["inner"])
    self._next = state["next"]


# --- steps that are not finite ---------------------------------------------


def test_a_bad_step_or_two_are_skipped(tmp_path):
  state, done = loop.fit(
    toy.run(tmp_path / "toy", 6), toy.batches(spoil=(1, 2)), {}
  )
  assert done
  assert int(state.opt["main"][0].count) == 4


@pytest.mark.parametrize("every", [2, 100])
def test_three_in_a_row_lead_back_past_them(every, tmp_path, capsys):
  """Parameters come out as if the bad batches had never been drawn."""
  spoil = (4, 5, 6)
  state, done = loop.fit(
    toy.run(tmp_path / "a" / "toy", 9, save_every=every),
    toy.batches(spoil=spoil),
    {},
  )
  assert done
  want, _ = loop.fit(
    toy.run(tmp_path / "b" / "toy", 9), Without(toy.batches(), spoil), {}
  )
  assert digest(state) == digest(want)
  said = capsys.readouterr().err
  assert "not finite for 3 steps in a row, at step 7 in main" in said
  assert "going back, and on without batches 4, 5, 6" in said
  text = (tmp_path / "a" / "toy" / "metrics.jsonl").read_text()
  steps = [json.loads(line)["step"] for line in text.splitlines()]
  assert steps == list(range(1, 10))


def test_no_save_while_steps_are_bad(tmp_path):
  """Nor is one forgotten: it comes with the next good step."""
  seen = []

  def on_step(step, state):
    folder = tmp_path / "toy" / "checkpoints"
    seen.append(sorted(p.name for p in folder.glob("[0-9]*")))

  loop.fit(
    toy.run(tmp_path / "toy", 9, save_every=4, keep=9),
    toy.batches(spoil=(2, 3)),
    {},
    on_step=on_step,
  )
  names = {p.name for p in (tmp_path / "toy" / "checkpoints").iterdir()}
  assert names == {"5", "8", "9"}


def test_a_stop_among_bad_steps_is_resumed_among_them(tmp_path):
  """The restarted run goes back as the uninterrupted one does."""
  spoil = (4, 5, 6)
  want, _ = loop.fit(
    toy.run(tmp_path / "a" / "toy", 9, save_every=3),
    toy.batches(spoil=spoil),
    {},
  )
  run = toy.run(tmp_path / "b" / "toy", 9, save_every=3)
  half, done = loop.fit(
    run, toy.batches(spoil=spoil), {}, should_stop=lambda step: step == 6
  )
  assert not done
  assert int(half.step) == 6
  got, done = loop.fit(run, toy.batches(spoil=spoil), {})
  assert done
  assert digest(got) == digest(want)


def test_endless_bad_batches_end_the_run(tmp_path):
  with pytest.raises(loop.TrainingError) as caught:
    loop.fit(
      toy.run(tmp_path / "toy", 50), toy.batches(spoil=tuple(range(16))), {}
    )
  line = str(caught.value)
  assert "batches 9, 10, 11; rolled back 3 times within 1000 steps" in line
  assert line.endswith("without batches 0, 1, 2, 3, 4, 5, 6, 7, 8")
  assert checkpoints.newest_verified_step(tmp_path, "toy") is None


def test_left_out_batches_are_remembered():
  stream = BatchStream(toy.batches())
  stream.skip([1, 2])
  numbers = []
  for _ in range(3):
    next(stream)
    numbers.append(stream.number)
  assert numbers == [0, 3, 4]
  again = BatchStream(toy.batches())
  again.set_state(json.loads(json.dumps(stream.get_state())), 3)
  np.testing.assert_array_equal(next(stream).x, next(again).x)
  assert again.number == 5
  assert again.skipped == {1, 2}


# --- when checkpoints are due -----------------------------------------------


def test_checkpoints_are_due_by_steps_and_by_time(tmp_path, monkeypatch):
  now = [0.0]
  monkeypatch.setattr(time, "monotonic", lambda: now[0])
  run = toy.run(
    Path(), 99, save_every=10, first_save=3, first_seconds=60, save_seconds=600
  )
  saved = []

  manager = CheckpointManager(tmp_path)
  monkeypatch.setattr(
    manager, "save", lambda state, *_: saved.append(int(state.step))
  )
  stream = BatchStream(toy.batches())
  saver = loop.CheckpointSaver(run, manager, stream, Activity())

  def saves(step, seconds, ends=False):
    now[0] = seconds
    due = saver.due(step, ends)
    saver.save_if_due(TrainState(jnp.int32(step), {}, {}, {}, {}))
    return due

  # The first step ends at 100: so long did it compile.
  for step, seconds in ((1, 100), (2, 161), (3, 162), (4, 300), (5, 763)):
    saves(step, seconds)
  for step in range(6, 21):
    saves(step, 764)
  assert saved == [2, 3, 5, 10, 20]
  stream.bad.append(7)
  assert saves(30, 764)
  assert saves(31, 764)  # it was put off: still due
  assert saved[-1] == 20
  stream.bad.clear()
  assert saves(32, 764)
  assert not saves(33, 764)
  stream.bad.append(8)
  assert saves(34, 764, ends=True)  # whatever the last steps were
  assert saved[-2:] == [32, 34]


# --- work that hangs --------------------------------------------------------


def test_hanging_work_is_named(tmp_path):
  activity = Activity()
  watch = Watchdog(tmp_path, "toy", activity, LIMITS, every=99)
  assert watch.hangs() is None
  for kind, limit in (("data", 0.5), ("save", 5), ("compile", 5), ("step", 5)):
    activity.switch(kind)
    assert watch.hangs() is None
    activity.since -= 5.5
    found = watch.hangs()
    assert found is not None
    assert f"hangs in {kind} " in found
    assert f"(limit {limit:.0f} s)" in found or kind == "data"
  for _ in range(3):  # now it is known how long a step takes
    activity.switch("step")
    activity.step_done()
  activity.since -= 0.9
  assert watch.hangs() is None
  activity.since -= 0.5
  assert "hangs in step" in str(watch.hangs())


HANGS = """
import time
from pathlib import Path
from pathlib import Path
from speak_jax.training import loop
from tests.training import toy
class Slow:
  def __init__(self): self.inner, self.count = toy.batches(), 0
  def __next__(self):
    self.count += 1
    time.sleep(60 if self.count == 3 else 0)
    return next(self.inner)
  def get_state(self): return self.inner.get_state()
  def set_state(self, state): self.inner.set_state(state)
loop.fit(toy.run(Path({run!r}), 9, limit_data=1.0), Slow(), {{}})
"""


def test_stalled_data_end_the_process(tmp_path, root):
  code = HANGS.format(run=str(tmp_path / "toy"))
  begin = time.monotonic()
  run = subprocess.run(
    [sys.executable, "-c", code], cwd=root, capture_output=True, text=True
  )
  assert run.returncode == 43, run.stderr
  assert time.monotonic() - begin < 50
  assert "train: toy: hangs in data for" in run.stderr
  assert "after step 2 (limit 1 s), process 0" in run.stderr
  assert "in __next__" in run.stderr  # every thread's stack
  (beat,) = heartbeat.read(tmp_path)
  assert (beat.activity, beat.step) == ("data", 2)


# --- restarts in vain -------------------------------------------------------


def test_restarts_in_vain_come_to_an_end(tmp_path):
  for _ in range(4):  # a start and three restarts
    attempts.record_start(tmp_path, 20)
  with pytest.raises(attempts.NoProgressError, match="restarted 3 times"):
    attempts.record_start(tmp_path, 20)
  attempts.record_start(tmp_path, 20)  # somebody has found the reason
  for steps in (30, 30, 40, 40, 40, 40):
    attempts.record_start(tmp_path, steps)
  attempts.clear(tmp_path)
  for _ in range(4):
    attempts.record_start(tmp_path, 40)
  (tmp_path / attempts.NAME).write_text("{half")
  attempts.record_start(tmp_path, 40)


# --- what is told of a run --------------------------------------------------


def test_goodput_adds_up(tmp_path):
  """Over a run that was restarted from an older step, after a pause."""
  begin = time.time()
  for steps in (6, 12):
    if steps == 12:
      time.sleep(0.5)
      with (tmp_path / goodput.NAME).open("a") as file:
        file.write('{"half')
    loop.fit(toy.run(tmp_path / "toy", steps, heartbeat=0.2), toy.batches(), {})
    # The next one is another process.
    goodput.PROCESS += "'"
  wall = time.time() - begin
  found = goodput.summary(tmp_path)
  assert found.starts == 2
  assert sum(found.seconds.values()) == pytest.approx(found.wall, rel=0.01)
  assert found.wall == pytest.approx(wall, rel=0.1)
  assert 0.5 <= found.seconds["down"] < 1
  assert found.seconds["lost"] == 0
  assert found.seconds["compile"] > 0
  assert found.seconds["step"] > 0
  assert 0 < found.goodput < 1
  text = goodput_command.table(found)
  assert "in 2 starts" in text
  assert f"{goodput_command.WORDS['down']}" in text


def test_steps_made_again_are_lost(tmp_path):
  """Lines as they are written: killed at 8, restarted at 4."""
  none = dict.fromkeys(KINDS, 0.0)
  lines = [
    {"process": "a", "begin": 0, "end": 2, "from": 0, "to": 0, "init": 2},
    {"process": "a", "begin": 2, "end": 10, "from": 0, "to": 8, "step": 8},
    {"process": "b", "begin": 13, "end": 14, "from": 4, "to": 4, "compile": 1},
    {"process": "b", "begin": 14, "end": 22, "from": 4, "to": 12}
    | {"step": 2, "device": 4, "data": 2},
  ]
  (tmp_path / goodput.NAME).write_text(
    "".join(json.dumps({"stage": "x", **none, **x}) + "\n" for x in lines)
  )
  found = goodput.summary(tmp_path)
  want = {"init": 2, "step": 11, "compile": 1, "data": 1, "lost": 4, "down": 3}
  assert {k: v for k, v in found.seconds.items() if v} == want
  assert found.wall == 22
  assert goodput.seconds_a_step(tmp_path) == {"x": 1}


def test_a_clock_that_is_set_changes_nothing(monkeypatch):
  activity = Activity()
  begin, _, _ = activity.collect()
  assert abs(begin - time.time()) < 60
  monkeypatch.setattr(time, "time", lambda: begin + 86_400)
  activity.switch("data")
  _, end, took = activity.collect()
  assert end - begin < 60
  assert sum(took.values()) < 60


def test_a_process_knows_its_age():
  code = (
    "from speak_jax.supervision import activity; print(activity.process_age())"
  )
  before = time.monotonic()
  run = subprocess.run(
    [sys.executable, "-c", code], capture_output=True, text=True, check=True
  )
  assert 0 < float(run.stdout) <= time.monotonic() - before + 0.1
  assert process_age() > float(run.stdout)


def beat(rank, own, step=100.0, when=0.0):
  return heartbeat.Heartbeat(
    rank, "irfd", 7, when, "step", 0.1, step, own, f"host{rank}", 1
  )


def test_the_slow_host_is_named():
  even = [beat(0, 10.0), beat(1, 12.0), beat(2, 11.0)]
  assert heartbeat.slow(even) == []
  assert heartbeat.slow([*even, beat(3, 60.0)]) == [beat(3, 60.0)]
  assert heartbeat.slow([beat(0, 1.0), beat(1, 5.0)]) == []  # of 100: nothing
  assert heartbeat.slow([beat(0, 1.0), beat(1, 50.0)]) == [beat(1, 50.0)]
  assert heartbeat.slow([beat(0, None), beat(1, 50.0)]) == []
  (line,) = goodput_command.signs([beat(0, 10.0)], now=65.0)
  assert (
    line == "process 0 on host0: irfd step 7, step, 1:05 ago, 100 ms a step"
  )
  # Of its first steps a process does not know how long they take.
  (line,) = goodput_command.signs([beat(0, None, None)], now=65.0)
  assert line == "process 0 on host0: irfd step 7, step, 1:05 ago"
  *_, line = goodput_command.signs([beat(0, 1.0), beat(1, 50.0)], now=65.0)
  assert line.endswith(", 100 ms a step, of which 50 for itself: slow")


def test_the_first_process_names_the_slow_one(tmp_path, capsys):
  with Watchdog(tmp_path, "toy", Activity(), LIMITS, every=99) as watch:
    now = time.time() + 5
    heartbeat.write(tmp_path, beat(1, 60.0, when=now))
    heartbeat.write(tmp_path, beat(2, 6.0, when=now))
    heartbeat.write(tmp_path, beat(3, 500.0, when=1.0))  # of another start
    watch.begin(1)
    watch.begin(2)  # once is enough
  said = capsys.readouterr().err
  assert said.count("process 1 on host1 holds up the others") == 1
  assert "60 ms of a step of 100 ms" in said
  assert "host3" not in said


def test_goodput_command(tmp_path, capsys):
  assert goodput_command.main(["", str(tmp_path)]) == 64
  assert "nothing was written yet" in capsys.readouterr().err


def test_a_trace_of_the_steps_asked_for(tmp_path, capsys):
  run = toy.run(tmp_path / "toy", 5)._replace(profile=(3, 4))
  loop.fit(run, toy.batches(), {})
  assert list((tmp_path / "toy" / "profile").rglob("*.xplane.pb"))
  assert "a trace of steps 3 to 4" in capsys.readouterr().err
  assert parse_steps("") is None
  assert parse_steps("100:105") == (100, 105)
  for text in ("5", "5:3", "0:3", "a:b", "1:2:3"):
    with pytest.raises(ValueError, match="--profile"):
      parse_steps(text)
