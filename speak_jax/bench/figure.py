"""What is measured: figures, what several runs make of them, and agreement."""

import statistics
from collections.abc import Mapping, Sequence
from typing import NamedTuple

TOLERANCE = 0.05  # by which two runs of one machine may differ


class Figure(NamedTuple):
  """One line of the table.

  A subject yields it with what it has measured in a run; `gathered` makes one
  of several runs', a value a run. Without values it was left out, and the note
  says why.

  Attributes:
    name: Within its subject.
    unit: Of the values; "" of a share or a ratio.
    values: Of a run, or one of each run.
    note: What a reader must know.
    least: A difference up to this is none, however large its share.
  """

  name: str
  unit: str
  values: tuple[float, ...] = ()
  note: str = ""
  least: float = 0.0

  @property
  def median(self) -> float:
    """Of the values; of none it is no number."""
    return statistics.median(self.values) if self.values else float("nan")

  @property
  def spread(self) -> float:
    """From the lowest value to the highest, over the median; 0 of one."""
    return share(min(self.values), max(self.values)) if self.values else 0.0


def skipped(name: str, reason: str) -> Figure:
  """What could not be measured here."""
  return Figure(name, "", note=f"skipped: {' '.join(reason.split())}")


def gathered(runs: Sequence[Sequence[Figure]]) -> list[Figure]:
  """One figure for each name, its values each run's median."""
  found: dict[str, list[Figure]] = {}
  for run in runs:
    for one in run:
      found.setdefault(one.name, []).append(one)
  return [
    # What was left out in one run may have been measured in another.
    max(ones, key=lambda one: bool(one.values))._replace(
      values=tuple(one.median for one in ones if one.values)
    )
    for ones in found.values()
  ]


def share(a: float, b: float) -> float:
  """By how much two values differ, over their mean size; at most 2."""
  size = (abs(a) + abs(b)) / 2
  return abs(b - a) / size if size else 0.0


class Difference(NamedTuple):
  """Two values of a figure that do not agree."""

  subject: str
  name: str
  unit: str
  before: float
  after: float


Figures = Mapping[str, Sequence[Figure]]  # by subject


def differences(before: Figures, after: Figures) -> list[Difference]:
  """Figures of both whose medians differ by more than `TOLERANCE`."""
  found = []
  for subject, figures in after.items():
    earlier = {one.name: one for one in before.get(subject, ())}
    for one in figures:
      other = earlier.get(one.name)
      if other is None or not other.values or not one.values:
        continue
      a, b = other.median, one.median
      if abs(b - a) > one.least and share(a, b) > TOLERANCE:
        found.append(Difference(subject, one.name, one.unit, a, b))
  return found


def halves(figures: Figures) -> tuple[Figures, Figures]:
  """The first runs and the last, as many; of an odd number without one.

  Figures of a single run are in neither.
  """
  first, last = {}, {}
  for subject, ones in figures.items():
    half = [
      one._replace(values=one.values[: len(one.values) // 2]) for one in ones
    ]
    first[subject] = half
    last[subject] = [
      one._replace(values=one.values[-len(h.values) :] if h.values else ())
      for one, h in zip(ones, half, strict=True)
    ]
  return first, last
