"""How far a long job is: a bar, or plain lines where there is no terminal."""

import sys
import time

from tqdm import tqdm

QUIET_S = 10.0  # between two lines where there is no terminal


def say(text: str) -> None:
  """Prints a line on stderr without breaking a bar."""
  tqdm.write(text, file=sys.stderr)
  sys.stderr.flush()


class Progress:
  """Rate and time left of a job, on stderr.

  The first update sets the clock: what comes before it (compilation, workers
  that start) says nothing of the rate.
  """

  def __init__(
    self,
    name: str,
    unit: str,
    total: int | None,
    done: int = 0,
    *,
    shown: bool = True,
  ):
    """Starts a job.

    Args:
      name: Of the job.
      unit: What is counted, in the singular.
      total: How many there will be; None: nobody knows.
      done: How many an earlier run has done.
      shown: False: says nothing at all (any process but the first).
    """
    self._name, self._unit, self._total = name, unit, total
    self._done = self._begin = done
    self._start = self._said = 0.0
    self._warm = False
    self._shown = shown
    self._bar = None
    if shown and sys.stderr.isatty():
      self._bar = tqdm(
        total=total, initial=done, desc=name, unit=unit, dynamic_ncols=True
      )

  def update(self, done: int, note: str = "") -> None:
    """Says that `done` are done, at most once in a while.

    Args:
      done: Since the job's very beginning.
      note: What else is worth a word: a loss, a count of rejects.
    """
    if not self._shown:
      return
    if self._bar is not None:
      if note:
        self._bar.set_postfix_str(note, refresh=False)
      self._bar.update(done - self._done)
    self._done = done
    now = time.monotonic()
    last = done == self._total
    if not self._warm:
      self._warm, self._start, self._begin = True, now, done
      if not last:
        return
    if self._bar is None and (last or now - self._said > QUIET_S):
      self._said = now
      self.say(self._line(now, note))

  def say(self, text: str) -> None:
    """Prints a line without breaking the bar."""
    if self._shown:
      say(text)

  def close(self) -> None:
    """Leaves the bar as it is."""
    if self._bar is not None:
      self._bar.close()

  def __enter__(self) -> "Progress":
    """Itself; closed at the end of the block."""
    return self

  def __exit__(self, *_: object) -> None:
    """Closes; an error goes on."""
    self.close()

  def _line(self, now: float, note: str) -> str:
    rate = (self._done - self._begin) / max(now - self._start, 1e-9)
    line = f"{self._name} {self._done}"
    if self._total is not None:
      line += f"/{self._total}"
    if rate:
      line += f"  {rate:.2f} {self._unit}s/s"
    if rate and self._total is not None:
      line += f"  {clock((self._total - self._done) / rate)} left"
    return f"{line}  {note}".rstrip()


def clock(seconds: float) -> str:
  """Seconds as 1:02:03 or 4:05."""
  minutes, seconds = divmod(round(min(seconds, 359_999_999)), 60)
  hours, minutes = divmod(minutes, 60)
  if hours:
    return f"{hours}:{minutes:02d}:{seconds:02d}"
  return f"{minutes}:{seconds:02d}"
