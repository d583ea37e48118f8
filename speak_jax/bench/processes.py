"""What processes have cost: this one, and those that work for it.

Linux tells of other processes while they live; elsewhere this process alone
counts.
"""

import contextlib
import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

SAMPLE_S = 0.05  # between two looks at all processes


def cpu_s() -> float:
  """Seconds of processor time of this process and of its children.

  Those of children of children when they have ended.
  """
  total = time.process_time()
  tick = os.sysconf("SC_CLK_TCK")
  for folder in _folders():
    with contextlib.suppress(OSError, IndexError):  # it has just ended
      # From the state on, as a name may hold blanks.
      fields = (folder / "stat").read_text().rpartition(")")[2].split()
      if int(fields[1]) == os.getpid():
        total += sum(map(int, fields[11:15])) / tick
  return total


def watched(process: subprocess.Popen) -> tuple[float, float]:
  """Waits for a process, and looks at it and at those that it starts.

  Returns:
    MiB: the most that it has had, and that any of them has had.
  """
  most = {str(process.pid): 0.0}
  while process.poll() is None:
    for fields in _statuses():
      if fields["Pid"] in most or fields["PPid"] in most:
        peak = _mib(fields, "VmHWM")
        most[fields["Pid"]] = max(most.get(fields["Pid"], 0.0), peak)
    time.sleep(SAMPLE_S)
  own = most.pop(str(process.pid))
  return own, max(most.values(), default=0.0)


def _statuses() -> Iterator[dict[str, str]]:
  """What Linux says of each process."""
  for folder in _folders():
    with contextlib.suppress(OSError):
      lines = (folder / "status").read_text().splitlines()
      pairs = (line.partition(":")[::2] for line in lines)
      yield {name: text.strip() for name, text in pairs}


def _folders() -> Iterator[Path]:
  return Path("/proc").glob("[0-9]*")


def held_mib() -> float:
  """Memory of this process now; 0 where the system does not tell."""
  own = (x for x in _statuses() if x["Pid"] == str(os.getpid()))
  return next((_mib(fields, "VmRSS") for fields in own), 0.0)


def _mib(fields: dict[str, str], name: str) -> float:
  """Memory of a process; of a dead one 0."""
  return int(fields.get(name, "0").split()[0]) / 1024


def read_bytes() -> int:
  """What this process has read of files so far, cached or not; Linux alone."""
  with contextlib.suppress(OSError):
    lines = Path("/proc/self/io").read_text().splitlines()
    return int(dict(line.split(": ") for line in lines)["rchar"])
  return 0
