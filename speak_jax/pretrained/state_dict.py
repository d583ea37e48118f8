"""PyTorch's state dicts, taken apart into the variables of our networks.

A method for each kind of layer: tensors of its keys go under its name, with
their axes in our order.
"""

import math
from collections.abc import Iterable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from einops import rearrange
from flax import traverse_util
from jaxtyping import Float32

from speak_jax.pretrained.tensors import Converted, Tensors, WeightsError

_SEVERAL = "module."  # what keys begin with where several devices trained


class StateDict:
  """A state dict that is being taken apart into the variables of a network.

  Keys are without the prefix; names are paths in the variables.

  Attributes:
    prefix: Of every key.
  """

  @classmethod
  def of_run(cls, tensors: Tensors) -> "StateDict":
    """A file that training has saved, on one device or on several.

    Where there were several, every key begins with "module.".
    """
    several = all(key.startswith(_SEVERAL) for key in tensors)
    return cls(tensors, _SEVERAL if several else "")

  def __init__(self, tensors: Tensors, prefix: str = ""):
    """Begins with nothing taken.

    Args:
      tensors: All that the file holds.
      prefix: Of every key.
    """
    self._tensors, self.prefix = tensors, prefix
    self._variables: dict[str, np.ndarray] = {}  # by kind/name/leaf

  def __contains__(self, key: str) -> bool:
    """Whether the file has a key."""
    return self.prefix + key in self._tensors

  def wrong(self, what: str) -> WeightsError:
    """An error that names the file."""
    return WeightsError(f"{self._tensors.source}: {what}")

  def sides(self, key: str, axes: int) -> tuple[int, ...]:
    """Shape of a tensor of so many axes."""
    shape = self._tensors.shape(self.prefix + key)
    if len(shape) != axes:
      raise self.wrong(f"{key} has shape {shape}, wanted {axes} axes")
    return shape

  def conv(
    self,
    key: str,
    name: str,
    shape: tuple[int, int],
    size: int = 3,
    bias: bool = False,
  ) -> None:
    """A convolution of (out, in) channels."""
    sides = {"o": shape[0], "i": shape[1], "h": size, "w": size}
    self._kernel(key, name, "o i h w", sides, bias)

  def norm(self, key: str, name: str, width: int) -> None:
    """A batch norm."""
    params, stats = (
      {ours: self._take(f"{key}.{theirs}", (width,)) for ours, theirs in pairs}
      for pairs in (
        (("scale", "weight"), ("bias", "bias")),
        (("mean", "running_mean"), ("var", "running_var")),
      )
    )
    self.drop([f"{key}.num_batches_tracked"])
    self._put("params", f"{name}/batch", params)
    self._put("batch_stats", f"{name}/batch", stats)

  def conv_norm(
    self,
    key: str,
    name: str,
    shape: tuple[int, int],
    size: int = 3,
    *,
    parts: tuple[str, str] = ("0", "1"),
    bias: bool = False,
  ) -> None:
    """A convolution and its batch norm, by the names of these `parts`."""
    self.conv(f"{key}.{parts[0]}", f"{name}/conv", shape, size, bias)
    self.norm(f"{key}.{parts[1]}", f"{name}/norm", shape[0])

  def conv1d(
    self, key: str, name: str, shape: tuple[int, int], size: int
  ) -> None:
    """A 1-D convolution of (out, in) channels."""
    sides = {"o": shape[0], "i": shape[1], "w": size}
    self._kernel(key, name, "o i w", sides, bias=True)

  def deconv(
    self,
    key: str,
    name: str,
    shape: tuple[int, int],
    size: int = 3,
    *,
    bias: bool = False,
  ) -> None:
    """A transposed convolution of (in, out) channels."""
    sides = {"i": shape[0], "o": shape[1], "h": size, "w": size}
    self._kernel(key, name, "i o h w", sides, bias)

  def up(
    self,
    sequence: str,
    number: int,
    name: str,
    shape: tuple[int, int],
    bias: bool = False,
  ) -> None:
    """A transposed convolution of (in, out) channels and its batch norm."""
    self.deconv(f"{sequence}.{number}", name, shape, bias=bias)
    self.norm(f"{sequence}.{number + 1}", f"{name}/norm", shape[1])

  def dense(self, key: str, name: str, shape: tuple[int, int]) -> None:
    """A dense layer of (out, in) numbers."""
    self._put(
      "params",
      name,
      {
        "kernel": self._take(f"{key}.weight", shape).T,
        "bias": self._take(f"{key}.bias", shape[:1]),
      },
    )

  def dense_of_map(
    self, key: str, name: str, shape: tuple[int, int], places: tuple[int, int]
  ) -> None:
    """A dense layer of a flattened map: channels first there, last here."""
    flat = shape[1] * math.prod(places)
    kernel = self._take(f"{key}.weight", (shape[0], flat))
    rows, columns = places
    kernel = rearrange(kernel, "o (c h w) -> (h w c) o", h=rows, w=columns)
    bias = self._take(f"{key}.bias", shape[:1])
    self._put("params", name, {"kernel": kernel, "bias": bias})

  def lstm(self, key: str, name: str, width: int, before: int) -> int:
    """All layers of an LSTM, whose two biases add; how many there are."""
    leaves, layers = {}, 0
    while f"{key}.weight_ih_l{layers}" in self:
      i, gates = layers, 4 * width
      inward = self._take(f"{key}.weight_ih_l{i}", (gates, before))
      back = self._take(f"{key}.weight_hh_l{i}", (gates, width))
      leaves |= {
        f"input{i}": inward.T,
        f"recurrent{i}": back.T,
        f"bias{i}": self._take(f"{key}.bias_ih_l{i}", (gates,))
        + self._take(f"{key}.bias_hh_l{i}", (gates,)),
      }
      before, layers = width, layers + 1
    self._put("params", name, leaves)
    return layers

  def gru(self, key: str, name: str, shape: tuple[int, int]) -> None:
    """A convolutional GRU of (state, in) channels; its biases stay apart."""
    width, before = shape
    gates, leaves = 3 * width, {}
    for ours, theirs, inputs in (
      ("input", "ih", before),
      ("recurrent", "hh", width),
    ):
      kernel = self._take(f"{key}.weight_{theirs}_l0", (gates, inputs, 3, 3))
      leaves[ours] = rearrange(kernel, "o i h w -> h w i o")
      leaves[f"{ours}_bias"] = self._take(f"{key}.bias_{theirs}_l0", (gates,))
    self._put("params", name, leaves)

  def drop(self, keys: Iterable[str]) -> None:
    """Names keys that nothing uses; those not there are fine."""
    self._tensors.drop(self.prefix + key for key in keys)

  def finish(self, sizes: dict[str, Any]) -> Converted:
    """All that was taken, once nothing is left."""
    variables = traverse_util.unflatten_dict(self._variables, sep="/")
    return Converted(variables, sizes, {}, self._tensors.finish())

  def _kernel(
    self, key: str, name: str, axes: str, sides: dict[str, int], bias: bool
  ) -> None:
    """A convolution whose kernel has these axes in the file."""
    ours = " ".join(axis for axis in "hwio" if axis in sides)
    kernel = self._take(f"{key}.weight", tuple(sides[x] for x in axes.split()))
    leaves = {"kernel": rearrange(kernel, f"{axes} -> {ours}")}
    if bias:
      leaves["bias"] = self._take(f"{key}.bias", (sides["o"],))
    self._put("params", name, leaves)

  def _take(
    self, key: str, shape: tuple[int, ...]
  ) -> Float32[np.ndarray, "..."]:
    return self._tensors.take(self.prefix + key, shape)

  def _put(self, kind: str, name: str, leaves: dict[str, np.ndarray]) -> None:
    self._variables |= {f"{kind}/{name}/{k}": x for k, x in leaves.items()}


def exactly(function: Any) -> Any:
  """One program whose products are of float32 everywhere."""

  @jax.jit
  def run(*arrays: Any) -> Any:
    with jax.default_matmul_precision("highest"):
      return function(*arrays)

  return run


def f32(array: np.ndarray) -> jax.Array:
  """On the device."""
  return jnp.asarray(array, jnp.float32)
