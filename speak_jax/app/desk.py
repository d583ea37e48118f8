"""Makes one video at a time for many visitors: one in work, a few waiting."""

import collections
import secrets
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

from speak_jax.common.files import FileError
from speak_jax.inference.request import RequestError

T = TypeVar("T")


class Busy(Exception):
  """Nobody else can wait now; one line."""


class Cancelled(Exception):
  """The visitor does not want it any more."""


class Late(Exception):
  """It took longer than it may; one line."""


class Job:
  """One visitor's work.

  Attributes:
    owner: Who it is for.
    stage: What is being done, as people are told.
    part: Which of several videos is in work, from 0.
    made, count: Frames of it.
    lines: Warnings, each once.
    result: What the work gave, once it is done.
    error: What it raised instead; an unexpected error is a RuntimeError
      whose line has a number that stands beside the stack on stderr.
  """

  def __init__(self, owner: str, work: Callable[["Job"], Any], seconds: float):
    """Nothing is done yet."""
    self.owner, self._work, self._seconds = owner, work, seconds
    self.stage, self.part, self.made, self.count = "waiting", 0, 0, 0
    self.lines: dict[str, None] = {}
    self.result: Any = None
    self.error: Exception | None = None
    self._unwanted, self._done = threading.Event(), threading.Event()
    self._began = self._first = 0.0

  @property
  def done(self) -> bool:
    """Whether there is a result or an error."""
    return self._done.is_set()

  def wait(self, seconds: float) -> bool:
    """Waits so long at most; whether it is done."""
    return self._done.wait(seconds)

  def cancel(self) -> None:
    """Ends it at the next `check`; if it waits, it never begins."""
    self._unwanted.set()

  def check(self) -> None:
    """Raises Cancelled or Late where the work is to end."""
    if self._unwanted.is_set():
      raise Cancelled
    if self._began and time.monotonic() - self._began > self._seconds:
      raise Late(f"this takes over {self._seconds:g} s, which is the limit")

  def begin(self, stage: str, count: int = 0) -> None:
    """Names what is done next, of so many frames."""
    self.check()
    self.stage, self.made, self.count, self._first = stage, 0, count, 0.0

  def counted(self, frames: Iterable[T]) -> Iterator[T]:
    """Passes frames on as they are made, and ends when it shall."""
    for frame in frames:
      self.check()
      self.made += 1
      # As of the first frame: what comes before it says nothing of the rate.
      self._first = self._first or time.monotonic()
      yield frame

  @property
  def rate(self) -> float:
    """Frames a second of this part; 0 before that is known."""
    passed = time.monotonic() - self._first
    known = self.made > 1 and passed > 0
    return (self.made - 1) / passed if known else 0.0

  def run(self) -> None:
    """Does the work; whatever it raises is kept."""
    self._began = time.monotonic()
    try:
      self.check()
      self.result = self._work(self)
    except (FileError, RequestError, Cancelled, Late) as error:
      self.error = error
    except Exception:
      number = secrets.token_hex(4)
      print(f"app: error {number}", file=sys.stderr)
      traceback.print_exc()
      self.error = RuntimeError(
        f"something went wrong here; the server's log has it as {number}"
      )
    finally:
      self._done.set()


class Desk:
  """A thread that does one job at a time."""

  def __init__(self, seconds: float, waiting: int = 1):
    """Opens it.

    Args:
      seconds: The longest that a job may take.
      waiting: How many may wait while another one is in work.
    """
    self._seconds, self._most = seconds, 1 + waiting
    self._line: collections.deque[Job] = collections.deque()  # first in work
    self._changed = threading.Condition()
    self._open = True
    self._thread = threading.Thread(
      target=self._serve, name="desk", daemon=True
    )
    self._thread.start()

  def submit(self, owner: str, work: Callable[[Job], Any]) -> Job:
    """Takes work in.

    Args:
      owner: Who it is for; everybody has one job at most.
      work: Called with the job, whose `check` it calls often.

    Raises:
      Busy: too many wait, or the owner does.
    """
    with self._changed:
      if any(job.owner == owner for job in self._line):
        raise Busy("your last video is still in work; cancel it or wait")
      if not self._open or len(self._line) >= self._most:
        raise Busy(
          f"{len(self._line)} videos are in work or waiting; try again in a"
          " minute"
        )
      job = Job(owner, work, self._seconds)
      self._line.append(job)
      self._changed.notify_all()
      return job

  def cancel(self, owner: str) -> bool:
    """Cancels an owner's job; whether there was one."""
    with self._changed:
      found = [job for job in self._line if job.owner == owner]
      for job in found:
        job.cancel()
        if job is not self._line[0]:
          self._line.remove(job)
          job.run()  # ends at its first check
    return bool(found)

  def check(self) -> None:
    """`Job.check` of what is in work; for what knows of no job."""
    line = self._line
    if line:
      line[0].check()

  def close(self) -> None:
    """Cancels everything, and waits a moment for it."""
    with self._changed:
      self._open = False
      for job in self._line:
        job.cancel()
      self._changed.notify_all()
    self._thread.join(5.0)

  def _serve(self) -> None:
    while True:
      with self._changed:
        self._changed.wait_for(lambda: self._line or not self._open)
        if not self._line:
          return
        job = self._line[0]
      job.run()
      with self._changed:
        self._line.popleft()


class Watched:
  """A `FaceTracker` that ends with the job that it works for."""

  def __init__(self, tracker: Any, check: Callable[[], None]):
    """Wraps a tracker.

    Args:
      tracker: Finds the faces.
      check: Raises to end it; called before each picture.
    """
    self._tracker, self._check = tracker, check

  def track(self, frames: Iterable, rule: Any = "largest") -> Any:
    """`FaceTracker.track`."""
    return self._tracker.track(self._each(frames), rule)

  def stream(self, frames: Iterable, rule: Any = "largest") -> Any:
    """`FaceTracker.stream`."""
    return self._tracker.stream(self._each(frames), rule)

  def votes(self, frame: Any, rule: Any = "largest", thorough=True) -> Any:
    """`FaceTracker.votes`."""
    self._check()
    return self._tracker.votes(frame, rule, thorough)

  def _each(self, frames: Iterable) -> Iterator:
    for frame in frames:
      self._check()
      yield frame
