"""A prepared data set's folder: names of its files, and its index.

It is a standard TFDS directory of ArrayRecord shards, which
`tfds.builder_from_directory(DIR).as_data_source("train")` opens without this
code and without TensorFlow. `clips.jsonl` beside the shards holds one line of
facts a clip, so that samplers choose clips without reading any.
"""

import json
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from data_pipelines.dataset import ranges
from data_pipelines.dataset.pictures import decode_frame
from speak_jax import spec

NAME = "speak"
VERSION = "1.4.0"  # of the format; one that is not in READABLE is refused
# 1.0.0 has neither take nor start, 1.1.0 no session, 1.2.0 no mouths, and its
# clips are read whole; 1.3.0 has mouths as JPEG, in colour.
READABLE = ("1.0.0", "1.1.0", "1.2.0", "1.3.0", VERSION)
SPLITS = ("train", "test")  # "test": identities that training never sees
INDEX = "clips.jsonl"
# Its split, number, and the number of shards.
SHARD = re.compile(rf"{NAME}-(\w+)\.array_record-(\d+)-of-(\d+)")


class ClipInfo(NamedTuple):
  """One line of `clips.jsonl`."""

  clip: str
  identity: str
  emotion: int  # index into spec.EMOTIONS, -1 unknown
  level: int
  view: str
  frames: int
  fps: float
  size: int  # side of the stored crops in pixels
  twins: int  # frames that have a pose and a mouth twin
  shard: str  # file name
  row: int  # position in the shard
  take: str = ""  # as in `spec.Record`
  start: int = 0
  session: str = ""
  mouths: int = 0  # side of the stored mouths in pixels, 0: there are none
  grey: bool = False  # mouths are pixels, not JPEG
  at: int = 0  # of the shard's bytes: `ranges.Table`; 0: there is none


def describe(record: spec.Record, shard: str, row: int) -> ClipInfo:
  """The index row of a record that is `row` in `shard`."""
  return ClipInfo(
    clip=record.clip,
    identity=record.identity,
    emotion=int(record.emotion),
    level=int(record.level),
    view=record.view,
    frames=len(record.frames),
    fps=float(record.fps),
    size=decode_frame(record.frames[0]).shape[0],
    twins=len(record.twin_index),
    shard=shard,
    row=row,
    take=record.take,
    start=record.start,
    session=record.session,
    mouths=record.mouths.shape[1] if len(record.mouths) else 0,
    grey=len(record.mouths) > 0,
  )


def counts_of(row: ClipInfo) -> ranges.Counts:
  """How many parts a clip's record has."""
  mouths = row.frames if row.mouths else 0
  return ranges.Counts(row.frames, row.fps, mouths, row.twins)


def read_index(folder: str | os.PathLike) -> list[ClipInfo]:
  """All rows of a data set's `clips.jsonl`, in the order of its shards.

  Raises:
    ValueError: no data set there, or one of another format.
  """
  folder = Path(folder)
  info, index = folder / "dataset_info.json", folder / INDEX
  if not (info.exists() and index.exists()):
    raise ValueError(f"{folder}: not a prepared data set, or not finished")
  version = json.loads(info.read_text())["version"]
  if version not in READABLE:
    raise ValueError(f"{folder}: format {version}, not {VERSION}: prepare anew")
  rows = [ClipInfo(**json.loads(s)) for s in index.read_text().splitlines()]
  return sorted(rows, key=lambda row: (row.shard, row.row))


def read_metadata(folder: str | os.PathLike) -> dict[str, Any]:
  """How a data set was prepared: its source and that source's settings.

  {} where nothing is known.

  Raises:
    ValueError: damaged; one line.
  """
  path = Path(folder) / "metadata.json"
  try:
    return json.loads(path.read_text())
  except FileNotFoundError:
    return {}
  except ValueError as error:
    raise ValueError(f"{path}: not JSON") from error


def split_of(row: ClipInfo) -> str:
  """The split that a clip's shard belongs to."""
  match = SHARD.fullmatch(row.shard)
  if not match:
    raise ValueError(f"{row.shard} is not the name of a shard")
  return match[1]


def splits_of(index: Sequence[ClipInfo]) -> list[str]:
  """Splits that have clips, in the order of `SPLITS`."""
  there = set(map(split_of, index))
  return [split for split in SPLITS if split in there]
