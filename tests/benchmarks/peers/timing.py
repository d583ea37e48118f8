"""Ratios of two works, measured in turn."""

import statistics
import time
from collections.abc import Callable
from typing import NamedTuple

LEAST = 5  # pairs
TRIES = 3  # of each layout, to choose between them


class Ratio(NamedTuple):
  """How many times as fast the first work is; over pairs of calls."""

  median: float
  low: float  # quartiles
  high: float
  pairs: int
  ours_ms: float
  theirs_ms: float


def taken(work: Callable[[], object]) -> float:
  """Seconds of the processor, which other programs on it do not count in."""
  begin = time.process_time()
  work()
  return max(time.process_time() - begin, 1e-9)


def quickest(works: dict[str, Callable[[], object]]) -> str:
  """The name of the work that is done soonest, after a call of each."""
  for work in works.values():
    work()
  return min(
    works, key=lambda name: min(taken(works[name]) for _ in range(TRIES))
  )


def paired(
  ours: Callable[[], object], theirs: Callable[[], object], seconds: float
) -> Ratio:
  """Calls both in turn, the first of a pair being the last of the next.

  Args:
    ours: Called once before it counts; so is the other.
    theirs: What it is compared with.
    seconds: Of the processor that both may take together; at least five pairs.
  """
  ours(), theirs()
  pairs: list[tuple[float, float]] = []
  while len(pairs) < LEAST or sum(map(sum, pairs)) < seconds:
    if len(pairs) % 2:
      second = taken(theirs)
      pairs.append((taken(ours), second))
    else:
      pairs.append((taken(ours), taken(theirs)))
  return of_pairs(pairs)


def of_pairs(pairs: list[tuple[float, float]]) -> Ratio:
  """Median and quartiles of theirs over ours; medians of both in ms."""
  ratios = [b / a for a, b in pairs]
  low, median, high = statistics.quantiles(ratios, n=4, method="inclusive")
  mine, other = (1000 * statistics.median(x) for x in zip(*pairs, strict=True))
  return Ratio(median, low, high, len(pairs), mine, other)
