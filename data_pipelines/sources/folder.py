"""Any folder of videos: who is who, and who is held out.

A video that lies in the folder itself is a person of its own, named as the
file. A video in a sub-folder belongs to the person whom the topmost
sub-folder names. Emotions are unknown, except where a file has a name of
MEAD's (`M030_angry.mp4`): that gives actor, emotion, level and view.

Of one person, or of people who must all be learned, clips or moments are held
out instead.

What is a video its suffix says, or its content. One that lies there twice, by
links or as a copy, is taken once; two people who share one are in one split.
What is not used is counted by kind.
"""

import collections
import contextlib
import hashlib
import os
import stat
import unicodedata
from collections.abc import Callable, Hashable, Iterator, Mapping
from typing import NamedTuple

from data_pipelines.faces import cut
from data_pipelines.media import decoder
from data_pipelines.media.error import MediaError, unsaid
from data_pipelines.sources import kinds, mead, tree
from data_pipelines.sources.task import (
  Labels,
  Licence,
  Passed,
  Survey,
  Task,
)
from data_pipelines.sources.video import Video, task
from speak_jax.common import files
from speak_jax.common.names import printable

KINDS = ("people", "clips", "moments")  # that can be held out
# Between what is learned and what is held out of one video: neighbouring
# frames are next to the same.
GAP_S = 1.0
NO_TEST = (
  "nobody is held out, so nothing can be evaluated: of fewer than four people"
  " take --held-out-kind=moments, which keeps the end of every video, or clips"
)
_ENDS = 1 << 16  # bytes of a file's beginning and end that are compared first
LICENCE = Licence(
  "the owner's own",
  "",
  "These are your own files: you answer for the rights in them and for the "
  "consent of the people shown.",
)


def survey(
  folder: str | os.PathLike,
  *,
  settings: cut.Settings,
  seed: int = 0,
  held_out: float = 0.1,
  kind: str = "people",
) -> Survey:
  """One task a video, in the order of their names; two with "moments".

  Args:
    folder: Searched with its sub-folders; hidden files are skipped.
    settings: How videos become clips.
    seed: Chooses the held-out identities or clips.
    held_out: Share (below 1) or number of what is held out.
    kind: Of `KINDS`. "people": identities. "clips": videos of each person who
      has two. "moments": the end of each video, a share of it.

  Raises:
    ValueError: no such folder, no video in it, or a number of moments.
  """
  if kind == "moments" and held_out >= 1:
    raise ValueError("of moments a share is held out: --held-out below 1")
  root = tree.root(folder)
  passed = _PassedOver(root)
  found = sorted(_videos(root, passed), key=lambda one: one.name.split(os.sep))
  if not found:
    others = "; ".join(f"{len(x.names)} {x.kind}" for x in passed.all())
    raise ValueError(
      f"{folder}: no videos" + (f", but {others}" if others else "")
    )
  same = _Same()
  names = list(_once(root, found, same, passed))
  stems = collections.Counter(os.path.splitext(name)[0] for name in names)
  videos = []
  for name in names:
    identity, session, labels = _known(name)
    stem = os.path.splitext(name)[0]
    twice = stems[stem] > 1  # a.mp4 beside a.mov
    video = Video(
      root=root,
      path=os.path.join(root, name),
      sound=None,
      clip=name if twice else stem,
      identity=identity,
      session=session,
      labels=labels,
      settings=settings,
    )
    videos.append(video)
  gaps: list[str] = []
  if kind == "moments":
    tasks = [x for one in videos for x in _moments(one, held_out, gaps)]
  elif kind == "clips":
    test = held_out_clips(videos, held_out, seed)
    tasks = [task(x, "test" if x.clip in test else "train") for x in videos]
  else:
    people = [video.identity for video in videos]
    test = held_out_identities(people, held_out, seed, same.firsts())
    tasks = [task(x, "test" if x.identity in test else "train") for x in videos]
  if held_out and all(one.split == "train" for one in tasks):
    gaps.append(NO_TEST)
  return Survey(tasks, gaps, LICENCE, passed.all())


