"""Numbers that change over time, and the tables that say how."""

import csv
import math
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple, TypeVar

import numpy as np
from jaxtyping import Float

from data_pipelines.media.error import MediaError
from data_pipelines.media.limits import LIMITS
from data_pipelines.synthetic.motion import ByFrame

MOST_ROWS = 1_000_000  # of a table: 4 hours at 60 a second, and some
T = TypeVar("T")


class Curve(NamedTuple):
  """k numbers at some times; smooth between them, and held at both ends.

  Attributes:
    times: Seconds, each later than the one before.
    values: What they are then.
  """

  times: Float[np.ndarray, "r"]
  values: Float[np.ndarray, "r k"]

  def at(self, seconds: Float[np.ndarray, "n"]) -> Float[np.ndarray, "n k"]:
    """Reads the curve; it never leaves the range of two neighbours."""
    return self._reader()(seconds)

  def by_frame(self, fps: float) -> ByFrame:
    """What reads it piece by piece, at frames of this rate by their indices."""
    read = self._reader()
    return lambda index: read(index / fps)

  def _reader(self) -> Callable[[np.ndarray], np.ndarray]:
    # Here alone: SciPy is slow to import, and most videos have no curve.
    from scipy.interpolate import PchipInterpolator

    # Rows as at the ends, so that it rests where it begins to be held.
    first, last = self.times[[0, -1]]
    times = np.concatenate([[first - 1], self.times, [last + 1]])
    values = np.pad(self.values, ((1, 1), (0, 0)), "edge")
    smooth = PchipInterpolator(times, values)
    return lambda seconds: smooth(np.clip(seconds, times[0], times[-1]))


def read_table(
  path: str | os.PathLike,
  columns: Sequence[str],
  read: Callable[[Sequence[str]], T],
) -> list[T]:
  """Reads a CSV file of fixed columns.

  Args:
    path: UTF-8, commas. The first row may name the columns, in any order;
      empty rows and those that begin with # do not count.
    columns: Their names, in the order that `read` wants.
    read: Makes something of a row; ValueError if it cannot.

  Raises:
    MediaError: one line that names the first row that is malformed, and how
      many more are.
  """
  found: list[T] = []
  faults: list[str] = []
  order: Sequence[int] = range(len(columns))
  try:
    with open(path, encoding="utf-8-sig", newline="") as file:
      for i, (line, cells) in enumerate(_rows(file)):
        if i == MOST_ROWS:
          raise MediaError(path, f"over {MOST_ROWS:,} rows")
        names = [cell.lower() for cell in cells]
        if not i and sorted(names) == sorted(columns):
          order = [names.index(name) for name in columns]
          continue
        try:
          if len(cells) != len(columns):
            raise ValueError(
              f"{len(cells)} values; {len(columns)} are wanted:"
              f" {', '.join(columns)}"
            )
          found.append(read([cells[k] for k in order]))
        except ValueError as error:
          faults.append(f"row {line}: {error}")
  except UnicodeDecodeError:
    raise MediaError(path, "is no text in UTF-8") from None
  except csv.Error as error:
    raise MediaError(path, f"is no CSV ({error})") from None
  except OSError as error:
    raise MediaError(path, f"cannot be read ({error.strerror})") from None
  if faults:
    more = f" (and {len(faults) - 1} more rows)" if faults[1:] else ""
    raise MediaError(path, faults[0] + more)
  if not found:
    raise MediaError(path, f"has no row of {', '.join(columns)}")
  return found


def is_table(path: str | os.PathLike) -> bool:
  """Whether a name is a table's."""
  return os.path.splitext(path)[1].lower() == ".csv"


def number(text: object, name: str, low: float, high: float) -> float:
  """Reads a number of a range.

  Args:
    text: The number, or its digits.
    name: What it is, in the error; "": who catches that says so.
    low, high: Both are of the range.

  Raises:
    ValueError: it is none.
  """
  try:
    value = float(text)  # pyright: ignore[reportArgumentType]
  except (TypeError, ValueError):
    value = math.nan
  if not low <= value <= high:
    line = f"{name} {text!r} is not from {low:g} to {high:g}"
    raise ValueError(line.lstrip())
  return value


def seconds(text: object) -> float:
  """Reads a time."""
  return number(text, "time", 0, LIMITS.seconds)


def _rows(file: Iterable[str]) -> Iterator[tuple[int, list[str]]]:
  """Yields rows that count, with the number of the line that each ends on."""
  reader = csv.reader(file)
  for row in reader:
    cells = [cell.strip() for cell in row]
    if any(cells) and not cells[0].startswith("#"):
      yield reader.line_num, cells
