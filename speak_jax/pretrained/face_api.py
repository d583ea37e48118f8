"""Networks that judge real faces: face-api's files to those that we ship.

The npm package @vladmandic/face-api 1.7.15 (MIT) has each network as a
manifest (JSON: name, shape, kind, and for bytes scale and minimum) and a file
of the arrays one after the other. What is bytes there stays bytes; names and
axes become those of the networks in `speak_jax.models`.
"""

import json
import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from speak_jax.models import face_expression, face_identity, face_landmarks
from speak_jax.models.quantized import Quantized, save
from speak_jax.pretrained.tensors import WeightsError

SOURCE = "npm package @vladmandic/face-api 1.7.15"
_MANIFEST = "{}_model-weights_manifest.json"


class Network(NamedTuple):
  """One of the package's networks."""

  stem: str  # of its files' names
  arrays: int
  licence: str
  target: Path  # where the package has what we ship of it


NETWORKS = {
  "expression": Network(
    "face_expression", 49, "MIT, (c) Vladimir Mandic", face_expression.WEIGHTS
  ),
  "landmarks": Network(
    "face_landmark_68", 49, "MIT, (c) Vladimir Mandic", face_landmarks.WEIGHTS
  ),
  "identity": Network(
    "face_recognition",
    117,
    "weights by Davis King (dlib), public domain (CC0)",
    face_identity.WEIGHTS,
  ),
}

# How an array's name ends: how ours ends, and how its axes are turned.
_Turn = Callable[[np.ndarray], np.ndarray]
_ENDINGS: dict[str, tuple[str, _Turn]] = {
  "depthwise_filter": ("depthwise", lambda x: x[..., 0]),
  "pointwise_filter": ("pointwise", lambda x: x[0, 0]),
  "filters": ("kernel", lambda x: x),
  "fc/weights": ("fc/kernel", lambda x: x),
  "scale/weights": ("gain", lambda x: x),
  "scale/biases": ("shift", lambda x: x),
  "bias": ("bias", lambda x: x),
  "fc": ("fc", lambda x: x),
}


def convert(folder: Path, target: Path) -> list[Path]:
  """Writes the three networks of a folder of the package's files.

  Args:
    folder: Holds the manifests and what they name, as the package's `model`.
    target: Folder of the three safetensors files.

  Returns:
    What was written.

  Raises:
    WeightsError: a file is missing, damaged or of another network.
  """
  made = {
    name: _arrays(folder / _MANIFEST.format(network.stem), network.arrays)
    for name, network in NETWORKS.items()
  }
  written = []
  target.mkdir(parents=True, exist_ok=True)
  for name, arrays in made.items():
    network = NETWORKS[name]
    written.append(target / network.target.name)
    facts = {"source": SOURCE, "network": network.stem}
    save(written[-1], arrays, {**facts, "licence": network.licence})
  return written


def _arrays(path: Path, wanted: int) -> dict[str, np.ndarray | Quantized]:
  """All arrays that a manifest names, by our names."""
  try:
    (group,) = json.loads(path.read_bytes())
    entries, (file,) = group["weights"], group["paths"]
    raw = (path.parent / Path(file).name).read_bytes()
    arrays, start = {}, 0
    for entry in entries:
      name, array, start = _array(entry, raw, start)
      arrays[name] = array
  except OSError as error:
    raise WeightsError(f"{error.filename}: {error.strerror}") from error
  except (ValueError, KeyError, TypeError) as error:
    raise WeightsError(f"{path}: damaged ({error})") from error
  if start != len(raw) or len(arrays) != wanted:
    raise WeightsError(
      f"{path}: {len(arrays)} arrays in {start} of {len(raw)} bytes; this"
      f" network has {wanted}"
    )
  return arrays


def _array(
  entry: dict[str, Any], raw: bytes, start: int
) -> tuple[str, np.ndarray | Quantized, int]:
  """One array, and where the next one begins."""
  quantization = entry.get("quantization")
  kind = np.dtype("<f4") if quantization is None else np.dtype("u1")
  if (entry["dtype"], (quantization or {"dtype": "uint8"})["dtype"]) != (
    "float32",
    "uint8",
  ):
    raise ValueError(f"{entry['name']} is neither float32 nor in bytes")
  shape = entry["shape"]
  values = np.frombuffer(raw, kind, math.prod(shape), start).reshape(shape)
  ending = next(x for x in _ENDINGS if entry["name"].endswith(x))
  ours, turn = _ENDINGS[ending]
  name = re.sub("/conv/", "/", entry["name"].removesuffix(ending) + ours)
  name = name.replace("/scale/", "/")
  array = turn(values)
  if quantization is not None:
    array = Quantized(array, quantization["scale"], quantization["min"])
  return name, array, start + values.nbytes
