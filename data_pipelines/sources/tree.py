"""Looks through folders of up to millions of files, without opening any.

A folder is listed once, whatever links lead to it, and no file is asked for its
size or date, so that a listing costs what the directory entries cost. Hidden
names are skipped, links are followed. What cannot be listed raises OSError with
the folder's name.
"""

import os
from collections.abc import Callable, Iterator
from typing import NamedTuple

SOUND = (".wav", ".m4a", ".aac", ".mp3", ".flac")  # in order of preference
VIDEO = (
  *(".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".flv"),
  *(".mpg", ".mpeg"),
)
_PACKED = (".tar", ".zip", ".tgz", ".gz", ".7z", ".rar")


class Folder(NamedTuple):
  """The names in one folder, sorted."""

  path: str
  folders: list[str]
  files: list[str]
  links: frozenset[str] = frozenset()  # those of both that are links
  hidden: tuple[str, ...] = ()  # names that begin with a dot


def root(path: str | os.PathLike) -> str:
  """The folder as an absolute path.

  Raises:
    ValueError: there is none.
  """
  if os.path.isfile(path):
    raise ValueError(
      f"{os.fspath(path)}: is a file; give the folder that it lies in"
    )
  if not os.path.isdir(path):
    raise ValueError(f"{os.fspath(path)}: no such folder")
  return os.path.abspath(path)


def look(path: str) -> Folder:
  """Lists one folder."""
  folders, files, links, hidden = [], [], set(), []
  with os.scandir(path) as entries:
    for entry in entries:
      if entry.name.startswith("."):
        hidden.append(entry.name)
        continue
      (folders if _is_folder(entry) else files).append(entry.name)
      if entry.is_symlink():
        links.add(entry.name)
  return Folder(
    path,
    sorted(folders),
    sorted(files),
    frozenset(links),
    tuple(sorted(hidden)),
  )


def _is_folder(entry: os.DirEntry[str]) -> bool:
  """False too for a link that leads nowhere, or to itself."""
  try:
    return entry.is_dir()
  except OSError:
    return False


def walk(
  path: str,
  depth: int = 32,
  enter: Callable[[str], bool] = lambda name: True,
  passed: Callable[[str, OSError | None], None] | None = None,
) -> Iterator[Folder]:
  """A folder and those in it, each before its own; in the order of names.

  A folder that links lead to as well is looked at where it is, and once: no
  loop of links is gone round.

  Args:
    path: Where to start.
    depth: Levels below it to look at.
    enter: Whether a folder of that name is looked into.
    passed: Told of folders that are left out: they were met before (None), or
      cannot be listed; without it the latter is raised.
  """
  met: set[tuple[int, int]] = set()
  links: list[tuple[str, int]] = []

  def down(path: str, depth: int) -> Iterator[Folder]:
    try:
      status = os.stat(path)
      key = status.st_dev, status.st_ino
      if key in met and status.st_ino:  # 0: the file system has no numbers
        if passed:
          passed(path, None)
        return
      met.add(key)
      here = look(path)
    except OSError as error:
      if passed is None:
        raise
      passed(path, error)
      return
    yield here
    for name in filter(enter, here.folders) if depth > 0 else ():
      child = os.path.join(path, name)
      if name in here.links:
        links.append((child, depth - 1))
      else:
        yield from down(child, depth - 1)

  yield from down(path, depth)
  while links:
    yield from down(*links.pop(0))


def files(
  path: str, suffixes: tuple[str, ...] = VIDEO
) -> Iterator[tuple[str, str, str]]:
  """Folder, stem and suffix of all files of some kinds, in order."""
  for folder in walk(path):
    for name in folder.files:
      stem, suffix = os.path.splitext(name)
      if suffix.lower() in suffixes:
        yield folder.path, stem, suffix


def stems(folder: Folder, suffixes: tuple[str, ...]) -> dict[str, str]:
  """Stem to name of a folder's files of some kinds, the first kind first."""
  names: dict[str, str] = {}
  rank = {suffix: i for i, suffix in enumerate(suffixes)}
  for name in folder.files:
    stem, suffix = os.path.splitext(name)
    order = rank.get(suffix.lower(), len(rank))
    if order < len(rank):
      old = names.get(stem)
      if old is None or order < rank[os.path.splitext(old)[1].lower()]:
        names[stem] = name
  return names


def flat(path: str) -> Iterator[tuple[str, str, str | None]]:
  """Videos of flat copies: stem, path, and the sound of that name beside it."""
  for folder in walk(path):
    sounds = stems(folder, SOUND)
    for stem, name in stems(folder, VIDEO).items():
      sound = sounds.get(stem)
      beside = sound and os.path.join(folder.path, sound)
      yield stem, os.path.join(folder.path, name), beside


def packed(folder: Folder) -> list[str]:
  """Names of archives, whole or in parts (`vox2_dev_mp4_partaa`)."""
  return [
    name
    for name in folder.files
    if name.lower().endswith(_PACKED) or "_part" in name
  ]
