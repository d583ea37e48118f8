"""One job at a time, one waits, others are told; what is unwanted ends."""

import threading
import time

import numpy as np
import pytest

from speak_jax.app.desk import Busy, Cancelled, Desk, Late, Watched
from speak_jax.common.files import FileError


@pytest.fixture
def desk():
  made = Desk(seconds=20.0)
  yield made
  made.close()


class Work:
  """Frames that come when they may."""

  def __init__(self):
    self.begun, self.may = threading.Event(), threading.Event()

  def __call__(self, job):
    job.begin("making", 3)
    self.begun.set()
    for _ in job.counted(range(3)):
      self.may.wait(10)
    return "made"


def test_a_result_and_how_far_it_is(desk):
  work = Work()
  job = desk.submit("ann", work)
  assert work.begun.wait(5)
  assert (job.stage, job.count) == ("making", 3) and not job.done
  work.may.set()
  assert job.wait(5)
  assert (job.result, job.error, job.made) == ("made", None, 3)


def test_one_waits_and_no_more(desk):
  first = Work()
  desk.submit("ann", first)
  assert first.begun.wait(5)
  second = desk.submit("bob", lambda job: job.owner)
  with pytest.raises(Busy, match="2 videos"):
    desk.submit("eve", lambda job: 1)
  with pytest.raises(Busy, match="your last"):
    desk.submit("ann", lambda job: 1)
  assert not second.done
  first.may.set()
  assert second.wait(5) and second.result == "bob"


def test_what_waits_and_is_cancelled_never_begins(desk):
  first, ran = Work(), []
  desk.submit("ann", first)
  assert first.begun.wait(5)
  second = desk.submit("bob", ran.append)
  assert desk.cancel("bob") and second.done
  assert isinstance(second.error, Cancelled)
  third = desk.submit("eve", lambda job: 3)  # there is room again
  first.may.set()
  assert third.wait(5) and ran == []
  assert not desk.cancel("nobody")


def test_what_runs_and_is_cancelled_ends(desk):
  work = Work()
  job = desk.submit("ann", work)
  assert work.begun.wait(5)
  assert desk.cancel("ann")
  work.may.set()
  assert job.wait(5) and isinstance(job.error, Cancelled)
  assert job.made < 3


def test_a_tracker_ends_with_its_job(desk):
  """A driver is read for long before the first frame is made."""

  class Slow:
    def track(self, frames, rule):
      return sum(1 for _ in frames)

  tracker, began = Watched(Slow(), desk.check), threading.Event()

  def endless():
    while True:
      began.set()
      time.sleep(0.01)
      yield np.zeros(1)

  job = desk.submit("ann", lambda job: tracker.track(endless()))
  assert began.wait(5)
  desk.cancel("ann")
  assert job.wait(5) and isinstance(job.error, Cancelled)


def test_what_takes_too_long_ends():
  desk = Desk(seconds=0.05)

  def work(job):
    for _ in job.counted(range(1000)):
      time.sleep(0.01)

  job = desk.submit("ann", work)
  assert job.wait(5) and isinstance(job.error, Late)
  assert "0.05 s" in str(job.error)
  desk.close()


def test_errors_of_inputs_stay_and_others_are_numbers(desk, capfd):
  def odd(job):
    raise FileError("a.png", "no face")

  def fault(job):
    raise ZeroDivisionError("of ours")

  job = desk.submit("ann", odd)
  assert job.wait(5) and str(job.error) == "a.png: no face"
  job = desk.submit("bob", fault)
  assert job.wait(5) and "of ours" not in str(job.error)
  assert str(job.error)[-8:] in capfd.readouterr().err


def test_a_closed_desk_takes_nothing_in():
  desk = Desk(seconds=5.0)
  work = Work()
  job = desk.submit("ann", work)
  work.may.set()
  desk.close()
  assert job.wait(5)
  with pytest.raises(Busy):
    desk.submit("bob", lambda job: 1)
