"""A checkpoint's tensors while they are being converted: each is used once."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np

# Kinds of numbers in weight files, named as safetensors names them, and how
# they lie in the file. BF16 is the upper half of a float32.
KINDS = {
  "F64": "f8",
  "F32": "f4",
  "F16": "f2",
  "BF16": "u2",
  "I64": "i8",
  "I32": "i4",
  "I16": "i2",
  "I8": "i1",
  "U64": "u8",
  "U32": "u4",
  "U16": "u2",
  "U8": "u1",
  "BOOL": "u1",
}
_LINE = 500  # characters of a message: names come from the file


class WeightsError(ValueError):
  """Weights that cannot be read or do not fit; one line, file and reason."""

  def __init__(self, line: str):
    super().__init__(
      "".join(c if c.isprintable() else "?" for c in line[:_LINE])
    )


def itemsize(kind: str) -> int:
  """Bytes of one number of a kind in KINDS."""
  return np.dtype(KINDS[kind]).itemsize


def decode(raw: bytes | memoryview, kind: str, order: str = "<") -> np.ndarray:
  """Numbers as they lie in a weight file, one axis, not to be written to.

  Args:
    raw: Whole numbers of `kind`.
    kind: In KINDS; BF16 comes out as float32, which holds all of it.
    order: "<" little or ">" big endian.
  """
  numbers = np.frombuffer(raw, np.dtype(order + KINDS[kind]))
  if kind == "BF16":
    return (numbers.astype(np.uint32) << np.uint32(16)).view(np.float32)
  if kind == "BOOL":
    return numbers != 0
  return numbers


class Converted(NamedTuple):
  """A public checkpoint as one of our networks takes it."""

  variables: dict[str, Any]  # Linen's: {"params": tree, ...}, float32
  sizes: dict[str, Any]  # the network's attributes, read off the shapes
  head: dict[str, np.ndarray]  # what only the original's own task needs
  unused: tuple[str, ...]  # keys that inference has no use for


class Tensors:
  """Named tensors; every one is taken once or dropped by name.

  Attributes:
    source: The file, for messages.
    facts: What else a .safetensors file says.
  """

  def __init__(
    self,
    tensors: Mapping[str, np.ndarray],
    source: str,
    facts: Mapping[str, str] | None = None,
  ):
    """Wraps a checkpoint as read from `source`."""
    self.source = source
    self.facts = dict(facts or {})
    self._all = dict(tensors)
    self._taken: set[str] = set()
    self._dropped: list[str] = []

  def __contains__(self, key: str) -> bool:
    """Whether the checkpoint has the key, taken or not."""
    return key in self._all

  def __iter__(self) -> Iterator[str]:
    return iter(self._all)

  def keys(self) -> list[str]:
    """All keys, in the file's order."""
    return list(self._all)

  def shape(self, key: str) -> tuple[int, ...]:
    """Shape of a tensor, without taking it.

    Raises:
      WeightsError: no such key.
    """
    return self._find(key).shape

  def peek(self, key: str) -> np.ndarray:
    """A tensor as the file has it, without taking it.

    Raises:
      WeightsError: no such key.
    """
    return self._find(key)

  def take(self, key: str, shape: tuple[int, ...] | None = None) -> np.ndarray:
    """A tensor as float32.

    Args:
      key: As in the file.
      shape: What it must have, in the file's layout; None: any.

    Raises:
      WeightsError: no such key, taken before, another shape, not numbers, or
        numbers that are not finite.
    """
    tensor = self._find(key)
    if key in self._taken:
      raise WeightsError(f"{self.source}: {key} is used twice")
    if shape is not None and tensor.shape != tuple(shape):
      raise WeightsError(
        f"{self.source}: {key} has shape {tensor.shape}, wanted {tuple(shape)}"
      )
    if not np.issubdtype(tensor.dtype, np.floating):
      raise WeightsError(f"{self.source}: {key} holds {tensor.dtype}, no reals")
    tensor = tensor.astype(np.float32)
    if not np.isfinite(tensor).all():
      raise WeightsError(f"{self.source}: {key} holds numbers not finite")
    self._taken.add(key)
    return tensor

  def drop(self, keys: Iterable[str]) -> None:
    """Names keys that inference has no use for; those not there are fine."""
    for key in keys:
      if key in self._all and key not in self._taken:
        self._taken.add(key)
        self._dropped.append(key)

  def finish(self) -> tuple[str, ...]:
    """The dropped keys; to be called when all else was taken.

    Raises:
      WeightsError: keys are left that nothing used.
    """
    left = [key for key in self._all if key not in self._taken]
    if left:
      more = f" and {len(left) - 1} more" if len(left) > 1 else ""
      raise WeightsError(f"{self.source}: unknown key {left[0]}{more}")
    return tuple(self._dropped)

  def _find(self, key: str) -> np.ndarray:
    if key not in self._all:
      raise WeightsError(f"{self.source}: key {key} is missing")
    return self._all[key]
