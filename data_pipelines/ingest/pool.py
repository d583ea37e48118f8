"""Processes that work jobs off, whatever the jobs do to them.

A process that dies or hangs costs the one job that it had: `run` says so, and
another process takes its place. (An executor of the standard library breaks
as a whole when one of its processes dies.)
"""

import contextlib
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Generator, Hashable, Iterator
from multiprocessing.connection import Connection
from multiprocessing.connection import wait as wait_for
from typing import Any, NamedTuple

SPAWN = multiprocessing.get_context("spawn")  # safe beside threads
STARTING_S = 300.0  # for a process to start, and to import what a job needs
LEAVING_S = 5.0  # for a process without work to end
DYING_S = 30.0  # for a process that closed its connection: a core is written
More = Callable[[float], None]  # gives the job in work so many seconds more


class WorkerError(ValueError):
  """A job raised, or no process would start; one line."""


class Job(NamedTuple):
  """A call for another process. Picklable."""

  key: Hashable
  call: Callable[[More], Any]
  seconds: float  # of wall clock, until it is given up


class Died(NamedTuple):
  """The process of a job ended under it."""

  how: str  # SIGKILL, exit 1


class Late(NamedTuple):
  """A job took too long, and was ended."""

  seconds: float


def cores() -> int:
  """CPU cores that this process may use."""
  if hasattr(os, "sched_getaffinity"):
    return len(os.sched_getaffinity(0))
  return os.cpu_count() or 1


def run(
  take: Callable[[], Job | None], count: int
) -> Generator[tuple[Any, Any], None, None]:
  """Works jobs off, yielding each one's key and what became of it.

  That is what its call returned, `Died` or `Late`.

  Args:
    take: Gives the next job, or None if there is none now. It is asked again
      after each result, and the end is when none is left and none in work.
    count: Processes at most; they are started as jobs need them. 0: the jobs
      are called here, and neither ended nor outlived.

  Raises:
    WorkerError: a call raised; its line. Or a process ended before its first
      job began.
  """
  while count == 0 and (job := take()):
    yield job.key, job.call(lambda seconds: None)
  workers: list[_Worker] = []
  try:
    while True:
      idle = [worker for worker in workers if not worker.job]
      while len(workers) - len(idle) < count and (job := take()):
        if not idle:
          workers.append(_Worker())
        (idle.pop() if idle else workers[-1]).give(job)
      busy = [worker for worker in workers if worker.job]
      if not busy:
        return
      first = min(worker.deadline for worker in busy)
      patience = max(first - time.monotonic(), 0.0)
      wait_for([worker.connection for worker in busy], patience)
      for worker in busy:
        key = worker.job and worker.job.key
        for result in worker.results():
          yield key, result
      workers = [worker for worker in workers if worker.alive]
  finally:
    for worker in workers:
      worker.end(0.0 if worker.job else LEAVING_S)


class _Worker:
  """One process, and the job it has."""

  def __init__(self):
    self.connection, theirs = SPAWN.Pipe()
    self._process = SPAWN.Process(target=_serve, args=(theirs,))
    self._process.start()
    theirs.close()  # so that its end is seen here
    self.job: Job | None = None
    self.deadline = 0.0
    self.alive, self._ready = True, False

  def give(self, job: Job) -> None:
    """Starts a job; only when there is none."""
    self.job, self._allowed = job, job.seconds
    self.deadline = time.monotonic() + STARTING_S
    with contextlib.suppress(BrokenPipeError):  # it died: `results` tells
      self.connection.send(job.call)

  def results(self) -> Iterator[Any]:
    """What became of the job, if that is known by now."""
    try:
      while self.job and self.connection.poll():
        kind, value = self.connection.recv()
        if kind == "ready":
          self._ready = True
        elif kind == "began":
          self.deadline = time.monotonic() + self._allowed
        elif kind == "more":
          self._allowed += value
          self.deadline += value
        elif kind == "raised":
          raise WorkerError(value)
        else:
          self.job = None
          yield value
    except (EOFError, ConnectionResetError):
      how = self.end(DYING_S)
      if not self._ready:
        raise WorkerError(f"no worker process will start ({how})") from None
      self.job = None
      yield Died(how)
    if self.job and time.monotonic() > self.deadline:
      self.end(0.0)
      self.job = None
      yield Late(self._allowed)

  def end(self, patience: float) -> str:
    """Ends the process and what it started; says how it ended.

    Args:
      patience: Seconds that it has to leave by itself, as it does when its
        connection is closed.
    """
    if self.alive:
      self.alive = False
      self.connection.close()
      self._process.join(patience)
      with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(self._process.pid or 0, signal.SIGKILL)
      self._process.kill()
      self._process.join()
    code = self._process.exitcode or 0
    return signal.Signals(-code).name if code < 0 else f"exit {code}"


# --- in the process --------------------------------------------------------


def _serve(connection: Connection) -> None:
  """Does one job after another until the connection ends."""
  os.setpgrp()  # whatever it starts can be ended with it
  signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides
  os.environ["NUMBA_NUM_THREADS"] = "1"
  threading.Thread(target=_follow_parent, daemon=True).start()
  # The parent has gone, or wants no more, when the connection ends.
  with contextlib.suppress(EOFError, BrokenPipeError, ConnectionResetError):
    connection.send(("ready", None))
    while True:
      connection.send(_do(connection.recv(), connection))


def _do(call: Callable[[More], Any], connection: Connection) -> tuple[str, Any]:
  """Calls, and gives ("done", value) or ("raised", line)."""
  connection.send(("began", None))
  try:
    return "done", call(lambda seconds: connection.send(("more", seconds)))
  except Exception as error:
    line = " ".join(str(error).split())
    known = isinstance(error, ValueError | OSError) and line
    return "raised", line if known else f"{type(error).__name__}: {line}"


def _follow_parent() -> None:
  """Ends this process and what it started when its parent is killed."""
  parent = multiprocessing.parent_process()
  if parent is not None:
    wait_for([parent.sentinel])
    os.killpg(0, signal.SIGKILL)
