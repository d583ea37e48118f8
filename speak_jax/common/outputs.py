"""Checks of what a command is going to write, before it starts its work."""

import os
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from speak_jax.common import files
from speak_jax.common.files import FileError


def check_file(
  path: str | os.PathLike,
  inputs: Iterable[str | os.PathLike],
  suffixes: Sequence[str],
  otherwise: str = "",
) -> None:
  """Refuses early what could only fail after all the work, or do harm.

  Args:
    path: To be written; a file that is there will be replaced.
    inputs: Files and folders that are read. Neither may be replaced, by
      whatever link or spelling, nor may the file lie in one of the folders.
    suffixes: What its name may end with, such as ".mp4".
    otherwise: What else could be written, for who has named it wrongly.

  Raises:
    FileError: one line.
  """
  folder, name = os.path.split(os.fspath(path))
  known = " or ".join(suffixes)
  if os.path.splitext(name)[1].lower() not in suffixes:
    raise FileError(path, f"the output is {known[1:]}{otherwise}; name it so")
  if os.path.isdir(path):
    raise FileError(path, "is a folder")
  if os.path.exists(path) and not os.path.isfile(path):
    raise FileError(path, "is not a regular file")
  if not os.path.isdir(folder or "."):
    raise FileError(path, f"no folder {folder}")
  for other in inputs:
    if _same(path, other):
      raise FileError(path, f"would replace the input {other}")
    if os.path.isdir(other) and _inside(path, other):
      raise FileError(path, f"lies in the input {other}")
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
    FileError: one line.
  """
  if not os.fspath(path):
    raise FileError(path, "a folder without a name")
  if os.path.lexists(path) and not os.path.isdir(path):
    raise FileError(path, "is not a folder")
  sealed = tuple(sealed)
  for other in (*inputs, *sealed):
    if _same(path, other):
      raise FileError(path, "is an input, and would be written into")
  for other in sealed:
    if os.path.isdir(other) and _inside(path, other):
      raise FileError(path, f"lies in the input {other}")
  there = os.path.abspath(path)
  while not os.path.lexists(there):
    _check_name(path, os.path.basename(there), os.path.dirname(there))
    there = os.path.dirname(there)
  if not os.path.isdir(there):
    raise FileError(path, f"{there} is not a folder")
  _try(path, there)


def check_replaced(
  path: str | os.PathLike,
  inputs: Iterable[str | os.PathLike],
  names: re.Pattern[str],
) -> None:
  """The same for a folder that will be replaced with all that it holds.

  Args:
    path: The folder; what is above it is made if it is not there.
    inputs: Files and folders that are read; none may lie in it.
    names: Of files that may be lost, for a command like this has made them.

  Raises:
    FileError: one line.
  """
  inputs = tuple(inputs)
  check_folder(path, inputs, [x for x in inputs if os.path.isdir(x)])
  for other in inputs:
    if _inside(other, path):
      raise FileError(path, f"would replace the input {other}")
  if os.path.isdir(path):
    for name in sorted(os.listdir(path)):
      if not names.fullmatch(name):
        raise FileError(
          path, f"has other files, such as {name}; name a new one"
        )


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
    raise FileError(path, f"cannot be written ({_reason(error)})") from None


def _try(path: str | os.PathLike, folder: str) -> None:
  """Refuses what cannot be written there, by writing something."""
  _check_name(path, os.path.basename(os.fspath(path)), folder)
  try:
    files.probe(folder)
  except OSError as error:
    raise FileError(path, f"cannot be written ({_reason(error)})") from None


def _reason(error: Exception) -> str:
  return getattr(error, "strerror", None) or str(error)
