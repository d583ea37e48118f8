"""Parts of a record, read from its shard without the rest.

A sample shows a few pictures of a clip, and a clip of 1,024 frames has 30 MB.
So every record holds a table of where its parts lie, and `clips.jsonl` says
where in the shard the table is: a picture then costs one read of its own bytes.

The table is uint32, a row a part: first byte in the record, bytes, CRC-32. Row
0 is the table itself, its sum over all other rows and the clip's name. Then
come the arrays of `ARRAYS` in chunks of `CHUNK` bytes, then the pictures of
`PICTURES`, one by one. What a set does not have takes no row, so that tables
of older formats are those of today without what came later. Mouths are `GREY`
pixels side by side, a row a frame; before format 1.4.0 they were a list of
JPEGs as the other pictures are.

Shards are ArrayRecord, which is Riegeli, uncompressed: records lie in them as
they are, except that every 64 KiB of a file begin with a block header.
`locate` checks each of them as it is written; reading checks the sums.
"""

import functools
import itertools
import os
import threading
import zlib
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Int, UInt8, UInt32

from speak_jax import spec

FIELD = "places"  # of the record: the table
SOUND_LEVEL = "sound_level"  # of the record: what `spec.sound_level` says
# Arrays that samples are made of: items of a row, and their type.
ARRAYS: dict[str, tuple[tuple[int, ...], type]] = {
  "audio": ((), np.int16),
  "landmarks": ((68, 2), np.float32),
  "pose": ((3,), np.float32),
  "twin_index": ((), np.int32),
  "twin_pose_landmarks": ((68, 2), np.float32),
  "twin_mouth_landmarks": ((68, 2), np.float32),
  SOUND_LEVEL: ((spec.LEVEL,), np.float32),
  "mesh": ((468, 3), np.int16),  # from format 1.5.0 on
}
PICTURES = ("frames", "mouths", "twin_pose", "twin_mouth")
GREY = "grey_mouths"  # of the record: pixels of all of `spec.Record.mouths`
CHUNK = 1 << 14  # bytes of an array that one sum covers
GAP = 1 << 14  # bytes between two pictures that are read rather than left out
_ROW = 12  # bytes of the table
# Riegeli: a file's blocks, their headers, and the header of a chunk.
_BLOCK, _BLOCK_HEADER, _CHUNK_HEADER = 1 << 16, 24, 40
_OPEN = 256  # files that are kept open


class Counts(NamedTuple):
  """How many parts a record has."""

  frames: int
  fps: float
  mouths: int  # 0 or `frames`
  twins: int
  meshes: int = 0  # 0 or `frames`

  def rows(self, name: str) -> int:
    """Rows of an array."""
    if name == SOUND_LEVEL:
      return 1
    if name == "mesh":
      return self.meshes
    if name == "audio":
      return round(self.frames * spec.samples_per_frame(self.fps))
    return self.twins if name.startswith("twin") else self.frames

  def pictures(self, name: str) -> int:
    """Pictures of a list."""
    if name == "mouths":
      return self.mouths
    return self.frames if name == "frames" else self.twins


@functools.cache
def width(name: str) -> int:
  """Bytes of a row of an array."""
  shape, dtype = ARRAYS[name]
  return int(np.prod(shape, dtype=int)) * np.dtype(dtype).itemsize


class Layout(NamedTuple):
  """Where in the table each field's parts begin."""

  first: Mapping[str, int]
  rows: int  # of the table


