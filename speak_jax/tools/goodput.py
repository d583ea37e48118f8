"""Tells where the time of a run went, over all its restarts.

  python -m speak_jax.tools.goodput RUN

A table of seconds and shares: start-up, compilation, waiting for data, steps,
saves, evaluation, steps that a restart had to make again, and time in which
nothing ran. Then the processes' last signs of life. Exit code 64: no run.
"""

import time
from collections.abc import Sequence
from pathlib import Path

from absl import app

from speak_jax.common import command_line, exit_codes
from speak_jax.common.progress import clock
from speak_jax.supervision import goodput, heartbeat

WORDS = {
  "init": "start-up",
  "compile": "compilation",
  "data": "waiting for data",
  "step": "steps",
  "save": "waiting for saves",
  "evaluation": "samples, evaluation",
  "lost": "steps made again",
  "down": "nothing ran",
}


def table(summary: goodput.Summary) -> str:
  """A summary in words."""
  lines = [
    f"{WORDS[name]:20} {seconds:10.1f} s {seconds / summary.wall:7.1%}"
    for name, seconds in summary.seconds.items()
  ]
  total = sum(summary.seconds.values())
  lines.append(f"{'together':20} {total:10.1f} s {total / summary.wall:7.1%}")
  lines.append(
    f"goodput {summary.goodput:.1%} of {clock(summary.wall)}, in"
    f" {summary.starts} start{'s' * (summary.starts > 1)}"
  )
  return "\n".join(lines)


def signs(beats: list[heartbeat.Heartbeat], now: float) -> list[str]:
  """A line for each process; `now` is Unix time."""
  late = heartbeat.slow(beats)
  lines = []
  for beat in beats:
    took = "" if beat.step_ms is None else f", {beat.step_ms:.0f} ms a step"
    own = (
      f", of which {beat.own_ms:.0f} for itself: slow" if beat in late else ""
    )
    lines.append(
      f"process {beat.rank} on {beat.host}: {beat.stage} step {beat.step},"
      f" {beat.activity}, {clock(now - beat.time)} ago{took}{own}"
    )
  return lines


def main(argv: Sequence[str]) -> int:
  """Runs the command; returns the exit code."""
  if len(argv) != 2:
    line = "name one run"
    return command_line.fail("goodput", line, exit_codes.BAD_CONFIG)
  run = Path(argv[1])
  try:
    print(table(goodput.summary(run)))
    print("\n".join(signs(heartbeat.read(run), time.time())))
  except ValueError as error:
    return command_line.fail("goodput", str(error), exit_codes.BAD_CONFIG)
  return exit_codes.DONE


if __name__ == "__main__":
  app.run(main, flags_parser=command_line.parser("goodput"))
