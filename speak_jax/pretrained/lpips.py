"""LPIPS v0.1 with AlexNet, as `models.lpips` takes it.

It is published as two files: torchvision's AlexNet (alexnet-owt-7be5be79.pth)
and richzhang/PerceptualSimilarity's weights of its channels
(lpips/weights/v0.1/alex.pth), to be named together with a comma between. The
state dict of that repository's whole network, one file, goes as well.
"""

from typing import Any

import numpy as np
from einops import rearrange

from speak_jax.models.lpips import LAYERS, distance
from speak_jax.pretrained.tensors import Converted, Tensors, WeightsError

# Keys that no other layout has: of LPIPS' own file and of AlexNet's, so that
# either one alone is refused by name.
MARKS = ("lin0.model.1.weight", "classifier.1.weight")
_PLACES = (0, 3, 6, 8, 10)  # of the convolutions among AlexNet's features


def convert(tensors: Tensors) -> Converted:
  """AlexNet's convolutions and the weights of their channels; any widths.

  Raises:
    WeightsError: one of the two files is missing, or a key is missing,
      unknown or of another shape.
  """
  # The whole network keeps AlexNet in five slices, by the same numbers.
  whole = "net.slice1.0.weight" in tensors
  convolutions = [
    f"net.slice{i}.{place}" if whole else f"features.{place}"
    for i, place in enumerate(_PLACES, 1)
  ]
  if f"{convolutions[0]}.weight" not in tensors or MARKS[0] not in tensors:
    raise WeightsError(
      f"{tensors.source}: half of LPIPS; name torchvision's AlexNet and LPIPS'"
      " own weights with a comma between, such as"
      " alexnet-owt-7be5be79.pth,alex.pth"
    )
  params: dict[str, Any] = {}
  before = 3
  for i, (key, layer) in enumerate(zip(convolutions, LAYERS, strict=True)):
    width = (tensors.shape(f"{key}.weight") or (0,))[0]
    shape = (width, before, layer.size, layer.size)
    kernel = tensors.take(f"{key}.weight", shape)
    params[f"conv{i + 1}"] = {
      "kernel": rearrange(kernel, "o i h w -> h w i o"),
      "bias": tensors.take(f"{key}.bias", (width,)),
    }
    lin = tensors.take(f"lin{i}.model.1.weight", (1, width, 1, 1))
    params[f"lin{i + 1}"] = rearrange(lin, "1 c 1 1 -> c")
    before = width
  # The whole network names its weights twice; its scaling is a constant.
  unused = ("classifier.", "lins.", "scaling_layer.")
  tensors.drop(key for key in tensors if key.startswith(unused))
  return Converted({"params": params}, {}, {}, tensors.finish())


def outputs(
  converted: Converted, inputs: dict[str, np.ndarray]
) -> dict[str, np.ndarray]:
  """distance (b,).

  Args:
    converted: Of `convert`.
    inputs: `image` and `other`, uint8 (b 3 h w).
  """
  pair = [
    np.ascontiguousarray(rearrange(inputs[name], "b c h w -> b h w c"))
    for name in ("image", "other")
  ]
  return {"distance": distance(converted.variables, *pair)}