@functools.lru_cache(1024)
def layout(counts: Counts) -> Layout:
  """The table's rows, by field."""
  first, at = {}, 1
  for name in ARRAYS:
    first[name] = at
    at += -(-counts.rows(name) * width(name) // CHUNK)
  for name in PICTURES:
    first[name] = at
    at += counts.pictures(name)
  return Layout(first, at)


# --- the table -------------------------------------------------------------


def blank(counts: Counts) -> UInt32[np.ndarray, "r 3"]:
  """A table of the right size."""
  return np.zeros((layout(counts).rows, 3), np.uint32)


def fill(example: bytes, counts: Counts, clip: str) -> bytes:
  """The serialised example, its blank table filled in.

  Args:
    example: A `tf.train.Example`.
    counts: Of its parts.
    clip: Its name.
  """
  places = _values(example)
  ((begin, end),) = places[FIELD]
  parts = []
  for name in ARRAYS:
    ((start, stop),) = places[name]
    parts += [(a, min(a + CHUNK, stop)) for a in range(start, stop, CHUNK)]
  for name in PICTURES:
    if name == "mouths" and counts.mouths:
      ((start, stop),) = places[GREY]
      each = (stop - start) // counts.mouths
      parts += [(a, a + each) for a in range(start, stop, each)]
    else:
      parts += places.get(name, [])
  table = blank(counts)
  table[0] = begin, end - begin, 0
  table[1:, 0] = [a for a, _ in parts]
  table[1:, 1] = [b - a for a, b in parts]
  whole = memoryview(example)
  table[1:, 2] = [zlib.crc32(whole[a:b]) for a, b in parts]
  table[0, 2] = _sum(table.astype("<u4").tobytes(), clip)
  return example[:begin] + table.astype("<u4").tobytes() + example[end:]


def _sum(table: bytes, clip: str) -> int:
  """Of all but its own place."""
  crc = zlib.crc32(clip.encode(), zlib.crc32(table[: _ROW - 4]))
  return zlib.crc32(memoryview(table)[_ROW:], crc)


def _values(example: bytes) -> dict[str, list[tuple[int, int]]]:
  """Where the byte strings of each feature lie.

  Example, Features, their map's entries, Feature and BytesList have what is
  wanted in field 1; an entry has its name there and the Feature in field 2.
  """
  places = {}
  for _, *features in _fields(example, 0, len(example)):
    for _, *entry in _fields(example, *features):
      parts = {number: span for number, *span in _fields(example, *entry)}
      name = example[slice(*parts[1])].decode()
      for kind, *values in _fields(example, *parts[2]):
        if kind == 1:
          places[name] = [
            (start, stop) for _, start, stop in _fields(example, *values)
          ]
  return places


def _fields(
  data: bytes, begin: int, end: int
) -> Iterator[tuple[int, int, int]]:
  """(number, begin, end) of the fields of a message that are all bytes."""
  while begin < end:
    tag, begin = _varint(data, begin)
    size, begin = _varint(data, begin)
    yield tag >> 3, begin, begin + size
    begin += size


def _varint(data: bytes, at: int) -> tuple[int, int]:
  value = shift = 0
  while True:
    byte = data[at]
    at += 1
    value |= (byte & 127) << shift
    shift += 7
    if byte < 128:
      return value, at


# --- shards ----------------------------------------------------------------


class Locator:
  """Finds the records of a shard while they are written to it."""

  def __init__(self):
    """Nothing is written."""
    self._end = _CHUNK_HEADER  # the file's signature is a chunk of no data
    self._found: list[tuple[int, int, int, int]] = []

  def add(self, example: bytes) -> None:
    """Notes the record that is written next."""
    size = _varint_bytes(len(example))
    # A chunk: its header, no compression, how long sizes are, the size.
    begin = self._end + _CHUNK_HEADER + 1 + 1 + size
    self._end = begin + len(example)
    ((table, _),) = _values(example).get(FIELD, [(0, 0)])
    self._found.append((begin, len(example), zlib.crc32(example), table))

  def places(self, path: str | os.PathLike) -> list[int]:
    """Where in the finished shard each record's table is.

    Raises:
      RuntimeError: a record is not where it should be.
    """
    out = []
    file = _File(path)
    for begin, size, crc, table in self._found:
      if zlib.crc32(file.read(begin, size)) != crc:
        raise RuntimeError(
          f"{path}: record {len(out)} does not lie where Riegeli has it"
        )
      out.append(begin + table if table else 0)
    return out


def _varint_bytes(value: int) -> int:
  return max(1, -(-value.bit_length() // 7))


def physical(at: int) -> int:
  """Which byte of the file it is, of a byte counted without block headers."""
  payload = _BLOCK - _BLOCK_HEADER
  return at // payload * _BLOCK + _BLOCK_HEADER + at % payload


class _File:
  """A shard, open as long as somebody holds it; read from any thread."""

  def __init__(self, path: str | os.PathLike):
    self._number = os.open(path, os.O_RDONLY)

  def __del__(self):
    if hasattr(self, "_number"):
      os.close(self._number)

  def read(self, begin: int, size: int) -> bytes:
    """Bytes of the file, block headers not counted and left out.

    Raises:
      ValueError: it ends before.
    """
    if not size:
      return b""
    first, stop = physical(begin), physical(begin + size - 1) + 1
    data = os.pread(self._number, stop - first, first)
    if len(data) != stop - first:
      raise ValueError("its shard is cut off")
    edge = -first % _BLOCK  # of the next block, from the first byte
    if edge >= len(data):
      return data
    parts = [data[:edge]]
    for at in range(edge, len(data), _BLOCK):
      parts.append(data[at + _BLOCK_HEADER : at + _BLOCK])
    return b"".join(parts)


class Files:
  """Shards by name, of which a few are open at a time. Thread-safe."""

  def __init__(self, folder: Path):
    """Opens nothing yet."""
    self._folder = folder
    self._open: OrderedDict[str, _File] = OrderedDict()
    self._lock = threading.Lock()

  def read(self, shard: str, begin: int, size: int) -> bytes:
    """Bytes of a shard, block headers not counted.

    Raises:
      OSError: it cannot be opened or read.
      ValueError: it ends before.
    """
    with self._lock:
      file = self._open.pop(shard, None)
      if file is None:
        file = _File(self._folder / shard)
      self._open[shard] = file
      while len(self._open) > _OPEN:
        # Closed when the last thread that reads it lets it go.
        self._open.popitem(last=False)
    return file.read(begin, size)


class Table:
  """Of one record: reads its parts.

  Raises:
    ValueError: from every method: what is read is not what was written.
  """

  def __init__(
    self, files: Files, shard: str, at: int, counts: Counts, clip: str
  ):
    """Reads the table.

    Args:
      files: The data set's.
      shard: File name.
      at: Where the table is, as `Locator.places` says.
      counts: Of the record's parts.
      clip: The record's name, as it was when it was written.
    """
    self._files, self._shard, self._counts = files, shard, counts
    self._layout = layout(counts)
    table = files.read(shard, at, self._layout.rows * _ROW)
    self._rows = np.frombuffer(table, "<u4").reshape(-1, 3)
    begin, _, crc = self._rows[0].tolist()
    if crc != _sum(table, clip):
      raise ValueError("its table is damaged, or another clip's")
    self._begin = at - begin
    self.nbytes = len(table) + 256

  def pictures(self, field: str, times: Sequence[int]) -> list[bytes]:
    """Pictures of a list, in few reads: neighbours lie side by side.

    Args:
      field: The list.
      times: Which, rising.
    """
    count = self._counts.pictures(field)
    if not times:
      return []
    if not 0 <= times[0] <= times[-1] < count:
      raise IndexError(f"{field} {times[0]} to {times[-1]} of {count}")
    return self._parts(field, times)

  def grey(
    self, times: Int[np.ndarray, "k"], size: int
  ) -> UInt8[np.ndarray, "k size"]:
    """Mouths as they are stored from format 1.4.0 on.

    Args:
      times: Which, rising.
      size: Bytes of one.
    """
    count, first = self._counts.mouths, self._layout.first["mouths"]
    out = np.empty((len(times), size), np.uint8)
    if not len(times):
      return out
    if not 0 <= times[0] <= times[-1] < count:
      raise IndexError(f"mouths {times[0]} to {times[-1]} of {count}")
    rows = self._rows[first + times].tolist()
    # Where what lies between two of them is not worth reading.
    breaks = np.flatnonzero(np.diff(times) * size > size + GAP) + 1
    for a, b in itertools.pairwise([0, *breaks.tolist(), len(times)]):
      begin, many = rows[a][0], int(times[b - 1] - times[a]) + 1
      data = self._files.read(self._shard, self._begin + begin, many * size)
      wanted, view = times[a:b] - times[a], memoryview(data)
      for k, (_, length, crc) in zip(wanted.tolist(), rows[a:b], strict=True):
        part = view[k * size : (k + 1) * size]
        if length != size or zlib.crc32(part) != crc:
          raise ValueError("its bytes are not what was written")
      out[a:b] = np.frombuffer(data, np.uint8).reshape(many, size)[wanted]
    return out

  def chunks(self, field: str, numbers: Sequence[int]) -> list[bytes]:
    """Chunks of an array; `numbers` rise."""
    return self._parts(field, numbers)

  def _parts(self, field: str, numbers: Sequence[int]) -> list[bytes]:
    """In few reads: neighbours lie side by side."""
    first = self._layout.first[field]
    rows = self._rows[[first + n for n in numbers]].tolist()
    out: list[bytes] = []
    while len(out) < len(rows):
      begin, stop, many = rows[len(out)][0], 0, len(out)
      while many < len(rows) and rows[many][0] <= (stop or begin) + GAP:
        stop = rows[many][0] + rows[many][1]
        many += 1
      data = self._files.read(self._shard, self._begin + begin, stop - begin)
      for start, size, crc in rows[len(out) : many]:
        part = data[start - begin : start - begin + size]
        if zlib.crc32(part) != crc:
          raise ValueError("its bytes are not what was written")
        out.append(part)
    return out


class Rows:
  """An array of a record, of which just the rows that are asked for are read.

  Has a length, and is indexed by a number, a slice or an array of numbers.
  """

  def __init__(
    self,
    name: str,
    count: int,
    chunks: Callable[[Sequence[int]], Sequence[bytes]],
  ):
    """Takes the array's name, its rows, and what reads chunks of it."""
    self._shape, self._dtype = ARRAYS[name]
    self._width, self._count, self._chunks = width(name), count, chunks

  def __len__(self) -> int:
    """Number of rows."""
    return self._count

  def __getitem__(self, key: int | slice | Sequence[int] | np.ndarray) -> Any:
    """Rows, as the whole array would give them; read-only or a copy."""
    if isinstance(key, slice):
      times = range(*key.indices(self._count))
      if not times:
        return self._read(0, 0)
      ends = times[0], times[-1]  # not min(times), which looks at all of them
      return self._read(min(ends), max(ends) + 1)[:: times.step]
    if np.ndim(key) == 0:
      t = int(key)  # type: ignore[arg-type]
      t = t + self._count if t < 0 else t
      if not 0 <= t < self._count:
        raise IndexError(f"row {t} of {self._count}")
      return self._read(t, t + 1)[0]
    times = np.asarray(key)
    if not times.size:
      return self._read(0, 0)
    low, high = int(times.min()), int(times.max())
    if (high - low) * self._width <= CHUNK:
      return self._read(low, high + 1)[times - low]
    # What lies between them is not read.
    if not 0 <= low <= high < self._count:
      raise IndexError(f"rows {low} to {high} of {self._count}")
    rows = self.spans([(t, t + 1) for t in times.tolist()])
    return np.concatenate(rows).reshape(times.shape + self._shape)

  def spans(self, spans: Sequence[tuple[int, int]]) -> list[np.ndarray]:
    """Rows from a first one to before a last one, of each span, at once."""
    byte_spans = [
      (low * self._width, high * self._width) for low, high in spans
    ]
    wanted = sorted(
      {k for a, b in byte_spans for k in range(a // CHUNK, -(-b // CHUNK))}
    )
    parts = self._chunks(wanted) if wanted else ()
    data = memoryview(parts[0] if len(parts) == 1 else b"".join(parts))
    # All chunks but the array's last are whole.
    begins = {k: n * CHUNK for n, k in enumerate(wanted)}
    out = []
    for first, stop in byte_spans:
      k, at = divmod(first, CHUNK)
      at += begins[k] if stop > first else 0
      raw = data[at : at + stop - first] if stop > first else b""
      out.append(np.frombuffer(raw, self._dtype).reshape(-1, *self._shape))
    return out

  def _read(self, low: int, high: int) -> np.ndarray:
    return self.spans([(low, high)])[0]
