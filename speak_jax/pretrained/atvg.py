"""ATVG's networks as lelechen63/ATVGnet publishes and saves them.

`atnet_lstm_18.pth` and `generator_23.pth` are public, a critic's file is what
its training saves. They are state dicts in torch's old format, and every key
begins with "module." where several devices trained.
"""

import math
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
from einops import rearrange

from speak_jax.models.atvg import STRIDE, ATNet, Critic, VGNet
from speak_jax.pretrained.state_dict import StateDict, exactly, f32
from speak_jax.pretrained.tensors import Converted, Tensors

# Keys that no other layout has.
AT_MARK = "lmark_encoder.0.weight"
VG_MARK = "landmark_encoder_stage2.0.0.weight"
CRITIC_MARK = "image_encoder_dis.0.0.weight"
_HEARD = 12, 2  # places of AT-net's last map, rows and columns


def convert_at(tensors: Tensors) -> Converted:
  """AT-net; any width, any number of coefficients and of LSTM layers.

  Raises:
    WeightsError: a key is missing, unknown or of another shape.
  """
  file = StateDict.of_run(tensors)
  w, _ = file.sides("audio_eocder.0.0.weight", 4)[:2]
  _, numbers = file.sides("lmark_encoder.0.weight", 2)
  take_ears(file, w)
  file.dense("lmark_encoder.0", "person/dense0", (4 * w, numbers))
  file.dense("lmark_encoder.2", "person/dense1", (8 * w, 4 * w))
  layers = file.lstm("lstm", "lstm", 4 * w, 12 * w)
  file.dense("lstm_fc.0", "out", (numbers, 4 * w))
  return file.finish({"width": w, "layers": layers})


def take_ears(file: StateDict, width: int, network: str = "") -> None:
  """The layers of `models.atvg.hear`, whatever network they are part of.

  Args:
    file: Takes them.
    width: Channels of the first convolution.
    network: What their keys begin with.
  """
  w, before = width, 1
  # Numbers 2 and 6 of the sequence are poolings.
  for i, (number, wide) in enumerate(
    zip((0, 1, 3, 4, 5), (1, 2, 4, 4, 8), strict=True)
  ):
    key = f"{network}audio_eocder.{number}"
    file.conv_norm(key, f"conv{i}", (wide * w, before))
    before = wide * w
  key = f"{network}audio_eocder_fc"
  file.dense_of_map(f"{key}.0", "hear/dense0", (32 * w, 8 * w), _HEARD)
  file.dense(f"{key}.2", "hear/dense1", (4 * w, 32 * w))


