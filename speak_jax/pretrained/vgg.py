"""VGG-19 in torchvision's layout, as `models.vgg.Vgg` has it.

Source: Simonyan and Zisserman 2014 (arXiv 1409.1556). torchvision numbers the
layers: `features.0` is the first convolution, `features.1` its ReLU,
`features.4` the first pooling, and so on. So a convolution two after another
sees the same size and one three after it half of that, which tells the depths.
"""

import functools
import re
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from einops import rearrange
from jaxtyping import Array

from speak_jax.models.vgg import Vgg
from speak_jax.pretrained.tensors import Converted, Tensors, WeightsError

MARK = "features.0.weight"  # a key that no other layout has
SIZES = 5  # of pictures, the last being that of relu5_1
_LAYER = re.compile(r"features\.([0-9]{1,3})\.weight")


def convert(tensors: Tensors) -> Converted:
  """Variables and attributes of a `Vgg`: all up to relu5_1.

  The classifier and the convolutions behind relu5_1 are dropped.

  Raises:
    WeightsError: a key is missing, unknown or of an impossible shape.
  """
  layers = _layers(tensors)
  behind = layers[-1][1:]
  layers[-1] = layers[-1][:1]
  params: dict[str, Any] = {}
  widths = []
  before = 3
  for i, numbers in enumerate(layers, 1):
    channels = []
    for j, number in enumerate(numbers, 1):
      key = f"features.{number}"
      width = (tensors.shape(f"{key}.weight") or (0,))[0]
      kernel = tensors.take(f"{key}.weight", (width, before, 3, 3))
      params[f"conv{i}_{j}"] = {
        "kernel": rearrange(kernel, "o i h w -> h w i o"),
        "bias": tensors.take(f"{key}.bias", (width,)),
      }
      channels.append(width)
      before = width
    widths.append(tuple(channels))
  for number in behind:
    tensors.drop([f"features.{number}.weight", f"features.{number}.bias"])
  tensors.drop(key for key in tensors if key.startswith("classifier."))
  return Converted(
    {"params": params}, {"widths": tuple(widths)}, {}, tensors.finish()
  )


def outputs(
  converted: Converted, inputs: dict[str, np.ndarray]
) -> dict[str, np.ndarray]:
  """relu1_1 to relu5_1 (b c h w).

  Args:
    converted: Of `convert`.
    inputs: `image`, uint8 (b 3 h w).
  """
  frames = rearrange(jnp.asarray(inputs["image"]), "b c h w -> b h w c")
  net = Vgg(**converted.sizes)
  maps = _apply(net, converted.variables, frames / 127.5 - 1)
  return {
    f"relu{i}_1": np.asarray(rearrange(x, "b h w c -> b c h w"))
    for i, x in enumerate(maps, 1)
  }


@functools.partial(jax.jit, static_argnums=0)
def _apply(
  net: Vgg, variables: dict[str, Any], frames: Array
) -> tuple[Array, ...]:
  with jax.default_matmul_precision("highest"):
    return net.apply(variables, frames)  # pyright: ignore[reportReturnType]


def _layers(tensors: Tensors) -> list[list[int]]:
  """Numbers of the convolutions at each size."""
  matches = (_LAYER.fullmatch(key) for key in tensors)
  layers: list[list[int]] = []
  for number in sorted(int(match[1]) for match in matches if match):
    step = number - layers[-1][-1] if layers else number + 3
    if step == 3:
      layers.append([number])
    elif step == 2:
      layers[-1].append(number)
    else:
      wanted = number - step + 2
      raise WeightsError(
        f"{tensors.source}: key features.{wanted}.weight is missing"
      )
  if len(layers) != SIZES:
    raise WeightsError(
      f"{tensors.source}: convolutions at {len(layers)} sizes, not {SIZES}"
    )
  return layers
