"""HDTF: speeches of politicians, by lists over videos that users download.

Official layout (github.com/MRzzm/HDTF, folder HDTF_dataset), for each of the
lists RD, WDA, WRA, fields parted by blanks:

  RD_video_url.txt       Radio11 https://...
  RD_annotion_time.txt   Radio11.mp4 00:30-01:00 01:30-02:30    (as spelled)
  RD_crop_wh.txt         Radio11_1.mp4 557 478 0 478            x, w, y, h
  RD_resolution.txt      Radio11.mp4 720      lines of the picture cropped

The videos are `Radio11.mp4` or `RD_Radio11.mp4`, in any folder. Clips that a
script has already cut are taken before them: `Radio11_1.mp4`,
`RD_Radio11_001.mp4`, and pieces of these, `RD_Radio11_001#2.mp4`.
"""

import os
import re
from collections.abc import Iterator
from typing import NamedTuple

from data_pipelines.faces import cut
from data_pipelines.sources import splits, tree
from data_pipelines.sources.task import Labels, Licence, Survey
from data_pipelines.sources.video import Video, task

LICENCE = Licence(
  "CC BY 4.0; the videos' owners keep their copyright",
  "https://github.com/MRzzm/HDTF",
  "HDTF distributes lists alone: the videos come from YouTube under its "
  "terms and their owners'; name the authors of HDTF.",
)
LISTS = ("RD", "WDA", "WRA")
_NO_LABELS = Labels()
_CUT = re.compile(r"(?:(?:RD|WDA|WRA)_)?(.+?)_(\d{1,3})(?:#(\d+))?")
_SPAN = re.compile(r"(\d+):(\d\d)-(\d+):(\d\d)")
_SAME = {"WhipJimClyburn": "JamesClyburn"}  # one person, two names


class _Listed(NamedTuple):
  """What the lists say of one video."""

  subset: str
  spans: list[tuple[float, float]]  # seconds
  url: str
  height: int  # of the picture that was cropped, 0 unknown


def survey(root: str | os.PathLike, *, settings: cut.Settings) -> Survey:
  """All clips by video and number, and what the lists have and the disk not.

  Of the official crop the middle half says which face is followed; the crop
  itself is our own. A clip without one follows `settings.face`.

  Args:
    root: Folder with the lists and the videos or clips, at any depth.
    settings: How videos become clips.

  Raises:
    ValueError: no such folder, nothing of HDTF in it, or a list that cannot
      be read.
  """
  top = tree.root(root)
  paths = {
    stem: os.path.join(place, stem + suffix)
    for place, stem, suffix in tree.files(top)
  }
  listed, crops, gaps = _lists(top)
  cuts = _cuts(paths, listed)
  videos = [
    video
    for name, facts in listed.items()
    for video in _clips(top, name, facts, crops, cuts, paths, settings, gaps)
  ]
  for name, clips in cuts.items():
    if name not in listed:
      videos += [
        Video(top, path, None, clip, identity(name), name, _NO_LABELS, settings)
        for found in clips.values()
        for clip, path in found
      ]
      if listed:
        gaps.append(f"{name}: not in the lists, taken as it is")
  if not videos:
    raise ValueError(
      f"{root}: no video of HDTF here; expected RD_annotion_time.txt and "
      "Radio11.mp4, or clips such as Radio11_0.mp4"
    )
  if not listed:
    gaps.append("no lists (RD_annotion_time.txt): what is missing is not known")
  tasks = [
    task(video, "test" if video.identity in splits.HDTF else "train")
    for video in videos
  ]
  return Survey(sorted(tasks, key=lambda x: x.clip), gaps, LICENCE)


def identity(video: str) -> str:
  """The person by the video's name: `NancyPelosi3` is NancyPelosi.

  Speakers of the list RD are not named: each `Radio7` is a person of its own.
  """
  if re.fullmatch(r"Radio\d+", video):
    return video
  name = video.rstrip("0123456789")
  return _SAME.get(name, name)


