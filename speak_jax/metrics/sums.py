"""Rows of sums, one per clip, behind every metric.

Rows of clips merge by concatenation, and a statistic of their total gives the
metric's value. The same rows give its bootstrap interval, over clips because
frames of one clip are not independent.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Shaped

Rows = Float[np.ndarray, "n k"]


class Interval(NamedTuple):
  """A value and its 95 % bootstrap interval over clips."""

  value: float
  low: float
  high: float


def mean_row(values: Shaped[np.ndarray, "..."]) -> Float[np.ndarray, "2"]:
  """Sum and count of one clip's values or hits; read the rows with `mean`."""
  values = np.asarray(values, np.float64)
  return np.array([values.sum(), values.size])


def mean(rows: Rows) -> float:
  """Mean of every value behind the rows of `mean_row`, NaN if none."""
  total = rows.sum(0)
  return float(total[0] / total[1]) if total[1] else float("nan")


def found_row(values: Shaped[np.ndarray, "n"]) -> Float[np.ndarray, "3"]:
  """Sum and count of the values that are no NaN, and the count of all.

  NaN stands for a frame without a face. `mean` then reads the mean over the
  others, which flatters whoever draws no face: show `missed` beside it.
  """
  values = np.asarray(values, np.float64)
  known = values[~np.isnan(values)]
  return np.array([known.sum(), known.size, values.size])


def missed(rows: Rows) -> float:
  """Share of frames without a face, from the rows of `found_row`."""
  _, known, every = rows.sum(0)
  return float(1 - known / every) if every else float("nan")


def ratio(rows: Rows) -> float:
  """First column's sum over the second's, NaN when that is 0."""
  return mean(rows)


def pearson_row(
  x: Float[np.ndarray, "t"], y: Float[np.ndarray, "t"]
) -> Float[np.ndarray, "3"]:
  """Products of one clip's deviations from its own means (xy, xx, yy).

  The clip's mean is taken off first, so that a face that always reads as a
  little open earns nothing.
  """
  x, y = _deviation(x), _deviation(y)
  return np.array([x @ y, x @ x, y @ y])


def _deviation(x: Float[np.ndarray, "t"]) -> Float[np.ndarray, "t"]:
  """From the mean; what is no more than float32's rounding counts as still."""
  x = np.asarray(x, np.float64)
  x = x - x.mean()
  return np.where(np.abs(x) < 1e-6, 0.0, x)


def pearson(rows: Rows) -> float:
  """Correlation within clips, pooled over them; 0 if a side never moves."""
  xy, xx, yy = rows.sum(0)
  return float(xy / np.sqrt(xx * yy)) if xx * yy > 0 else 0.0


def slope_row(
  values: Float[np.ndarray, "t"], fps: float
) -> Float[np.ndarray, "2"]:
  """For the trend within a clip, per second; read the rows with `ratio`.

  The least-squares slope of values over time, pooled over clips, each about
  its own means.
  """
  seconds = np.arange(len(values)) / fps
  seconds = seconds - seconds.mean()
  return np.array([seconds @ np.asarray(values, float), seconds @ seconds])


def r2_row(
  pred: Float[np.ndarray, "t d"], true: Float[np.ndarray, "t d"]
) -> Float[np.ndarray, "k"]:
  """Squared errors, sums, sums of squares per column, and the count."""
  pred = np.asarray(pred, np.float64)
  true = np.asarray(true, np.float64)
  errors = ((pred - true) ** 2).sum(0)
  return np.concatenate(
    [errors, true.sum(0), (true**2).sum(0), [float(len(true))]]
  )


def r2(rows: Rows) -> float:
  """1 - squared error over variance, pooled over columns and clips.

  1 is perfect, 0 what the mean of the true values scores.
  """
  total = rows.sum(0)
  if not total[-1]:
    return float("nan")
  errors, sums, squares = total[:-1].reshape(3, -1)
  spread = (squares - sums**2 / total[-1]).sum()
  return float(1 - errors.sum() / spread) if spread > 0 else float("nan")


def interval(
  rows: Rows,
  statistic: Callable[[Rows], float],
  seed: int,
  draws: int = 1000,
) -> Interval:
  """The statistic of all rows, and its 2.5 and 97.5 % bootstrap points."""
  rng = np.random.default_rng(seed)
  picks = np.sort(rng.integers(0, len(rows), (draws, len(rows))))
  # Few clips can be drawn in few ways, and their order does not matter.
  picks, way = np.unique(picks, axis=0, return_inverse=True)
  values = np.array([statistic(rows[pick]) for pick in picks])[way.ravel()]
  if np.isnan(values).all():
    return Interval(statistic(rows), float("nan"), float("nan"))
  low, high = np.nanquantile(values, (0.025, 0.975))
  return Interval(statistic(rows), float(low), float(high))
