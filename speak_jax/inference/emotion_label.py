"""An emotion as a user has it: a name and a level, a time line, or a file."""

import os
from collections.abc import Iterable, Sequence

import numpy as np
from jaxtyping import Float

from speak_jax import spec
from speak_jax.inference.curve import (
  Curve,
  is_table,
  number,
  read_table,
  seconds,
)

# Of a name: 1 is a face as people show it. Beyond, lips are torn.
STRONGEST = 1.5
COLUMNS = ("time", "emotion", "level")  # of a time line
SOONEST = 0.2  # s that a face needs to change: less would be a jump

File = str | os.PathLike
Strengths = Float[np.ndarray, "8"]  # of each of `spec.EMOTIONS`


def read(value: File | Curve | None) -> Strengths | Curve | File:
  """Reads the emotion that is asked for.

  Args:
    value: A video or picture; a CSV file of COLUMNS, as `timeline` reads it;
      or a name and its strength, as `strengths` reads it, unless there is a
      file of that name. None: neutral.

  Returns:
    A file is a video or picture.

  Raises:
    MediaError: a row of the CSV file is malformed; one line.
    ValueError: an unknown name, or no such strength; one line.
  """
  if value is None:
    return strengths(spec.EMOTIONS[0])
  if isinstance(value, Curve):
    if value.values.shape != (len(value.times), len(spec.EMOTIONS)):
      raise ValueError(f"strengths are {value.values.shape}, not (n, 8)")
    return value
  if is_table(value):
    line = _TimeLine()
    read_table(value, COLUMNS, line.add)
    return line.curve()
  return value if is_file(value) else strengths(str(value))


def file_of(value: File | Curve | None) -> File | None:
  """The file that an emotion is read from; a name is none."""
  if value is None or isinstance(value, Curve):
    return None
  return value if is_file(value) or is_table(value) else None


def timeline(rows: Iterable[tuple[float, str, float]]) -> Curve:
  """Makes a curve of rows of time (s), emotion and level.

  A row says the whole emotion of its time; rows of one time are mixed.

  Raises:
    ValueError: a row cannot be; one line with its number.
  """
  line = _TimeLine()
  for i, row in enumerate(rows, 1):
    try:
      line.add(row)
    except ValueError as error:
      raise ValueError(f"row {i}: {error}") from None
  return line.curve()


class _TimeLine:
  """Rows of a time line, one after the other."""

  def __init__(self):
    self._times: list[float] = []
    self._levels: list[Strengths] = []

  def add(self, row: Sequence[object]) -> None:
    """Takes a row.

    Raises:
      ValueError: it is malformed, or comes too soon.
    """
    if len(row) != len(COLUMNS):
      raise ValueError(f"is not {', '.join(COLUMNS)}")
    now, name = seconds(row[0]), str(row[1])
    level = number(row[2], "level", 0, STRONGEST)
    column = spec.EMOTIONS.index(_known(name))
    if not self._times or now != self._times[-1]:
      if self._times and now - self._times[-1] < SOONEST - 1e-6:
        raise ValueError(
          f"time {now:g} is not {SOONEST:g} s after {self._times[-1]:g}: a"
          " face needs them to change"
        )
      self._times.append(now)
      self._levels.append(np.zeros(len(spec.EMOTIONS), np.float32))
    if self._levels[-1][column]:
      raise ValueError(f"{name} has a level at {now:g} s already")
    if name != spec.EMOTIONS[0]:
      self._levels[-1][column] = level

  def curve(self) -> Curve:
    """The rows so far, one at least."""
    if not self._times:
      raise ValueError("no rows")
    return Curve(np.array(self._times), np.stack(self._levels))


def _known(name: str) -> str:
  """Refuses what is not among `spec.EMOTIONS`."""
  if name not in spec.EMOTIONS:
    raise ValueError(
      f"emotion {name!r} is not one of {', '.join(spec.EMOTIONS)}"
    )
  return name


def is_file(text: str | os.PathLike) -> bool:
  """Whether a file is meant: one that is there counts more than a name."""
  return not isinstance(text, str) or os.path.isfile(text)


def described(found: Float[np.ndarray, "8"]) -> str:
  """Strengths in words, the strongest first: "happy 0.82, surprised 0.05"."""
  order = np.argsort(-found, kind="stable")
  named = [f"{spec.EMOTIONS[i]} {found[i]:.2f}" for i in order]
  # What is 0.00 when it is written says nothing.
  shown = [text for text in named if not text.endswith(" 0.00")]
  return ", ".join(shown) or spec.EMOTIONS[0]


def strengths(text: str) -> Float[np.ndarray, "8"]:
  """Reads NAME or NAME:STRENGTH, as in "happy:0.7".

  Args:
    text: A name of `spec.EMOTIONS`; the strength is from 0 to STRONGEST, 1 if
      it is not said.

  Returns:
    Strength of each of `spec.EMOTIONS`; all 0 for "neutral".

  Raises:
    ValueError: an unknown name, or no such strength; one line.
  """
  name, colon, level = text.partition(":")
  _known(name)
  try:
    strength = float(level) if colon else 1.0
  except ValueError:
    strength = np.nan
  if not 0 <= strength <= STRONGEST:
    raise ValueError(
      f"emotion {text!r}: the strength is not from 0 to {STRONGEST:g}"
    )
  found = np.zeros(len(spec.EMOTIONS), np.float32)
  if name != spec.EMOTIONS[0]:
    found[spec.EMOTIONS.index(name)] = strength
  return found
