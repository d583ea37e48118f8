"""One job at a time, one waits, others are told; what is unwanted ends."""

import threading
import time

import pytest

from data_pipelines.media import decoder
from speak_jax.common import packaged
from speak_jax.common.files import FileError
from speak_jax.inference.desk import Busy, Cancelled, Desk, Fault, Late, told


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
    for _ in job.counted(x for x in range(3)):
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


def test_reading_ends_with_its_job(desk):
  """Inputs are read for long before the first frame is made."""
  began = threading.Event()

  def endless(job):
    while True:
      decoder.read_image(packaged.PORTRAIT)
      began.set()

  job = desk.submit("ann", endless)
  assert began.wait(20)
  desk.cancel("ann")
  assert job.wait(5) and isinstance(job.error, Cancelled)
  assert decoder.read_image(packaged.PORTRAIT).any()  # it was that job alone


def test_what_takes_too_long_ends():
  desk = Desk(seconds=0.05)

  def work(job):
    for _ in job.counted(x for x in range(1000)):
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
  assert isinstance(job.error, Fault)
  assert str(job.error)[-8:] in capfd.readouterr().err
  assert told(job.error) is job.error and not capfd.readouterr().err


def test_who_waits_and_who_is_done():
  """Whoever opens a desk is told of each job, those that never begin too."""
  over, work = [], Work()
  desk = Desk(5.0, waiting=2, over=lambda job: over.append(job.owner))
  assert (desk.waiting, desk.full) == (0, False)
  first = desk.submit("ann", work)
  assert work.begun.wait(5) and first.begun
  others = [desk.submit(name, lambda job: 1) for name in ("bob", "eve")]
  assert (desk.waiting, desk.full) == (2, True)
  desk.cancel("bob")
  assert over == ["bob"] and not others[0].begun and not desk.full
  work.may.set()
  assert others[1].wait(5)
  desk.close()
  assert over == ["bob", "ann", "eve"] and desk.full
  assert first.seconds > others[0].seconds


def test_a_closed_desk_takes_nothing_in():
  desk = Desk(seconds=5.0)
  work = Work()
  job = desk.submit("ann", work)
  work.may.set()
  desk.close()
  assert job.wait(5)
  with pytest.raises(Busy):
    desk.submit("bob", lambda job: 1)
