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
import os
import stat
import unicodedata
from collections.abc import Iterator

from data_pipelines.faces import cut
from data_pipelines.media import decoder
from data_pipelines.media.error import MediaError, unsaid
from data_pipelines.sources import mead, tree, video_files
from data_pipelines.sources.copies import File, SharedVideos, unique
from data_pipelines.sources.held_out import held_out_clips, held_out_identities
from data_pipelines.sources.passed_over import PassedOver
from data_pipelines.sources.task import (
  Labels,
  Licence,
  Survey,
  Task,
)
from data_pipelines.sources.video import Video, task
from speak_jax.common.files import is_lfs_pointer

KINDS = ("people", "clips", "moments")  # that can be held out
# Between what is learned and what is held out of one video: neighbouring
# frames are next to the same.
GAP_S = 1.0
NO_TEST = (
  "nobody is held out, so nothing can be evaluated: of fewer than four people"
  " take --held-out-kind=moments, which keeps the end of every video, or clips"
)

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
  passed = PassedOver(root)
  files = sorted(_videos(root, passed), key=lambda one: one.name.split(os.sep))
  if not files:
    others = "; ".join(f"{len(x.names)} {x.kind}" for x in passed.all())
    raise ValueError(
      f"{folder}: no videos" + (f", but {others}" if others else "")
    )
  shared = SharedVideos()
  names = list(unique(root, files, person_of, shared, passed))
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
    test = held_out_identities(people, held_out, seed, shared.firsts())
    tasks = [task(x, "test" if x.identity in test else "train") for x in videos]
  if held_out and all(one.split == "train" for one in tasks):
    gaps.append(NO_TEST)
  return Survey(tasks, gaps, LICENCE, passed.all())


def person_of(name: str) -> str:
  """Who a video shows, by its name from the root."""
  return _known(name)[0]


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


def _videos(root: str, passed: PassedOver) -> Iterator[File]:
  """Every file that is a video, under every name that it has."""

  def folder(path: str, error: OSError | None) -> None:
    if error is None:
      passed.add("links to folders that are looked at", path)
    else:
      note = error.strerror or str(error)
      passed.add("folders that cannot be listed", path, note)

  def enter(name: str) -> bool:
    return name not in video_files.SYSTEM

  tree.look(root)  # this one must be readable
  for place in tree.walk(root, enter=enter, passed=folder):
    for name in filter(video_files.SYSTEM.__contains__, place.folders):
      path = os.path.join(place.path, name)
      passed.add("folders of the system's own", path)
    for name in place.hidden:
      passed.add("hidden names", os.path.join(place.path, name))
    for name in place.files:
      path = os.path.join(place.path, name)
      kind = video_files.other_kind(name)
      try:
        status = os.stat(path)
        regular = stat.S_ISREG(status.st_mode)
        if not kind and not regular:
          kind = "pipes, sockets and devices"
        elif not kind and not video_files.is_video(path):
          kind = "files of other kinds"
        elif not kind and status.st_size < 1024 and is_lfs_pointer(path):
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
        yield File(own, name in place.links, status)


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
