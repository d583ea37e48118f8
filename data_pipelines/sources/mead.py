"""MEAD: actors who speak with eight emotions, three levels, seven cameras.

Official layout, one archive for each folder of an actor (Wang et al., ECCV
2020; github.com/uniBruce/Mead):

  M003/video/<view>/<emotion>/level_<n>/001.mp4
  M003/audio/<emotion>/level_<n>/001.m4a

Neutral has level 1 alone. The sound of an utterance serves all its views and
starts with them; a take's number is the same in all. Flat copies that papers
left behind are read too; both first ones hold the front view:

  M003_ang_3_004.mp4 (EAT)   M003#angry#level_1#001.mp4 (EDTalk)
  M030_front_neutral_level1_001.mp4 (DreamTalk)   M030_angry.mp4
"""

import os
import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from data_pipelines.faces import cut
from data_pipelines.sources import splits, tree
from data_pipelines.sources.task import Labels, Licence, Survey, Task
from data_pipelines.sources.video import Video, task
from speak_jax import spec

LICENCE = Licence(
  "none stated for the data",
  "https://wywu.github.io/projects/MEAD/MEAD.html",
  "MEAD was given to researchers on request and its authors state no licence "
  "(uniBruce/Mead, issue 23): ask them before any other use.",
)
# Who was released of the 60 announced: the actors whose front view EMOTE
# (github.com/radekd91/inferno) has, and W017 (Mead issue 9).
ACTORS = frozenset(
  [f"M{number:03d}" for number in (3, 5, 7, 9, 11, 12, 13, 19, *range(22, 36))]
  + [f"M{number:03d}" for number in (37, 39, 40, 41, 42)]
  + [f"W{number:03d}" for number in (9, 11, *range(14, 20), 21)]
  + [
    f"W{number:03d}" for number in (*range(23, 27), 28, 29, 33, *range(35, 39))
  ]
  + ["W040"]
)
VIEWS = ("front", "down", "top", "left_30", "left_60", "right_30", "right_60")
LEVELS = {
  emotion: (1,) if emotion == "neutral" else (1, 2, 3)
  for emotion in spec.EMOTIONS
}
_CODES = {emotion[:3]: emotion for emotion in spec.EMOTIONS}  # ang, con, ...
_ACTOR = re.compile(r"[MW]\d{3}(?!\d)")
_NAME = re.compile(
  r"([MW]\d{3})"
  rf"(?:[_#]({'|'.join(VIEWS)}))?"
  rf"[_#]({'|'.join((*spec.EMOTIONS, *_CODES))})"
  r"(?:[_#](?:level_?)?([1-3])(?:[_#](\d+))?)?"
)


class Name(NamedTuple):
  """What a flat name says."""

  actor: str
  take: str  # "" where it does not say
  labels: Labels


class _Home(NamedTuple):
  """Where an actor's files are; a folder each, or more after odd unpacking."""

  video: list[str]
  audio: list[str]


def survey(
  root: str | os.PathLike,
  *,
  settings: cut.Settings,
  views: Sequence[str] = ("front",),
) -> Survey:
  """The clips of some views, and what the official layout lacks.

  Args:
    root: Folder with the actors' folders, up to three levels down, or that of
      one actor; or of flat names.
    settings: How videos become clips.
    views: Of `VIEWS`.

  Raises:
    ValueError: no such folder or view, nothing of MEAD in it, or archives
      that are still packed.
  """
  for view in views:
    if view not in VIEWS:
      raise ValueError(f"view {view!r} is not one of {', '.join(VIEWS)}")
  top = tree.root(root)
  home = top
  while os.path.basename(home) in ("video", "audio", *VIEWS):
    home = os.path.dirname(home)
  homes = _homes(home)
  gaps: list[str] = []
  tasks = [
    found
    for actor, place in sorted(homes.items())
    for found in _actor(actor, place, home, views, settings, gaps)
  ]
  if not homes:
    tasks = list(_flat(home, views, settings, gaps))
  if not tasks:
    raise ValueError(
      f"{root}: no clip of MEAD's views {', '.join(views)} here; expected "
      "M003/video/front/angry/level_1/001.mp4"
    )
  actors = {task.identity for task in tasks}
  gaps += [f"{a}: no clip of this test actor" for a in splits.MEAD - actors]
  if lost := sorted(ACTORS - splits.MEAD - actors):
    gaps.append(f"no clip of {len(lost)} more actors: {' '.join(lost)}")
  return Survey(tasks, sorted(gaps), LICENCE)


def parse(stem: str) -> Name | None:
  """Reads a flat name without its suffix; None if it is not MEAD's.

  `M003_ang_3_004` is actor M003, angry, level 3; what a name leaves open is
  level 0 or view "".
  """
  match = _NAME.fullmatch(stem)
  if match is None:
    return None
  actor, view, emotion, level, take = match.groups(default="")
  labels = Labels(
    spec.EMOTIONS.index(_CODES.get(emotion, emotion)), int(level or 0), view
  )
  return Name(actor, take, labels)


