"""Layers of the twins in plain PyTorch, and how they take our weights.

Children and parameters are called as in our networks, so that `load` finds
them by name and only transposes. Pictures are (b, c, h, w) within.
"""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from flax.traverse_util import flatten_dict
from torch import Tensor, nn
from torch.nn import functional as F

# What our networks call a parameter of PyTorch's layers.
_PRODUCTS = {"weight": "kernel", "bias": "bias"}
_NORMS = {
  "weight": "scale",
  "bias": "bias",
  "running_mean": "mean",
  "running_var": "var",
}
_TRANSPOSED = nn.ConvTranspose2d
_MULTIPLY = (nn.Conv2d, nn.Linear, _TRANSPOSED)


def load(twin: nn.Module, variables: Mapping[str, Any]) -> None:
  """Gives a twin our weights and running statistics.

  Args:
    twin: Its parameters and buffers are written over.
    variables: Of the network that it is the twin of.

  Raises:
    ValueError: a weight of ours that the twin has no use for.
    KeyError: one of the twin's that we do not have.
  """
  left = _flat(variables)
  with torch.no_grad():
    for name, value in twin.state_dict().items():
      if not name.endswith("num_batches_tracked"):
        path, owner = _ours(twin, name)
        value.copy_(_turned(left.pop(path), owner))
  if left:
    raise ValueError(f"the twin has no {', '.join(map('/'.join, left))}")


def gradients(
  twin: nn.Module, ours: Mapping[str, Any]
) -> dict[str, tuple[Tensor, Tensor]]:
  """Both gradients of each parameter, by the twin's names.

  Args:
    twin: Whose backward pass has run.
    ours: Gradients of {"params": parameters}.
  """
  flat, found = _flat(ours), {}
  for name, value in twin.named_parameters():
    path, owner = _ours(twin, name)
    assert value.grad is not None, f"{name} has no gradient"
    found[name] = _turned(flat[path], owner), value.grad
  return found


def _flat(variables: Mapping[str, Any]) -> dict[tuple[str, ...], Any]:
  """{path without the collection: array}."""
  return {
    path: array
    for collection in variables.values()
    for path, array in flatten_dict(collection).items()
  }


def _ours(twin: nn.Module, name: str) -> tuple[tuple[str, ...], nn.Module]:
  """Where a parameter lies in our tree, and whose it is in the twin."""
  *path, leaf = name.split(".")
  owner = twin.get_submodule(".".join(path))
  if isinstance(owner, _MULTIPLY):
    leaf = _PRODUCTS[leaf]
  elif isinstance(owner, nn.GroupNorm | nn.LayerNorm | nn.BatchNorm2d):
    leaf = _NORMS[leaf]
  return (*path, leaf), owner


def _turned(array: Any, owner: nn.Module) -> Tensor:
  """A parameter with its axes as PyTorch has them."""
  x = torch.from_numpy(np.array(array))
  if x.ndim == 4:
    orders = (2, 3, 0, 1) if isinstance(owner, _TRANSPOSED) else (3, 2, 0, 1)
    return x.permute(orders)
  return x.mT if isinstance(owner, nn.Linear) and x.ndim == 2 else x


def numbers(*shape: int) -> nn.Parameter:
  """A parameter of a module itself, to be filled by `load`."""
  return nn.Parameter(torch.zeros(shape))


def conv(
  inputs: int, features: int, size: int = 3, stride: int = 1, bias: bool = True
) -> nn.Conv2d:
  """A convolution of an odd size that keeps the picture's."""
  return nn.Conv2d(inputs, features, size, stride, size // 2, bias=bias)


class Norm(nn.Module):
  """Group or batch normalisation under the name of its kind."""

  def __init__(self, kind: str, channels: int):
    super().__init__()
    self.kind = kind
    if kind == "group":
      self.group = group_norm(channels)
    else:
      self.batch = nn.BatchNorm2d(channels)

  def forward(self, x: Tensor) -> Tensor:
    return self.group(x) if self.kind == "group" else self.batch(x)


def group_norm(channels: int) -> nn.GroupNorm:
  """Of as many groups as ours."""
  return nn.GroupNorm(math.gcd(channels, 32), channels)


class Sequence(nn.Module):
  """Dense layers `dense0`, `dense1`, ... and what follows each of them."""

  def __init__(self, inputs: int, widths: tuple[int, ...], follows: Any):
    super().__init__()
    self.follows = follows
    for i, width in enumerate(widths):
      self.add_module(f"dense{i}", nn.Linear(inputs, width))
      inputs = width

  def forward(self, x: Tensor) -> Tensor:
    for layer in self.children():
      x = self.follows(layer(x))
    return x


def leaky(x: Tensor) -> Tensor:
  """Leaky ReLU of slope .2 that keeps the variance of a unit normal."""
  return F.leaky_relu(x, 0.2) * 2**0.5


def last(x: Tensor) -> Tensor:
  """A picture with its channels last, as ours are: a view."""
  return x.movedim(1, -1)


def scaled(x: Tensor, side: int) -> Tensor:
  """A square map at another size, bilinear."""
  if x.shape[-1] == side:
    return x
  return F.interpolate(
    x, size=(side, side), mode="bilinear", antialias=side < x.shape[-1]
  )
