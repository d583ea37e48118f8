"""Videos that are asked for: made one after another, kept for an hour.

A job's name is random and is all that one needs to fetch or end it, so nobody
finds another's. All of its files lie in a folder of its own, under names that
are not the client's.
"""

import collections
import contextlib
import enum
import secrets
import shutil
import threading
import time
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

import numpy as np

from data_pipelines.media.error import heard
from speak_jax.common.files import FileError
from speak_jax.inference import take as takes
from speak_jax.inference.model import Model
from speak_jax.inference.request import Request, RequestError
from speak_jax.inference.take import Take
from speak_jax.serving.limits import Limits


class State(enum.StrEnum):
  """Of a job."""

  QUEUED = "queued"
  RUNNING = "running"
  DONE = "done"
  FAILED = "failed"
  CANCELLED = "cancelled"


class BusyError(Exception):
  """There is no room for another job now."""


class _Ended(Exception):
  """A job is no longer wanted, or takes too long."""


class Job:
  """One video."""

  def __init__(self, folder: Path):
    """Makes its folder; its name is the job's."""
    self.name = secrets.token_urlsafe(24)
    self.folder = folder / self.name
    self.folder.mkdir(mode=0o700)
    self.state = State.QUEUED
    self.error: dict[str, str] | None = None
    self.warnings: list[str] = []
    self.frames, self.count = 0, 0  # made, to make
    self.request: Request | None = None
    self.since = time.monotonic()
    self.unwanted = threading.Event()
    self.over = threading.Event()  # done, failed or cancelled

  @property
  def result(self) -> Path:
    """The mp4."""
    return self.folder / "result.mp4"

  def described(self) -> dict[str, Any]:
    """What its owner may know."""
    out: dict[str, Any] = {
      "job": self.name,
      "state": self.state.value,
      "frames": self.frames,
      "of": self.count,
      "warnings": self.warnings,
    }
    return out if self.error is None else out | {"error": self.error}

  def finish(self, state: State, error: dict[str, str] | None = None) -> None:
    """It is over."""
    self.state, self.error = state, error
    self.since = time.monotonic()
    self.over.set()


class Jobs:
  """All of a server's, and the thread that makes them."""

  def __init__(
    self,
    model: Model,
    folder: Path,
    limits: Limits,
    count: Callable[[str, float], None] = lambda state, seconds: None,
  ):
    """Starts the thread.

    Args:
      model: Makes the videos.
      folder: Of their files; nobody else's.
      limits: Of number, length and time.
      count: Told of each job that is over: its state, and the seconds.
    """
    self._model, self._folder, self._limits = model, folder, limits
    self._count = count
    self._lock = threading.Condition()
    self._jobs: dict[str, Job] = {}
    self._line: collections.deque[Job] = collections.deque()
    self._open = True
    self._thread = threading.Thread(target=self._work, name="jobs", daemon=True)
    self._thread.start()

  def new(self) -> Job:
    """A place for the files of one more; it is forgotten unless it starts.

    Raises:
      BusyError: too many wait, or are kept.
    """
    with self._lock:
      self.sweep()
      held = len(self._jobs) - len(self._line)
      if len(self._line) >= self._limits.queue or held > self._limits.kept:
        raise BusyError
      job = Job(self._folder)
      self._jobs[job.name] = job
      return job

  def start(self, job: Job, request: Request) -> None:
    """Puts it into the line.

    Raises:
      BusyError: too many wait.
    """
    with self._lock:
      if len(self._line) >= self._limits.queue:
        raise BusyError
      job.request = request
      self._line.append(job)
      self._lock.notify_all()

  def find(self, name: str) -> Job | None:
    """The job of this name."""
    with self._lock:
      self.sweep()
      return self._jobs.get(name)

  def forget(self, job: Job) -> None:
    """Ends it, and removes all of its files."""
    job.unwanted.set()
    with self._lock:
      self._jobs.pop(job.name, None)
      if job in self._line:
        self._line.remove(job)
        job.finish(State.CANCELLED)
      if job.state != State.RUNNING:  # else the thread removes them
        shutil.rmtree(job.folder, ignore_errors=True)

  def sweep(self) -> None:
    """Forgets what was kept long enough."""
    now = time.monotonic()
    with self._lock:
      for job in list(self._jobs.values()):
        still = job.state == State.RUNNING or job in self._line
        if not still and now - job.since > self._limits.kept_s:
          self.forget(job)

  @property
  def waiting(self) -> int:
    """How many are in the line."""
    return len(self._line)

  def close(self) -> None:
    """Ends all of them."""
    with self._lock:
      self._open = False
      for job in list(self._jobs.values()):
        self.forget(job)
      self._lock.notify_all()
    self._thread.join(timeout=60)

  def _work(self) -> None:
    while True:
      with self._lock:
        while self._open and not self._line:
          self._lock.wait()
        if not self._open:
          return
        job = self._line.popleft()
        job.state = State.RUNNING
      start = time.monotonic()
      state, error = self._made(job)
      with self._lock:
        job.finish(state, error)
        if job.name not in self._jobs:
          shutil.rmtree(job.folder, ignore_errors=True)
      self._count(state.value, time.monotonic() - start)

  def _made(self, job: Job) -> tuple[State, dict[str, str] | None]:
    """Makes it; how it ended, and why."""
    assert job.request is not None
    lines: dict[str, None] = {}
    try:
      with heard(lines):
        take = self._model.take(job.request)
        seconds = take.count / take.fps
        if seconds > self._limits.sound_s:
          reason = f"{seconds:.0f} s are more than {self._limits.sound_s:g}"
          raise RequestError("audio", reason)
        job.count = take.count
        watched = take._replace(frames=self._watched(job, take))
        takes.write(watched, job.result, say=lambda line: None, bar=False)
    except _Ended as end:
      if job.unwanted.is_set():
        return State.CANCELLED, None
      return State.FAILED, {"reason": str(end)}
    except Exception as error:
      return State.FAILED, described(error, job.folder)
    finally:
      job.warnings = [hidden(line, job.folder) for line in lines]
    return State.DONE, None

  def _watched(self, job: Job, take: Take) -> Generator[np.ndarray, None, None]:
    """Its frames, as long as it is wanted and has time."""
    end = time.monotonic() + self._limits.job_s
    with contextlib.closing(take.frames) as frames:
      for frame in frames:
        if job.unwanted.is_set() or time.monotonic() > end:
          raise _Ended(f"takes over {self._limits.job_s:g} s")
        job.frames += 1
        yield frame


def described(error: Exception, folder: Path) -> dict[str, str]:
  """What a client may know of an error: no path, no stack.

  Args:
    error: Any.
    folder: Of the client's files.
  """
  if isinstance(error, RequestError):
    return {"field": error.field, "reason": hidden(error.reason, folder)}
  if isinstance(error, FileError):
    return {
      "field": Path(error.path).stem
      if Path(error.path).parent == folder
      else "server",
      "reason": hidden(error.reason, folder),
    }
  number = secrets.token_hex(4)
  print(f"serve: {number}: {type(error).__name__}: {error}", flush=True)
  return {"reason": f"an error of the server, number {number}"}


def hidden(line: str, folder: Path) -> str:
  """A line without the folder's name."""
  return line.replace(f"{folder}/", "").replace(str(folder), "")
