"""The Inception-v3 that FID looks through: frames to their pool3 features.

For evaluation alone; pure functions, as it is never trained here.
Source: Szegedy et al. 2015 (arXiv 1512.00567) with the weights of Heusel et
al. 2017 (arXiv 1706.08500), as mseitzer/pytorch-fid has it. It is not
torchvision's: means leave the padding out, the last block pools by maximum.

Blocks and layers have the public file's names. Each batch normalisation is
folded into its convolution when the weights are converted: fewer operations
to compile and to run.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jaxtyping import Float, Float32, UInt8

SIDE = 299  # of what the network is given


class Layer(NamedTuple):
  """A convolution and a ReLU; its batch normalisation is folded in."""

  name: str
  rows: int = 1
  columns: int = 1
  stride: int = 1
  padded: bool = True  # so that stride 1 keeps the size


class Pool(NamedTuple):
  """Maximum or mean over 3 x 3; stride 1 keeps the size."""

  largest: bool
  stride: int = 1


# What follows one another. Layers of a group see the same map; what they make
# of it is joined.
Branch = tuple[Layer | Pool | tuple[Layer, ...], ...]


class Block(NamedTuple):
  """Branches that see the same map; what they make of it is joined."""

  name: str  # keys of its layers begin with it
  branches: tuple[Branch, ...]


MEAN, LARGEST, HALVED = Pool(False), Pool(True), Pool(True, 2)


def _halving(name: str) -> Layer:
  return Layer(name, 3, 3, stride=2, padded=False)


# 35 x 35 places.
A: tuple[Branch, ...] = (
  (Layer("branch1x1"),),
  (Layer("branch5x5_1"), Layer("branch5x5_2", 5, 5)),
  (
    Layer("branch3x3dbl_1"),
    Layer("branch3x3dbl_2", 3, 3),
    Layer("branch3x3dbl_3", 3, 3),
  ),
  (MEAN, Layer("branch_pool")),
)
# From 35 to 17.
B: tuple[Branch, ...] = (
  (_halving("branch3x3"),),
  (
    Layer("branch3x3dbl_1"),
    Layer("branch3x3dbl_2", 3, 3),
    _halving("branch3x3dbl_3"),
  ),
  (HALVED,),
)
C: tuple[Branch, ...] = (
  (Layer("branch1x1"),),
  (
    Layer("branch7x7_1"),
    Layer("branch7x7_2", 1, 7),
    Layer("branch7x7_3", 7, 1),
  ),
  (
    Layer("branch7x7dbl_1"),
    Layer("branch7x7dbl_2", 7, 1),
    Layer("branch7x7dbl_3", 1, 7),
    Layer("branch7x7dbl_4", 7, 1),
    Layer("branch7x7dbl_5", 1, 7),
  ),
  (MEAN, Layer("branch_pool")),
)
# From 17 to 8.
D: tuple[Branch, ...] = (
  (Layer("branch3x3_1"), _halving("branch3x3_2")),
  (
    Layer("branch7x7x3_1"),
    Layer("branch7x7x3_2", 1, 7),
    Layer("branch7x7x3_3", 7, 1),
    _halving("branch7x7x3_4"),
  ),
  (HALVED,),
)


def _e(pool: Pool) -> tuple[Branch, ...]:
  return (
    (Layer("branch1x1"),),
    (
      Layer("branch3x3_1"),
      (Layer("branch3x3_2a", 1, 3), Layer("branch3x3_2b", 3, 1)),
    ),
    (
      Layer("branch3x3dbl_1"),
      Layer("branch3x3dbl_2", 3, 3),
      (Layer("branch3x3dbl_3a", 1, 3), Layer("branch3x3dbl_3b", 3, 1)),
    ),
    (pool, Layer("branch_pool")),
  )


STEM: Branch = (
  _halving("Conv2d_1a_3x3"),
  Layer("Conv2d_2a_3x3", 3, 3, padded=False),
  Layer("Conv2d_2b_3x3", 3, 3),
  HALVED,
  Layer("Conv2d_3b_1x1"),
  Layer("Conv2d_4a_3x3", 3, 3, padded=False),
  HALVED,
)
BLOCKS = (
  Block("", (STEM,)),
  *(Block(f"Mixed_5{letter}.", A) for letter in "bcd"),
  Block("Mixed_6a.", B),
  *(Block(f"Mixed_6{letter}.", C) for letter in "bcde"),
  Block("Mixed_7a.", D),
  Block("Mixed_7b.", _e(MEAN)),
  Block("Mixed_7c.", _e(LARGEST)),
)


def features(
  variables: Mapping[str, Any], frames: UInt8[np.ndarray, "n h w 3"]
) -> Float32[np.ndarray, "n d"]:
  """pool3 of frames; 2,048 numbers each in the public weights.

  Frames of another size than 299 px are brought to it bilinearly, without
  smoothing first, as pytorch-fid does. Compiled anew for each shape.

  Args:
    variables: Of `pretrained.inception.convert`: `params/LAYER`, `kernel`
      (rows, columns, c, d) and `bias` (d,).
    frames: RGB.
  """
  return np.asarray(_features(variables["params"], frames))


@jax.jit
def _features(params: Mapping[str, Any], frames: Array) -> Array:
  shape = (len(frames), SIDE, SIDE, 3)
  with jax.default_matmul_precision("highest"):
    x = jax.image.resize(frames / 255, shape, "bilinear", antialias=False)
    x = 2 * x - 1
    for block in BLOCKS:
      x = _joined(params, block.name, block.branches, x)
  return x.mean((1, 2))


def _joined(
  params: Mapping[str, Any], name: str, branches: tuple[Branch, ...], x: Array
) -> Array:
  """What each branch makes of the same map."""
  maps = []
  for branch in branches:
    y = x
    for step in branch:
      if isinstance(step, Layer):
        y = _layer(params[name + step.name], step, y)
      elif isinstance(step, Pool):
        y = _pool(step, y)
      else:
        y = _joined(params, name, tuple((layer,) for layer in step), y)
    maps.append(y)
  return jnp.concatenate(maps, -1)


def _layer(
  weights: Mapping[str, Array], layer: Layer, x: Float[Array, "b h w c"]
) -> Float[Array, "b i j d"]:
  y = lax.conv_general_dilated(
    x,
    weights["kernel"],
    (layer.stride, layer.stride),
    "SAME" if layer.padded else "VALID",
    dimension_numbers=("NHWC", "HWIO", "NHWC"),
  )
  return nn.relu(y + weights["bias"])


def _pool(pool: Pool, x: Float[Array, "b h w c"]) -> Float[Array, "b i j c"]:
  padding = "SAME" if pool.stride == 1 else "VALID"
  size, strides = (3, 3), (pool.stride, pool.stride)
  if pool.largest:
    return nn.max_pool(x, size, strides, padding)
  return nn.avg_pool(x, size, strides, padding, count_include_pad=False)
