"""Opened data sets: clips by number, of which only what is needed is read."""

import bisect
import functools
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float32, UInt8

from data_pipelines.dataset import offsets, ranges
from data_pipelines.dataset.damage import Damage, DamagedError, reason_of
from data_pipelines.dataset.index import ClipInfo, Index, counts_of, describe
from data_pipelines.dataset.pictures import (
  decode_frame,
  resize,
  scale_landmarks,
)
from data_pipelines.faces import lips
from speak_jax import spec

CACHE_BYTES = 1 << 30


class Member(NamedTuple):
  """One of the data sets of `Records`: its clips are start to stop."""

  name: str
  start: int
  stop: int
  folder: str = ""  # where it lies


class _Cache:
  """Least recently used values, bounded by their bytes. Thread-safe."""

  def __init__(self, limit: int):
    self._limit, self._bytes = limit, 0
    self._items: OrderedDict[Any, tuple[Any, int]] = OrderedDict()
    self._lock = threading.Lock()

  def get(self, key: Any, make: Callable[[], Any], size: Callable) -> Any:
    """The value under `key`, made (outside the lock) when it is absent."""
    with self._lock:
      if key in self._items:
        self._items.move_to_end(key)
        return self._items[key][0]
    value = make()
    with self._lock:
      self._put(key, value, size(value))
    return value

  def several(
    self,
    keys: Sequence[Any],
    make: Callable[[list[Any]], Iterable],
    size: Callable,
  ) -> list[Any]:
    """The values under keys; those that are absent are made at once, sorted."""
    with self._lock:
      values = {key: self._items[key][0] for key in keys if key in self._items}
      for key in values:
        self._items.move_to_end(key)
    if lacking := sorted({key for key in keys if key not in values}):
      fresh = dict(zip(lacking, make(lacking), strict=True))
      with self._lock:
        for key, value in fresh.items():
          self._put(key, value, size(value))
      values |= fresh
    return [values[key] for key in keys]

  def _put(self, key: Any, value: Any, cost: int) -> None:
    """With the lock held."""
    if key not in self._items and cost <= self._limit:
      self._items[key] = value, cost
      self._bytes += cost
      while self._bytes > self._limit:
        self._bytes -= self._items.popitem(last=False)[1][1]


class Clip:
  """One clip as samples need it: arrays by rows, each read when asked for.

  `audio`, `landmarks`, `pose`, `mesh`, `twin_index`, `twin_pose_landmarks` and
  `twin_mouth_landmarks` are indexed as the record's arrays are.
  """

  def __init__(self, rows: Callable[[str], Any]):
    """Takes what gives an array of the clip by its name."""
    self._rows = rows

  def __getattr__(self, name: str) -> Any:
    """The array of that name."""
    if name not in ranges.ARRAYS:
      raise AttributeError(name)
    return self._rows(name)


