"""Watches a process while it trains, from a thread of its own.

Every second: work that hangs ends the process. Every few seconds: a sign of
life, a line on where the time went, and a word about processes that hold up
the others.
"""

import faulthandler
import os
import socket
import sys
import threading
import time
from pathlib import Path
from typing import NamedTuple

import jax

from speak_jax.common import exit_codes
from speak_jax.common.progress import say
from speak_jax.supervision import heartbeat
from speak_jax.supervision.activity import Activity
from speak_jax.supervision.goodput import GoodputLog

TICK = 1.0  # s
SLOW_AGAIN = 600.0  # s between two words about the same slow process


class Limits(NamedTuple):
  """Seconds after which an activity hangs; see configs/speak.py."""

  compile: float  # compilation, start-up and evaluation, which compile as well
  data: float
  step: float  # beyond ten times the median step
  save: float


class Watchdog:
  """Watches from `with` to its end."""

  def __init__(
    self,
    run: Path,
    stage: str,
    activity: Activity,
    limits: Limits,
    every: float,
  ):
    """Prepares to watch.

    Args:
      run: RUN folder.
      stage: Name of the stage.
      activity: What the process does.
      limits: See there.
      every: Seconds between signs of life.
    """
    self._run, self._stage, self._activity = run, stage, activity
    self._limits, self._every = limits, every
    self._rank = jax.process_index()
    self._events: GoodputLog | None = None  # of the first process
    self._named: dict[int, float] = {}
    self._began = time.time()
    self._ended = threading.Event()
    self._thread = threading.Thread(
      target=self._watch, name="watch", daemon=True
    )
    self._deaf = False
    self._lock = threading.Lock()
    self.step = 0

  def __enter__(self) -> "Watchdog":
    """Begins."""
    if self._rank == 0:
      self._events = GoodputLog(self._run, self._stage, self._activity)
    self._tell()
    self._thread.start()
    return self

  def __exit__(self, *_: object) -> None:
    """Ends, with a last word."""
    self._ended.set()
    self._thread.join()
    self._tell()
    if self._events:
      self._events.close()

  def begin(self, step: int) -> None:
    """Training begins, or begins again, after `step`."""
    self._tell()
    self.step = step
    if self._events:
      self._events.step = step

  def step_done(self, step: int) -> None:
    """A step has ended; its time counts among those of recent steps."""
    self.step = step
    self._activity.step_done()

  def hangs(self) -> str | None:
    """What hangs, in words; None: nothing."""
    activity = self._activity
    kind, took = activity.kind, time.monotonic() - activity.since
    limit = self._limit(kind)
    if took <= limit:
      return None
    return (
      f"{self._stage}: hangs in {kind} for {took:.0f} s after step {self.step}"
      f" (limit {limit:.0f} s), process {self._rank}"
    )

  def _limit(self, kind: str) -> float:
    limits, usual = self._limits, self._activity.step_seconds
    if kind == "data":
      return limits.data
    if kind == "save":
      return limits.save
    if kind in ("step", "device") and usual is not None:
      return 10 * usual + limits.step
    return limits.compile

  def _watch(self) -> None:
    told = time.monotonic()
    while not self._ended.wait(TICK):
      hangs = self.hangs()
      if hangs:
        self._stop(hangs)
      if time.monotonic() - told >= self._every:
        told = time.monotonic()
        self._tell()

  def _stop(self, hangs: str) -> None:
    """Ends a process that cannot end itself."""
    say(f"train: {hangs}; every thread's stack follows")
    faulthandler.dump_traceback(file=sys.stderr, all_threads=True)
    self._tell()
    os._exit(exit_codes.PEER_LOST)

  def _tell(self) -> None:
    """A sign of life, unless the disk is full, which ends nothing by itself."""
    try:
      with self._lock:
        self._write()
    except OSError as error:
      if not self._deaf:
        say(f"{self._run}: no signs of life ({error.strerror})")
      self._deaf = True
    else:
      self._deaf = False

  def _write(self) -> None:
    """The heartbeat; the first process also keeps the account."""
    activity = self._activity
    own, whole = activity.host_seconds, activity.step_seconds
    heartbeat.write(
      self._run,
      heartbeat.Heartbeat(
        rank=self._rank,
        stage=self._stage,
        step=self.step,
        time=time.time(),
        activity=activity.kind,
        seconds=time.monotonic() - activity.since,
        step_ms=None if whole is None else 1e3 * whole,
        own_ms=None if own is None else 1e3 * own,
        host=socket.gethostname(),
        pid=os.getpid(),
      ),
    )
    if self._events:
      self._events.write(self.step)
      self._name_slow()

  def _name_slow(self) -> None:
    beats = heartbeat.read(self._run, newer=self._began)
    now = time.monotonic()
    for beat in heartbeat.slow(beats):
      if now - self._named.get(beat.rank, -SLOW_AGAIN) >= SLOW_AGAIN:
        self._named[beat.rank] = now
        say(
          f"{self._stage}: process {beat.rank} on {beat.host} holds up the"
          f" others: it takes {beat.own_ms:.0f} ms of a step of"
          f" {beat.step_ms:.0f} ms for itself"
        )
