"""Reads weight files: safetensors and torch's, told apart by what is in them.

Goes in: a path. Comes out: named arrays to be converted. Every size in a file
is checked against the file's own before anything is made of it: those of
safetensors by its library, those of torch here.
"""

import json
import os
import struct
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open

from speak_jax.common.files import LFS_POINTER
from speak_jax.pretrained import torch_legacy, torch_zip
from speak_jax.pretrained.tensors import KINDS, Tensors, WeightsError, decode

# Beginnings of what is often found in place of weights.
_MISTAKEN = {
  LFS_POINTER: "a Git LFS pointer, run `git lfs pull`",
  b"<": "a web page, download the file itself",
  b"\x89HDF\r\n": "HDF5, save it as .safetensors",
}


def read(path: str | os.PathLike) -> Tensors:
  """Reads all tensors of a .safetensors, .pth, .pt, .bin or .model file.

  Args:
    path: Its content tells the format, its name is not looked at.

  Raises:
    WeightsError: No such file, or one that is damaged, of another format or
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
  """Reads what the library finds whole, and what an array can be."""
  tensors = {}
  try:
    with safe_open(path, framework="numpy") as file:
      facts = file.metadata() or {}
      for key in file.offset_keys():
        kind = file.get_slice(key).get_dtype()
        if kind not in KINDS:
          raise ValueError(f"{key} holds {kind}")
        tensor = file.get_tensor(key)
        tensors[key] = _widened(tensor) if kind == "BF16" else tensor
    _check_names(path)
  except (SafetensorError, ValueError) as error:
    raise WeightsError(f"{path}: damaged ({error})") from error
  return Tensors(tensors, str(path), facts)


def _widened(tensor: np.ndarray) -> np.ndarray:
  """Returns bfloat16 as float32, which holds all of it."""
  return decode(tensor.tobytes(), "BF16").reshape(tensor.shape)


def _check_names(path: Path) -> None:
  """Refuses a name that is there twice, of which the library takes one.

  Raises:
    ValueError: Naming it.
  """

  def unique(pairs: list[tuple[str, Any]]) -> None:
    names = [name for name, _ in pairs]
    if len(set(names)) < len(names):
      raise ValueError(f"{max(names, key=names.count)} is there twice")

  with path.open("rb") as stream:
    (length,) = struct.unpack("<Q", stream.read(8))
    json.loads(stream.read(length), object_pairs_hook=unique)
