"""Makes one video at a time for many people: one in work, others wait.

The page in a browser and the server have a desk each.
"""

import collections
import contextlib
import math
import os
import secrets
import sys
import threading
import time
import traceback
from collections.abc import Callable, Generator
from typing import Any, TypeVar

from data_pipelines.media import png_folder
from data_pipelines.media.error import heard
from data_pipelines.media.sandbox import checked
from speak_jax.common.files import FileError
from speak_jax.inference import take as takes
from speak_jax.inference.model import Model
from speak_jax.inference.request import Request, RequestError
from speak_jax.inference.take import Result, Take

T = TypeVar("T")
END_S = 10.0  # that a desk which closes waits for what is in work
# What stands before a path in the lines that reading says.
STAGES = {
  "speech": "hearing the sound",
  "identity": "looking at the picture",
  "pose": "looking at the head's motion",
  "emotion": "looking at the emotion",
}


class Busy(Exception):
  """Nobody else can wait now; one line."""


class Cancelled(Exception):
  """It is not wanted any more."""


class Late(Exception):
  """It took longer than it may; one line."""


class Fault(Exception):
  """An error of ours; one line, with a number that the log has too."""


class Job:
  """One person's work.

  Attributes:
    owner: Who it is for.
    stage: What is being done, as people are told.
    part: Which of several videos is in work, from 0.
    made, count: Frames of it.
    begun: Whether it is in work, or was.
    lines: Warnings, each once.
    result: What the work gave, once it is done.
    error: What it raised instead; an unexpected error is a Fault.
    seconds: That it was in work, once it is done.
  """

  def __init__(self, owner: str, work: Callable[["Job"], Any], limit: float):
    """Nothing is done yet; so many seconds it may take."""
    self.owner, self._work, self._limit = owner, work, limit
    self.stage, self.part, self.made, self.count = "waiting", 0, 0, 0
    self.begun, self.seconds = False, 0.0
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
    if self.begun and time.monotonic() - self._began > self._limit:
      raise Late(f"this takes over {self._limit:g} s, which is the limit")

  def begin(self, stage: str, count: int = 0) -> None:
    """Names what is done next, of so many frames."""
    self.check()
    self.stage, self.made, self.count, self._first = stage, 0, count, 0.0

  def counted(
    self, frames: Generator[T, None, None]
  ) -> Generator[T, None, None]:
    """Passes frames on as they are made, and ends when it shall."""
    with contextlib.closing(frames):
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
    """Does the work; whatever it raises is kept.

    What media are read meanwhile is given up when the job is to end.
    """
    self._began = time.monotonic()
    try:
      self.check()
      self.begun = True
      with heard(self.lines), checked(self.check):
        self.result = self._work(self)
    except Exception as error:
      self.error = told(error)
    finally:
      self.seconds = time.monotonic() - self._began
      self._done.set()


def told(error: Exception) -> Exception:
  """An error as people may see it; one of ours goes to the log instead."""
  known = FileError, RequestError, Cancelled, Late, Fault
  if isinstance(error, known):
    return error
  number = secrets.token_hex(4)
  print(f"error {number}", file=sys.stderr)
  traceback.print_exception(error)
  return Fault(
    f"something went wrong here; the server's log has it as {number}"
  )


class Desk:
  """A thread that does one job at a time."""

  def __init__(
    self,
    seconds: float,
    waiting: int = 1,
    over: Callable[[Job], None] = lambda job: None,
  ):
    """Opens it.

    Args:
      seconds: The longest that a job may take.
      waiting: How many may wait while another one is in work.
      over: Told of each job that is done.
    """
    self._seconds, self._most, self._over = seconds, 1 + waiting, over
    self._line: collections.deque[Job] = collections.deque()  # first in work
    self._changed = threading.Condition()
    self._open = True
    self._thread = threading.Thread(
      target=self._serve, name="desk", daemon=True
    )
    self._thread.start()

  @property
  def waiting(self) -> int:
    """How many wait."""
    return max(len(self._line) - 1, 0)

  @property
  def full(self) -> bool:
    """Whether nobody else can wait."""
    return not self._open or len(self._line) >= self._most

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
      if self.full:
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
    gone = []
    with self._changed:
      found = [job for job in self._line if job.owner == owner]
      for job in found:
        job.cancel()
        if job is not self._line[0]:
          self._line.remove(job)
          gone.append(job)
    for job in gone:
      self._do(job)  # ends at its first check
    return bool(found)

  def close(self) -> None:
    """Cancels everything, and waits a moment for it."""
    with self._changed:
      self._open = False
      for job in self._line:
        job.cancel()
      self._changed.notify_all()
    self._thread.join(END_S)

  def _serve(self) -> None:
    while True:
      with self._changed:
        self._changed.wait_for(lambda: self._line or not self._open)
        if not self._line:
          return
        job = self._line[0]
      self._do(job)
      with self._changed:
        self._line.popleft()

  def _do(self, job: Job) -> None:
    job.run()
    self._over(job)


def make(
  job: Job,
  model: Model,
  request: Request,
  output: str | os.PathLike,
  sheet: str | os.PathLike | None = None,
  *,
  most_s: float,
  most_bytes: float = math.inf,
) -> tuple[Take, Result]:
  """Makes a video as a job, or part of one, which knows how far it is.

  Args:
    job: Ends it too.
    model, request, output, sheet: As for `Model.write`.
    most_s: The longest sound.
    most_bytes: Of a folder of pictures, before they are compressed.

  Raises:
    FileError, RequestError: as `Model.write` does; or it is too much.
    Cancelled, Late: the job is to end.
  """

  def say(line: str) -> None:
    if (stage := STAGES.get(line.split()[0])) is not None:
      job.begin(stage)

  take = model.take(request, say)
  seconds = take.count / take.fps
  if seconds > most_s:
    take.frames.close()
    reason = f"{seconds:.4g} s of sound; {most_s:g} s are the limit"
    raise FileError(request.audio, reason)
  raw = take.count * take.height * take.width * (3 if take.rgba is None else 4)
  if png_folder.is_folder(output) and raw > most_bytes:
    take.frames.close()
    most = int(take.count * most_bytes / raw)
    size = f"{take.width} x {take.height} px"
    reason = f"{take.count} pictures of {size}; {most} are the limit"
    raise FileError(request.audio, reason)
  job.begin("making frames", take.count)
  watched = take._replace(
    frames=job.counted(take.frames),
    rgba=None if take.rgba is None else job.counted(take.rgba),
  )
  return take, takes.write(watched, output, sheet, lambda line: None, bar=False)
