"""The figures of a run's steps: their means, and a look at its health."""

from collections.abc import Mapping

import numpy as np

COLLAPSED_STEPS = 10  # steps that a code is the same for everybody


class TrainingError(RuntimeError):
  """Training cannot go on: numbers that are not finite, a dead code."""


class NotFiniteError(TrainingError):
  """Several steps in a row were not finite."""

  def __init__(self, line: str, step: int):
    """Says it in one line; `step` is the last one."""
    super().__init__(line)
    self.step = step


class HealthMonitor:
  """Collects figures, and stops a run that has gone wrong."""

  def __init__(
    self,
    name: str,
    bad: list[int],
    *,
    bad_steps: int,
    collapse: float,
    collapse_after: int,
  ):
    """Begins to collect.

    Args:
      name: Of the stage.
      bad: The batches of the last steps if those were not finite; kept up to
        date.
      bad_steps: So many in a row are too many.
      collapse: The least standard deviation of a code.
      collapse_after: Steps from which it counts.
    """
    self._name, self._bad = name, bad
    self._bad_steps = bad_steps
    self._collapse, self._collapse_after = collapse, collapse_after
    self._sums: dict[str, float] = {}
    self._counts: dict[str, int] = {}
    self._dead: dict[str, int] = {}
    self.note = ""

  def add(self, step: int, batch: int, values: Mapping[str, float]) -> None:
    """Takes one step's figures.

    Args:
      step: Which step.
      batch: Number of its batch.
      values: What it gave, {phase/figure: value}.

    Raises:
      NotFiniteError: it is the last of too many bad steps in a row.
      TrainingError: a code has collapsed.
    """
    wrong = [k for k, v in values.items() if k.endswith("/bad") and v]
    if not wrong:
      self._bad.clear()
    elif batch not in self._bad:
      self._bad.append(batch)
    if len(self._bad) >= self._bad_steps:
      guilty = [
        k for k, v in values.items() if "grad_norm/" in k and not np.isfinite(v)
      ]
      raise NotFiniteError(
        f"{self._name}: not finite for {len(self._bad)} steps in a row, at step"
        f" {step} in {wrong[0].removesuffix('/bad')}"
        + (f", first in {guilty[0]}" if guilty else ""),
        step,
      )
    for name, value in values.items():
      if np.isfinite(value):
        self._sums[name] = self._sums.get(name, 0.0) + value
        self._counts[name] = self._counts.get(name, 0) + 1
    self._check_codes(step, values)
    losses = [f"{k} {v:.4g}" for k, v in values.items() if k.endswith("/loss")]
    self.note = "  ".join(losses[:2])

  def means(self) -> dict[str, float]:
    """Means since the last call."""
    means = {k: v / self._counts[k] for k, v in self._sums.items()}
    self._sums, self._counts = {}, {}
    return means

  def _check_codes(self, step: int, values: Mapping[str, float]) -> None:
    """A code that is the same for everybody carries nothing."""
    if step < self._collapse_after:
      return
    for name, value in values.items():
      if "/std/" not in name:
        continue
      low = value < self._collapse
      self._dead[name] = self._dead.get(name, 0) + 1 if low else 0
      if self._dead[name] >= COLLAPSED_STEPS:
        code = name.split("/std/")[1]
        raise TrainingError(
          f"{self._name}: the {code} code has collapsed (std {value:.4f} <"
          f" {self._collapse} for {COLLAPSED_STEPS} steps, at step {step})"
        )
