"""What processes have cost: this one, and those that decode for it.

Linux tells of children while they live; elsewhere this process alone counts.
"""

import contextlib
import os
import resource
import sys
import time
from collections.abc import Iterator
from pathlib import Path


def children() -> Iterator[Path]:
  """Folders of this process's children under /proc."""
  for folder in Path("/proc").glob("[0-9]*"):
    with contextlib.suppress(OSError, IndexError):  # it has just ended
      if int(_stat(folder)[1]) == os.getpid():
        yield folder


def cpu_s() -> float:
  """Seconds of processor time, of ended children of children too."""
  total = time.process_time()
  tick = os.sysconf("SC_CLK_TCK")
  for folder in children():
    with contextlib.suppress(OSError):
      total += sum(map(int, _stat(folder)[11:15])) / tick
  return total


def peak_mib() -> float:
  """The most memory that this process has had."""
  peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
  return peak / (1 << 20 if sys.platform == "darwin" else 1 << 10)


def read_bytes() -> int:
  """What this process has read of files so far, cached or not; Linux alone."""
  with contextlib.suppress(OSError):
    lines = Path("/proc/self/io").read_text().splitlines()
    return int(dict(line.split(": ") for line in lines)["rchar"])
  return 0


def _stat(folder: Path) -> list[str]:
  """Fields of a process from its state on; its name may hold blanks."""
  return (folder / "stat").read_text().rpartition(")")[2].split()
