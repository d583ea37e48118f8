"""Reads weight files: safetensors and torch's, told apart by what is in them.

Goes in: a path. Comes out: named arrays to be converted. Every size in a file
is checked against the file's own before anything is made of it.
"""

import json
import math
import mmap
import os
import struct
from pathlib import Path
from typing import Any

from speak_jax.pretrained import torch_legacy, torch_zip
from speak_jax.pretrained.tensors import (
  KINDS,
  Tensors,
  WeightsError,
  decode,
  itemsize,
)

MAX_HEADER = 100_000_000  # bytes; the format's own limit
_MAX_INT = 2**48  # no file is so large
_LENGTH = struct.Struct("<Q")

# Name, kind, shape, first byte and the byte after the last of a tensor.
Row = tuple[str, str, tuple[int, ...], int, int]

# Beginnings of what is often found in place of weights.
_MISTAKEN = {
  b"version https://git-lfs": "a Git LFS pointer, run `git lfs pull`",
  b"<": "a web page, download the file itself",
  b"\x89HDF\r\n": "HDF5, save it as .safetensors",
}


def read(path: str | os.PathLike) -> Tensors:
  """All tensors of a .safetensors, .pth, .pt, .bin or .model file.

  Raises:
    WeightsError: no such file, or one that is damaged, of another format or
      would run code; one line, file and reason.
  """
  path = Path(path)
  try:
    if path.exists() and not path.is_file():
      raise WeightsError(f"{path}: no file, name the weight file in it")
    with path.open("rb") as stream:
      head = stream.read(24)
    if not head:
      raise WeightsError(f"{path}: empty file")
    # First, as the length before it may look like any other beginning.
    if head[8:9] == b"{":
      return _safetensors(path)
    for beginning, what in _MISTAKEN.items():
      if head.startswith(beginning):
        raise WeightsError(f"{path}: {what}")
    if head.startswith(b"PK"):
      tensors = torch_zip.read(path)
    elif head.startswith(b"\x80"):
      tensors = torch_legacy.read(path)
    else:
      raise WeightsError(f"{path}: neither safetensors nor torch's zip")
  except OSError as error:
    raise WeightsError(f"{path}: {error.strerror or error}") from error
  return Tensors(tensors, str(path))


def _safetensors(path: Path) -> Tensors:
  """Tensors that look into the mapped file."""
  with path.open("rb") as stream:
    data = memoryview(mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ))
  (length,) = _LENGTH.unpack(data[: _LENGTH.size])
  start = _LENGTH.size + length
  if length > MAX_HEADER or start > len(data):
    raise WeightsError(
      f"{path}: a header of {length} bytes, cut off or damaged"
    )
  header, facts = _header(bytes(data[_LENGTH.size : start]), path)
  tensors, end = {}, 0
  # Sorted by place: what follows must begin where what came before ends.
  for key, kind, shape, begin, stop in sorted(header, key=lambda row: row[3:]):
    if begin != end or stop > len(data) - start:
      raise WeightsError(
        f"{path}: {key} lies at bytes {begin} to {stop}, wanted from {end} on"
        f" in {len(data) - start}"
      )
    if stop - begin != math.prod(shape) * itemsize(kind):
      raise WeightsError(
        f"{path}: {key} of shape {shape} does not fit {stop - begin} bytes"
      )
    raw = data[start + begin : start + stop]
    tensors[key] = decode(raw, kind).reshape(shape)
    end = stop
  if end != len(data) - start:
    raise WeightsError(f"{path}: {len(data) - start - end} bytes of no tensor")
  tensors = {row[0]: tensors[row[0]] for row in header}
  return Tensors(tensors, str(path), facts)


def _header(text: bytes, path: Path) -> tuple[list[Row], dict[str, str]]:
  """What it says of each tensor, and besides."""
  try:
    header = json.loads(text, object_pairs_hook=_unique)
    facts = header.pop("__metadata__", {})
    if not all(isinstance(value, str) for value in facts.values()):
      raise ValueError("its facts are no text")
    return [_row(key, entry) for key, entry in header.items()], facts
  except (
    *(ValueError, TypeError, KeyError, AttributeError, RecursionError),
  ) as error:
    raise WeightsError(f"{path}: damaged header ({error})") from error


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
  made = dict(pairs)
  if len(made) < len(pairs):
    raise ValueError("a name is there twice")
  return made


def _row(key: str, entry: dict[str, Any]) -> Row:
  kind, shape = entry["dtype"], entry["shape"]
  begin, stop = entry["data_offsets"]
  if kind not in KINDS:
    raise ValueError(f"{key} holds {kind}")
  for number in (*shape, begin, stop):
    if type(number) is not int or not 0 <= number < _MAX_INT:
      raise ValueError(f"{key} has a size or place that is none")
  if len(shape) > 32 or math.prod(max(n, 1) for n in shape) > _MAX_INT:
    raise ValueError(f"{key} is larger than any file")
  return key, kind, tuple(shape), begin, stop
