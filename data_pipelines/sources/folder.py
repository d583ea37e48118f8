"""Any folder of videos: who is who, and who is held out.

A video that lies in the folder itself is a person of its own, named as the
file. A video in a sub-folder belongs to the person whom the topmost
sub-folder names. Emotions are unknown, except where a file has a name of
MEAD's (`M030_angry.mp4`): that gives actor, emotion, level and view.
"""

import hashlib
import os
from collections import Counter

from data_pipelines.media import cut
from data_pipelines.sources import mead, tree
from data_pipelines.sources.task import Labels, Licence, Survey
from data_pipelines.sources.video import Video, task

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
) -> Survey:
  """One task a video, in the order of their names.

  Args:
    folder: Searched with its sub-folders; hidden files are skipped.
    settings: How videos become clips.
    seed: Chooses the held-out identities.
    held_out: Share of the identities (below 1) or their number.

  Raises:
    ValueError: no such folder, or no video in it.
  """
  root = tree.root(folder)
  names = sorted(
    (
      os.path.relpath(os.path.join(place, stem + suffix), root)
      for place, stem, suffix in tree.files(root)
    ),
    key=lambda name: name.split(os.sep),
  )
  if not names:
    raise ValueError(f"{folder}: no videos ({', '.join(tree.VIDEO)})")
  stems = Counter(os.path.splitext(name)[0] for name in names)
  known = [_known(name) for name in names]
  test = held_out_identities([who for who, _, _ in known], held_out, seed)
  tasks = []
  for name, (identity, session, labels) in zip(names, known, strict=True):
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
    tasks.append(task(video, "test" if identity in test else "train"))
  return Survey(tasks, [], LICENCE)


def _known(name: str) -> tuple[str, str, Labels]:
  """Identity, session and labels by the name from the root."""
  parts = name.split(os.sep)
  stem = os.path.splitext(parts[-1])[0]
  named = mead.parse(stem)
  if named is None:
    return (parts[0] if len(parts) > 1 else stem), name, Labels()
  return named.actor, named.actor, named.labels


def held_out_identities(
  identities: list[str], held_out: float, seed: int
) -> set[str]:
  """Those that are kept for the test split; a name's draw is its own.

  At least one of four or more, unless `held_out` is 0; never all.
  """
  names = sorted(set(identities))
  count = held_out if held_out >= 1 else held_out * len(names)
  count = min(round(count), len(names) - 1)
  if held_out > 0 and len(names) >= 4:
    count = max(count, 1)
  # By hash: a person who is added moves few others to another split.
  return set(sorted(names, key=lambda name: _draw(name, seed))[:count])


def _draw(name: str, seed: int) -> bytes:
  return hashlib.sha256(f"{seed}:{name}".encode()).digest()
