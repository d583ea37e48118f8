"""Opens one split of one or several prepared data sets."""

import os
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import grain
import numpy as np

from data_pipelines.dataset import offsets, ranges
from data_pipelines.dataset.damage import DamagedError, reason_of
from data_pipelines.dataset.index import (
  INDEX,
  Index,
  counts_of,
  read_index,
  rows_of,
  splits_of,
)
from data_pipelines.dataset.paths import named_folders
from data_pipelines.dataset.reader import CACHE_BYTES, Member, Records
from data_pipelines.dataset.record import check, decode
from speak_jax import spec


def open_records(
  paths: str | os.PathLike,
  split: str,
  cache_bytes: int = CACHE_BYTES,
  *,
  whole: bool = False,
  index: Index | None = None,
) -> Records:
  """Opens one split of prepared data sets.

  A shard that cannot be opened costs its clips alone, which then are damaged.
  Clips that `speak_jax.tools.av_offsets` found out of sync are left out, or
  their sound is moved, as its file says.

  Args:
    paths: Directories, as `named_folders` reads them. With several, clips and
      identities are prefixed by the directory, so that equal names do not meet.
    split: "train" or "test".
    cache_bytes: Bound of the cache in memory.
    whole: With the clips that are out of sync, and no sound is moved.
    index: Of the one directory, if it has been read already.

  Raises:
    ValueError: one line with the path: no data set there, no such split, two
      of one name, or shards of which none can be opened.
  """
  folders = named_folders(str(paths))
  indices, sources, members, late = [], [], [], []
  for name, folder in folders.items():
    known = read_index(folder) if index is None else index
    rows, source, moves = _open_one(folder, known, split, whole)
    members.append(Member(name, len(late), len(late) + len(rows), str(folder)))
    late += moves
    indices.append(rows)
    sources.append(source)
  joined = indices[0] if len(folders) == 1 else _join(folders.values(), indices)

  def load(i: int) -> spec.Record:
    row, shards = joined[i], sources[opened.dataset_of(i)]
    try:
      record = decode(shards[row.shard][row.row])
      check(record)
      if not row.clip.endswith(record.clip) or len(record.frames) != row.frames:
        raise ValueError(f"it holds {record.clip}, not what {INDEX} says")
    except Exception as error:  # the libraries name neither file nor record
      where = f"{shards.folder / row.shard}: clip {row.clip}"
      raise DamagedError(
        row.clip, f"{where} cannot be read: {reason_of(error)}"
      ) from error
    return record._replace(clip=row.clip, identity=row.identity)

  def table(i: int) -> ranges.Table:
    row, shards = joined[i], sources[opened.dataset_of(i)]
    name = row.clip
    if len(folders) > 1:
      name = name.removeprefix(f"{shards.folder}/")
    return ranges.Table(shards.files, row.shard, row.at, counts_of(row), name)

  opened = Records(
    f"{paths} ({split})", joined, load, cache_bytes, members, table, late
  )
  if not whole:
    opened.source = str(paths), split
  opened.out_of_sync = sum(source.clips for source in sources) - len(joined)
  return opened


def _join(folders: Iterable[Path], indices: Iterable[Index]) -> Index:
  """One index of several; clips and identities are prefixed by the folder."""
  return Index(
    row._replace(
      clip=f"{folder}/{row.clip}", identity=f"{folder}/{row.identity}"
    )._asdict()
    for folder, index in zip(folders, indices, strict=True)
    for row in index
  )


class _Shards:
  """The shards of one split, each opened when it is first asked for."""

  def __init__(self, folder: Path, rows: Index):
    self.folder, self.files = folder, ranges.Files(folder)
    numbers, names = rows.numbered("shard")
    counts = np.bincount(numbers, minlength=len(names)).tolist()
    self._clips = {name: n for name, n in zip(names, counts, strict=True) if n}
    self.clips = len(rows)
    self._open: dict[str, grain.sources.ArrayRecordDataSource] = {}
    self._lock = threading.Lock()

  def __getitem__(self, shard: str) -> Any:
    """A shard by position.

    Raises:
      Exception: RuntimeError or absl's status: it cannot be opened; and
        ValueError: it holds more or fewer clips than the index.
    """
    with self._lock:
      if shard not in self._open:
        source: Any = grain.sources.ArrayRecordDataSource(
          [str(self.folder / shard)]
        )
        if len(source) != self._clips[shard]:
          raise ValueError(
            f"it holds {len(source)} clips, {INDEX} {self._clips[shard]}"
          )
        self._open[shard] = source
      return self._open[shard]

  def __iter__(self) -> Iterator[str]:
    """Names."""
    return iter(self._clips)


def _open_one(
  folder: Path, index: Index, split: str, whole: bool
) -> tuple[Index, _Shards, list[int]]:
  """Rows of a split, its shards, and by how much each clip's sound is late."""
  rows = index.take(rows_of(index, split))
  if not len(rows):
    known = ", ".join(sorted(splits_of(index)))
    how = "; prepare a folder with --held-out, or --held-out-kind=moments"
    raise ValueError(
      f"{folder}: no split {split!r}; it has {known}" + how * (split == "test")
    )
  shards = _Shards(folder, rows)
  for shard in shards:
    try:
      shards[shard]
      break  # others are opened, or found damaged, when they are read
    except Exception as error:
      reason = reason_of(error)
  else:
    raise ValueError(f"{folder}: {split} cannot be opened: {reason}")
  known = {} if whole else offsets.read(folder)
  if not known:
    return rows, shards, [0] * len(rows)
  measured = [known.get(row.clip) for row in rows]
  kept = [i for i, one in enumerate(measured) if not (one and one.out)]
  if not kept:
    raise ValueError(f"{folder}: every clip of {split} is out of sync")
  late = [one.late if one else 0 for one in map(measured.__getitem__, kept)]
  return rows.take(np.array(kept)), shards, late
