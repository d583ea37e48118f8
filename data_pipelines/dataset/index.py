"""A prepared data set's folder: names of its files, and its index.

It is a standard TFDS directory of ArrayRecord shards, which
`tfds.builder_from_directory(DIR).as_data_source("train")` opens without this
code and without TensorFlow. `clips.jsonl` beside the shards holds one line of
facts a clip, so that samplers choose clips without reading any.
"""

import array
import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, get_type_hints, overload

import numpy as np
from jaxtyping import Int, Int32, Shaped

from data_pipelines.dataset import ranges
from data_pipelines.dataset.pictures import decode_frame
from speak_jax import spec

NAME = "speak"
VERSION = "1.5.0"  # of the format; one that is not in READABLE is refused
# 1.0.0 has neither take nor start, 1.1.0 no session, 1.2.0 no mouths, and its
# clips are read whole; 1.3.0 has mouths as JPEG, in colour; 1.4.0 no meshes.
READABLE = ("1.0.0", "1.1.0", "1.2.0", "1.3.0", "1.4.0", VERSION)
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
  meshes: bool = False
  at: int = 0  # of the shard's bytes: `ranges.Table`; 0: there is none


_CHUNK = 4096  # rows that are objects at the same time
_KNOWN = 1024  # rows that are kept: a sample asks for each many times
_NUMBERS = {int: "q", float: "d", bool: "b"}  # by the type of the field
_TYPES = get_type_hints(ClipInfo)


def _narrow(column: Shaped[np.ndarray, "n"]) -> Shaped[np.ndarray, "n"]:
  """The same whole numbers in as few bytes as they need."""
  if column.dtype.kind != "i" or not len(column):
    return column
  low, high = column.min(), column.max()
  for kind in (np.int8, np.int16, np.int32):
    if np.iinfo(kind).min <= low and high <= np.iinfo(kind).max:
      return column.astype(kind)
  return column


class _Texts:
  """A column of texts, of which many are equal: numbers into a list."""

  def __init__(self, numbers: Int[np.ndarray, "n"], values: list[str]):
    self.numbers, self.values = numbers, values

  def __getitem__(self, i: int) -> str:
    return self.values[self.numbers[i]]

  def take(self, at: np.ndarray) -> "_Texts":
    return _Texts(self.numbers[at], self.values)

  def tolist(self, start: int, stop: int) -> list[str]:
    return [self.values[k] for k in self.numbers[start:stop].tolist()]


class _Names:
  """A column of texts that all differ: their UTF-8, end to end."""

  def __init__(self, names: Iterable[str]):
    self._bytes, self._ends = bytearray(), array.array("q", [0])
    for name in names:
      self.append(name)

  def append(self, name: str) -> None:
    self._bytes += name.encode("utf-8", "surrogatepass")
    self._ends.append(len(self._bytes))

  def __getitem__(self, i: int) -> str:
    raw = self._bytes[self._ends[i] : self._ends[i + 1]]
    return raw.decode("utf-8", "surrogatepass")

  def take(self, at: np.ndarray) -> "_Names":
    return _Names(self[i] for i in at.tolist())

  def tolist(self, start: int, stop: int) -> list[str]:
    return [self[i] for i in range(start, stop)]


