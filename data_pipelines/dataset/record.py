"""The record as bytes: a `tf.train.Example`, encoded, decoded and checked."""

import functools
import math
import zlib
from typing import Any

import numpy as np
import tensorflow_datasets as tfds
from jaxtyping import UInt8
from tensorflow_datasets.core import example_serializer
from tensorflow_datasets.proto import tf_example_pb2

from data_pipelines.dataset import ranges
from data_pipelines.dataset.pictures import decode_frame
from speak_jax import spec

NO_MOUTHS = spec.Record._field_defaults["mouths"]
NO_MESH = spec.Record._field_defaults["mesh"]

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
  check(record)
  values = record._asdict()
  values[ranges.SOUND_LEVEL] = spec.sound_level(record.audio)[None]
  values[ranges.GREY] = values.pop("mouths").reshape(-1)
  for name, (dtype, _) in _ARRAYS.items():
    values[name] = np.asarray(values[name], dtype)
  counts = ranges.Counts(
    len(record.frames),
    record.fps,
    mouths=len(record.mouths),
    twins=len(record.twin_index),
    meshes=len(record.mesh),
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
  features = proto.Example.FromString(data).features.feature
  values: dict[str, Any] = {"fps": features["fps"].float_list.value[0]}
  for name in _TEXTS:
    if name in features:
      values[name] = features[name].bytes_list.value[0].decode()
  for name in _INTEGERS:
    if name in features:
      values[name] = features[name].int64_list.value[0]
  for name in _JPEGS:
    if name in features:
      values[name] = list(features[name].bytes_list.value)
  values["mouths"] = _mouths(features, len(values["frames"]))
  for name, (dtype, shape) in _ARRAYS.items():
    if name in _DERIVED:
      continue
    if name == "mesh" and name not in features:
      continue  # it came with format 1.5.0
    if shape.count(None) > 1:
      raw = zlib.decompress(features[f"{name}/value"].bytes_list.value[0])
      shape = tuple(features[f"{name}/shape"].int64_list.value)
    else:
      raw = features[name].bytes_list.value[0]
      shape = tuple(-1 if n is None else n for n in shape)
    values[name] = np.frombuffer(raw, dtype).reshape(shape)
  return spec.Record(**values)


def _mouths(features: Any, frames: int) -> UInt8[np.ndarray, "m s s"]:
  """Mouths of a parsed example, of any format."""
  if ranges.GREY in features:
    raw = np.frombuffer(features[ranges.GREY].bytes_list.value[0], np.uint8)
    side = math.isqrt(len(raw) // max(frames, 1))
    return raw.reshape(frames, side, side) if len(raw) else NO_MOUTHS
  jpegs = features["mouths"].bytes_list.value if "mouths" in features else ()
  if not jpegs:
    return NO_MOUTHS
  return np.stack([decode_frame(jpeg, grey=True) for jpeg in jpegs])


@functools.cache
def _serializer() -> example_serializer.ExampleSerializer:
  info: Any = features().get_serialized_info()
  return example_serializer.ExampleSerializer(info)


def check(record: spec.Record) -> None:
  """Refuses a record that breaks the contract of `spec.Record`.

  Raises:
    ValueError: names the clip and the field.
  """
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
    "mesh": (len(record.mesh), n if len(record.mesh) else 0),
  }
  if not n:
    raise ValueError(f"{record.clip}: no frames")
  for name, (got, want) in lengths.items():
    if got != want:
      raise ValueError(f"{record.clip}: {name} has length {got}, not {want}")
  if record.mouths.shape[1] != record.mouths.shape[2]:
    raise ValueError(f"{record.clip}: mouths are not square")
  if record.mesh.shape[1:] != (468, 3) or record.mesh.dtype != np.int16:
    raise ValueError(f"{record.clip}: mesh is not int16 (m, 468, 3)")
  if len(record.factors) not in (0, n):
    raise ValueError(f"{record.clip}: factors are not one row a frame")
  if not -1 <= record.emotion < len(spec.EMOTIONS):
    raise ValueError(f"{record.clip}: emotion {record.emotion} is unknown")
