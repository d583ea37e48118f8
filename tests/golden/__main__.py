"""Writes the goldens anew.

  python -m tests.golden [NAME ...]

Only when the numbers are meant to change, and in a commit of its own that says
why. Each line says how far the figures were from the stored ones.
"""

import os
import sys
import tempfile
from pathlib import Path

# As tests/conftest.py has it.
os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ.setdefault("JAX_NUM_CPU_DEVICES", "2")
os.environ.setdefault("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")

import numpy as np

from tests.golden import compare, program


def main(names: list[str]) -> None:
  """Writes the goldens of these names, or all."""
  for name in names or (*program.CASES, "reference", "sheet"):
    if name in program.CASES:
      said = figures(
        name, compare.figures(*program.Step(program.CASES[name]).run())
      )
    elif name == "reference":
      frames, codes = program.video()
      said = figures(name, compare.figures({}, codes))
      said += "; " + pictures(name, compare.side_by_side(frames))
    elif name == "sheet":
      with tempfile.TemporaryDirectory() as folder:
        said = pictures(name, program.sheet(Path(folder)))
    else:
      sys.exit(f"no golden {name!r}")
    print(f"{name}: {said}", flush=True)


def figures(name: str, found: compare.Figures) -> str:
  """Stores figures; says how far they are from the stored ones."""
  said = "new"
  if (compare.HERE / f"{name}.json").exists():
    try:
      differences = compare.apart(found, compare.read(name))
      worst = max(differences, key=lambda key: differences[key])
      said = f"apart {differences[worst]:.1e} ({worst})"
    except ValueError as error:
      said = str(error)
  compare.write(name, found)
  return said


def pictures(name: str, found: np.ndarray) -> str:
  """The same for a picture."""
  said = "new"
  if (compare.HERE / f"{name}.png").exists():
    try:
      mean, most = compare.levels(found, compare.read_picture(name))
      said = f"apart {mean:.4f} levels in the mean, {most} at most"
    except ValueError as error:
      said = str(error)
  compare.write_picture(name, found)
  return said


if __name__ == "__main__":
  main(sys.argv[1:])
