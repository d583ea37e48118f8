"""Checks that a run's checkpoints are what was written, bit for bit.

  python -m speak_jax.tools.verify_checkpoints RUN

One line a checkpoint; nothing is changed. Exit code 0: all are good; 67: one
of them is not, or a stage has none that can be restored; 64: no run.
"""

from collections.abc import Sequence
from pathlib import Path

from absl import app

from speak_jax.common import command_line, exit_codes
from speak_jax.training import checkpoints, manifest


def verify(run: Path) -> int:
  """Prints a line for every checkpoint of a run.

  Args:
    run: RUN folder.

  Returns:
    The exit code.
  """
  folders = sorted(run.glob("*/checkpoints"))
  if not folders:
    line = f"{run}: no run with checkpoints"
    return command_line.fail("checkpoints", line, exit_codes.BAD_CONFIG)
  bad = False
  for folder in folders:
    kinds = []
    for step, kind, reason in checkpoints.statuses(folder):
      kinds.append(kind)
      path = folder / str(step)
      fact = reason or f"{manifest.size(path) / 1e6:.1f} MB"
      print(f"{path.relative_to(run)}: {kind}, {fact}", flush=True)
    for path in sorted(folder.glob(f"*{checkpoints.CORRUPT}*")):
      print(f"{path.relative_to(run)}: put aside before")
      bad |= not kinds
    bad |= "corrupt" in kinds
  return exit_codes.NO_CHECKPOINT if bad else exit_codes.DONE


def main(argv: Sequence[str]) -> int:
  """Runs the command; returns the exit code."""
  words = argv[1:]
  if len(words) == 2 and words[0] == "verify":  # as it was said before
    words = words[1:]
  if len(words) != 1:
    line = "name one run"
    return command_line.fail("checkpoints", line, exit_codes.BAD_CONFIG)
  return verify(Path(words[0]))


if __name__ == "__main__":
  app.run(main, flags_parser=command_line.parser("checkpoints"))