def _homes(root: str) -> dict[str, _Home]:
  """Actors whose folders are unpacked; whoever is packed is an error."""
  homes: dict[str, _Home] = {}
  archives: list[tuple[str, str, str]] = []  # actor, what, path
  for folder in tree.walk(root, 4, lambda name: name not in ("video", "audio")):
    inside = _ACTOR.findall(folder.path)
    for kind in ("video", "audio"):
      if inside and kind in folder.folders:
        home = homes.setdefault(inside[-1], _Home([], []))
        getattr(home, kind).append(os.path.join(folder.path, kind))
    for name in tree.packed(folder):
      actor = [*inside, *_ACTOR.findall(name)][-1:]
      if actor:
        kind = "audio" if "audio" in name else "video"
        archives.append((actor[0], kind, os.path.join(folder.path, name)))
  for actor, kind, path in archives:
    if not getattr(homes.get(actor, _Home([], [])), kind):
      where = os.path.dirname(path)
      raise ValueError(f"{path}: still packed; run tar -xf {path} -C {where}")
  return homes


def _actor(
  actor: str,
  home: _Home,
  root: str,
  views: Sequence[str],
  settings: cut.Settings,
  gaps: list[str],
) -> Iterator[Task]:
  """The clips of an actor by emotion, level, take and view."""
  for view in views:
    _check(actor, home, view, gaps)
  if not home.audio:
    gaps.append(f"{actor}: no audio; the videos' own sound is taken")
  for emotion, levels in LEVELS.items():
    for level in levels:
      place = os.path.join(emotion, f"level_{level}")
      shots = {
        view: _takes(home.video, tree.VIDEO, view, place) for view in views
      }
      sounds = _takes(home.audio, tree.SOUND, "", place)
      takes = sorted(set().union(sounds, *shots.values()))
      named = f"{actor}/{{}}/{emotion}/level_{level}"
      for view, paths in shots.items():
        lost = [take for take in takes if take not in paths]
        if lost and paths:
          where = named.format(f"video/{view}")
          gaps.append(f"{where}: no {' '.join(lost)}")
      lost = [take for take in takes if take not in sounds]
      if lost and home.audio:
        gaps.append(f"{named.format('audio')}: no sound of {' '.join(lost)}")
      for take in takes:
        for view, paths in shots.items():
          if take in paths:
            labels = Labels(spec.EMOTIONS.index(emotion), level, view)
            clip = f"{actor}_{view}_{emotion}_level{level}_{take}"
            yield _task(
              root,
              paths[take],
              sounds.get(take),
              clip,
              actor,
              labels,
              settings,
              take,
            )


def _check(actor: str, home: _Home, view: str, gaps: list[str]) -> None:
  """Names the view, emotions and levels that an actor's videos lack."""
  emotions = _folders(home.video, view)
  if not emotions:
    gaps.append(f"{actor}: no view {view}")
    return
  for emotion, levels in LEVELS.items():
    if emotion not in emotions:
      gaps.append(f"{actor}/video/{view}: no emotion {emotion}")
      continue
    inside = _folders(home.video, view, emotion)
    gaps += [
      f"{actor}/video/{view}/{emotion}: no level_{level}"
      for level in levels
      if f"level_{level}" not in inside
    ]
  gaps += [
    f"{actor}/video/{view}/{name}: not an emotion of MEAD"
    for name in emotions
    if name not in spec.EMOTIONS
  ]


def _folders(places: list[str], *below: str) -> list[str]:
  paths = [os.path.join(place, *below) for place in places]
  return [
    name
    for path in paths
    if os.path.isdir(path)
    for name in tree.look(path).folders
  ]


def _takes(
  places: list[str], suffixes: tuple[str, ...], *below: str
) -> dict[str, str]:
  """Take number to file, of one level's folder."""
  takes = {}
  for place in places:
    path = os.path.join(place, *below)
    if os.path.isdir(path):
      names = tree.stems(tree.look(path), suffixes)
      takes |= {stem: os.path.join(path, n) for stem, n in names.items()}
  return takes


def _flat(
  root: str, views: Sequence[str], settings: cut.Settings, gaps: list[str]
) -> Iterator[Task]:
  """Clips whose labels are in their names; sound beside them, if any."""
  for stem, path, sound in tree.flat(root):
    named = parse(stem)
    if named is None:
      gaps.append(f"{os.path.relpath(path, root)}: not a name of MEAD")
      continue
    labels = named.labels._replace(view=named.labels.view or "front")
    if labels.view in views:
      yield _task(
        root, path, sound, stem, named.actor, labels, settings, named.take
      )


def _task(
  root: str,
  path: str,
  sound: str | None,
  clip: str,
  actor: str,
  labels: Labels,
  settings: cut.Settings,
  number: str,
) -> Task:
  """The task of one video; `number` is its take, "" if unknown."""
  # All videos of an actor are from one session.
  video = Video(root, path, sound, clip, actor, actor, labels, settings)
  if number:  # the same in all views, which were filmed at once
    emotion = spec.EMOTIONS[labels.emotion]
    video = video._replace(take=f"{emotion}_level{labels.level}_{number}")
  return task(video, "test" if actor in splits.MEAD else "train")
