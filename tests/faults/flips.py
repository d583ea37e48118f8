"""Flips single bits of a checkpoint and asks whether that is found.

  python -m tests.faults.flips RUN/STAGE/checkpoints [--count 200] [--seed 0]

The bits are those of the newest checkpoint; each time the one before must be
chosen. The folder is left as it was. Files are drawn evenly, not by size:
most bits are in one of them, most ways to read them in the others.
"""

import argparse
import random
import sys
from collections import Counter
from pathlib import Path
from typing import NamedTuple

from speak_jax.training import checkpoints


class Report(NamedTuple):
  """What a campaign found."""

  flips: int
  files: int  # that were touched
  missed: list[str]  # flips after which the checkpoint was still chosen


def flip(path: Path, rng: random.Random) -> int:
  """Flips a bit of a file; its number."""
  content = bytearray(path.read_bytes())
  bit = rng.randrange(8 * len(content))
  content[bit // 8] ^= 1 << bit % 8
  path.write_bytes(bytes(content))
  return bit


def chosen(folder: Path) -> int | None:
  """The newest good checkpoint."""
  good = (v.step for v in checkpoints.statuses(folder) if v.kind == "good")
  return next(good, None)


def campaign(folder: Path, count: int, seed: int) -> Report:
  """Flips `count` bits of the newest checkpoint, and puts each back.

  Raises:
    ValueError: there are no two good checkpoints to begin with.
  """
  steps = [v.step for v in checkpoints.statuses(folder) if v.kind == "good"]
  if len(steps) < 2:
    raise ValueError(f"{folder}: two good checkpoints are needed")
  newest, before = steps[:2]
  rng = random.Random(seed)
  files = sorted((folder / str(newest)).rglob("*"))
  files = [x for x in files if x.is_file() and x.stat().st_size]
  rng.shuffle(files)
  touched: Counter[Path] = Counter()
  missed = []
  for i in range(count):
    path = files[i % len(files)]
    content = path.read_bytes()
    bit = flip(path, rng)
    touched[path] += 1
    if chosen(folder) != before:
      missed.append(f"{path.relative_to(folder)} bit {bit}")
    path.write_bytes(content)
  if chosen(folder) != newest:
    raise ValueError(f"{folder}: not as it was")
  return Report(count, len(touched), missed)


def main() -> None:
  """Runs the campaign; exit code 1 if a flip was missed."""
  parser = argparse.ArgumentParser(description=__doc__)
  parser.add_argument("folder", type=Path)
  parser.add_argument("--count", type=int, default=200)
  parser.add_argument("--seed", type=int, default=0)
  asked = parser.parse_args()
  report = campaign(asked.folder, asked.count, asked.seed)
  for line in report.missed:
    print(f"missed: {line}")
  found = report.flips - len(report.missed)
  print(f"{found} of {report.flips} flips found, in {report.files} files")
  sys.exit(bool(report.missed))


if __name__ == "__main__":
  main()