def _known(name: str) -> tuple[str, str, Labels]:
  """Identity, session and labels by the name from the root."""
  parts = name.split(os.sep)
  stem = os.path.splitext(parts[-1])[0]
  named = mead.parse(stem)
  if named is None:
    # A Mac takes letters and accents apart: it is one person all the same.
    who = unicodedata.normalize("NFC", parts[0] if len(parts) > 1 else stem)
    return who, name, Labels()
  return named.actor, named.actor, named.labels


# --- which files -----------------------------------------------------------


class _File(NamedTuple):
  """A video of the folder."""

  name: str  # from the root
  link: bool
  status: os.stat_result


class _PassedOver:
  """Collects what is not used."""

  def __init__(self, root: str):
    self._root = root
    self._names = collections.defaultdict(list)

  def add(self, kind: str, path: str, note: str = "") -> None:
    """Takes in a path, and what there is to say of it."""
    name = printable(os.path.relpath(path, self._root))
    self._names[kind].append(name + (f": {note}" if note else ""))

  def all(self) -> tuple[Passed, ...]:
    """By kind, the most frequent first."""
    found = [Passed(kind, names) for kind, names in self._names.items()]
    return tuple(sorted(found, key=lambda x: (-len(x.names), x.kind)))


def _videos(root: str, passed: _PassedOver) -> Iterator[_File]:
  """Every file that is a video, under every name that it has."""

  def folder(path: str, error: OSError | None) -> None:
    if error is None:
      passed.add("links to folders that are looked at", path)
    else:
      note = error.strerror or str(error)
      passed.add("folders that cannot be listed", path, note)

  def enter(name: str) -> bool:
    return name not in kinds.SYSTEM

  tree.look(root)  # this one must be readable
  for place in tree.walk(root, enter=enter, passed=folder):
    for name in filter(kinds.SYSTEM.__contains__, place.folders):
      path = os.path.join(place.path, name)
      passed.add("folders of the system's own", path)
    for name in place.hidden:
      passed.add("hidden names", os.path.join(place.path, name))
    for name in place.files:
      path = os.path.join(place.path, name)
      kind = kinds.other(name)
      try:
        status = os.stat(path)
        regular = stat.S_ISREG(status.st_mode)
        if not kind and not regular:
          kind = "pipes, sockets and devices"
        elif not kind and not kinds.is_video(path):
          kind = "files of other kinds"
        elif not kind and status.st_size < 1024 and tree.is_pointer(path):
          kind = "Git LFS pointers; run git lfs pull"
      except OSError as error:
        kind = "files that cannot be opened"
        if os.path.islink(path) and not os.path.exists(path):
          kind = "broken links"
        passed.add(kind, path, error.strerror or str(error))
        continue
      if kind:
        passed.add(kind, path)
      else:
        own = os.path.relpath(path, root)
        yield _File(own, name in place.links, status)


# --- one video under several names -----------------------------------------


class _Same:
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


def _once(
  root: str, found: list[_File], same: _Same, passed: _PassedOver
) -> Iterator[str]:
  """The name of each video, the first of those that it has.

  By the file's number first: a link costs no reading. Then by content, of
  files of one size.
  """
  by_number = collections.defaultdict(list)
  for one in found:
    status = one.status
    number = status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns
    by_number[number if status.st_ino else one.name].append(one)
  groups = [_original_first(some) for some in by_number.values()]
  taken = {group[0].name for group in groups}
  for group in groups:
    _leave_out(root, group, "links to", same, passed)
  for copies in _copies(root, [group[0] for group in groups]):
    copies = _original_first(copies)
    _leave_out(root, copies, "copies of", same, passed)
    taken -= {one.name for one in copies[1:]}
  for one in found:
    if one.name in taken:
      yield one.name


def _original_first(group: list[_File]) -> list[_File]:
  """No link before a file, nor `a (1).mp4` before `a.mp4`; else by order."""
  return sorted(group, key=lambda one: (one.link, len(one.name)))


