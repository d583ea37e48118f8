"""What a command writes: looked at before the work, and whole or not at all."""

import itertools
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from data_pipelines.media.error import MediaError

_COUNT = itertools.count()
_PARTIAL: set[Path] = set()  # that are being written


def check_file(
  path: str | os.PathLike,
  inputs: Iterable[str | os.PathLike],
  suffixes: Sequence[str],
) -> None:
  """Refuses early what could only fail after all the work, or do harm.

  Args:
    path: To be written; a file that is there will be replaced.
    inputs: Files and folders that are read. Neither may be replaced, by
      whatever link or spelling, nor may the file lie in one of the folders.
    suffixes: What its name may end with, such as ".mp4".

  Raises:
    MediaError: one line.
  """
  folder, name = os.path.split(os.fspath(path))
  known = " or ".join(suffixes)
  if os.path.splitext(name)[1].lower() not in suffixes:
    raise MediaError(path, f"the output is {known[1:]}; name it so")
  if os.path.isdir(path):
    raise MediaError(path, "is a folder")
  if os.path.exists(path) and not os.path.isfile(path):
    raise MediaError(path, "is not a regular file")
  if not os.path.isdir(folder or "."):
    raise MediaError(path, f"no folder {folder}")
  for other in inputs:
    if _same(path, other):
      raise MediaError(path, f"would replace the input {other}")
    if os.path.isdir(other) and _inside(path, other):
      raise MediaError(path, f"lies in the input {other}")
  _try(path, folder or ".")


def check_folder(
  path: str | os.PathLike,
  inputs: Iterable[str | os.PathLike],
  sealed: Iterable[str | os.PathLike] = (),
) -> None:
  """The same for a folder, which is made if it is not there.

  Args:
    path: The folder.
    inputs: Files and folders that are read; it may be none of them.
    sealed: Folders that are read; it may not lie in one of them either.

  Raises:
    MediaError: one line.
  """
  if not os.fspath(path):
    raise MediaError(path, "a folder without a name")
  if os.path.lexists(path) and not os.path.isdir(path):
    raise MediaError(path, "is not a folder")
  sealed = tuple(sealed)
  for other in (*inputs, *sealed):
    if _same(path, other):
      raise MediaError(path, "is an input, and would be written into")
  for other in sealed:
    if os.path.isdir(other) and _inside(path, other):
      raise MediaError(path, f"lies in the input {other}")
  there = os.path.abspath(path)
  while not os.path.lexists(there):
    _check_name(path, os.path.basename(there), os.path.dirname(there))
    there = os.path.dirname(there)
  if not os.path.isdir(there):
    raise MediaError(path, f"{there} is not a folder")
  _try(path, there)


@contextmanager
def replacing(path: str | os.PathLike) -> Iterator[Path]:
  """A new file beside `path` that takes its place if all goes well.

  Its name is short, for `path` may have the longest that there can be, and it
  is gone if anything goes wrong.
  """
  partial = _beside(os.path.dirname(os.fspath(path)), Path(path).suffix)
  _PARTIAL.add(partial)
  try:
    yield partial
    os.replace(partial, path)
  finally:
    partial.unlink(missing_ok=True)
    _PARTIAL.discard(partial)


def discard() -> None:
  """Removes what this process has half written, as its last deed."""
  for partial in tuple(_PARTIAL):
    with suppress(OSError):
      partial.unlink()


def _beside(folder: str, suffix: str) -> Path:
  name = f".{os.getpid()}-{next(_COUNT)}.partial{suffix}"
  return Path(folder) / name


def _same(path: str | os.PathLike, other: str | os.PathLike) -> bool:
  """Whether both are one file: links, hard links and spellings included."""
  try:
    return os.path.samefile(path, other)
  except (OSError, ValueError):  # one of them is not there
    return os.path.realpath(path) == os.path.realpath(other)


def _inside(path: str | os.PathLike, folder: str | os.PathLike) -> bool:
  """Whether one of the folders above `path` is `folder`."""
  above = os.path.dirname(os.path.abspath(path))
  real = os.path.realpath(above)
  return any(
    _same(parent, folder)
    for start in (above, real)
    for parent in (start, *map(str, Path(start).parents))
  )


def _check_name(path: str | os.PathLike, name: str, folder: str) -> None:
  """Refuses a name that no file can have there."""
  try:
    os.lstat(os.path.join(folder, name))
  except (FileNotFoundError, NotADirectoryError):
    pass  # where it must lie is looked at elsewhere
  except (OSError, ValueError) as error:
    raise MediaError(path, f"cannot be written ({_reason(error)})") from None


def _try(path: str | os.PathLike, folder: str) -> None:
  """Refuses what cannot be written there, by writing something."""
  _check_name(path, os.path.basename(os.fspath(path)), folder)
  probe = _beside(folder, "")
  try:
    probe.touch(exist_ok=False)
    probe.unlink()
  except OSError as error:
    raise MediaError(path, f"cannot be written ({_reason(error)})") from None


def _reason(error: Exception) -> str:
  return getattr(error, "strerror", None) or str(error)
