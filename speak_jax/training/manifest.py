"""What a checkpoint's files were when it was whole: a SHA-256 for each.

N/manifest.sha256 is what `sha256sum` prints and `sha256sum -c` reads. It is
written last and by rename, so a checkpoint that has one was finished. Its
text depends on the folder alone: checking is writing it again and comparing,
which finds a changed bit wherever it is, in the manifest as well.
"""

from pathlib import Path

from speak_jax.common import files

NAME = "manifest.sha256"


def write(folder: Path) -> None:
  """Writes the manifest of a finished checkpoint, all of it or nothing.

  Raises:
    OSError: a file cannot be read, or the disk is full.
  """
  files.write(folder / NAME, _text(folder))


def fault(folder: Path) -> str | None:
  """What is wrong with a checkpoint that has a manifest; None: nothing.

  Returns:
    The first file that differs, and how.
  """
  try:
    written, actual = (folder / NAME).read_bytes(), _text(folder)
  except OSError as error:
    return f"{error.filename}: {error.strerror}"
  if written == actual.encode():
    return None
  before = dict(_lines(written.decode(errors="replace")))
  now = dict(_lines(actual))
  for path in sorted({*before, *now}):
    if path not in now:
      return f"{path} is missing"
    if path not in before:
      return f"{path} is not in {NAME}"
    if before[path] != now[path]:
      return f"{path} has changed"
  return f"{NAME} has changed"


def size(folder: Path) -> int:
  """Bytes of all files."""
  return sum(path.stat().st_size for path in _files(folder))


def _text(folder: Path) -> str:
  return "".join(
    f"{files.sha256(path)}  {path.relative_to(folder).as_posix()}\n"
    for path in _files(folder)
  )


def _files(folder: Path) -> list[Path]:
  return sorted(
    path
    for path in folder.rglob("*")
    if path.is_file() and path != folder / NAME
  )


def _lines(text: str) -> list[tuple[str, str]]:
  """(path, hash) of each line."""
  parts = [line.partition("  ") for line in text.split("\n") if line]
  return [(path, digest) for digest, _, path in parts]
