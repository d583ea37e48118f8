"""The First Order Motion Model's networks as its code and EAMM's save them.

`vox-cpk.pth.tar` and the like, and EAMM's `124_52000.pth.tar`, hold both
networks, under "kp_detector" and "generator", with optimizers and maybe a
discriminator beside them; each network is a layout of its own.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from einops import rearrange

from speak_jax.models.fomm import Generator, KeypointDetector, Keypoints
from speak_jax.nn import resize
from speak_jax.nn.warp import corner_grid
from speak_jax.pretrained.state_dict import StateDict, exactly, f32
from speak_jax.pretrained.tensors import Converted, Tensors

_KEYPOINTS, _GENERATOR = "kp_detector.", "generator."
_TOGETHER = (_KEYPOINTS, _GENERATOR, "discriminator.")  # what one file holds
# Keys that no other layout has.
KEYPOINTS_MARK = f"{_KEYPOINTS}kp.weight"
GENERATOR_MARK = f"{_GENERATOR}dense_motion_network.mask.weight"
_PARTS = "conv", "norm"  # of a block
_NEAR = 1e-4  # relative; of a kernel that is reckoned and not learned


def convert_keypoints(tensors: Tensors) -> Converted:
  """The keypoint detector; any sizes, and any number of keypoints.

  Raises:
    WeightsError: a key is missing, unknown or of another shape.
  """
  file = _opened(tensors, _KEYPOINTS)
  count, wide = file.sides("kp.weight", 4)[:2]
  sizes = take_hourglass(file, "predictor", "hourglass", 3)
  file.conv("kp", "head/points", (count, wide), 7, bias=True)
  file.conv("jacobian", "head/jacobians", (4 * count, wide), 7, bias=True)
  shrink = _shrink(tensors, file, f"{_KEYPOINTS}down.weight")
  return file.finish({"keypoints": count, "shrink": shrink, **sizes})


def convert_generator(tensors: Tensors) -> Converted:
  """Dense motion and the generator; any sizes. It reads half a cell off.

  Raises:
    WeightsError: a key is missing, unknown or of another shape.
  """
  file, motion = _opened(tensors, _GENERATOR), "dense_motion_network"
  count, wide = file.sides(f"{motion}.mask.weight", 4)[:2]
  sizes = take_hourglass(
    file, f"{motion}.hourglass", "motion/hourglass", 4 * count
  )
  file.conv(f"{motion}.mask", "motion/masks", (count, wide), 7, bias=True)
  file.conv(f"{motion}.occlusion", "motion/occlusion", (1, wide), 7, bias=True)
  shrink = _shrink(tensors, file, f"{_GENERATOR}{motion}.down.weight")

  width, _ = file.sides("first.conv.weight", 4)[:2]
  take_block(file, "first", "first", (width, 3), 7)
  halvings, residuals = 0, 0
  while f"down_blocks.{halvings}.conv.weight" in file:
    halvings += 1
  most = width * 2**halvings
  for i in range(halvings):
    before, after = width * 2**i, width * 2 ** (i + 1)
    take_block(file, f"down_blocks.{i}", f"down_{i}", (after, before))
    # Both halves of the way have as many channels at the same size.
    last = halvings - 1 - i
    take_block(file, f"up_blocks.{last}", f"up_{last}", (before, after))
  while f"bottleneck.r{residuals}.conv1.weight" in file:
    key, name = f"bottleneck.r{residuals}", f"block_{residuals}"
    for i in range(2):
      file.norm(f"{key}.norm{i + 1}", f"{name}/norm{i}", most)
      file.conv(
        f"{key}.conv{i + 1}", f"{name}/conv{i}", (most, most), bias=True
      )
    residuals += 1
  file.conv("final", "last", (3, width), 7, bias=True)
  return file.finish(
    {
      "width": width,
      "halvings": halvings,
      "residuals": residuals,
      "motion_width": sizes.pop("width"),
      "shrink": shrink,
      "aligned": False,
      **sizes,
    }
  )


def keypoints_outputs(
  converted: Converted, inputs: Mapping[str, np.ndarray]
) -> dict[str, np.ndarray]:
  """`value` (b k 2), `jacobian` (b k 2 2), `heatmap` (b k h w), as PyTorch's.

  Args:
    converted: From `convert_keypoints`.
    inputs: `image` (b 3 h w) in [0, 1].
  """
  found: Any = exactly(KeypointDetector(**converted.sizes).apply)(
    converted.variables, f32(rearrange(inputs["image"], "b c h w -> b h w c"))
  )
  return {
    "value": np.asarray(found.keypoints.points),
    "jacobian": np.asarray(found.keypoints.jacobians),
    "heatmap": np.asarray(found.heat),
  }


def generator_outputs(
  converted: Converted, inputs: Mapping[str, np.ndarray]
) -> dict[str, np.ndarray]:
  """What PyTorch's generator gives, in its axes.

  `prediction` (b 3 h w), `mask` (b n i j), `occlusion_map` (b 1 i j) and
  `deformation` (b i j 2), places of the source.

  Args:
    converted: From `convert_generator`.
    inputs: `image` (b 3 h w) in [0, 1]; `source_value`, `driving_value`
      (b k 2), `source_jacobian` and `driving_jacobian` (b k 2 2).
  """
  source, driving = (
    Keypoints(f32(inputs[f"{x}_value"]), f32(inputs[f"{x}_jacobian"]))
    for x in ("source", "driving")
  )
  painted: Any = exactly(Generator(**converted.sizes).apply)(
    converted.variables,
    f32(rearrange(inputs["image"], "b c h w -> b h w c")),
    source,
    driving,
  )
  maps = {
    "prediction": painted.frames,
    "mask": painted.motion.masks,
    "occlusion_map": painted.motion.occlusion,
  }
  flow = painted.motion.flow
  return {"deformation": np.asarray(corner_grid(*flow.shape[1:3]) + flow)} | {
    name: rearrange(np.asarray(x), "b h w c -> b c h w")
    for name, x in maps.items()
  }


def _opened(tensors: Tensors, prefix: str) -> StateDict:
  """One network of a file; the others are named as not used."""
  others = tuple(x for x in _TOGETHER if x != prefix)
  tensors.drop(key for key in tensors if key.startswith(others))
  return StateDict(tensors, prefix)


def take_block(
  file: StateDict, key: str, name: str, shape: tuple[int, int], size: int = 3
) -> None:
  """A convolution with bias and its batch norm."""
  file.conv_norm(key, name, shape, size, parts=_PARTS, bias=True)


def take_hourglass(
  file: StateDict, key: str, name: str, before: int
) -> dict[str, int]:
  """An hourglass over so many channels; its sizes."""
  blocks = 0
  while f"{key}.encoder.down_blocks.{blocks}.conv.weight" in file:
    blocks += 1
  if not blocks:
    raise file.wrong(f"key {key}.encoder.down_blocks.0.conv.weight is missing")
  last = f"{key}.decoder.up_blocks.{blocks - 1}.conv.weight"
  width = file.sides(last, 4)[0]
  deepest = f"{key}.encoder.down_blocks.{blocks - 1}.conv.weight"
  widest = file.sides(deepest, 4)[0]
  sides = [before] + [min(widest, width * 2 ** (i + 1)) for i in range(blocks)]
  for i in range(blocks):
    take_block(
      file,
      f"{key}.encoder.down_blocks.{i}",
      f"{name}/down{i}",
      (sides[i + 1], sides[i]),
    )
    # The deepest has nothing beside it.
    below = sides[i + 1] * (1 if i == blocks - 1 else 2)
    take_block(
      file,
      f"{key}.decoder.up_blocks.{blocks - 1 - i}",
      f"{name}/up{i}",
      (min(widest, width * 2**i), below),
    )
  return {"width": width, "widest": widest, "blocks": blocks}


def _shrink(tensors: Tensors, file: StateDict, key: str) -> int:
  """By how much pictures are made small: what the Gaussian of a file does."""
  if key not in tensors:
    return 1
  kernel = tensors.take(key)
  factor = 2
  while len(resize.bell(factor)) < kernel.shape[-1]:
    factor += 1
  taps = resize.bell(factor)
  wanted = np.broadcast_to(np.outer(taps, taps), (3, 1, len(taps), len(taps)))
  if kernel.shape != wanted.shape or not np.allclose(
    kernel, wanted, rtol=_NEAR, atol=0
  ):
    raise file.wrong(f"{key} is not the Gaussian that makes pictures small")
  return factor
