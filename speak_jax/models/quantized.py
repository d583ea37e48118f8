"""Weights of a network in bytes: a file a quarter as large as float32.

A safetensors file whose uint8 arrays stand for minimum + scale x byte, as the
networks of TensorFlow.js are published. Minimum and scale of each are in the
file's facts, as JSON; arrays of another kind are what they are.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from flax import traverse_util
from jaxtyping import UInt8
from safetensors import SafetensorError, safe_open
from safetensors import numpy as safetensors

from speak_jax.common import files

RANGES = "ranges"  # the fact that holds them


class Quantized(NamedTuple):
  """An array in bytes."""

  values: UInt8[np.ndarray, "..."]
  scale: float
  minimum: float

  def floats(self) -> np.ndarray:
    """Reads it as float32."""
    return (self.values * np.float64(self.scale) + self.minimum).astype("f4")


def save(
  path: Path,
  arrays: Mapping[str, np.ndarray | Quantized],
  facts: Mapping[str, str],
) -> None:
  """Writes arrays, whole or not at all.

  Args:
    path: The file.
    arrays: By name, such as "fc/kernel".
    facts: What else the file says, such as where the arrays are from.
  """
  ranges = {
    name: [x.scale, x.minimum]
    for name, x in arrays.items()
    if isinstance(x, Quantized)
  }
  plain = {
    name: np.ascontiguousarray(x.values if isinstance(x, Quantized) else x)
    for name, x in arrays.items()
  }
  said = {**facts, RANGES: json.dumps(ranges)}
  files.write(path, safetensors.save(plain, said))


def load(path: Path) -> dict[str, Any]:
  """Reads arrays as float32, in a tree by the parts of their names.

  Raises:
    ValueError: no such file, or a damaged one; one line.
  """
  if not path.is_file():
    raise ValueError(f"{path}: missing")
  try:
    with safe_open(path, framework="numpy") as file:
      ranges = json.loads((file.metadata() or {})[RANGES])
      arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
  except (SafetensorError, ValueError, KeyError) as error:
    raise ValueError(f"{path}: damaged ({error})") from error
  read = {
    name: Quantized(x, *ranges[name]).floats() if name in ranges else x
    for name, x in arrays.items()
  }
  return traverse_util.unflatten_dict(read, sep="/")
