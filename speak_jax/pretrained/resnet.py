"""ResNet-50 in torchvision's and timm's layout, as `nn.resnet.ResNet` has it.

Source: He et al. 2015 (arXiv 1512.03385) in torchvision's version 1.5: the
stride is on the 3x3 convolution. Keys: conv1, bn1, layer1.0.conv1, ...,
layer1.0.downsample.0, fc. Depths, widths and the kind of block are read off
the keys and shapes, so its sisters (ResNet-18 to 152) fit as well.
"""

import functools
import itertools
import re
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from einops import rearrange
from flax import traverse_util
from jaxtyping import Array, Float, UInt8

from speak_jax.nn.norm import imagenet
from speak_jax.nn.resnet import Features, ResNet
from speak_jax.pretrained.tensors import Converted, Tensors, WeightsError

MARK = "layer1.0.conv1.weight"  # a key that no other layout has
_TRACKED = re.compile(r".*\.num_batches_tracked")


def convert(tensors: Tensors) -> Converted:
  """Variables and attributes of a `ResNet`, running statistics included.

  `head` is the classifier, `kernel` (in, out) and `bias`, if there is one.

  Raises:
    WeightsError: a key is missing, unknown or of an impossible shape.
  """
  stages = _stages(tensors)
  bottleneck = "layer1.0.conv3.weight" in tensors
  flat: dict[str, np.ndarray] = {}

  def take(
    conv: str, norm: str, keys: tuple[str, str], shape: tuple[int, ...]
  ) -> None:
    """A convolution and the batch normalisation behind it."""
    kernel = tensors.take(f"{keys[0]}.weight", shape)
    flat[f"params/{conv}/kernel"] = rearrange(kernel, "o i h w -> h w i o")
    for ours, theirs in (
      ("params/{}/batch/scale", "weight"),
      ("params/{}/batch/bias", "bias"),
      ("batch_stats/{}/batch/mean", "running_mean"),
      ("batch_stats/{}/batch/var", "running_var"),
    ):
      of = tensors.take(f"{keys[1]}.{theirs}", shape[:1])
      flat[ours.format(norm)] = of

  stem = _channels(tensors, "conv1.weight")
  take("stem", "stem_norm", ("conv1", "bn1"), (stem, 3, 7, 7))
  widths, before = [], stem
  for i, depth in enumerate(stages, 1):
    width = _channels(tensors, f"layer{i}.0.conv1.weight")
    out = width * (4 if bottleneck else 1)
    widths.append(width)
    for j in range(depth):
      ours, theirs = f"stage{i}_block{j + 1}", f"layer{i}.{j}"
      shapes = (
        ((width, before, 1, 1), (width, width, 3, 3), (out, width, 1, 1))
        if bottleneck
        else ((width, before, 3, 3), (width, width, 3, 3))
      )
      for k, shape in enumerate(shapes, 1):
        keys = f"{theirs}.conv{k}", f"{theirs}.bn{k}"
        take(f"{ours}/conv{k}", f"{ours}/norm{k}", keys, shape)
      if before != out or (i > 1 and not j):
        keys = f"{theirs}.downsample.0", f"{theirs}.downsample.1"
        names = f"{ours}/project", f"{ours}/project_norm"
        take(*names, keys, (out, before, 1, 1))
      before = out
  head = {}
  if "fc.weight" in tensors:
    classes = _channels(tensors, "fc.weight")
    head = {
      "kernel": tensors.take("fc.weight", (classes, before)).T,
      "bias": tensors.take("fc.bias", (classes,)),
    }
  tensors.drop(key for key in tensors if _TRACKED.fullmatch(key))
  doubled = tuple(widths[0] * 2**i for i in range(len(stages)))
  sizes = {
    "stages": stages,
    "width": widths[0] if tuple(widths) == doubled else tuple(widths),
    "bottleneck": bottleneck,
    "stem": "deep",
    "norm": "batch",
    "stem_width": stem,
  }
  variables = traverse_util.unflatten_dict(flat, sep="/")
  return Converted(variables, sizes, head, tensors.finish())


def normalize(image: UInt8[np.ndarray, "b 3 h w"]) -> Float[Array, "b h w 3"]:
  """Pictures as the published weights were trained on: ImageNet's scale."""
  frames = rearrange(jnp.asarray(image), "b c h w -> b h w c")
  return imagenet(frames / 127.5 - 1)


def outputs(
  converted: Converted, inputs: dict[str, np.ndarray]
) -> dict[str, np.ndarray]:
  """stem, layer1, ... (b c h w), pool (b c) and, with a head, logits (b n).

  Args:
    converted: Of `convert`.
    inputs: `image`, uint8 (b 3 h w).
  """
  net = ResNet(**converted.sizes)
  features = _apply(net, converted.variables, normalize(inputs["image"]))
  maps = {"stem": features.stem}
  maps |= {f"layer{i}": x for i, x in enumerate(features.stages, 1)}
  result = {
    name: np.asarray(rearrange(x, "b h w c -> b c h w"))
    for name, x in maps.items()
  }
  result["pool"] = np.asarray(features.pooled)
  if converted.head:
    logits = result["pool"] @ converted.head["kernel"] + converted.head["bias"]
    result["logits"] = logits
  return result


@functools.partial(jax.jit, static_argnums=0)
def _apply(net: ResNet, variables: dict[str, Any], frames: Array) -> Features:
  with jax.default_matmul_precision("highest"):
    return net.apply(variables, frames)  # pyright: ignore[reportReturnType]


def _stages(tensors: Tensors) -> tuple[int, ...]:
  """Blocks of each stage: how far the keys count."""
  stages = []
  for i in itertools.count(1):
    depth = 0
    while f"layer{i}.{depth}.conv1.weight" in tensors:
      depth += 1
    if not depth:
      break
    stages.append(depth)
  if not stages:
    raise WeightsError(f"{tensors.source}: key {MARK} is missing")
  return tuple(stages)


def _channels(tensors: Tensors, key: str) -> int:
  """Output channels of a convolution or dense layer."""
  shape = tensors.shape(key)
  if not shape or not shape[0]:
    raise WeightsError(f"{tensors.source}: {key} has shape {shape}")
  return shape[0]
