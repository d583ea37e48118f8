"""Which people or clips of a folder are held out for the test split."""

import collections
import hashlib
from collections.abc import Mapping

from data_pipelines.sources.video import Video


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
    seed: Seed of the draw.
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


def _draw(name: str, seed: int) -> bytes:
  text = f"{seed}:{name}"
  return hashlib.sha256(text.encode(errors="surrogateescape")).digest()
