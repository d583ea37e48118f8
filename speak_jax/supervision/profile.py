"""A trace of some steps on demand, for XProf."""

import re
from pathlib import Path
from typing import Any

import jax

from speak_jax.common.progress import say


class StepProfiler:
  """Marks steps for profilers, and traces those that were asked for, once."""

  def __init__(self, name: str, folder: Path, steps: tuple[int, int] | None):
    """Starts no trace yet.

    Args:
      name: Of the steps in a trace.
      folder: The trace goes to `profile` in it.
      steps: First and last step; None: no trace.
    """
    self._name, self._folder = name, folder / "profile"
    self._first, self._last = steps or (-1, -1)
    self._tracing = False

  def __enter__(self) -> "StepProfiler":
    """Returns itself."""
    return self

  def __exit__(self, *_: object) -> None:
    """Ends a trace that is still going on."""
    self._close()

  def step(self, step: int) -> jax.profiler.StepTraceAnnotation:
    """What a step, the very first of which is 1, is to run in."""
    if step == self._first:
      jax.profiler.start_trace(str(self._folder))
      self._tracing = True
    return jax.profiler.StepTraceAnnotation(self._name, step_num=step)

  def after(self, step: int, results: Any) -> None:
    """Ends the trace after its last step, and waits for that one's results."""
    if self._tracing and step >= self._last:
      jax.block_until_ready(results)
      self._close()

  def _close(self) -> None:
    if self._tracing:
      self._tracing = False
      jax.profiler.stop_trace()
      say(f"{self._folder}: a trace of steps {self._first} to {self._last}")


def parse_steps(text: str) -> tuple[int, int] | None:
  """First and last step of "100:105"; "" is none.

  Raises:
    ValueError: it is something else.
  """
  if not text:
    return None
  match = re.fullmatch(r"(\d+):(\d+)", text)
  if match is None or not 0 < int(match[1]) <= int(match[2]):
    raise ValueError(f"--profile {text!r}: first and last step, as in 100:105")
  return int(match[1]), int(match[2])
