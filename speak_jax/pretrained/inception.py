"""FID's Inception-v3, as `models.inception` takes it.

Published as pt_inception-2015-12-05-6726825d.pth by mseitzer/pytorch-fid. Keys
are those of torchvision's Inception-v3 without its auxiliary classifier:
BLOCK.LAYER.conv and BLOCK.LAYER.bn.
"""

import re

import numpy as np
from einops import rearrange

from speak_jax.models.inception import BLOCKS, Branch, Layer, Pool, features
from speak_jax.pretrained.tensors import Converted, Tensors, WeightsError

MARK = "Mixed_5b.branch1x1.conv.weight"  # a key that no other layout has
CLASSES = 1008  # of the network that FID was made with, not ImageNet's 1000
_EPSILON = 1e-3  # of the batch normalisations
_TRACKED = re.compile(r".*\.num_batches_tracked")

Params = dict[str, dict[str, np.ndarray]]


def convert(tensors: Tensors) -> Converted:
  """Convolutions with their batch normalisations folded in; any widths.

  Raises:
    WeightsError: a key is missing, unknown or of an impossible shape; or an
      Inception-v3 that is not FID's, such as torchvision's own.
  """
  classes = (tensors.shape("fc.weight") or (0,))[0]
  if classes != CLASSES:
    raise WeightsError(
      f"{tensors.source}: an Inception-v3 of {classes} classes; FID's has"
      f" {CLASSES}, and with any other one a distance is no FID"
    )
  params: Params = {}
  width = 3
  for block in BLOCKS:
    width = _joined(tensors, params, block.name, block.branches, width)
  tensors.drop(["fc.weight", "fc.bias"])
  tensors.drop(key for key in tensors if _TRACKED.fullmatch(key))
  return Converted({"params": params}, {}, {}, tensors.finish())


def outputs(
  converted: Converted, inputs: dict[str, np.ndarray]
) -> dict[str, np.ndarray]:
  """pool (b c).

  Args:
    converted: Of `convert`.
    inputs: `image`, uint8 (b 3 h w).
  """
  frames = np.ascontiguousarray(
    rearrange(inputs["image"], "b c h w -> b h w c")
  )
  return {"pool": features(converted.variables, frames)}


def _joined(
  tensors: Tensors,
  params: Params,
  name: str,
  branches: tuple[Branch, ...],
  before: int,
) -> int:
  """Adds the layers of some branches; channels of what they make together."""
  total = 0
  for branch in branches:
    width = before
    for step in branch:
      if isinstance(step, Layer):
        key = name + step.name
        params[key] = _folded(tensors, key, step, width)
        width = len(params[key]["bias"])
      elif not isinstance(step, Pool):
        group = tuple((layer,) for layer in step)
        width = _joined(tensors, params, name, group, width)
    total += width
  return total


def _folded(
  tensors: Tensors, key: str, layer: Layer, before: int
) -> dict[str, np.ndarray]:
  """A convolution that normalises what it makes by itself."""
  width = (tensors.shape(f"{key}.conv.weight") or (0,))[0]
  shape = (width, before, layer.rows, layer.columns)
  kernel = tensors.take(f"{key}.conv.weight", shape).astype(np.float64)
  gain, shift, mean, variance = (
    tensors.take(f"{key}.bn.{part}", (width,)).astype(np.float64)
    for part in ("weight", "bias", "running_mean", "running_var")
  )
  gain = gain / np.sqrt(variance + _EPSILON)
  kernel = rearrange(kernel, "o i h w -> h w i o") * gain
  bias = shift - mean * gain
  return {
    "kernel": kernel.astype(np.float32),
    "bias": bias.astype(np.float32),
  }
