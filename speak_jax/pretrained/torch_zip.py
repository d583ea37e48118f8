"""Reads state dicts from torch's zip files (.pth, .pt, .bin) without torch.

The archive holds FOLDER/data.pkl, which names the tensors (`torch_pickle`
walks through it), and FOLDER/data/KEY, the numbers, stored as they are.
"""

import io
import os
import struct
import zipfile
import zlib

import numpy as np

from speak_jax.pretrained import torch_pickle
from speak_jax.pretrained.tensors import WeightsError
from speak_jax.pretrained.torch_pickle import Storage

MAX_PICKLE = 2**26  # bytes; a tensor takes about 100
_LOCAL = struct.Struct("<4s22xHH")  # mark, lengths of name and extra field
_ORDERS = {b"little": "<", b"big": ">"}


def read(path: str | os.PathLike) -> dict[str, np.ndarray]:
  """Tensors of a state dict by name; bfloat16 comes as float32.

  Raises:
    WeightsError: no zip of torch's, one that is damaged, or one that holds
      more than tensors; nothing in the file is ever run.
  """
  source = os.fspath(path)
  try:
    with zipfile.ZipFile(path) as archive:
      entries = _entries(archive, source)
      order = _order(archive, entries, source)
      pickle = io.BytesIO(archive.read(entries["data.pkl"]))
      loaded = torch_pickle.load(pickle, source)
      views = torch_pickle.state_dict(loaded.root, source)

      def numbers(storage: Storage) -> bytes:
        entry = entries.get(f"data/{storage.key}")
        if entry is None:
          raise WeightsError(f"{source}: storage {storage.key} is missing")
        return archive.read(entry)

      return torch_pickle.arrays(views, numbers, order, source)
  except (
    *(zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError),
    *(struct.error, zlib.error, OverflowError, UnicodeDecodeError),
  ) as error:
    raise WeightsError(f"{source}: damaged zip file ({error})") from error


def _entries(
  archive: zipfile.ZipFile, source: str
) -> dict[str, zipfile.ZipInfo]:
  """The files of the archive by name inside its one folder, all checked."""
  infos = archive.infolist()
  names = (info.filename for info in infos)
  pickle = next((n for n in names if n.endswith("/data.pkl")), None)
  if pickle is None:
    raise WeightsError(f"{source}: a zip file, but not torch's (no data.pkl)")
  folder = pickle.removesuffix("data.pkl")
  entries: dict[str, zipfile.ZipInfo] = {}
  for info in infos:
    name = info.filename
    if not name.startswith(folder) or ".." in name.split("/"):
      raise WeightsError(f"{source}: {name} lies outside the folder {folder}")
    if name.removeprefix(folder) in entries:
      raise WeightsError(f"{source}: {name} is there twice")
    if info.compress_type != zipfile.ZIP_STORED or info.flag_bits & 1:
      raise WeightsError(f"{source}: {name} is packed or locked, not torch's")
    if info.file_size != info.compress_size:
      raise WeightsError(f"{source}: {name} has two sizes")
    entries[name.removeprefix(folder)] = info
  if entries["data.pkl"].file_size > MAX_PICKLE:
    raise WeightsError(f"{source}: data.pkl is larger than {MAX_PICKLE} bytes")
  _check_spans(archive, infos, source)
  return entries


def _check_spans(
  archive: zipfile.ZipFile, infos: list[zipfile.ZipInfo], source: str
) -> None:
  """No two files share bytes, so that they are no larger than the archive."""
  stream = archive.fp
  assert stream is not None
  end, before = 0, "the beginning"
  for info in sorted(infos, key=lambda info: info.header_offset):
    stream.seek(info.header_offset)
    mark, name, extra = _LOCAL.unpack(stream.read(_LOCAL.size))
    if mark != b"PK\3\4":
      raise WeightsError(f"{source}: {info.filename} has no header")
    if info.header_offset < end:
      raise WeightsError(f"{source}: {info.filename} overlaps {before}")
    end = info.header_offset + _LOCAL.size + name + extra + info.file_size
    before = info.filename
  if end > archive.start_dir:
    raise WeightsError(f"{source}: {before} runs over its end")


def _order(
  archive: zipfile.ZipFile, entries: dict[str, zipfile.ZipInfo], source: str
) -> str:
  """Byte order of the numbers; old files do not say, and are little endian."""
  if "byteorder" not in entries:
    return "<"
  order = _ORDERS.get(archive.read(entries["byteorder"]))
  if order is None:
    raise WeightsError(f"{source}: byteorder is neither little nor big")
  return order
