"""The one folder that the page has: what is old goes, and what is too much."""

import os
import time
from pathlib import Path

KEPT_S = 3600.0  # uploads and results
MOST_BYTES = 4 << 30  # of all visitors together


def held(folder: Path) -> int:
  """Bytes of all files below."""
  total = 0
  for path in folder.rglob("*"):
    try:
      total += path.lstat().st_size
    except OSError:  # gone meanwhile
      continue
  return total


def sweep(folder: Path, kept_s: float = KEPT_S) -> None:
  """Removes files that are older, and folders that nothing is left in.

  The folder itself and those directly in it stay.
  """
  now = time.time()
  stay = {folder, *folder.iterdir()}
  for name, _, files in os.walk(folder, topdown=False):
    for path in (*(Path(name, file) for file in files), Path(name)):
      if path in stay:
        continue
      try:
        # When it came here: a picture's own time may be old.
        if now - path.lstat().st_ctime <= kept_s:
          continue
        if path.is_dir() and not path.is_symlink():
          path.rmdir()
        else:
          path.unlink()
      except OSError:  # gone meanwhile, or not empty
        continue


def inside(folder: Path, path: str) -> bool:
  """Whether a path, links resolved, is a regular file of the folder."""
  try:
    found = Path(path).resolve(strict=True)
  except (OSError, ValueError, RuntimeError):
    return False
  return found.is_file() and found.is_relative_to(folder.resolve())
