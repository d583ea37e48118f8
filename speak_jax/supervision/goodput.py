"""Where the time of a run went, over all its restarts.

RUN/goodput.jsonl: a line every few seconds from the first process, with the
seconds of each activity since the line before. What no line tells is the time
between two processes: the run was down.
"""

import contextlib
import json
import os
import uuid
from pathlib import Path
from typing import Any, NamedTuple

from speak_jax.supervision.activity import Activity

NAME = "goodput.jsonl"
PROCESS = uuid.uuid4().hex[:8]  # this one, among all restarts
BUCKETS: tuple[str, ...] = (
  "init",
  "compile",
  "data",
  "step",
  "save",
  "evaluation",
  "lost",
  "down",
)


class GoodputLog:
  """Appends to RUN/goodput.jsonl."""

  def __init__(self, run: Path, stage: str, activity: Activity):
    """Opens the file; a line that a killed process left half is closed."""
    self._stage, self._activity = stage, activity
    self.step = 0  # of the last line; set it when training begins elsewhere
    run.mkdir(parents=True, exist_ok=True)
    self._file = (run / NAME).open("ab+")
    if self._file.seek(0, os.SEEK_END):
      self._file.seek(-1, os.SEEK_END)
      if self._file.read(1) != b"\n":
        self._file.write(b"\n")

  def write(self, step: int) -> None:
    """One line: what was done since the last one, and up to which step."""
    begin, end, took = self._activity.collect()
    line = {
      "process": PROCESS,
      "stage": self._stage,
      "begin": begin,
      "end": end,
      "from": self.step,
      "to": step,
      **{kind: round(seconds, 6) for kind, seconds in took.items()},
    }
    self._file.write(json.dumps(line).encode() + b"\n")
    self._file.flush()
    self.step = step

  def close(self) -> None:
    """Closes the file; what a full disk would not take is lost."""
    with contextlib.suppress(OSError):
      self._file.close()


class Summary(NamedTuple):
  """Where the time went."""

  seconds: dict[str, float]  # by bucket
  wall: float  # s, from the first process's start to the last line
  starts: int  # processes

  @property
  def goodput(self) -> float:
    """Share of the time that steps took which were not lost."""
    return self.seconds["step"] / self.wall if self.wall else 0.0


def summary(run: Path) -> Summary:
  """Adds up a run's lines.

  Steps that a restart or a roll-back made again are lost, with the data that
  they took.

  Raises:
    ValueError: the run has no lines.
  """
  lines = _lines(run)
  seconds = dict.fromkeys(BUCKETS, 0.0)
  reached: dict[str, int] = {}
  before: dict[str, Any] | None = None
  starts = 0
  for line in lines:
    if before is None or line["process"] != before["process"]:
      starts += 1
    if before is not None:
      seconds["down"] += max(line["begin"] - before["end"], 0.0)
    last = reached.get(line["stage"], 0)
    count = line["to"] - line["from"]
    again = max(min(line["to"], last) - line["from"], 0)
    lost = again / count if count > 0 else 0.0
    for kind in ("init", "compile", "save", "evaluation"):
      seconds[kind] += line[kind]
    steps = line["step"] + line["device"]
    seconds["lost"] += lost * (steps + line["data"])
    seconds["step"] += (1 - lost) * steps
    seconds["data"] += (1 - lost) * line["data"]
    reached[line["stage"]] = max(last, line["to"])
    before = line
  wall = lines[-1]["end"] - lines[0]["begin"]
  return Summary(seconds, wall, starts)


def seconds_a_step(run: Path) -> dict[str, float]:
  """{stage: seconds of a step, with the wait for its data}, means of the run.

  Raises:
    ValueError: the run has no lines.
  """
  lines = _lines(run)
  seconds: dict[str, float] = {}
  steps: dict[str, int] = {}
  for line in lines:
    stage = line["stage"]
    took = line["step"] + line["device"] + line["data"]
    seconds[stage] = seconds.get(stage, 0.0) + took
    steps[stage] = steps.get(stage, 0) + line["to"] - line["from"]
  return {stage: seconds[stage] / steps[stage] for stage in steps}


def _lines(run: Path) -> list[dict[str, Any]]:
  """All whole lines of a run.

  Raises:
    ValueError: there is none.
  """
  lines, path = [], run / NAME
  if path.exists():
    for text in path.read_text(errors="replace").splitlines():
      try:
        lines.append(json.loads(text))
      except json.JSONDecodeError:
        continue  # the half line of a killed process
  if not lines:
    raise ValueError(f"{path}: nothing was written yet")
  return lines
