"""What the networks of real faces' expressions and landmarks have in common.

For evaluation and for reading a driver's emotion; pure functions, as they are
never trained here. Source: the npm package @vladmandic/face-api 1.7.15, which
goes back to face-api.js by V. Mühler. Its "dense" block adds up what its four
layers make of each other's sums; all but the very first layer are separable.
"""

from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float, UInt8

SIDE = 112  # px of what the network is given
BLOCKS, LAYERS = 4, 4
MEAN = np.array([122.782, 117.001, 104.298], np.float32)  # R, G, B of 0 to 255


def head(
  params: Mapping[str, Any], pictures: UInt8[Array, "n 112 112 3"]
) -> Float[Array, "n d"]:
  """What the last layer makes of the features of pictures.

  Args:
    params: `BLOCK/LAYER/...` and `fc/...`, see `pretrained.face_api`.
    pictures: RGB.
  """
  x = (pictures - MEAN) / 255
  for block in range(BLOCKS):
    x = _block(params[f"dense{block}"], x)
  return x.mean((1, 2)) @ params["fc"]["kernel"] + params["fc"]["bias"]


def _block(
  params: Mapping[str, Any], x: Float[Array, "n h w c"]
) -> Float[Array, "n i j d"]:
  """Halves a map, then adds to it three times."""
  total = nn.relu(_layer(params["conv0"], x, 2))
  shown = total
  for i in range(1, LAYERS):
    total = total + _layer(params[f"conv{i}"], shown, 1)
    shown = nn.relu(total)
  return shown


def _layer(
  params: Mapping[str, Array], x: Float[Array, "n h w c"], stride: int
) -> Float[Array, "n i j d"]:
  """A 3 x 3 convolution: whole, or of each channel apart and then 1 x 1."""
  if "kernel" in params:
    axes = ("NHWC", "HWIO", "NHWC")
    strides = (stride, stride)
    y = lax.conv_general_dilated(
      x, params["kernel"], strides, "SAME", dimension_numbers=axes
    )
  else:
    y = _apart(x, params["depthwise"], stride) @ params["pointwise"]
  return y + params["bias"]


def _apart(
  x: Float[Array, "n h w c"], kernel: Float[Array, "3 3 c"], stride: int
) -> Float[Array, "n i j c"]:
  """Convolves each channel apart, as nine sums.

  XLA's own is five times as slow on a CPU.
  """
  size = x.shape[1]
  kept = -(-size // stride)
  missing = max((kept - 1) * stride + 3 - size, 0)
  side = (missing // 2, missing - missing // 2)
  x = jnp.pad(x, [(0, 0), side, side, (0, 0)])
  reach = (kept - 1) * stride + 1
  return sum(
    x[:, i : i + reach : stride, j : j + reach : stride] * kernel[i, j]
    for i in range(3)
    for j in range(3)
  )  # pyright: ignore[reportReturnType]