class Index(Sequence[ClipInfo]):
  """Rows of one or more data sets, kept as columns.

  A million rows as Python objects would take 600 MB in every process.
  """

  def __init__(self, rows: Iterable[Mapping[str, Any]]):
    """Takes each row's fields by name; missing ones have their defaults.

    Raises:
      TypeError: an unknown field, or one without a default is missing.
    """
    numbers = {
      name: array.array(_NUMBERS[kind])
      for name, kind in _TYPES.items()
      if kind is not str
    }
    texts: dict[str, array.array] = {
      name: array.array("q")
      for name, kind in _TYPES.items()
      if kind is str and name != "clip"
    }
    known: dict[str, dict[str, int]] = {name: {} for name in texts}
    names = _Names(())
    for row in rows:
      row = ClipInfo(**row)._asdict()
      names.append(row["clip"])
      for name, column in numbers.items():
        column.append(row[name])
      for name, column in texts.items():
        values = known[name]
        column.append(values.setdefault(row[name], len(values)))
    columns: dict[str, Any] = {"clip": names}
    for name, column in numbers.items():
      columns[name] = _narrow(np.array(column, dtype=_TYPES[name]))
    for name, column in texts.items():
      codes = np.array(column, dtype=np.int32)
      columns[name] = _Texts(codes, list(known[name]))
    self._fill(columns, len(columns["frames"]))

  def _fill(self, columns: dict[str, Any], count: int) -> None:
    self._columns = {name: columns[name] for name in ClipInfo._fields}
    self._count = count
    self._known: dict[int, ClipInfo] = {}  # rows of late, up to `_KNOWN`

  def __len__(self) -> int:
    """Number of clips."""
    return self._count

  @overload
  def __getitem__(self, i: int) -> ClipInfo: ...
  @overload
  def __getitem__(self, i: slice) -> "Index": ...

  def __getitem__(self, i: int | slice) -> "ClipInfo | Index":
    """A row; or some, as an index."""
    if isinstance(i, slice):
      return self.take(np.arange(self._count)[i])
    if not -self._count <= i < self._count:
      raise IndexError(f"clip {i} of {self._count}")
    i = i % self._count
    if (row := self._known.get(i)) is None:
      row = ClipInfo(
        *(
          column.item(i) if isinstance(column, np.ndarray) else column[i]
          for column in self._columns.values()
        )
      )
      if len(self._known) >= _KNOWN:
        self._known = {}
      self._known[i] = row
    return row

  def __iter__(self) -> Iterator[ClipInfo]:
    """All rows, in their order."""
    for start in range(0, self._count, _CHUNK):
      stop = min(start + _CHUNK, self._count)
      columns = [
        column[start:stop].tolist()
        if isinstance(column, np.ndarray)
        else column.tolist(start, stop)
        for column in self._columns.values()
      ]
      yield from map(ClipInfo._make, zip(*columns, strict=True))

  def column(self, name: str) -> Shaped[np.ndarray, "n"]:
    """A field of numbers of all rows; read-only."""
    numbers = self._columns[name].view()
    numbers.flags.writeable = False
    return numbers

  def numbered(self, name: str) -> tuple[Int32[np.ndarray, "n"], list[str]]:
    """A field of texts: each row's number in a list of different ones."""
    texts = self._columns[name]
    return texts.numbers, texts.values

  def take(self, at: Int[np.ndarray, "k"]) -> "Index":
    """The rows at some positions."""
    if len(at) == self._count and (at == np.arange(self._count)).all():
      return self
    taken = Index(())
    taken._fill(
      {
        name: column[at] if isinstance(column, np.ndarray) else column.take(at)
        for name, column in self._columns.items()
      },
      len(at),
    )
    return taken


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
    meshes=len(record.mesh) > 0,
  )


def counts_of(row: ClipInfo) -> ranges.Counts:
  """How many parts a clip's record has."""
  return ranges.Counts(
    row.frames,
    row.fps,
    mouths=row.frames if row.mouths else 0,
    twins=row.twins,
    meshes=row.frames if row.meshes else 0,
  )


def read_index(folder: str | os.PathLike) -> Index:
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
  with index.open(encoding="utf-8") as file:
    rows = Index(map(json.loads, file))
  shards, names = rows.numbered("shard")
  rank = np.argsort(np.argsort(np.array(names)))[shards]
  return rows.take(np.lexsort((rows.column("row"), rank)))


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
  return split_of_shard(row.shard)


def split_of_shard(name: str) -> str:
  """The split that a shard belongs to, by its file name.

  Raises:
    ValueError: no shard has such a name.
  """
  match = SHARD.fullmatch(name)
  if not match:
    raise ValueError(f"{name} is not the name of a shard")
  return match[1]


def splits_of(index: Index) -> list[str]:
  """Splits that have clips, in the order of `SPLITS`."""
  _, shards = index.numbered("shard")
  present = set(map(split_of_shard, shards))
  return [split for split in SPLITS if split in present]


def rows_of(index: Index, split: str) -> Int[np.ndarray, "k"]:
  """Positions of the rows of a split."""
  numbers, shards = index.numbered("shard")
  chosen = np.array([split_of_shard(name) == split for name in shards], bool)
  return np.flatnonzero(chosen[numbers]) if len(index) else numbers
