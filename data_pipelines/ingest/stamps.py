"""Whether a clip's raw files are still those that its records were made of."""

import os
from typing import Any, NamedTuple

from data_pipelines.sources.task import Task
from speak_jax.common import files


class Stamp(NamedTuple):
  """A raw file as it was when its clip was made; plain values."""

  size: int  # bytes; -1: it could not be looked at
  mtime: int  # ns
  sha256: str = ""  # of its content; "": nobody knows


def stamps_of(task: Task) -> list[Stamp]:
  """Stamps of a clip's raw files as they are now, `sha256` left empty."""
  stamps = []
  for path in _files(task):
    try:
      status = os.stat(path)
      stamps.append(Stamp(status.st_size, status.st_mtime_ns))
    except (OSError, ValueError):
      stamps.append(Stamp(-1, 0))
  return stamps


def renewed(
  task: Task, kept: list[list[Any]] | None, written_ns: int
) -> list[list[Any]] | None:
  """Returns a clip's stamps, unless its raw files have changed.

  Size and date decide; where only the date has changed, the content does.

  Args:
    task: The clip.
    kept: Stamps that its outcome holds; None: it was made by a version that
      kept none.
    written_ns: When the outcome was written, since 1970; used where `kept` is
      None.

  Returns:
    The stamps, equal to `kept` where nothing has changed; None if a file has
    changed.
  """
  now = stamps_of(task)
  if kept is None:
    late = any(x.mtime > written_ns for x in now)
    return None if late else [list(x) for x in now]
  old = [Stamp(*x) for x in kept]
  if len(now) != len(old):
    return None
  fresh = []
  for new, one, path in zip(now, old, _files(task), strict=True):
    if new[:2] == one[:2]:
      fresh.append(list(one))
    elif one.sha256 and new.size == one.size and _digest(path) == one.sha256:
      fresh.append([*new[:2], one.sha256])
    else:
      return None
  return fresh


def with_digests(task: Task, stamps: list[Stamp]) -> list[Stamp]:
  """The stamps of a clip's raw files with the SHA-256 of their content."""
  return [
    stamp._replace(sha256=_digest(path))
    for stamp, path in zip(stamps, _files(task), strict=True)
  ]


def _files(task: Task) -> list[str]:
  return [path for path in (task.file, task.sound) if path]


def _digest(path: str) -> str:
  try:
    return files.sha256(path)
  except (OSError, ValueError):
    return ""
