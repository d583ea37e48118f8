"""Any folder of videos: who is who, and who is held out.

A video that lies in the folder itself is a person of its own, named as the
file. A video in a sub-folder belongs to the person whom the topmost
sub-folder names. Emotions are unknown.
"""

import functools
import hashlib
import os
from collections import Counter
from pathlib import Path

import numpy as np

from data_pipelines.media.cut import MAX_FRAMES, cut
from data_pipelines.sources.task import Task
from speak_jax import spec

SUFFIXES = (".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".mpg", ".mpeg")


def tasks(
  folder: str | os.PathLike,
  *,
  fps: float = float(spec.FPS),
  size: int = 256,
  seed: int = 0,
  held_out: float = 0.1,
  max_frames: int = MAX_FRAMES,
  allow_silent: bool = False,
) -> list[Task]:
  """One task a video, in the order of their names.

  Args:
    folder: Searched with its sub-folders; hidden files are skipped.
    fps: Frame grid.
    size: Side of the crops in pixels.
    seed: Chooses the held-out identities.
    held_out: Share of the identities (below 1) or their number.
    max_frames: Longest clip; a longer video becomes several.
    allow_silent: Take videos without sound, with silence.

  Raises:
    ValueError: no such folder, or no video in it.
  """
  root = Path(folder)
  if not root.is_dir():
    raise ValueError(f"{root}: no such folder")
  paths = sorted(
    path
    for path in root.rglob("*")
    if path.suffix.lower() in SUFFIXES
    and path.is_file()
    and not any(part.startswith(".") for part in path.relative_to(root).parts)
  )
  if not paths:
    raise ValueError(f"{root}: no videos ({', '.join(SUFFIXES)})")
  names = [path.relative_to(root) for path in paths]
  stems = Counter(name.with_suffix("") for name in names)
  identities = [
    name.parts[0] if len(name.parts) > 1 else name.stem for name in names
  ]
  test = held_out_identities(identities, held_out, seed)
  listed = []
  for path, name, identity in zip(paths, names, identities, strict=True):
    twice = stems[name.with_suffix("")] > 1  # a.mp4 beside a.mov
    clip = (name if twice else name.with_suffix("")).as_posix()
    make = functools.partial(
      records,
      str(path),
      clip=clip,
      identity=identity,
      source=name.as_posix(),
      fps=fps,
      size=size,
      max_frames=max_frames,
      allow_silent=allow_silent,
    )
    split = "test" if identity in test else "train"
    listed.append(Task(clip, identity, split, make))
  return listed


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


def records(
  path: str,
  *,
  clip: str,
  identity: str,
  source: str,
  fps: float,
  size: int,
  max_frames: int,
  allow_silent: bool,
) -> list[spec.Record]:
  """Cuts one video into records; several get a number behind the name.

  Raises:
    MediaError: the video cannot be used.
  """
  cuts = cut(
    path, fps=fps, size=size, max_frames=max_frames, allow_silent=allow_silent
  )
  nothing = np.zeros((0, 68, 2), np.float32)
  return [
    spec.Record(
      clip=clip if len(cuts) == 1 else f"{clip}_{i:03d}",
      identity=identity,
      emotion=spec.UNKNOWN,
      level=0,
      view="",
      source=source,
      fps=fps,
      frames=piece.frames,
      audio=piece.audio,
      landmarks=piece.landmarks,
      pose=piece.pose,
      pose_method="facemesh",
      crop=piece.crop,
      factors=np.zeros((0, 0), np.float32),
      phonemes="",
      twin_index=np.zeros(0, np.int32),
      twin_pose=[],
      twin_pose_landmarks=nothing,
      twin_mouth=[],
      twin_mouth_landmarks=nothing,
    )
    for i, piece in enumerate(cuts)
  ]
