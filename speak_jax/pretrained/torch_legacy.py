"""Reads state dicts from files that torch wrote before its version 1.6.

Much of what is public is of that time: torchvision's VGG-19, SyncNet. Such a
file is five pickles (a magic number, a version, the machine's byte order, the
object, the keys of its storages) and then, storage by storage, how many
numbers it has and the numbers. `torch_pickle` walks through the pickles.
"""

import os
import struct
from io import BufferedReader, BytesIO
from pathlib import Path
from typing import Any

import numpy as np

from speak_jax.pretrained import torch_pickle
from speak_jax.pretrained.tensors import WeightsError, itemsize
from speak_jax.pretrained.torch_pickle import Storage

MAGIC = 0x1950A86A20F9469CFC6C
VERSION = 1001
_COUNT = struct.Struct("<q")


def read(path: str | os.PathLike) -> dict[str, np.ndarray]:
  """Tensors of a state dict by name; bfloat16 comes as float32.

  Raises:
    WeightsError: not such a file, one that is damaged, or one that holds more
      than tensors; nothing in the file is ever run.
  """
  source = os.fspath(path)
  with Path(path).open("rb") as stream:
    head = [torch_pickle.load(stream, source).root for _ in range(3)]
    if head[0] != MAGIC or head[1] != VERSION or not isinstance(head[2], dict):
      raise WeightsError(
        f"{source}: a pickle, but not torch's; save it as .safetensors"
      )
    if head[2].get("little_endian") is not True:
      raise WeightsError(f"{source}: written by a big-endian machine")
    loaded = torch_pickle.load(stream, source)
    keys = torch_pickle.load(stream, source).root
    places = _places(stream, keys, loaded.storages, source)
    views = torch_pickle.state_dict(loaded.root, source)

    def numbers(storage: Storage) -> bytes:
      stream.seek(places[storage.key])
      return stream.read(storage.numel * itemsize(storage.kind))

    return torch_pickle.arrays(views, numbers, "<", source)


def _places(
  stream: BytesIO | BufferedReader,
  keys: Any,
  storages: dict[str, Storage],
  source: str,
) -> dict[str, int]:
  """Where each storage's numbers begin; they must fill the file's rest."""
  if not isinstance(keys, list) or not all(isinstance(k, str) for k in keys):
    raise WeightsError(f"{source}: no list of storages behind its pickle")
  if sorted(keys) != sorted(storages):
    raise WeightsError(f"{source}: its list of storages is not that of tensors")
  places = {}
  place = stream.tell()
  size = stream.seek(0, os.SEEK_END)
  for key in keys:
    stream.seek(place)
    count = stream.read(_COUNT.size)
    storage = storages[key]
    places[key] = place + _COUNT.size
    place = places[key] + storage.numel * itemsize(storage.kind)
    if place > size:
      raise WeightsError(f"{source}: cut off in storage {key}")
    if _COUNT.unpack(count) != (storage.numel,):
      raise WeightsError(f"{source}: storage {key} has two sizes")
  if place != size:
    raise WeightsError(f"{source}: {size - place} bytes too many")
  return places
