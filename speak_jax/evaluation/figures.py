"""Named figures with their intervals, gathered clip by clip."""

from collections import defaultdict
from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np

from speak_jax.metrics import sums


class Figure(NamedTuple):
  """One figure of the report."""

  value: float
  low: float  # 95 % bootstrap interval over clips; NaN where there is none
  high: float


Figures = dict[str, Figure]


class Ledger:
  """Rows of sums under (row, metric), one for each clip."""

  def __init__(self):
    """Empty."""
    self._rows: dict[str, list[np.ndarray]] = defaultdict(list)
    self._statistic: dict[str, Callable] = {}

  def add(
    self,
    name: str,
    row: np.ndarray,
    statistic: Callable[[np.ndarray], float] = sums.mean,
  ) -> None:
    """Books one clip's row under a name."""
    self._rows[name].append(np.asarray(row, np.float64))
    self._statistic[name] = statistic

  def figures(self, seed: int) -> Figures:
    """Every figure over all clips."""
    out = {}
    for name, rows in self._rows.items():
      found = sums.interval(np.stack(rows), self._statistic[name], seed)
      out[name] = Figure(*found)
    return out


def flat(figures: Mapping[str, Figure]) -> dict[str, float]:
  """{name: value, name/low: ..., name/high: ...}, without the NaNs."""
  out = {}
  for name, figure in figures.items():
    if np.isfinite(figure.value):
      out[name] = float(figure.value)
    if np.isfinite(figure.low) and np.isfinite(figure.high):
      out[f"{name}/low"] = float(figure.low)
      out[f"{name}/high"] = float(figure.high)
  return out


def difference(
  statistic: Callable[[np.ndarray], float], width: int
) -> Callable[[np.ndarray], float]:
  """Statistic of the first `width` columns minus that of the rest."""
  return lambda rows: statistic(rows[:, :width]) - statistic(rows[:, width:])
