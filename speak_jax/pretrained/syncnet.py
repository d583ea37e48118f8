"""The public SyncNet v2: `syncnet_v2.model` of joonson/syncnet_python.

Keys are those of its four `nn.Sequential`s: netcnnlip and netfclip see,
netcnnaud and netfcaud hear.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from einops import rearrange

from speak_jax.models.syncnet_v2 import (
  FRAMES,
  LIPS,
  SOUND,
  Layer,
  SyncNetV2,
)
from speak_jax.pretrained.tensors import Converted, Tensors, WeightsError

# Of the file that the authors publish.
RELEASED_SHA256 = (
  "961e8696f888fce4f3f3a6c3d5b3267cf5b343100b238e79b2659bff2c605442"
)

# Places of the convolutions in both towers; a batch norm follows each.
_PLACES = (0, 4, 8, 11, 14, 18)


def convert(tensors: Tensors) -> Converted:
  """Both towers as `SyncNetV2` takes them; any widths.

  Raises:
    WeightsError: a key is missing, unknown or of another shape.
  """
  lips, lip_stats, lip_widths = _convolutions(tensors, "netcnnlip", LIPS, 3)
  sound, sound_stats, sound_widths = _convolutions(
    tensors, "netcnnaud", SOUND, 1
  )
  out, _ = _shape(tensors, "netfclip.3.weight", 2)
  lip_hidden = _head(tensors, "netfclip", lip_widths[-1], out, lips, lip_stats)
  sound_hidden = _head(
    tensors, "netfcaud", sound_widths[-1], out, sound, sound_stats
  )
  rows, columns, _, _ = lips[f"conv{len(LIPS) - 1}"]["kernel"].shape
  return Converted(
    variables={
      "params": {"lips": lips, "sound": sound},
      "batch_stats": {"lips": lip_stats, "sound": sound_stats},
    },
    sizes={
      "lip_widths": lip_widths,
      "lip_last": (rows, columns),
      "lip_hidden": lip_hidden,
      "sound_widths": sound_widths,
      "sound_hidden": sound_hidden,
      "out": out,
    },
    head={},
    unused=tensors.finish(),
  )


def outputs(
  converted: Converted, inputs: dict[str, np.ndarray]
) -> dict[str, np.ndarray]:
  """lip_feat, audio and lip, as the PyTorch network gives them.

  Args:
    converted: From `convert`.
    inputs: "clip" (b, 3, 5, h, w), blue, green, red in 0..255, and "mfcc"
      (b, 1, 13, 20).
  """
  net = SyncNetV2(**converted.sizes)
  clip = rearrange(inputs["clip"], "b c t h w -> b t h w c")
  mfcc = rearrange(inputs["mfcc"], "b 1 m n -> b n m")

  @jax.jit
  def run(variables, clip, mfcc) -> Any:
    with jax.default_matmul_precision("highest"):
      return net.apply(variables, clip, mfcc)

  lips, sound = run(
    converted.variables,
    jnp.asarray(clip, jnp.float32),
    jnp.asarray(mfcc, jnp.float32),
  )
  codes = {"lip_feat": lips.features, "audio": sound.code, "lip": lips.code}
  return {name: np.asarray(value) for name, value in codes.items()}


def _convolutions(
  tensors: Tensors, name: str, layers: tuple[Layer, ...], before: int
) -> tuple[dict[str, Any], dict[str, Any], tuple[int, ...]]:
  """Parameters, statistics and widths of a tower, but for its dense layers."""
  params: dict[str, Any] = {}
  stats: dict[str, Any] = {}
  widths = []
  see = layers is LIPS  # its kernels have a third axis, time
  for i, (place, layer) in enumerate(zip(_PLACES, layers, strict=True)):
    key = f"{name}.{place}"
    shape = _shape(tensors, f"{key}.weight", 5 if see else 4)
    time = ((FRAMES if i == 0 else 1),) if see else ()
    wanted = (shape[0], before, *time, *(layer.size or shape[-2:]))
    kernel = tensors.take(f"{key}.weight", wanted)
    kernel = kernel if see else rearrange(kernel, "o i h w -> o i 1 h w")
    before = shape[0]
    params[f"conv{i}"] = {
      "kernel": rearrange(kernel, "o i t h w -> h w (t i) o"),
      "bias": tensors.take(f"{key}.bias", (before,)),
    }
    params[f"norm{i}"], stats[f"norm{i}"] = _norm(
      tensors, f"{name}.{place + 1}", before
    )
    widths.append(before)
  return params, stats, tuple(widths)


def _head(
  tensors: Tensors,
  name: str,
  features: int,
  out: int,
  params: dict[str, Any],
  stats: dict[str, Any],
) -> int:
  """Adds the two dense layers to a tower; how wide the first one is."""
  hidden, _ = _shape(tensors, f"{name}.0.weight", 2)
  params["hidden"] = _dense(tensors, f"{name}.0", (hidden, features))
  params["hidden_norm"], stats["hidden_norm"] = _norm(
    tensors, f"{name}.1", hidden
  )
  params["out"] = _dense(tensors, f"{name}.3", (out, hidden))
  return hidden


def _shape(tensors: Tensors, key: str, axes: int) -> tuple[int, ...]:
  """Shape of a tensor of so many axes."""
  shape = tensors.shape(key)
  if len(shape) != axes:
    raise WeightsError(
      f"{tensors.source}: {key} has shape {shape}, wanted {axes} axes"
    )
  return shape


def _dense(
  tensors: Tensors, key: str, shape: tuple[int, int]
) -> dict[str, np.ndarray]:
  kernel = tensors.take(f"{key}.weight", shape).T
  return {"kernel": kernel, "bias": tensors.take(f"{key}.bias", shape[:1])}


def _norm(
  tensors: Tensors, key: str, width: int
) -> tuple[dict[str, Any], dict[str, Any]]:
  """Parameters and statistics of a batch norm."""
  params = {
    "scale": tensors.take(f"{key}.weight", (width,)),
    "bias": tensors.take(f"{key}.bias", (width,)),
  }
  stats = {
    "mean": tensors.take(f"{key}.running_mean", (width,)),
    "var": tensors.take(f"{key}.running_var", (width,)),
  }
  tensors.drop([f"{key}.num_batches_tracked"])
  return {"batch": params}, {"batch": stats}
