"""The record as bytes, and prepared data sets, read (`shards.py` writes them).

A prepared data set is a standard TFDS directory of ArrayRecord shards, which
`tfds.builder_from_directory(DIR).as_data_source("train")` opens without this
code and without TensorFlow. `clips.jsonl` beside it holds one line of facts a
clip, so that samplers choose clips without reading any.
"""

import bisect
import functools
import json
import math
import os
import re
import threading
import zlib
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import grain
import numpy as np
import tensorflow_datasets as tfds
from jaxtyping import Float32, UInt8
from tensorflow_datasets.core import example_serializer
from tensorflow_datasets.proto import tf_example_pb2

from data_pipelines.dataset import offsets, ranges
from data_pipelines.dataset.damage import Damage, DamagedError
from data_pipelines.faces import lips
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
CACHE_BYTES = 1 << 30
NO_MOUTHS = spec.Record._field_defaults["mouths"]
# Pictures are small and the loader has threads of its own: OpenCV's would only
# take the cores from the training step.
cv2.setNumThreads(1)

_END_OF_JPEG = b"\xff\xd9"
_REDUCED = {  # by how much, the most first: OpenCV's flags say grey or BGR, too
  8: cv2.IMREAD_REDUCED_GRAYSCALE_8,
  4: cv2.IMREAD_REDUCED_GRAYSCALE_4,
  2: cv2.IMREAD_REDUCED_GRAYSCALE_2,
}


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


class Part(NamedTuple):
  """A data set's share of `Records`: clips start to stop."""

  name: str
  start: int
  stop: int
  folder: str = ""  # where it lies


# --- bytes -----------------------------------------------------------------


_TEXTS = (
  *("clip", "identity", "view", "source", "pose_method", "phonemes"),
  *("take", "session"),
)
_JPEGS = tuple(name for name in ranges.PICTURES if name != "mouths")
_INTEGERS = ("emotion", "level", "start")
_ARRAYS = {
  **{name: (kind, (None, *row)) for name, (row, kind) in ranges.ARRAYS.items()},
  "crop": (np.float32, (2, 3)),
  "factors": (np.float32, (None, None)),
  # Flat, so that it is one piece of bytes: as many pixels a frame.
  ranges.GREY: (np.uint8, (None,)),
}
# On disk, not in `spec.Record` or not so.
_DERIVED = {ranges.SOUND_LEVEL, ranges.FIELD, ranges.GREY}


@functools.cache
def features() -> tfds.features.FeaturesDict:
  """The TFDS features of `spec.Record`, field by field.

  Arrays are stored as raw bytes: as integers of a `tf.train.Example` each
  negative sample of sound would take ten bytes.
  """
  text = tfds.features.Text()
  jpegs = tfds.features.Tensor(shape=(None,), dtype=np.object_)
  return tfds.features.FeaturesDict(
    {
      **dict.fromkeys(_TEXTS, text),
      **dict.fromkeys(_JPEGS, jpegs),
      **{
        name: tfds.features.Tensor(
          shape=shape,
          dtype=dtype,
          # TFDS cannot restore the shape of no raw bytes when two axes vary.
          encoding="zlib" if shape.count(None) > 1 else "bytes",
        )
        for name, (dtype, shape) in _ARRAYS.items()
      },
      ranges.FIELD: tfds.features.Tensor(
        shape=(None, 3), dtype=np.uint32, encoding="bytes"
      ),
      **dict.fromkeys(_INTEGERS, tfds.features.Scalar(np.int64)),
      "fps": tfds.features.Scalar(np.float32),
    }
  )


def encode(record: spec.Record) -> bytes:
  """A record as a serialised `tf.train.Example`, the same bytes every time.

  Raises:
    ValueError: the record breaks the contract of `spec.Record`.
  """
  _check(record)
  values = record._asdict()
  values[ranges.SOUND_LEVEL] = spec.sound_level(record.audio)[None]
  values[ranges.GREY] = values.pop("mouths").reshape(-1)
  for name, (dtype, _) in _ARRAYS.items():
    values[name] = np.asarray(values[name], dtype)
  counts = ranges.Counts(
    len(record.frames), record.fps, len(record.mouths), len(record.twin_index)
  )
  values[ranges.FIELD] = ranges.blank(counts)
  example = _serializer().get_tf_example(features().encode_example(values))
  data = example.SerializeToString(deterministic=True)
  return ranges.fill(data, counts, record.clip)