def _lists(
  root: str,
) -> tuple[dict[str, _Listed], dict[str, tuple[int, ...]], list[str]]:
  """Videos and crops (x, w, y, h) of the lists, and what these lack."""
  texts = {
    name: os.path.join(folder.path, name)
    for folder in tree.walk(root, 3)
    for name in folder.files
    if name.endswith(".txt")
  }
  listed: dict[str, _Listed] = {}
  crops: dict[str, tuple[int, ...]] = {}
  gaps = []
  for subset in LISTS:
    times = _rows(texts.get(f"{subset}_annotion_time.txt"))
    urls = _rows(texts.get(f"{subset}_video_url.txt"))
    heights = _rows(texts.get(f"{subset}_resolution.txt"))
    boxes = _rows(texts.get(f"{subset}_crop_wh.txt"))
    if not times:
      continue
    if not boxes:
      gaps.append(f"{subset}_crop_wh.txt: missing, faces are found without it")
    for name, spans in times.items():
      listed[name] = _Listed(
        subset,
        [_seconds(f"{subset} {name}", span) for span in spans],
        (urls.get(name) or [""])[0],
        _numbers(f"{subset} {name}", heights.get(name, []), 1)[0],
      )
    crops |= {
      name: _numbers(f"{subset} {name}", box, 4) for name, box in boxes.items()
    }
    gaps += [
      f"{subset} {name}: no times in the list, left out ({url[0]})"
      for name, url in urls.items()
      if name not in times
    ]
  if listed:
    gaps += [
      f"{subset}_annotion_time.txt: missing"
      for subset in LISTS
      if f"{subset}_annotion_time.txt" not in texts
    ]
  return listed, crops, gaps


def _rows(path: str | None) -> dict[str, list[str]]:
  """Fields by the first one, without its .mp4."""
  if path is None:
    return {}
  with open(path, encoding="utf-8") as file:
    rows = [line.split() for line in file]
  return {row[0].removesuffix(".mp4"): row[1:] for row in rows if row}


def _numbers(name: str, fields: list[str], count: int) -> tuple[int, ...]:
  """A line's numbers; zeros where there is no line."""
  if not fields:
    return (0,) * count
  if len(fields) != count or not all(field.isdigit() for field in fields):
    raise ValueError(
      f"{name}: {' '.join(fields)!r} is not {count} whole numbers"
    )
  return tuple(map(int, fields))


def _seconds(name: str, span: str) -> tuple[float, float]:
  match = _SPAN.fullmatch(span)
  if match is None:
    raise ValueError(f"{name}: {span!r} is not a span such as 00:30-01:00")
  a, b, c, d = map(int, match.groups())
  return float(60 * a + b), float(60 * c + d)


def _cuts(
  paths: dict[str, str], listed: dict[str, _Listed]
) -> dict[str, dict[int, list[tuple[str, str]]]]:
  """Video to clip number to (name, path) of what is already cut."""
  cuts: dict[str, dict[int, list[tuple[str, str]]]] = {}
  for stem, path in paths.items():
    match = _CUT.fullmatch(stem)
    if match and stem not in listed:
      video, number, piece = match.groups()
      clip = f"{video}_{int(number)}" + (f"#{piece}" if piece else "")
      clips = cuts.setdefault(video, {}).setdefault(int(number), [])
      clips.append((clip, path))
  return cuts


def _clips(
  root: str,
  name: str,
  listed: _Listed,
  crops: dict[str, tuple[int, ...]],
  cuts: dict[str, dict[int, list[tuple[str, str]]]],
  paths: dict[str, str],
  settings: cut.Settings,
  gaps: list[str],
) -> Iterator[Video]:
  """The clips of one listed video: as they are cut, or out of the video."""
  source = paths.get(name) or paths.get(f"{listed.subset}_{name}")
  done = cuts.get(name, {})
  who = identity(name)
  if source is None and not done:
    gaps.append(f"{listed.subset} {name}: no video ({listed.url})")
    return
  for number, span in enumerate(listed.spans):
    clip = f"{name}_{number}"
    for piece, path in done.get(number, []):
      yield Video(root, path, None, piece, who, name, _NO_LABELS, settings)
    if number in done:
      continue
    if source is None:
      gaps.append(f"{listed.subset} {clip}: neither clip nor video")
      continue
    box = None
    if clip in crops:
      x, w, y, h = crops[clip]
      box = (x + w / 4, y + h / 4, w / 2, h / 2)
    else:
      gaps.append(f"{listed.subset} {clip}: no crop in the list")
    yield Video(
      root=root,
      path=source,
      sound=None,
      clip=clip,
      identity=who,
      session=name,
      labels=_NO_LABELS,
      settings=settings,
      span=span,
      box=box,
      height=listed.height,
    )
  for number in sorted(done.keys() - set(range(len(listed.spans)))):
    gaps.append(
      f"{listed.subset} {name}_{number}: not in the list, taken as it is"
    )
    for piece, path in done[number]:
      yield Video(root, path, None, piece, who, name, _NO_LABELS, settings)
