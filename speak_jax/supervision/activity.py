"""What a process is doing: always one thing, from its start to its end.

The same clock serves the heartbeat, the account of where time went and the
guard against work that hangs. Durations are monotonic: setting the machine's
clock changes nothing.
"""

import contextlib
import os
import statistics
import threading
import time
from collections import deque
from collections.abc import Iterator

# "step" is the host's own part of a step, "device" what it leaves to devices:
# on some the call itself waits for them, and so for the other processes.
KINDS: tuple[str, ...] = (
  "init",
  "compile",
  "data",
  "step",
  "device",
  "save",
  "evaluation",
)
RECENT = 101  # steps whose times are remembered


class Activity:
  """The present activity, and the seconds that each kind has taken.

  One thread changes it, another one may look.
  """

  def __init__(self, age: float = 0.0):
    """Begins with "init", `age` seconds ago."""
    self.kind = "init"
    self.since = self._counted = time.monotonic() - age
    self._to_unix = time.time() - time.monotonic()  # read once
    self._spent = dict.fromkeys(KINDS, 0.0)
    self._taken, self._taken_at = dict(self._spent), self._counted
    self._last = dict(self._spent)  # at the end of the last step
    self._own: deque[float] = deque(maxlen=RECENT)
    self._whole: deque[float] = deque(maxlen=RECENT)
    self._lock = threading.Lock()

  def switch(self, kind: str) -> None:
    """Begins another kind of activity."""
    with self._lock:
      self._count()
      self.kind, self.since = kind, self._counted

  @contextlib.contextmanager
  def during(self, kind: str) -> Iterator[None]:
    """Does something else for a while."""
    before = self.kind
    self.switch(kind)
    try:
      yield
    finally:
      self.switch(before)

  def total(self, kind: str) -> float:
    """Seconds that one kind of activity has taken so far."""
    with self._lock:
      return self._count()[kind]

  def collect(self) -> tuple[float, float, dict[str, float]]:
    """What was done since the last call.

    Returns:
      Beginning and end in Unix time, and seconds by kind, which add up.
    """
    with self._lock:
      now = self._count()
      took = {kind: now[kind] - self._taken[kind] for kind in KINDS}
      begin, self._taken, self._taken_at = self._taken_at, now, self._counted
    return begin + self._to_unix, self._taken_at + self._to_unix, took

  def step_done(self) -> None:
    """Remembers a step's time, unless it also compiled, saved, evaluated."""
    with self._lock:
      now, last = self._count(), self._last
      self._last = now
    took = {kind: now[kind] - last[kind] for kind in KINDS}
    own = took["data"] + took["step"]
    whole = own + took["device"]
    if sum(took.values()) - whole < 0.1 * whole:
      self._own.append(own)
      self._whole.append(whole)

  @property
  def host_seconds(self) -> float | None:
    """Seconds of a recent step that this host itself took; the median.

    For its data, above all. The rest is the devices', and so a wait for the
    slowest process.
    """
    return statistics.median(list(self._own)) if self._own else None

  @property
  def step_seconds(self) -> float | None:
    """Seconds of a recent step; the median."""
    return statistics.median(list(self._whole)) if self._whole else None

  def _count(self) -> dict[str, float]:
    """Seconds by kind until now."""
    now = time.monotonic()
    self._spent[self.kind] += now - self._counted
    self._counted = now
    return dict(self._spent)


def process_age() -> float:
  """Seconds since this process was started; 0 where that is not told."""
  try:
    with open("/proc/self/stat") as file:
      ticks = int(file.read().rpartition(")")[2].split()[19])
  except OSError:
    return 0.0
  up = time.clock_gettime(time.CLOCK_BOOTTIME)
  return max(up - ticks / os.sysconf("SC_CLK_TCK"), 0.0)
