"""A trace of some steps on demand, for XProf."""

import re
from pathlib import Path
from typing import Any

import jax

from speak_jax.common.progress import say


class StepProfiler:
  """Traces the steps that were asked for, once."""

  def __init__(self, folder: Path, steps: tuple[int, int] | None):
    """Nothing is traced yet.

    Args:
      folder: Where the trace goes.
      steps: First and last step; None: no trace.
    """
    self._folder = folder
    self._first, self._last = steps or (-1, -1)
    self._on = False

  def before(self, step: int) -> None:
    """A step begins; the very first one is 1."""
    if step == self._first:
      jax.profiler.start_trace(str(self._folder))
      self._on = True

  def after(self, step: int, results: Any) -> None:
    """A step was begun; its `results` may still be in the making."""
    if self._on and step >= self._last:
      jax.block_until_ready(results)
      self.close()

  def close(self) -> None:
    """Ends the trace."""
    if self._on:
      self._on = False
      jax.profiler.stop_trace()
      say(f"{self._folder}: a trace of steps {self._first} to {self._last}")


def parse_steps(text: str) -> tuple[int, int] | None:
  """First and last step of "100:105"; "" is none.

  Raises:
    ValueError: it is something else.
  """
  if not text:
    return None
  found = re.fullmatch(r"(\d+):(\d+)", text)
  if found is None or not 0 < int(found[1]) <= int(found[2]):
    raise ValueError(f"--profile {text!r}: first and last step, as in 100:105")
  return int(found[1]), int(found[2])
