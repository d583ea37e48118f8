"""How far picture and sound of the clips of a data set are apart.

`DATA/offsets.jsonl` holds one line a clip. `speak_jax.tools.av_offsets`
measures and writes it; whoever opens DATA then goes without the clips that are
out of sync, or hears their sound moved by what was measured. Records stay as
they are.
"""

import json
import os
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Int16

NAME = "offsets.jsonl"


class Offset(NamedTuple):
  """One line."""

  clip: str
  frames: int | None  # by which the picture lags the sound; None: no telling
  ms: float | None
  confidence: float | None
  out: bool  # of sync: the clip is left out
  note: str = ""  # why there is no telling, or none to be sure of
  moved: bool = False  # the sound is heard so many frames earlier or later

  @property
  def late(self) -> int:
    """Frames by which the stored sound comes too late, and so is moved."""
    return -self.frames if self.moved and self.frames is not None else 0


def heard(frames: int, late: int) -> range:
  """Frames of a clip whose sound is there once it is moved.

  Args:
    frames: Of the clip.
    late: Frames by which its stored sound comes too late; below 0, too early.
  """
  return range(max(-late, 0), frames - max(late, 0))


class Moved:
  """Sound that is heard some samples earlier than it is stored.

  As long as before; silence where there is none. Indexed by slices alone.
  """

  def __init__(self, audio: Any, late: int):
    """Takes the stored samples, and by how many they come too late."""
    self._audio, self._late = audio, late

  def __len__(self) -> int:
    """Samples."""
    return len(self._audio)

  def __getitem__(self, at: slice) -> Int16[np.ndarray, "n"]:
    """Some of it."""
    start, stop, step = at.indices(len(self))
    samples = np.zeros(max(stop - start, 0), np.int16)
    low = max(start + self._late, 0)
    high = min(stop + self._late, len(self))
    if low < high:
      first = low - self._late - start
      samples[first : first + high - low] = self._audio[low:high]
    return samples[::step]


def read(folder: str | os.PathLike) -> dict[str, Offset]:
  """{clip: its offset} of a data set; {} where nobody has measured.

  Raises:
    ValueError: the file is not what it should be; one line.
  """
  path = Path(folder) / NAME
  if not path.exists():
    return {}
  try:
    return {one.clip: one for one in parse(path.read_text().splitlines())}
  except (ValueError, TypeError) as error:
    raise ValueError(f"{path}: not a list of offsets ({error})") from error


def parse(lines: Iterable[str]) -> list[Offset]:
  """Lines as they are written.

  Raises:
    ValueError: no JSON.
    TypeError: other fields.
  """
  return [Offset(**json.loads(line)) for line in lines]


def line(offset: Offset) -> str:
  """The inverse of `parse`, of one."""
  return json.dumps(offset._asdict()) + "\n"


def summary(offsets: Sequence[Offset]) -> list[str]:
  """What was found, in lines."""
  measured = [x for x in offsets if x.frames is not None]
  head = (
    f"{len(offsets)} clips, {len(measured)} measured,"
    f" {sum(x.out for x in offsets)} out of sync"
  )
  if moved := sum(x.moved for x in offsets):
    head += f", sound of {moved} moved"
  lines = [head]
  if measured:
    ms = np.array([x.ms for x in measured])
    low, middle, high = np.percentile(ms, (5, 50, 95))
    lines.append(
      f"picture behind sound: 5 % {low:.0f}, median {middle:.0f},"
      f" 95 % {high:.0f} ms"
    )
  notes = Counter(x.note for x in offsets if x.note)
  lines += [f"  {count}: {note}" for note, count in notes.most_common(5)]
  return lines
