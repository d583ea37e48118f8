"""Writes files as torch does, without torch, good ones and bad ones."""

import io
import pickle
import struct
import zipfile
from collections import OrderedDict
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

CLASSES = {
  "f8": "DoubleStorage",
  "f4": "FloatStorage",
  "f2": "HalfStorage",
  "i8": "LongStorage",
  "u1": "ByteStorage",
  "b1": "BoolStorage",
}
MAGIC = 0x1950A86A20F9469CFC6C


class Name:
  """A global, written without being looked up."""

  def __init__(self, name: str):
    self.module, self.name = name.rsplit(".", 1)

  def __call__(self):
    raise AssertionError("only its name counts")


class Storage:
  def __init__(self, numbers, key: str, name: str | None = None):
    self.numbers, self.key = np.asarray(numbers), key
    self.name = name or CLASSES[self.numbers.dtype.str[1:]]
    self.numel: Any = self.numbers.size


class Tensor(NamedTuple):
  storage: Storage
  offset: Any
  shape: Any
  strides: Any


class Call(NamedTuple):
  function: Any
  arguments: Any


class Pickler(pickle._Pickler):  # pyright: ignore[reportAttributeAccessIssue]
  def __init__(self, stream, protocol: int, stack_global: bool, legacy: bool):
    super().__init__(stream, protocol)
    self.stack_global, self.legacy = stack_global, legacy
    self.storages: dict[str, Storage] = {}

  def persistent_id(self, obj):
    if isinstance(obj, Storage):
      self.storages[obj.key] = obj
      kind = Name(f"torch.{obj.name}")
      fields = ("storage", kind, obj.key, "cpu", obj.numel)
      return (*fields, None) if self.legacy else fields
    return None

  def save(self, obj, save_persistent_id=True):
    if isinstance(obj, Name):
      if self.stack_global:
        self.save(obj.module)
        self.save(obj.name)
        self.write(pickle.STACK_GLOBAL)
      else:
        self.write(f"c{obj.module}\n{obj.name}\n".encode())
    elif isinstance(obj, Tensor):
      rebuild = Name("torch._utils._rebuild_tensor_v2")
      self.save_reduce(rebuild, (*obj, False, OrderedDict()))
    elif isinstance(obj, Call):
      self.save_reduce(obj.function, obj.arguments)
    else:
      super().save(obj, save_persistent_id)


def tensor(array, key: str, name: str | None = None) -> Tensor:
  """A whole array as torch would keep it."""
  array = np.asarray(array)
  strides = tuple(s // array.itemsize for s in array.strides)
  return Tensor(Storage(array.ravel("K"), key, name), 0, array.shape, strides)


def state(**arrays) -> dict[str, Tensor]:
  """A state dict of arrays by name."""
  return {
    name: tensor(array, str(i))
    for i, (name, array) in enumerate(arrays.items())
  }


def dumps(
  root: Any, protocol: int = 2, stack_global: bool = False, legacy: bool = False
) -> tuple[bytes, dict[str, Storage]]:
  stream = io.BytesIO()
  pickler = Pickler(stream, protocol, stack_global, legacy)
  pickler.dump(root)
  return stream.getvalue(), pickler.storages


def entries(root: Any, **options: Any) -> dict[str, bytes]:
  """The files of the archive, by name."""
  text, storages = dumps(root, **options)
  return {
    "archive/data.pkl": text,
    "archive/byteorder": b"little",
    **{f"archive/data/{k}": s.numbers.tobytes() for k, s in storages.items()},
    "archive/version": b"3\n",
  }


def write_zip(
  path: Path, files: dict[str, bytes], packing: int = zipfile.ZIP_STORED
) -> Path:
  with zipfile.ZipFile(path, "w", packing) as archive:
    for name, content in files.items():
      archive.writestr(name, content)
  return path


def legacy_bytes(root: Any) -> bytes:
  """The five pickles and the numbers, as before torch 1.6."""
  text, storages = dumps(root, legacy=True)
  head = (MAGIC, 1001, {"protocol_version": 1001, "little_endian": True})
  parts = [*(pickle.dumps(x, 2) for x in head), text]
  parts.append(pickle.dumps(list(storages), 2))
  for storage in storages.values():
    parts += [struct.pack("<q", storage.numel), storage.numbers.tobytes()]
  return b"".join(parts)