def decode(data: bytes) -> spec.Record:
  """The inverse of `encode`; fields that older formats lack are empty.

  Reads the example itself: what TFDS does about it costs more than the JPEGs
  of a sample. Arrays are read-only.
  """
  proto: Any = tf_example_pb2  # the checker cannot see what protobuf makes
  found = proto.Example.FromString(data).features.feature
  values: dict[str, Any] = {"fps": found["fps"].float_list.value[0]}
  for name in _TEXTS:
    if name in found:
      values[name] = found[name].bytes_list.value[0].decode()
  for name in _INTEGERS:
    if name in found:
      values[name] = found[name].int64_list.value[0]
  for name in _JPEGS:
    if name in found:
      values[name] = list(found[name].bytes_list.value)
  values["mouths"] = _mouths(found, len(values["frames"]))
  for name, (dtype, shape) in _ARRAYS.items():
    if name in _DERIVED:
      continue
    if shape.count(None) > 1:
      raw = zlib.decompress(found[f"{name}/value"].bytes_list.value[0])
      shape = tuple(found[f"{name}/shape"].int64_list.value)
    else:
      raw = found[name].bytes_list.value[0]
      shape = tuple(-1 if n is None else n for n in shape)
    values[name] = np.frombuffer(raw, dtype).reshape(shape)
  return spec.Record(**values)


