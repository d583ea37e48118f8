"""Public weights from the command line.

  python -m speak_jax.pretrained verify DIR
  python -m speak_jax.pretrained convert SRC DST

`verify` runs the goldens of a folder (see `goldens`) on the CPU and prints the
error of each output. `convert` writes a public checkpoint as .safetensors in
our own names and axes, such as `params/stem/kernel`; files of one network have
commas between: SRC is A,B.
"""

import argparse
import sys
from pathlib import Path

import jax

from speak_jax.common import command_line
from speak_jax.pretrained import goldens, layouts
from speak_jax.pretrained.tensors import WeightsError


def verify(folder: Path) -> int:
  """Prints a line per output; 0 if all are equal, 1 if not."""
  passed = []
  names = set()
  for result in goldens.verify(folder):
    verdict = "ok"
    if not result.passed:
      verdict = result.reason or f"above {goldens.TOLERANCE:g}"
      verdict = f"FAILED: {verdict}"
    print(
      f"{result.name:<28} {result.output:<14} {result.error:.1e}  {verdict}",
      flush=True,
    )
    passed.append(result.passed)
    names.add(result.name)
  print(
    f"{sum(passed)} of {len(passed)} outputs of {len(names)} networks within"
    f" {goldens.TOLERANCE:g}"
  )
  return 0 if all(passed) else 1


def convert(source: str, target: Path) -> int:
  """Writes converted weights whole or not at all."""
  loaded = layouts.load(source)
  layouts.save(target, loaded)
  converted = loaded.converted
  sizes = f", {converted.sizes}" if converted.sizes else ""
  print(f"{target}: weights of a {loaded.layout}{sizes}")
  if converted.unused:
    print(f"not used: {', '.join(converted.unused)}")
  return 0


def main() -> int:
  """Runs the command; returns the exit code."""
  parser = argparse.ArgumentParser(
    prog="python -m speak_jax.pretrained",
    description="Checks and converts public weights.",
  )
  commands = parser.add_subparsers(dest="command", required=True)
  check = commands.add_parser(
    "verify", help="run goldens; exit code 0 if every output is equal"
  )
  check.add_argument("folder", type=Path, metavar="DIR")
  write = commands.add_parser(
    "convert", help="write a public checkpoint as .safetensors, our names"
  )
  write.add_argument(
    "source", metavar="SRC", help="path or hub id, or several: A,B"
  )
  write.add_argument("target", type=Path, metavar="DST")
  chosen = parser.parse_args()
  # The tolerance is a CPU's: others multiply with fewer bits.
  jax.config.update("jax_platforms", "cpu")
  try:
    if chosen.command == "verify":
      return verify(chosen.folder)
    return convert(chosen.source, chosen.target)
  except (WeightsError, OSError) as error:
    return command_line.fail("error", str(error))


if __name__ == "__main__":
  sys.exit(main())
