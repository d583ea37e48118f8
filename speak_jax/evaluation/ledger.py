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
  clips: int = 0  # behind it; 0 unknown


Figures = dict[str, Figure]


class Ledger:
  """Rows of sums under a name, one for each clip."""

  def __init__(self):
    """Empty."""
    self._rows: dict[str, dict[str, np.ndarray]] = defaultdict(dict)
    self._statistic: dict[str, Callable] = {}

  def add(
    self,
    name: str,
    row: np.ndarray,
    statistic: Callable[[np.ndarray], float] = sums.mean,
    clip: str | None = None,
  ) -> None:
    """Books one clip's row under a name.

    Args:
      name: Of the figure.
      row: Sums, see `metrics.sums`.
      statistic: Of the sum of rows.
      clip: What is booked twice of one clip is added up, for the interval is
        over clips; None is a clip of its own.
    """
    rows, row = self._rows[name], np.asarray(row, np.float64)
    clip = f"#{len(rows)}" if clip is None else clip
    rows[clip] = rows[clip] + row if clip in rows else row
    self._statistic[name] = statistic

  def figures(self, seed: int) -> Figures:
    """Every figure over all clips."""
    return {
      name: _figure(np.stack([*rows.values()]), self._statistic[name], seed)
      for name, rows in self._rows.items()
    }

  def differences(
    self, pairs: Mapping[str, tuple[str, str]], seed: int
  ) -> Figures:
    """One figure minus another over the clips that have both.

    Args:
      pairs: {name: (of what, what is taken off)}; names without a clip in
        common are left out.
      seed: Of the bootstrap, which draws clips, so that it is paired.
    """
    out = {}
    for name, (one, other) in pairs.items():
      left, right = self._rows.get(one, {}), self._rows.get(other, {})
      both = [clip for clip in left if clip in right]
      if both:
        rows = np.stack([np.r_[left[clip], right[clip]] for clip in both])
        width = len(left[both[0]])
        statistic = difference(self._statistic[one], width)
        out[name] = _figure(rows, statistic, seed)
    return out


def _figure(
  rows: np.ndarray, statistic: Callable[[np.ndarray], float], seed: int
) -> Figure:
  found = sums.interval(rows, statistic, seed)
  return Figure(*found, clips=len(rows))


def text(figure: Figure | None, digits: int) -> str:
  """A figure with its interval, where it has one; "-" where there is none."""
  if figure is None or not np.isfinite(figure.value):
    return "-"
  shown = f"{figure.value:.{digits}f}"
  if np.isfinite(figure.low):
    shown += f" [{figure.low:.{digits}f}, {figure.high:.{digits}f}]"
  return shown


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
