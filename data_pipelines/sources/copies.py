"""One video under several names: links and copies are found, and left out."""

import collections
import contextlib
import os
from collections.abc import Callable, Hashable, Iterator
from typing import NamedTuple

from data_pipelines.sources.passed_over import PassedOver
from speak_jax.common import files
from speak_jax.common.names import printable

_ENDS = 1 << 16  # bytes of a file's beginning and end that are compared first


class File(NamedTuple):
  """A video of the folder."""

  name: str  # from the root
  link: bool
  status: os.stat_result


class SharedVideos:
  """Who shares a video with whom: groups of people."""

  def __init__(self):
    self._first: dict[str, str] = {}

  def join(self, a: str, b: str) -> None:
    """Makes one group of two people's."""
    a, b = sorted((self._root(a), self._root(b)))
    if a != b:
      self._first[b] = a

  def firsts(self) -> dict[str, str]:
    """Each of them by the first of the group."""
    return {name: self._root(name) for name in self._first}

  def _root(self, name: str) -> str:
    while name in self._first:
      name = self._first[name]
    return name


def unique(
  root: str,
  videos: list[File],
  person_of: Callable[[str], str],
  shared: SharedVideos,
  passed: PassedOver,
) -> Iterator[str]:
  """The name of each video, the first of those that it has.

  By the file's number first: a link costs no reading. Then by content, of
  files of one size.
  """
  by_number = collections.defaultdict(list)
  for one in videos:
    status = one.status
    number = status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns
    by_number[number if status.st_ino else one.name].append(one)
  groups = [_original_first(some) for some in by_number.values()]
  taken = {group[0].name for group in groups}
  for group in groups:
    _leave_out(root, group, "links to", person_of, shared, passed)
  for copies in _copies(root, [group[0] for group in groups]):
    copies = _original_first(copies)
    _leave_out(root, copies, "copies of", person_of, shared, passed)
    taken -= {one.name for one in copies[1:]}
  for one in videos:
    if one.name in taken:
      yield one.name


def _original_first(group: list[File]) -> list[File]:
  """No link before a file, nor `a (1).mp4` before `a.mp4`; else by order."""
  return sorted(group, key=lambda one: (one.link, len(one.name)))


def _leave_out(
  root: str,
  group: list[File],
  what: str,
  person_of: Callable[[str], str],
  shared: SharedVideos,
  passed: PassedOver,
) -> None:
  """Reports names of one video that are not used, and joins their people."""
  first, *others = group
  who = person_of(first.name)
  for one in others:
    note = f"is {printable(first.name)}"
    other = person_of(one.name)
    if other != who:
      shared.join(who, other)
      note += f"; {printable(who)} and {printable(other)} are kept in one split"
    kind = f"{what} videos that are taken"
    passed.add(kind, os.path.join(root, one.name), note)


def _copies(root: str, videos: list[File]) -> list[list[File]]:
  """Groups of files with the same content."""

  def size(one: File) -> int:
    return one.status.st_size

  def ends(one: File) -> bytes:
    with open(os.path.join(root, one.name), "rb") as file:
      first = file.read(_ENDS)
      file.seek(max(size(one) - _ENDS, 0))
      return first + file.read(_ENDS)

  def content(one: File) -> str:
    return files.sha256(os.path.join(root, one.name))

  groups = [[one for one in videos if one.status.st_size]]
  for key in (size, ends, content):
    groups = [alike for group in groups for alike in _alike(group, key)]
  return groups


def _alike(
  group: list[File], key: Callable[[File], Hashable]
) -> list[list[File]]:
  """Two files or more of one key each; one that cannot be read is none."""
  groups = collections.defaultdict(list)
  for one in group:
    with contextlib.suppress(OSError):  # its clip will say so
      groups[key(one)].append(one)
  return [alike for alike in groups.values() if len(alike) > 1]
