"""How far picture and sound of the clips of a data set are apart.

`DATA/offsets.jsonl` holds one line a clip. `speak_jax.offsets` measures and
writes it; whoever opens DATA then goes without the clips that are out of sync.
"""

import json
import os
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

NAME = "offsets.jsonl"


class Offset(NamedTuple):
  """One line."""

  clip: str
  frames: int | None  # by which the picture lags the sound; None: no telling
  ms: float | None
  confidence: float | None
  out: bool  # of sync: the clip is left out
  note: str = ""  # why there is no telling, or none to be sure of


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


def summary(found: Sequence[Offset]) -> list[str]:
  """What was found, in lines."""
  told = [x for x in found if x.frames is not None]
  lines = [
    f"{len(found)} clips, {len(told)} measured, {sum(x.out for x in found)}"
    " out of sync"
  ]
  if told:
    ms = np.array([x.ms for x in told])
    low, middle, high = np.percentile(ms, (5, 50, 95))
    lines.append(
      f"picture behind sound: 5 % {low:.0f}, median {middle:.0f},"
      f" 95 % {high:.0f} ms"
    )
  notes = Counter(x.note for x in found if x.note)
  lines += [f"  {count}: {note}" for note, count in notes.most_common(5)]
  return lines
