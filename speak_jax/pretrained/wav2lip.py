"""Wav2Lip's networks as Rudrabha/Wav2Lip publishes them.

`wav2lip.pth` or `wav2lip_gan.pth` is the generator, `lipsync_expert.pth` the
sync expert, `visual_quality_disc.pth` the critic. They are in torch's old
format, state dicts beside the state of training, and every key begins with
"module." where several devices trained. Our parameters have the same names, so
that each key has its place and axes alone are moved.
"""

import functools
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from einops import rearrange
from flax import traverse_util

from speak_jax.models.wav2lip import (
  BANDS,
  FRAMES,
  STEPS,
  STRIDE,
  Critic,
  Generator,
  SyncExpert,
)
from speak_jax.pretrained.state_dict import StateDict, exactly, f32
from speak_jax.pretrained.tensors import Converted, Tensors

# Keys that no other layout has.
GENERATOR_MARK = "face_decoder_blocks.0.0.conv_block.0.weight"
EXPERT_MARK = "face_encoder.0.conv_block.0.weight"
CRITIC_MARK = "binary_pred.0.weight"
_LEAVES = {
  "kernel": "weight",
  "scale": "weight",
  "bias": "bias",
  "mean": "running_mean",
  "var": "running_var",
}
_DECODER = "face_decoder_blocks"
# The decoder's first sequence is a convolution of one place; each after it
# begins with a transposed one.
_TRANSPOSED = tuple(f"{_DECODER}.{i}.0." for i in range(1, 7))


def convert_generator(tensors: Tensors) -> Converted:
  """The generator; any width and size.

  Raises:
    WeightsError: a key is missing, unknown or of another shape.
  """
  return _convert(
    tensors,
    Generator,
    "face_encoder_blocks.0.0.conv_block.0.weight",
    "face_encoder_blocks.6.0.conv_block.0.weight",
  )


def convert_expert(tensors: Tensors) -> Converted:
  """The sync expert; any width and size.

  Raises:
    WeightsError: a key is missing, unknown or of another shape.
  """
  return _convert(
    tensors,
    SyncExpert,
    EXPERT_MARK,
    "face_encoder.15.conv_block.0.weight",
  )


def convert_critic(tensors: Tensors) -> Converted:
  """The critic; any width and size.

  Raises:
    WeightsError: a key is missing, unknown or of another shape.
  """
  return _convert(
    tensors,
    Critic,
    "face_encoder_blocks.0.0.conv_block.0.weight",
    "face_encoder_blocks.6.0.conv_block.0.weight",
  )


def generator_outputs(
  converted: Converted, inputs: Mapping[str, np.ndarray]
) -> dict[str, np.ndarray]:
  """`frames` (b 3 h w) in 0..1, as PyTorch gives them.

  Args:
    converted: From `convert_generator`.
    inputs: `faces` (b 6 h w) in 0..1 and `mel` (b 1 80 16).
  """
  made = _run(converted, Generator, *_pictures(inputs, "faces", "mel"))
  return {"frames": rearrange(np.asarray(made), "b h w c -> b c h w")}


def expert_outputs(
  converted: Converted, inputs: Mapping[str, np.ndarray]
) -> dict[str, np.ndarray]:
  """`face` and `audio` (b d), as PyTorch gives them.

  Args:
    converted: From `convert_expert`.
    inputs: `below` (b 15 h w) in 0..1 and `mel` (b 1 80 16).
  """
  codes = _run(converted, SyncExpert, *_pictures(inputs, "below", "mel"))
  return dict(zip(("face", "audio"), map(np.asarray, codes), strict=True))


def critic_outputs(
  converted: Converted, inputs: Mapping[str, np.ndarray]
) -> dict[str, np.ndarray]:
  """`real` (b) in 0..1, as PyTorch gives it.

  Args:
    converted: From `convert_critic`.
    inputs: `below` (b 3 h w) in 0..1.
  """
  logits = _run(converted, Critic, *_pictures(inputs, "below"))
  return {"real": np.asarray(jax.nn.sigmoid(logits))}


def _convert(
  tensors: Tensors,
  module: Callable[..., Any],
  first: str,
  middle: str,
) -> Converted:
  """Takes every parameter of a network whose sizes two keys tell.

  Args:
    tensors: The file's.
    module: Of its size and width.
    first: Key of the kernel whose outputs are as many as the width.
    middle: Key of the kernel that is as wide as what is left of a face.
  """
  file = StateDict.of_run(tensors)
  sizes = {
    "size": STRIDE * file.sides(middle, 4)[-1],
    "width": file.sides(first, 4)[0],
  }
  taken = {}
  for path, wanted in _shapes(module, **sizes).items():
    _, *names, leaf = path.split("/")
    key = ".".join((*names, _LEAVES[leaf]))
    if leaf == "kernel":
      axes = "i o h w" if key.startswith(_TRANSPOSED) else "o i h w"
      theirs = dict(zip("hwio", wanted, strict=True))
      kernel = tensors.take(
        file.prefix + key, tuple(theirs[axis] for axis in axes.split())
      )
      taken[path] = rearrange(kernel, f"{axes} -> h w i o")
    else:
      taken[path] = tensors.take(file.prefix + key, wanted)
  tensors.drop(key for key in tensors if key.endswith("num_batches_tracked"))
  variables = traverse_util.unflatten_dict(taken, sep="/")
  return Converted(variables, sizes, {}, tensors.finish())


@functools.cache
def _shapes(
  module: Callable[..., Any], size: int, width: int
) -> dict[str, tuple[int, ...]]:
  """Of all variables of a network, by their paths."""
  below, heard = (size // 2, size), (1, BANDS, STEPS)
  inputs = {
    Generator: ((1, size, size, 6), heard),
    SyncExpert: ((1, *below, 3 * FRAMES), heard),
    Critic: ((1, *below, 3),),
  }[module]
  arrays = [jax.ShapeDtypeStruct(x, jnp.float32) for x in inputs]
  init = module(size, width).init
  traced = jax.eval_shape(init, jax.random.key(0), *arrays)
  flat: Any = traverse_util.flatten_dict(dict(traced), sep="/")
  return {path: x.shape for path, x in flat.items()}


def _pictures(inputs: Mapping[str, np.ndarray], *names: str) -> list[jax.Array]:
  """Inputs in our axes: pictures with channels last, spectra with none."""
  return [
    f32(
      rearrange(
        inputs[name],
        "b 1 m t -> b m t" if name == "mel" else "b c h w -> b h w c",
      )
    )
    for name in names
  ]


def _run(
  converted: Converted, module: Callable[..., Any], *inputs: jax.Array
) -> Any:
  net = module(**converted.sizes)
  return exactly(net.apply)(converted.variables, *inputs)
