"""Signs of life: RUN/heartbeats/RANK.json, one file a process.

Each holds the step, the Unix time of writing, the activity and the time of a
step, so that a person or a launcher sees which process is late, and at what.
"""

import json
import statistics
from pathlib import Path
from typing import NamedTuple

from speak_jax.common import files

SLOW = 2.0  # times the others' median
SHARE = 0.1  # of a step that a process has to cost the others


class Heartbeat(NamedTuple):
  """One sign of life."""

  rank: int
  stage: str
  step: int
  time: float  # Unix, s
  activity: str  # see activity.KINDS
  seconds: float  # since it began
  step_ms: float | None  # a whole step, median; None: not known yet
  own_ms: float | None  # of which not spent waiting for others
  host: str
  pid: int


def write(run: Path, beat: Heartbeat) -> None:
  """Replaces a process's file."""
  folder = run / "heartbeats"
  folder.mkdir(parents=True, exist_ok=True)
  text = json.dumps(beat._asdict())
  # The next one comes within seconds: the disk is not made to wait for it.
  files.write(folder / f"{beat.rank}.json", text, sync=False)


def read(run: Path, newer: float = 0.0) -> list[Heartbeat]:
  """The processes' last signs of life, by rank.

  Args:
    run: RUN folder.
    newer: Older files are left out; Unix time.
  """
  beats = []
  for path in (run / "heartbeats").glob("[0-9]*.json"):  # whole ones
    with path.open() as file:
      beats.append(Heartbeat(**json.load(file)))
  return sorted(beat for beat in beats if beat.time >= newer)


def slow(beats: list[Heartbeat]) -> list[Heartbeat]:
  """Processes that hold up the others.

  All processes end a step together, as they exchange gradients; what tells
  them apart is the time that each does not spend waiting. A slow accelerator
  behind a quick host does not show.
  """
  slow_ones = []
  for beat in beats:
    others = [b.own_ms for b in beats if b is not beat and b.own_ms is not None]
    if not others or beat.own_ms is None or beat.step_ms is None:
      continue
    usual = statistics.median(others)
    late = beat.own_ms - usual > SHARE * beat.step_ms
    if late and beat.own_ms > SLOW * usual:
      slow_ones.append(beat)
  return slow_ones
