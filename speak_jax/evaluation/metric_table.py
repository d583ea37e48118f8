"""Named metric values with their intervals, summed up clip by clip."""

from collections import defaultdict
from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from speak_jax.metrics import sums

Statistic = Callable[[sums.Rows], float]  # of the rows of all clips


class MetricValue(NamedTuple):
  """One number of the report with its interval."""

  value: float
  low: float  # 95 % bootstrap interval over clips; NaN where there is none
  high: float
  clips: int = 0  # behind it; 0 unknown
  # Of what is drawn at random: standard deviation between keys, each of which
  # has its own value over all clips; NaN where nothing is drawn.
  spread: float = float("nan")


MetricValues = dict[str, MetricValue]  # by name


def exact(value: float) -> MetricValue:
  """A value without an interval."""
  return MetricValue(value, float("nan"), float("nan"))


class MetricTable:
  """Rows of sums by metric and clip, from which values and intervals come."""

  def __init__(self):
    """Starts without any metric."""
    self._rows: dict[str, dict[str, np.ndarray]] = defaultdict(dict)
    # The same apart by key, of what is drawn at random.
    self._keys: dict[str, dict[int, dict[str, np.ndarray]]] = defaultdict(dict)
    self._statistic: dict[str, Statistic] = {}

  def add(
    self,
    name: str,
    row: Float[np.ndarray, "k"],
    statistic: Statistic = sums.mean,
    clip: str | None = None,
    key: int | None = None,
  ) -> None:
    """Adds one clip's row to a metric.

    Args:
      name: Name of the metric.
      row: Sums, see `metrics.sums`.
      statistic: Turns the rows of all clips into the metric's value.
      clip: Rows of one clip are added up, for the interval is over clips; a
        row without a clip's name is a clip of its own.
      key: Which of several drawings of the clip it is of; None: there is one.
    """
    rows, row = self._rows[name], np.asarray(row, np.float64)
    clip = f"#{len(rows)}" if clip is None else clip
    _add(rows, clip, row)
    if key is not None:
      _add(self._keys[name].setdefault(key, {}), clip, row)
    self._statistic[name] = statistic

  def values(self, seed: int) -> MetricValues:
    """Every metric over all its clips.

    Args:
      seed: Seed of the bootstrap.
    """
    return {
      name: _value(
        np.stack([*rows.values()]), self._statistic[name], seed
      )._replace(spread=self._spread(name))
      for name, rows in self._rows.items()
    }

  def _spread(self, name: str) -> float:
    """Standard deviation of a metric between keys; NaN without two of them."""
    by_key = self._keys.get(name, {})
    if len(by_key) < 2:
      return float("nan")
    statistic = self._statistic[name]
    values = [statistic(np.stack([*rows.values()])) for rows in by_key.values()]
    return float(np.std(values, ddof=1))

  def differences(
    self, pairs: Mapping[str, tuple[str, str]], seed: int
  ) -> MetricValues:
    """One metric minus another over the clips that have both.

    Args:
      pairs: {name of the difference: (metric, metric that is subtracted)};
        pairs without a clip in common are left out.
      seed: Seed of the bootstrap, which draws clips, so that it is paired.
    """
    values = {}
    for name, (metric, subtracted) in pairs.items():
      left, right = (self._rows.get(x, {}) for x in (metric, subtracted))
      shared = [clip for clip in left if clip in right]
      if shared:
        rows = np.stack([np.r_[left[clip], right[clip]] for clip in shared])
        width = len(left[shared[0]])
        statistic = difference(self._statistic[metric], width)
        values[name] = _value(rows, statistic, seed)
    return values


def _add(rows: dict[str, np.ndarray], clip: str, row: np.ndarray) -> None:
  """Adds a clip's row to what is there of it."""
  rows[clip] = rows[clip] + row if clip in rows else row


def _value(
  rows: Float[np.ndarray, "n k"], statistic: Statistic, seed: int
) -> MetricValue:
  return MetricValue(*sums.interval(rows, statistic, seed), clips=len(rows))


def text(
  value: MetricValue | None, digits: int, *, signed: bool = False
) -> str:
  """A value with its interval, where it has one: 0.890 [0.882, 0.898].

  Args:
    value: None, and a value that is not finite, is "-".
    digits: Behind the point.
    signed: With a + before what is not negative.
  """
  if value is None or not np.isfinite(value.value):
    return "-"
  form = f"{'+' * signed}.{digits}f"
  shown = f"{value.value:{form}}"
  if np.isfinite(value.low) and np.isfinite(value.high):
    shown += f" [{value.low:{form}}, {value.high:{form}}]"
  if np.isfinite(value.spread):
    shown += f" +- {value.spread:.{digits}f}"
  return shown


def flat(values: Mapping[str, MetricValue]) -> dict[str, float]:
  """{name: value, name/low, name/high, name/spread}, without the NaNs."""
  numbers = {}
  for name, value in values.items():
    if np.isfinite(value.value):
      numbers[name] = float(value.value)
    if np.isfinite(value.low) and np.isfinite(value.high):
      numbers[f"{name}/low"] = float(value.low)
      numbers[f"{name}/high"] = float(value.high)
    if np.isfinite(value.spread):
      numbers[f"{name}/spread"] = float(value.spread)
  return numbers


def difference(statistic: Statistic, width: int) -> Statistic:
  """Statistic of the first `width` columns minus that of the others."""
  return lambda rows: statistic(rows[:, :width]) - statistic(rows[:, width:])
