"""Videos that are asked for: made at a desk, kept for an hour.

A job's name is random and is all that one needs to fetch or end it, so nobody
finds another's. All of its files lie in a folder of its own, under names that
are not the client's.
"""

import enum
import secrets
import shutil
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from speak_jax.common.files import FileError
from speak_jax.inference import desk as desks
from speak_jax.inference.desk import Busy, Cancelled, Desk
from speak_jax.inference.model import Model
from speak_jax.inference.request import Request, RequestError
from speak_jax.serving.limits import Limits


class State(enum.StrEnum):
  """Of a job."""

  QUEUED = "queued"
  RUNNING = "running"
  DONE = "done"
  FAILED = "failed"
  CANCELLED = "cancelled"


class Job:
  """One video."""

  def __init__(self, folder: Path):
    """Makes its folder; its name is the job's."""
    self.name = secrets.token_urlsafe(24)
    self.folder = folder / self.name
    self.folder.mkdir(mode=0o700)
    self.since = time.monotonic()  # that it waits to be fetched
    self.told = False  # its owner has its video, or knows why there is none
    self.work: desks.Job | None = None  # as soon as all of its files are here

  @property
  def result(self) -> Path:
    """The mp4."""
    return self.folder / "result.mp4"

  @property
  def over(self) -> bool:
    """Whether it is done, failed or cancelled."""
    return self.work is not None and self.work.done

  @property
  def state(self) -> State:
    """What has become of it."""
    return State.QUEUED if self.work is None else state_of(self.work)

  @property
  def error(self) -> dict[str, str]:
    """Why it failed."""
    assert self.work is not None and self.work.error is not None
    return described(self.work.error, self.folder)

  def described(self) -> dict[str, Any]:
    """What its owner may know."""
    assert self.work is not None  # nobody else knows its name before
    out: dict[str, Any] = {
      "job": self.name,
      "state": self.state.value,
      "stage": self.work.stage,
      "frames": self.work.made,
      "of": self.work.count,
      "warnings": [hidden(line, self.folder) for line in self.work.lines],
    }
    failed = self.state == State.FAILED
    return out | {"error": self.error} if failed else out


def state_of(work: desks.Job) -> State:
  """What has become of a desk's job."""
  if not work.done:
    return State.RUNNING if work.begun else State.QUEUED
  if work.error is None:
    return State.DONE
  gone = isinstance(work.error, Cancelled)
  return State.CANCELLED if gone else State.FAILED


class Jobs:
  """All of a server's, and the desk that makes them."""

  def __init__(
    self,
    model: Model,
    folder: Path,
    limits: Limits,
    count: Callable[[str, float], None] = lambda state, seconds: None,
  ):
    """Opens the desk.

    Args:
      model: Makes the videos.
      folder: Of their files; nobody else's.
      limits: Of number, length and time.
      count: Told of each job that is over: its state, and the seconds.
    """
    self._model, self._folder, self._limits = model, folder, limits
    self._count = count
    self._lock = threading.RLock()
    self._jobs: dict[str, Job] = {}
    self._desk = Desk(limits.job_s, limits.queue, self._over)

  def new(self) -> Job:
    """A place for the files of one more; it is forgotten unless it starts.

    Where too many are kept, those go first, the oldest, whose owners were told
    what came of them.

    Raises:
      Busy: too many wait, or are kept.
    """
    with self._lock:
      self.sweep()
      held = len(self._jobs) - self.waiting
      told = [job for job in self._jobs.values() if job.told]
      told.sort(key=lambda job: job.since)
      for job in told[: max(held - self._limits.kept, 0)]:
        self.forget(job)
        held -= 1
      if self._desk.full or held > self._limits.kept:
        raise Busy("too many videos wait or are kept; try again")
      job = Job(self._folder)
      self._jobs[job.name] = job
      return job

  def start(self, job: Job, request: Request) -> None:
    """Puts it into the line.

    Raises:
      Busy: too many wait.
    """
    limit = self._limits.sound_s

    def work(it: desks.Job) -> None:
      desks.make(it, self._model, request, job.result, most_s=limit)

    job.work = self._desk.submit(job.name, work)

  def find(self, name: str) -> Job | None:
    """The job of this name."""
    with self._lock:
      self.sweep()
      return self._jobs.get(name)

  def forget(self, job: Job) -> None:
    """Ends it, and removes all of its files."""
    with self._lock:
      self._jobs.pop(job.name, None)
    self._desk.cancel(job.name)
    if job.work is None or job.over:
      shutil.rmtree(job.folder, ignore_errors=True)

  def sweep(self) -> None:
    """Forgets what was kept long enough."""
    now = time.monotonic()
    with self._lock:
      for job in list(self._jobs.values()):
        still = job.work is not None and not job.over
        if not still and now - job.since > self._limits.kept_s:
          self.forget(job)

  @property
  def waiting(self) -> int:
    """How many are in the line."""
    return self._desk.waiting

  def close(self) -> None:
    """Ends all of them."""
    with self._lock:
      for job in list(self._jobs.values()):
        self.forget(job)
    self._desk.close()

  def _over(self, work: desks.Job) -> None:
    """One is done: it is kept from now on, if it is wanted."""
    with self._lock:
      job = self._jobs.get(work.owner)
      if job is not None:
        job.since = time.monotonic()
    if job is None:
      shutil.rmtree(self._folder / work.owner, ignore_errors=True)
    self._count(state_of(work).value, work.seconds)


def described(error: Exception, folder: Path) -> dict[str, str]:
  """What a client may know of an error: no path, no stack.

  Args:
    error: Any.
    folder: Of the client's files.
  """
  error = desks.told(error)
  if isinstance(error, RequestError):
    return {"field": error.field, "reason": hidden(error.reason, folder)}
  if isinstance(error, FileError):
    ours = Path(error.path).parent == folder
    return {
      "field": Path(error.path).stem if ours else "server",
      "reason": hidden(error.reason, folder),
    }
  return {"reason": str(error)}


def hidden(line: str, folder: Path) -> str:
  """A line without the folder's name."""
  return line.replace(f"{folder}/", "").replace(str(folder), "")