class Records:
  """One split of one or more data sets, by position, read when asked for.

  What has been read and decoded is kept in one cache of `cache_bytes`; what
  falls out is read again. Safe to use from threads.
  """

  name: str  # where they are, for messages
  index: Index
  members: list[Member]  # one a data set, in order
  damage: Damage  # what samplers have met, and how much of it is allowed
  out_of_sync: int  # clips that were left out
  # Frames by which each clip's stored sound comes too late (`offsets`): `clip`
  # and `self[i]` give it moved by so much, silence where there is none.
  late: list[int]
  # What `open_records` was given, so that another process can do the same.
  source: tuple[str, str] | None

  def __init__(
    self,
    name: str,
    index: Index,
    load: Callable[[int], spec.Record],
    cache_bytes: int,
    members: Sequence[Member] = (),
    table: Callable[[int], ranges.Table] | None = None,
    late: Sequence[int] = (),
  ):
    """Takes what the clips are read by.

    Args:
      name: Where they are.
      index: Their facts.
      load: Reads clip number i from its store.
      cache_bytes: Bound of the cache in memory.
      members: One a data set, in order.
      table: Reads where the parts of clip number i are, if its row has `at`.
      late: One number a clip; none: no sound is moved.
    """
    self.name, self.index = name, index
    self.late = list(late) or [0] * len(self.index)
    self.members = list(members) or [Member(name, 0, len(self.index))]
    self.damage = Damage()
    self.out_of_sync = 0
    self.source = None
    self._starts = [member.start for member in self.members]
    self._load, self._table = load, table
    self._cache = _Cache(cache_bytes)

  def __len__(self) -> int:
    """Number of clips."""
    return len(self.index)

  def dataset_of(self, i: int) -> int:
    """Position in `members` of clip i's data set."""
    return bisect.bisect_right(self._starts, i) - 1

  def __getitem__(self, i: int) -> spec.Record:
    """Clip i whole, parsed; its frames are still JPEG.

    `clip`, `landmarks` and `picture` read what they need of it and no more.
    """
    record = self._stored(i)
    if not self.late[i]:
      return record
    audio = offsets.Moved(record.audio, self._late_samples(i))[:]
    return record._replace(audio=audio)

  def heard(self, i: int) -> range:
    """Frames of clip i whose sound is there: all, unless it is moved."""
    return offsets.heard(self.index[i].frames, self.late[i])

  def _late_samples(self, i: int) -> int:
    return round(self.late[i] * spec.samples_per_frame(self.index[i].fps))

  def _stored(self, i: int) -> spec.Record:
    if not 0 <= i < len(self.index):
      raise IndexError(f"clip {i} of {len(self.index)}")
    return self._cache.get(i, lambda: self._load(i), _record_bytes)

  def clip(self, i: int) -> Clip:
    """Clip i, of which just what is asked for is read."""
    if not self.late[i]:
      return self._stored_clip(i)
    stored, late = self._stored_clip(i), self._late_samples(i)

    def rows(name: str) -> Any:
      array = getattr(stored, name)
      return offsets.Moved(array, late) if name == "audio" else array

    return Clip(rows)

  def _is_whole(self, row: ClipInfo) -> bool:
    """Whether a clip can only be read as a whole record."""
    return self._table is None or not row.at

  def _stored_clip(self, i: int) -> Clip:
    row = self.index[i]
    if self._is_whole(row):
      return Clip(lambda name: _whole_array(self._stored(i), name))
    counts = counts_of(row)

    def chunks(name: str, numbers: Sequence[int]) -> list[bytes]:
      def make(keys: list[Any]) -> list[bytes]:
        lacking = [k for _, _, k in keys]
        return self._read(i, name, lambda part: part.chunks(name, lacking))

      keys = [(i, name, k) for k in numbers]
      return self._cache.several(keys, make, lambda data: len(data) + 64)

    return Clip(
      lambda name: ranges.Rows(
        name, counts.rows(name), functools.partial(chunks, name)
      )
    )

  def frames(
    self, i: int, times: Iterable[int], size: int
  ) -> UInt8[np.ndarray, "n h w 3"]:
    """Frames of clip i as RGB at `size` pixels."""
    return np.stack(self._pictures(i, "frames", list(times), size))

  def lips(
    self,
    i: int,
    times: Iterable[int],
    size: int,
    image: int,
    square: tuple[float, float] = spec.LIPS_SQUARE,
  ) -> UInt8[np.ndarray, "n s s"]:
    """Aligned mouths of clip i (`faces.lips`), grey, at `size` pixels.

    As if cut out of frames of `image` pixels; out of these they are where a set
    has none, or not of this `square` (`spec.lips_square`). Stored ones may show
    more, since they were cut out of the whole crop. They lose it, for who
    learns from them is shown frames of `image` pixels later. `times` rise.
    """
    times, row = list(times), self.index[i]
    if not row.mouths or square != spec.LIPS_SQUARE:
      return np.stack(
        [self._cut_mouth(i, t, size, image, square) for t in times]
      )
    whole = image >= row.size
    if not row.grey:
      side = size if whole else row.mouths
      mouths = np.stack(self._pictures(i, "mouths", times, side))
    elif self._is_whole(row):
      mouths = self._stored(i).mouths[times]
    else:
      # Not kept: the system's own cache of the file is as near.
      mouths = self._read(
        i, "mouths", lambda part: part.grey(np.array(times), row.mouths**2)
      ).reshape(-1, row.mouths, row.mouths)
    if whole:
      if mouths.shape[1] == size:
        return mouths
      return np.stack([resize(mouth, size) for mouth in mouths])
    _, sides = spec.lips_square(self.landmarks(i, np.array(times), image))
    return np.stack(
      [
        # So many pixels the square has there.
        resize(resize(x, min(max(round(side), 1), row.mouths)), size)
        for x, side in zip(mouths, np.hypot(*sides.T).tolist(), strict=True)
      ]
    )

  def _cut_mouth(
    self, i: int, t: int, size: int, image: int, square: tuple[float, float]
  ) -> UInt8[np.ndarray, "s s"]:
    def make():
      frame = self.picture(i, "frames", t, image)
      points = self.landmarks(i, t, image)
      mouth = lips.cut_lips(frame, points, size, square)
      mouth.flags.writeable = False
      return mouth

    key = (i, "cut", t, size, image, square)
    return self._cache.get(key, make, lambda x: x.nbytes)

  def picture(
    self, i: int, field: str, t: int, size: int
  ) -> UInt8[np.ndarray, "h w 3"]:
    """Picture t of a list of pictures of clip i (`ranges.PICTURES`).

    RGB at `size` pixels; read-only, since the cache hands it out again. Mouths
    are had from `lips`.
    """

    return self._pictures(i, field, [t], size)[0]

  def _pictures(
    self, i: int, field: str, times: list[int], size: int
  ) -> list[UInt8[np.ndarray, "h w *c"]]:
    """Several pictures; those that are not in the cache are read at once."""

    def make(keys: list[Any]) -> Iterator[np.ndarray]:
      lacking = [t for _, _, t, _ in keys]
      for t, jpeg in zip(lacking, self.jpegs(i, field, lacking), strict=True):
        yield self._decoded(i, field, t, jpeg, size)

    keys = [(i, field, t, size) for t in times]
    return self._cache.several(keys, make, lambda frame: frame.nbytes)

  def _decoded(
    self, i: int, field: str, t: int, jpeg: bytes, size: int
  ) -> UInt8[np.ndarray, "h w *c"]:
    row = self.index[i]
    grey = field == "mouths"
    try:
      frame = decode_frame(jpeg, size, row.mouths if grey else row.size, grey)
    except ValueError as error:
      raise DamagedError(
        row.clip, f"{self.name}: clip {row.clip}: {field} {t} {error}"
      ) from error
    frame.flags.writeable = False
    return frame

  def jpegs(self, i: int, field: str, times: Sequence[int]) -> list[bytes]:
    """The bytes of pictures of a list of clip i; `times` rise."""
    if self._is_whole(self.index[i]):
      pictures = getattr(self._stored(i), field)
      return [pictures[t] for t in times]
    return self._read(i, field, lambda part: part.pictures(field, times))

  def landmarks(
    self, i: int, t: Any, size: int, field: str = "landmarks"
  ) -> Float32[np.ndarray, "*t 68 2"]:
    """Landmarks of clip i at t (number, slice or array), in `size` pixels."""
    stored = self.index[i].size
    return scale_landmarks(getattr(self.clip(i), field)[t], stored, size)

  def mesh(self, i: int, t: Any, size: int) -> Float32[np.ndarray, "*t 468 3"]:
    """FaceMesh's points of clip i at t (number, slice or array).

    Just the rows that are asked for are read. In units of the crop's side they
    are `clip(i).mesh[t]`.

    Args:
      i: Clip.
      t: Frames.
      size: Pixels of a side: x, y have whole numbers at pixel centres; z is
        in the same pixels.

    Raises:
      ValueError: the set has no meshes (`ClipInfo.meshes`); one line.
      DamagedError: they are not what was written.
    """
    row = self.index[i]
    if not row.meshes:
      raise ValueError(
        f"{self.name}: clip {row.clip} has no meshes: prepare it anew"
      )
    return spec.mesh_px(self.clip(i).mesh[t], size)

  def sound_level(self, i: int) -> Float32[np.ndarray, "l"]:
    """`spec.sound_level` of all the sound of clip i."""
    return self._cache.get(
      (i, ranges.SOUND_LEVEL),
      lambda: getattr(self.clip(i), ranges.SOUND_LEVEL)[0],
      lambda level: level.nbytes + 64,
    )

  def _read(
    self, i: int, field: str, read: Callable[[ranges.Table], Any]
  ) -> Any:
    """Parts of clip i, by its table."""
    make = self._table
    assert make is not None
    try:
      table = self._cache.get(
        (i, ranges.FIELD), lambda: make(i), lambda parsed: parsed.nbytes
      )
      return read(table)
    except (OSError, ValueError) as error:
      clip, shard = self.index[i].clip, self.index[i].shard
      where = (
        f"{Path(self.members[self.dataset_of(i)].folder) / shard}: clip {clip}"
      )
      raise DamagedError(
        clip, f"{where} cannot be read: {field}: {reason_of(error)}"
      ) from error


def _whole_array(record: spec.Record, name: str) -> np.ndarray:
  """An array of a record that was read whole."""
  if name == ranges.SOUND_LEVEL:
    return spec.sound_level(record.audio)[None]
  return getattr(record, name)


def in_memory(
  records: Sequence[spec.Record], cache_bytes: int = CACHE_BYTES
) -> Records:
  """Records that were never written, as if they came from one data set."""
  index = Index(
    describe(record, "memory", i)._asdict() for i, record in enumerate(records)
  )
  return Records("memory", index, records.__getitem__, cache_bytes)


def _record_bytes(record: spec.Record) -> int:
  """Memory of a parsed record, with some allowance for its objects."""
  size = 4096
  for value in record:
    if isinstance(value, list | tuple):  # of JPEGs
      size += sum(len(item) + 64 for item in value)
    elif isinstance(value, np.ndarray):
      size += value.nbytes
  return size