def _leave_out(
  root: str,
  group: list[_File],
  what: str,
  same: _Same,
  passed: _PassedOver,
) -> None:
  """Says which names of one video are not used, and joins their people."""
  first, *others = group
  who = _known(first.name)[0]
  for one in others:
    note = f"is {printable(first.name)}"
    other = _known(one.name)[0]
    if other != who:
      same.join(who, other)
      note += f"; {printable(who)} and {printable(other)} are kept in one split"
    kind = f"{what} videos that are taken"
    passed.add(kind, os.path.join(root, one.name), note)


def _copies(root: str, found: list[_File]) -> list[list[_File]]:
  """Groups of files with the same content."""

  def size(one: _File) -> int:
    return one.status.st_size

  def ends(one: _File) -> bytes:
    with open(os.path.join(root, one.name), "rb") as file:
      first = file.read(_ENDS)
      file.seek(max(size(one) - _ENDS, 0))
      return first + file.read(_ENDS)

  def content(one: _File) -> str:
    return files.sha256(os.path.join(root, one.name))

  groups = [[one for one in found if one.status.st_size]]
  for key in (size, ends, content):
    groups = [alike for group in groups for alike in _alike(group, key)]
  return groups


def _alike(
  group: list[_File], key: Callable[[_File], Hashable]
) -> list[list[_File]]:
  """Two files or more of one key each; one that cannot be read is none."""
  found = collections.defaultdict(list)
  for one in group:
    with contextlib.suppress(OSError):  # its clip will say so
      found[key(one)].append(one)
  return [alike for alike in found.values() if len(alike) > 1]


def held_out_identities(
  identities: list[str],
  held_out: float,
  seed: int,
  firsts: Mapping[str, str] | None = None,
) -> set[str]:
  """Those that are kept for the test split; a name's draw is its own.

  At least one of four or more, unless `held_out` is 0; never all.

  Args:
    identities: Names, as often as they have clips.
    held_out: A share (below 1) or a number of them.
    seed: Of the draw.
    firsts: {name: first of its group} of people who must not be parted; the
      group is drawn by the first one's name.
  """
  groups = collections.defaultdict(list)
  for name in sorted(set(identities)):
    groups[(firsts or {}).get(name, name)].append(name)
  total = sum(map(len, groups.values()))
  count = held_out if held_out >= 1 else held_out * total
  count = min(round(count), total - 1)
  if held_out > 0 and total >= 4:
    count = max(count, 1)
  # By hash: a person who is added moves few others to another split.
  chosen: set[str] = set()
  for first in sorted(groups, key=lambda name: _draw(name, seed)):
    if len(chosen) + len(groups[first]) <= count:
      chosen.update(groups[first])
  return chosen


def held_out_clips(videos: list[Video], held_out: float, seed: int) -> set[str]:
  """Names of the clips of each person that are kept for the test split.

  At least one of two or more, unless `held_out` is 0; never all.
  """
  chosen: set[str] = set()
  people = collections.defaultdict(list)
  for video in videos:
    people[video.identity].append(video.clip)
  for clips in people.values():
    count = round(held_out if held_out >= 1 else held_out * len(clips))
    count = min(max(count, int(held_out > 0)), len(clips) - 1)
    chosen.update(sorted(clips, key=lambda name: _draw(name, seed))[:count])
  return chosen


def _moments(video: Video, share: float, gaps: list[str]) -> list[Task]:
  """What is learned of a video, and its end, which is not."""
  if not share:
    return [task(video, "train")]
  try:
    with unsaid():
      seconds = decoder.probe(video.path).seconds
  except MediaError:
    return [task(video, "train")]  # it will say why it cannot be used
  shortest = cut.MIN_FRAMES / video.settings.fps
  begin = min(seconds * (1 - share), seconds - shortest)
  if begin - GAP_S < shortest:
    gaps.append(
      f"{video.clip}: {seconds:.1f} s are too short to hold out an end of"
    )
    return [task(video, "train")]
  end = video._replace(clip=f"{video.clip}@end", span=(begin, seconds))
  return [
    task(video._replace(span=(0.0, begin - GAP_S)), "train"),
    task(end, "test"),
  ]


def _draw(name: str, seed: int) -> bytes:
  text = f"{seed}:{name}"
  return hashlib.sha256(text.encode(errors="surrogateescape")).digest()