def convert_vg(tensors: Tensors) -> Converted:
  """VG-net; any width, size and number of blocks. It is not recurrent.

  Raises:
    WeightsError: a key is missing, unknown or of another shape.
  """
  file = StateDict.of_run(tensors)
  w, _ = file.sides("image_encoder1.1.0.weight", 4)[:2]
  places, points = file.sides("landmark_encoder.0.weight", 2)
  side = math.isqrt(places)
  if side**2 != places:
    raise file.wrong(f"landmark_encoder.0.weight makes {places}, no square map")
  file.conv_norm("image_encoder1.1", "stem", (w, 3), 7)
  file.conv_norm("image_encoder1.2", "down0", (w, w))
  file.conv_norm("image_encoder1.3", "down1", (2 * w, w))
  file.conv_norm("image_encoder2.0", "down2", (4 * w, 2 * w))
  file.conv_norm("image_encoder2.1", "down3", (8 * w, 4 * w))
  file.dense("landmark_encoder.0", "place/dense0", (places, points))
  file.conv_norm("landmark_encoder_stage2.0", "landmarks0", (4 * w, 1))
  file.conv_norm("lmark_feature.0", "landmarks1", (8 * w, 4 * w))
  file.up("lmark_att", 0, "mask0", (8 * w, 4 * w), bias=True)
  file.up("lmark_att", 3, "mask1", (4 * w, 2 * w), bias=True)
  file.conv("lmark_att.6.0", "mask", (1, 2 * w), bias=True)
  file.conv_norm("bottle_neck.0", "bottleneck", (2 * w, 16 * w))
  file.gru("convGRU", "gru", (8 * w, 2 * w))
  blocks = 0
  while f"generator1.{blocks}.conv_block.0.weight" in file:
    key, name = f"generator1.{blocks}.conv_block", f"block{blocks}"
    file.conv(f"{key}.0", f"{name}/first/conv", (8 * w, 8 * w))
    file.norm(f"{key}.1", f"{name}/first/norm", 8 * w)
    # Numbers 2 and 3 are the ReLU and the dropout.
    file.conv(f"{key}.4", f"{name}/conv", (8 * w, 8 * w))
    file.norm(f"{key}.5", f"{name}/norm", 8 * w)
    blocks += 1
  file.up("generator1", blocks, "up0", (8 * w, 4 * w))
  file.up("generator1", blocks + 3, "up1", (4 * w, 2 * w))
  file.up("base", 0, "up2", (2 * w, w))
  file.up("base", 3, "up3", (w, w // 2))
  file.conv("generator_color.0", "colour", (3, w // 2), 7, bias=True)
  file.conv("generator_attention.0", "attention", (1, w // 2), 7, bias=True)
  return file.finish(
    {
      "size": STRIDE * side,
      "width": w,
      "blocks": blocks,
      "recurrent": False,
    }
  )


def convert_critic(tensors: Tensors) -> Converted:
  """The critic; any width, size and number of LSTM layers.

  Left out is a decoder that its definition has and never calls.

  Raises:
    WeightsError: a key is missing, unknown or of another shape.
  """
  file = StateDict.of_run(tensors)
  w, _ = file.sides("image_encoder_dis.0.0.weight", 4)[:2]
  _, points = file.sides("encoder.0.weight", 2)
  _, flat = file.sides("img_fc.0.weight", 2)
  side = math.isqrt(flat // (8 * w))
  file.conv("image_encoder_dis.0.0", "conv0", (w, 3), bias=True)
  for i in range(1, 4):
    shape = (2**i * w, 2 ** (i - 1) * w)
    file.conv_norm(f"image_encoder_dis.{i}", f"conv{i}", shape)
  file.dense("encoder.0", "person/dense0", (4 * w, points))
  file.dense("encoder.2", "person/dense1", (8 * w, 4 * w))
  file.dense_of_map("img_fc.0", "see/dense0", (8 * w, 8 * w), (side, side))
  layers = file.lstm("lstm", "lstm", 4 * w, 16 * w)
  file.dense("decision.0", "decision", (1, 4 * w))
  file.dense("lstm_fc.0", "landmarks", (points, 4 * w))
  file.drop(f"decoder.{i}.{x}" for i in (0, 2) for x in ("weight", "bias"))
  return file.finish({"size": STRIDE * side, "width": w, "layers": layers})


def at_outputs(
  converted: Converted, inputs: Mapping[str, np.ndarray]
) -> dict[str, np.ndarray]:
  """`coefficients` (b t d), as PyTorch gives them.

  Args:
    converted: From `convert_at`.
    inputs: `example` (b d) and `mfcc` (b t 28 12).
  """
  net = ATNet(**converted.sizes)
  run = exactly(lambda *x: net.apply(*x)[0])
  out = run(converted.variables, f32(inputs["example"]), f32(inputs["mfcc"]))
  return {"coefficients": np.asarray(out)}


def vg_outputs(
  converted: Converted, inputs: Mapping[str, np.ndarray]
) -> dict[str, np.ndarray]:
  """`frames`, `attention`, `colour` and `mask` (b t c h w), as PyTorch's.

  `recurrent` are frames of the same weights with their recurrence over time.

  Args:
    converted: From `convert_vg`.
    inputs: `image` (b 3 h w) in [-1, 1], `example` (b 136) and `landmarks`
      (b t 136).
  """
  net = VGNet(**converted.sizes)
  arrays = (
    rearrange(inputs["image"], "b c h w -> b h w c"),
    rearrange(inputs["example"], "b (k c) -> b k c", c=2),
    rearrange(inputs["landmarks"], "b t (k c) -> b t k c", c=2),
  )

  def paint(variables: Any, *arrays: Any) -> dict[str, Any]:
    painted: Any = net.apply(variables, *arrays)
    moving: Any = net.clone(recurrent=True).apply(variables, *arrays)
    named = painted._asdict()
    del named["state"]
    return {**named, "recurrent": moving.frames}

  found = exactly(paint)(converted.variables, *map(f32, arrays))
  return {
    name: rearrange(np.asarray(x), "b t h w c -> b t c h w")
    for name, x in found.items()
  }


def critic_outputs(
  converted: Converted, inputs: Mapping[str, np.ndarray]
) -> dict[str, np.ndarray]:
  """`decision` (b) in 0..1 and `landmarks` (b t 136), as PyTorch gives them.

  Args:
    converted: From `convert_critic`.
    inputs: `frames` (b t 3 h w) in [-1, 1] and `example` (b 136).
  """
  net = Critic(**converted.sizes)
  judged: Any = exactly(net.apply)(
    converted.variables,
    f32(rearrange(inputs["frames"], "b t c h w -> b t h w c")),
    f32(rearrange(inputs["example"], "b (k c) -> b k c", c=2)),
  )
  return {
    "decision": np.asarray(jax.nn.sigmoid(judged.logits)),
    "landmarks": rearrange(
      np.asarray(judged.landmarks), "b t k c -> b t (k c)"
    ),
  }
