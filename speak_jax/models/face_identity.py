"""Whose face it is: dlib's public network, as a judge of real faces.

A residual network of 29 convolutions for pictures of 150 px, after He et al.
2015 (arXiv 1512.03385); faces of one person lie less than about 0.6 from each
other. Source: dlib_face_recognition_resnet_model_v1 by D. King, in the numbers
of the npm package @vladmandic/face-api 1.7.15, see `pretrained.face_api`.
Pure functions, as it is never trained here.
"""

from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, UInt8

from speak_jax.common import packaged
from speak_jax.models.face_blocks import MEAN

SIDE, WIDTH = 150, 128  # px of what it is given; numbers of what it gives
WEIGHTS = packaged.FACES / "identity.safetensors"
# Blocks in order; those that halve the map have "down" in their names.
# fmt: off
BLOCKS = (
  "conv32_1", "conv32_2", "conv32_3",
  "conv64_down", "conv64_1", "conv64_2", "conv64_3",
  "conv128_down", "conv128_1", "conv128_2",
  "conv256_down", "conv256_1", "conv256_2", "conv256_down_out",
)
# fmt: on


@jax.jit
def embedding(
  params: Mapping[str, Any], pictures: UInt8[Array, "n 150 150 3"]
) -> Float[Array, "n 128"]:
  """Whose face it is, in numbers to compare by distance.

  Compiled anew for each n.

  Args:
    params: `quantized.load(WEIGHTS)`.
    pictures: RGB, cut by `data_pipelines.faces.upright`.
  """
  with jax.default_matmul_precision("highest"):
    x = (pictures - MEAN) / 255
    x = nn.relu(_layer(params["conv32_down"], x, 2, "VALID"))
    x = nn.max_pool(x, (3, 3), (2, 2))
    for name in BLOCKS:
      x = _block(params[name], x, down="down" in name)
    return x.mean((1, 2)) @ params["fc"]


def _block(
  params: Mapping[str, Any], x: Float[Array, "n h w c"], down: bool
) -> Float[Array, "n i j d"]:
  """Two convolutions beside the map itself, or beside its means of 2 x 2."""
  first = (2, "VALID") if down else (1, "SAME")
  y = nn.relu(_layer(params["conv1"], x, *first))
  y = _layer(params["conv2"], y, 1, "SAME")
  if down:
    x = nn.avg_pool(x, (2, 2), (2, 2))
    x = jnp.pad(x, [(0, 0)] * 3 + [(0, y.shape[3] - x.shape[3])])
    # Without padding the convolution may lose a row and a column more.
    lost = [(0, a - b) for a, b in zip(x.shape[1:3], y.shape[1:3], strict=True)]
    y = jnp.pad(y, [(0, 0), *lost, (0, 0)])
  return nn.relu(x + y)


def _layer(
  params: Mapping[str, Array],
  x: Float[Array, "n h w c"],
  stride: int,
  padding: str,
) -> Float[Array, "n i j d"]:
  """A convolution, then a gain and a shift of each channel."""
  y = lax.conv_general_dilated(
    x,
    params["kernel"],
    (stride, stride),
    padding,
    dimension_numbers=("NHWC", "HWIO", "NHWC"),
  )
  return (y + params["bias"]) * params["gain"] + params["shift"]
