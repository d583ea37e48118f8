"""LPIPS v0.1 with AlexNet: how far apart two pictures look to people.

For evaluation alone; pure functions, as it is never trained here.
Source: Zhang et al. 2018 (arXiv 1801.03924); richzhang/PerceptualSimilarity,
`LPIPS(net="alex", version="0.1")`. The backbone is torchvision's AlexNet.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jaxtyping import Float, Float32, UInt8

# Of red, green and blue in [-1, 1], about ImageNet's mean and deviation.
SHIFT = (-0.030, -0.088, -0.188)
SCALE = (0.458, 0.448, 0.450)
LEAST = 31  # px; of smaller pictures, nothing is left after the last pooling


class Layer(NamedTuple):
  """A square convolution with a ReLU, and 3x3 pooling in front of some."""

  size: int
  stride: int
  pad: int
  pooled: bool = False


LAYERS = (
  Layer(11, 4, 2),
  Layer(5, 1, 2, pooled=True),
  Layer(3, 1, 1, pooled=True),
  Layer(3, 1, 1),
  Layer(3, 1, 1),
)


def distance(
  variables: Mapping[str, Any],
  a: UInt8[np.ndarray, "n h w 3"],
  b: UInt8[np.ndarray, "n h w 3"],
) -> Float32[np.ndarray, "n"]:
  """LPIPS of each pair of pictures; 0 for equal ones, and symmetric.

  It depends on the pictures' size: say which one stands behind a figure.
  Compiled anew for each shape.

  Args:
    variables: Of `pretrained.lpips.convert`: `params/conv1` to `conv5`,
      `kernel` (k, k, c, d) and `bias` (d,), and `params/lin1` to `lin5` (d,).
    a: RGB.
    b: RGB.

  Raises:
    ValueError: pictures with a side below 31 px.
  """
  height, width = a.shape[1:3]
  if min(height, width) < LEAST:
    raise ValueError(
      f"pictures of {width} x {height} px; LPIPS wants {LEAST} px or more"
    )
  return np.asarray(_distance(variables["params"], a, b))


@jax.jit
def _distance(params: Mapping[str, Any], a: Array, b: Array) -> Array:
  with jax.default_matmul_precision("highest"):
    maps = _maps(params, jnp.concatenate([a, b]) / 127.5 - 1)
  total = jnp.zeros(len(a))
  for i, x in enumerate(maps, 1):
    # What the public code adds to the length, not under the root.
    x = x / (jnp.linalg.norm(x, axis=-1, keepdims=True) + 1e-10)
    x, y = jnp.split(x, 2)
    total += ((x - y) ** 2 * params[f"lin{i}"]).sum(-1).mean((1, 2))
  return total


def _maps(
  params: Mapping[str, Any], frames: Float[Array, "b h w 3"]
) -> list[Float[Array, "b _ _ _"]]:
  """AlexNet's five maps after a ReLU, of frames in [-1, 1]."""
  x = (frames - jnp.asarray(SHIFT)) / jnp.asarray(SCALE)
  maps = []
  for i, layer in enumerate(LAYERS, 1):
    if layer.pooled:
      x = nn.max_pool(x, (3, 3), (2, 2))
    weights = params[f"conv{i}"]
    x = lax.conv_general_dilated(
      x,
      weights["kernel"],
      (layer.stride, layer.stride),
      ((layer.pad, layer.pad),) * 2,
      dimension_numbers=("NHWC", "HWIO", "NHWC"),
    )
    x = nn.relu(x + weights["bias"])
    maps.append(x)
  return maps
