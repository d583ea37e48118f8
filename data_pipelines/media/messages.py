"""Messages from a process that decodes: JSON, and an array if there is one.

A message is the sizes of both in bytes, the JSON, the array's memory.
"""

import json
import math
import os
import select
import struct
from typing import Any

import numpy as np

from data_pipelines.media import limits
from data_pipelines.media.error import MediaError

_SIZES = struct.Struct("<II")  # bytes of a message's JSON and of its array
_MOST_JSON = 1 << 20
_DTYPES = {"|u1": np.uint8, "<i2": np.int16, "<f4": np.float32}


def send(
  pipe: int, message: dict[str, Any], array: np.ndarray | None = None
) -> None:
  """Writes a message.

  Args:
    pipe: Its file descriptor.
    message: Plain data; of an array "kind" is "array", and "shape" and "dtype"
      are said.
    array: Of one of the types in _DTYPES.

  Raises:
    BrokenPipeError: Nobody reads.
  """
  text = json.dumps(message).encode()
  size = 0 if array is None else array.nbytes
  parts = [memoryview(_SIZES.pack(len(text), size) + text)]
  if array is not None:
    parts.append(_bytes(array))
  for part in parts:
    while part:
      part = part[os.write(pipe, part) :]


def receive(
  path: str | os.PathLike, pipe: int
) -> tuple[dict[str, Any], np.ndarray | None]:
  """Reads the next message, empty where the child is gone, and its array.

  Args:
    path: File that is decoded, for errors.
    pipe: File descriptor that the child writes into.

  Raises:
    MediaError: No answer within `limits.LIMITS.wait_s`, or nonsense.
  """
  text, size = _SIZES.unpack(_read(path, pipe, _SIZES.size) or bytes(8))
  # The child has read a hostile file: it is not believed either.
  if text > _MOST_JSON or size > limits.LIMITS.memory_bytes:
    raise MediaError(path, "the decoder is out of its mind")
  raw = _read(path, pipe, text)
  if not raw:
    return {}, None
  message = json.loads(bytes(raw))
  if message["kind"] != "array":
    return message, None
  shape, dtype = message["shape"], np.dtype(_DTYPES[message["dtype"]])
  if math.prod(shape) * dtype.itemsize != size:
    raise MediaError(path, "the decoder is out of its mind")
  array = np.empty(shape, dtype)
  whole = _read(path, pipe, size, _bytes(array))
  return (message, array) if whole is not None else ({}, None)


def _read(
  path: str | os.PathLike,
  pipe: int,
  size: int,
  into: memoryview | None = None,
) -> memoryview | None:
  """Reads exactly `size` bytes; None if the pipe ends before."""
  into = memoryview(bytearray(size)) if into is None else into
  wait_ms = round(limits.LIMITS.wait_s * 1000)
  poll = select.poll()
  poll.register(pipe, select.POLLIN)
  done = 0
  while done < size:
    if not poll.poll(wait_ms):
      reason = f"not decoded within {limits.LIMITS.wait_s:g} s"
      raise MediaError(path, reason)
    count = os.readv(pipe, [into[done:]])
    if count == 0:
      return None
    done += count
  return into


def _bytes(array: np.ndarray) -> memoryview:
  """The memory of an array; of a copy, if it lies in pieces."""
  return np.ascontiguousarray(array).reshape(-1).view(np.uint8).data