def _mouths(found: Any, frames: int) -> UInt8[np.ndarray, "m s s"]:
  """Mouths of a parsed example, of any format."""
  if ranges.GREY in found:
    raw = np.frombuffer(found[ranges.GREY].bytes_list.value[0], np.uint8)
    side = math.isqrt(len(raw) // max(frames, 1))
    return raw.reshape(frames, side, side) if len(raw) else NO_MOUTHS
  jpegs = found["mouths"].bytes_list.value if "mouths" in found else ()
  if not jpegs:
    return NO_MOUTHS
  return np.stack([decode_frame(jpeg, grey=True) for jpeg in jpegs])


@functools.cache
def _serializer() -> example_serializer.ExampleSerializer:
  info: Any = features().get_serialized_info()
  return example_serializer.ExampleSerializer(info)


def _check(record: spec.Record) -> None:
  n, k = len(record.frames), len(record.twin_index)
  samples = round(n * spec.SAMPLE_RATE_HZ / record.fps)
  lengths = {
    "audio": (len(record.audio), samples),
    "landmarks": (len(record.landmarks), n),
    "pose": (len(record.pose), n),
    "twin_pose": (len(record.twin_pose), k),
    "twin_pose_landmarks": (len(record.twin_pose_landmarks), k),
    "twin_mouth": (len(record.twin_mouth), k),
    "twin_mouth_landmarks": (len(record.twin_mouth_landmarks), k),
    "mouths": (len(record.mouths), n if len(record.mouths) else 0),
  }
  if not n:
    raise ValueError(f"{record.clip}: no frames")
  for name, (got, want) in lengths.items():
    if got != want:
      raise ValueError(f"{record.clip}: {name} has length {got}, not {want}")
  if record.mouths.shape[1] != record.mouths.shape[2]:
    raise ValueError(f"{record.clip}: mouths are not square")
  if len(record.factors) not in (0, n):
    raise ValueError(f"{record.clip}: factors are not one row a frame")
  if not -1 <= record.emotion < len(spec.EMOTIONS):
    raise ValueError(f"{record.clip}: emotion {record.emotion} is unknown")


# --- pictures --------------------------------------------------------------


def decode_frame(
  jpeg: bytes,
  size: int | None = None,
  stored: int | None = None,
  grey: bool = False,
) -> UInt8[np.ndarray, "h w *c"]:
  """A stored crop, resized to `size` by area where it differs.

  Args:
    jpeg: The crop's bytes.
    size: Side that is wanted in pixels; None leaves it as it is stored.
    stored: Side of the crop, if it is known: what shrinks to half or less is
      then not decoded whole.
    grey: One grey level a pixel (`spec.LUMA`), (h, w), and not RGB, (h, w, 3).

  Raises:
    ValueError: it is no JPEG, or only the beginning of one.
  """
  frame = None
  # The decoder paints what is missing at the end grey.
  if jpeg.endswith(_END_OF_JPEG):
    way = cv2.IMREAD_GRAYSCALE if grey else cv2.IMREAD_COLOR_RGB
    if size and stored:
      way |= _reduced(stored, size)
    frame = cv2.imdecode(np.frombuffer(jpeg, np.uint8), way)
  if frame is None:
    raise ValueError("is not a readable JPEG")
  return frame if size is None else resize(frame, size)


def _reduced(stored: int, size: int) -> int:
  """OpenCV's flag for the smallest picture of a JPEG that is not too small.

  A JPEG's blocks give halves, quarters and eighths at less cost than the
  whole. On a real face no pixel moves by more than 3 of 255 by that.
  """
  for by, flag in _REDUCED.items():
    if stored % by == 0 and stored // by >= size:
      return flag
  return 0


def resize(frame: UInt8[np.ndarray, "h w *c"], size: int) -> np.ndarray:
  """A square picture at another side length; enlarging is bilinear."""
  if frame.shape[0] == size:
    return frame
  way = cv2.INTER_AREA if size < frame.shape[0] else cv2.INTER_LINEAR
  return cv2.resize(frame, (size, size), interpolation=way)


def scale_landmarks(
  landmarks: Float32[np.ndarray, "*n 68 2"], stored: int, size: int
) -> Float32[np.ndarray, "*n 68 2"]:
  """Landmarks of a crop resized from `stored` to `size` pixels.

  Whole numbers are pixel centres, as in OpenCV, hence the halves.
  """
  if stored == size:
    return landmarks
  return ((landmarks + 0.5) * (size / stored) - 0.5).astype(np.float32)


# --- reading ---------------------------------------------------------------


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
      found = {key: self._items[key][0] for key in keys if key in self._items}
      for key in found:
        self._items.move_to_end(key)
    if lacking := sorted({key for key in keys if key not in found}):
      made = dict(zip(lacking, make(lacking), strict=True))
      with self._lock:
        for key, value in made.items():
          self._put(key, value, size(value))
      found |= made
    return [found[key] for key in keys]

  def _put(self, key: Any, value: Any, cost: int) -> None:
    """With the lock held."""
    if key not in self._items and cost <= self._limit:
      self._items[key] = value, cost
      self._bytes += cost
      while self._bytes > self._limit:
        self._bytes -= self._items.popitem(last=False)[1][1]


class Clip:
  """One clip as samples need it: arrays by rows, each read when asked for.

  `audio`, `landmarks`, `pose`, `twin_index`, `twin_pose_landmarks` and
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
  index: list[ClipInfo]
  parts: list[Part]  # one a data set, in order
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
    index: Sequence[ClipInfo],
    load: Callable[[int], spec.Record],
    cache_bytes: int,
    parts: Sequence[Part] = (),
    table: Callable[[int], ranges.Table] | None = None,
    late: Sequence[int] = (),
  ):
    """Takes what the clips are read by.

    Args:
      name: Where they are.
      index: Their facts.
      load: Reads clip number i from its store.
      cache_bytes: Bound of the cache in memory.
      parts: One a data set.
      table: Reads where the parts of clip number i are, if its row has `at`.
      late: One number a clip; none: no sound is moved.
    """
    self.name, self.index = name, list(index)
    self.late = list(late) or [0] * len(self.index)
    self.parts = list(parts) or [Part(name, 0, len(self.index))]
    self.damage = Damage()
    self.out_of_sync = 0
    self.source = None
    self._starts = [part.start for part in self.parts]
    self._load, self._table = load, table
    self._cache = _Cache(cache_bytes)

  def __len__(self) -> int:
    """Number of clips."""
    return len(self.index)

  def home(self, i: int) -> int:
    """Number of clip i's data set, in `parts`."""
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
      found = getattr(stored, name)
      return offsets.Moved(found, late) if name == "audio" else found

    return Clip(rows)

  def _stored_clip(self, i: int) -> Clip:
    if self._table is None or not self.index[i].at:
      return Clip(lambda name: _whole_array(self._stored(i), name))
    row = self.index[i]
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
    """Aligned mouths of clip i (`media.lips`), grey, at `size` pixels.

    As if cut out of frames of `image` pixels; out of these they are where a set
    has none, or not of this `square` (`spec.lips_square`). Stored ones may show
    more, since they were cut out of the whole crop. They lose it, for who
    learns from them is shown frames of `image` pixels later. `times` rise.
    """
    times, row = list(times), self.index[i]
    if not row.mouths or square != spec.LIPS_SQUARE:
      return np.stack([self._cut(i, t, size, image, square) for t in times])
    whole = image >= row.size
    if not row.grey:
      side = size if whole else row.mouths
      mouths = np.stack(self._pictures(i, "mouths", times, side))
    elif self._table is None or not row.at:
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

  def _cut(
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
    if self._table is None or not self.index[i].at:
      pictures = getattr(self._stored(i), field)
      return [pictures[t] for t in times]
    return self._read(i, field, lambda part: part.pictures(field, times))

  def landmarks(
    self, i: int, t: Any, size: int, field: str = "landmarks"
  ) -> Float32[np.ndarray, "*t 68 2"]:
    """Landmarks of clip i at t (number, slice or array), in `size` pixels."""
    stored = self.index[i].size
    return scale_landmarks(getattr(self.clip(i), field)[t], stored, size)

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
        (i, ranges.FIELD), lambda: make(i), lambda found: found.nbytes
      )
      return read(table)
    except (OSError, ValueError) as error:
      clip, shard = self.index[i].clip, self.index[i].shard
      where = f"{Path(self.parts[self.home(i)].folder) / shard}: clip {clip}"
      raise DamagedError(
        clip, f"{where} cannot be read: {field}: {_reason(error)}"
      ) from error


def _whole_array(record: spec.Record, name: str) -> np.ndarray:
  """An array of a record that was read whole."""
  if name == ranges.SOUND_LEVEL:
    return spec.sound_level(record.audio)[None]
  return getattr(record, name)


def counts_of(row: ClipInfo) -> ranges.Counts:
  """How many parts a clip's record has."""
  mouths = row.frames if row.mouths else 0
  return ranges.Counts(row.frames, row.fps, mouths, row.twins)


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


def with_mouths(record: spec.Record) -> spec.Record:
  """The record with `mouths` cut out of its frames."""
  frames = map(decode_frame, record.frames)
  return record._replace(
    mouths=np.stack(
      [
        lips.cut_lips(x, points, lips.stored_side(x.shape[0]))
        for x, points in zip(frames, record.landmarks, strict=True)
      ]
    )
  )


def in_memory(
  records: Sequence[spec.Record], cache_bytes: int = CACHE_BYTES
) -> Records:
  """Records that were never written, as if they came from one data set."""
  index = [describe(record, "memory", i) for i, record in enumerate(records)]
  return Records("memory", index, records.__getitem__, cache_bytes)


def open_records(
  paths: str | os.PathLike,
  split: str,
  cache_bytes: int = CACHE_BYTES,
  *,
  whole: bool = False,
) -> Records:
  """Opens one split of prepared data sets.

  A shard that cannot be opened costs its clips alone, which then are damaged.
  Clips that `speak_jax.tools.av_offsets` found out of sync are left out, or
  their sound is moved, as its file says.

  Args:
    paths: Directories, comma-separated, each as DIR or NAME=DIR; without a
      name its last part is the name. With several, clips and identities are
      prefixed by the directory, so that equal names do not meet.
    split: "train" or "test".
    cache_bytes: Bound of the cache in memory.
    whole: With the clips that are out of sync, and no sound is moved.

  Raises:
    ValueError: one line with the path: no data set there, no such split, two
      of one name, or shards of which none can be opened.
  """
  folders = _named_folders(str(paths))
  index, sources, parts, late = [], [], [], []
  for name, folder in folders.items():
    rows, source, moves = _open_one(folder, split, whole)
    late += moves
    if len(folders) > 1:
      rows = [
        row._replace(
          clip=f"{folder}/{row.clip}", identity=f"{folder}/{row.identity}"
        )
        for row in rows
      ]
    stop = len(index) + len(rows)
    parts.append(Part(name, len(index), stop, str(folder)))
    index += rows
    sources.append(source)

  def load(i: int) -> spec.Record:
    row, shards = index[i], sources[opened.home(i)]
    try:
      record = decode(shards[row.shard][row.row])
      _check(record)
      if not row.clip.endswith(record.clip) or len(record.frames) != row.frames:
        raise ValueError(f"it holds {record.clip}, not what {INDEX} says")
    except Exception as error:  # the libraries name neither file nor record
      where = f"{shards.folder / row.shard}: clip {row.clip}"
      raise DamagedError(
        row.clip, f"{where} cannot be read: {_reason(error)}"
      ) from error
    return record._replace(clip=row.clip, identity=row.identity)

  def table(i: int) -> ranges.Table:
    row, shards = index[i], sources[opened.home(i)]
    name = row.clip
    if len(folders) > 1:
      name = name.removeprefix(f"{shards.folder}/")
    return ranges.Table(shards.files, row.shard, row.at, counts_of(row), name)

  opened = Records(
    f"{paths} ({split})", index, load, cache_bytes, parts, table, late
  )
  if not whole:
    opened.source = str(paths), split
  opened.out_of_sync = sum(source.clips for source in sources) - len(index)
  return opened


def _named_folders(paths: str) -> dict[str, Path]:
  """Data sets by name, from `DIR,NAME=DIR`."""
  folders: dict[str, Path] = {}
  for entry in filter(None, (part.strip() for part in paths.split(","))):
    name, equals, path = entry.partition("=")
    if not equals or "/" in name:
      name, path = Path(entry).absolute().name, entry
    if name in folders:
      raise ValueError(
        f"{path}: a second data set {name!r}; give it a name, as NAME={path}"
      )
    folders[name] = Path(path)
  if not folders:
    raise ValueError(f"{paths!r} names no data set")
  return folders


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


class _Shards:
  """The shards of one split, each opened when it is first asked for."""

  def __init__(self, folder: Path, rows: Sequence[ClipInfo]):
    self.folder, self.files = folder, ranges.Files(folder)
    self._clips = Counter(row.shard for row in rows)
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
  folder: Path, split: str, whole: bool
) -> tuple[list[ClipInfo], _Shards, list[int]]:
  index = read_index(folder)
  rows = [row for row in index if split_of(row) == split]
  if not rows:
    known = ", ".join(sorted({split_of(row) for row in index}))
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
      reason = _reason(error)
  else:
    raise ValueError(f"{folder}: {split} cannot be opened: {reason}")
  known = {} if whole else offsets.read(folder)
  kept = [
    row for row in rows if not (row.clip in known and known[row.clip].out)
  ]
  if not kept:
    raise ValueError(f"{folder}: every clip of {split} is out of sync")
  late = [known[row.clip].late if row.clip in known else 0 for row in kept]
  return kept, shards, late


def _reason(error: Exception) -> str:
  """One line; ArrayRecord gives a file that is cut off no word at all."""
  return (str(error).splitlines() or ["not a whole shard"])[0]


def _record_bytes(record: spec.Record) -> int:
  """Memory of a parsed record, with some allowance for its objects."""
  size = 4096
  for value in record:
    if isinstance(value, list | tuple):  # of JPEGs
      size += sum(len(item) + 64 for item in value)
    elif isinstance(value, np.ndarray):
      size += value.nbytes
  return size
