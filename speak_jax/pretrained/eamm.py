"""EAMM's networks as jixinya/EAMM publishes them.

`1-6000.pth.tar` hears: its dicts "audio_feature" and "kp_detector_a", of which
the latter also has an hourglass that nothing calls, and the former a style
generator. `5-3000.pth.tar` feels: its dict "emo_detector". Both hold states of
optimizers, which are no tensors of networks. What moves pictures is `fomm`.

Pictures are RGB in [0, 1], numbers of the head in units of their own: a run
standardises its own (`models/head_pose.py`), so that public weights hear poses
approximately.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from einops import rearrange

from speak_jax.models.eamm import (
  CODE,
  FREQUENCIES,
  NUMBERS,
  AudioToMotion,
  EmotionNet,
)
from speak_jax.models.fomm import Keypoints
from speak_jax.pretrained.atvg import take_ears
from speak_jax.pretrained.fomm import take_block, take_hourglass
from speak_jax.pretrained.state_dict import StateDict, exactly, f32
from speak_jax.pretrained.tensors import Converted, Tensors

# Keys that no other layout has.
HEARING_MARK = "pose_encoder.0.weight"
FEELING_MARK = "fc_all.4.weight"
_NET, _HEAD, _FELT = "audio_feature.", "kp_detector_a.", "emo_detector."
# Lists of layers whose keys end in these are never called.
_UNUSED = ("fc", "fc_n", "final_4")
_NARROW, _WIDE = ("final.0", "final.3", "final.5"), ("final_10.0", "final_10.3")


def convert_hearing(tensors: Tensors) -> Converted:
  """What hears keypoints; any width, number of keypoints and LSTM layers.

  Raises:
    WeightsError: a key is missing, unknown or of another shape.
  """
  file = StateDict(tensors)
  w, _ = file.sides(f"{_NET}audio_eocder.0.0.weight", 4)[:2]
  before, blocks = 3, 0
  while f"{_NET}down_blocks.{blocks}.conv.weight" in file:
    wide = 4 * 2**blocks
    take_block(
      file, f"{_NET}down_blocks.{blocks}", f"see{blocks}", (wide, before)
    )
    before, blocks = wide, blocks + 1
  take_ears(file, w, _NET)
  file.dense(f"{_NET}pose_encoder.0", "pose/dense0", (2 * w, NUMBERS))
  file.dense(f"{_NET}pose_encoder.2", "pose/dense1", (4 * w, 2 * w))
  layers = file.lstm(f"{_NET}lstm", "lstm", 4 * w, before + 8 * w)
  key = f"{_NET}decon"
  file.deconv(f"{key}.0", "seed", (4 * w, 4 * w), 6, bias=True)
  file.norm(f"{key}.1", "seed_norm", 4 * w)
  ups, before = 0, 4 * w
  # Every third of the sequence is a ReLU; the last layer has no norm.
  while f"{key}.{3 * ups + 4}.weight" in file:
    file.deconv(
      f"{key}.{3 * ups + 3}", f"up{ups}", (before, 2 * w), 4, bias=True
    )
    file.norm(f"{key}.{3 * ups + 4}", f"up{ups}_norm", 2 * w)
    ups, before = ups + 1, 2 * w
  keypoints, channels = file.sides(f"{_HEAD}kp.weight", 4)[:2]
  file.deconv(f"{key}.{3 * ups + 3}", "maps", (before, channels), 4, bias=True)
  for ours, theirs, count in (
    ("points", "kp", keypoints),
    ("jacobians", "jacobian", 4 * keypoints),
  ):
    file.conv(
      f"{_HEAD}{theirs}", f"head/{ours}", (count, channels), 7, bias=True
    )
  file.drop(
    x
    for x in tensors
    if x.startswith((f"{_NET}generator.", f"{_HEAD}predictor."))
    or x == f"{_HEAD}down.weight"
  )
  return file.finish(
    {
      "keypoints": keypoints,
      "channels": channels,
      "side": 8 * 2**ups,
      "width": w,
      "layers": layers,
    }
  )


def convert_feeling(tensors: Tensors) -> Converted:
  """What feels emotions; any widths and depths. It moves four keypoints.

  Left out are layers that the public code has and does not call where its
  weights are used: other heads, and those of ten keypoints. Where those of
  four are not there, the ten are moved.

  Raises:
    WeightsError: a key is missing, unknown or of another shape.
  """
  inside = any(key.startswith(_FELT) for key in tensors)
  file = StateDict(tensors, _FELT if inside else "")
  hourglass = take_hourglass(file, "predictor", "hourglass", 3)
  w = file.sides("conv1.weight", 4)[0]
  stages = _take_resnet(file, w, hourglass["width"] + 3)
  seen = w * 2 ** (len(stages) - 1)
  _, numbers = file.sides("fc_p.0.weight", 2)
  keypoints = numbers // (NUMBERS * (1 + 2 * FREQUENCIES))
  file.dense("fc_p.0", "place/dense0", (16 * w, numbers))
  file.dense("fc_p.2", "place/dense1", (8 * w, 16 * w))
  file.dense("fc_all.0", "both/dense0", (8 * w, seen + 8 * w))
  file.dense("fc_all.2", "both/dense1", (4 * w, 8 * w))
  file.dense("fc_all.4", "both/dense2", (CODE, 4 * w))
  file.dense("classify.last_fc", "classes", (8, seen))
  if f"{_NARROW[0]}.weight" in file:
    moved = file.sides(f"{_NARROW[-1]}.weight", 3)[0]
    shapes = ((2, 1), 4), ((4, 2), 4), ((moved, 4), 3)
    used, unused = _NARROW, (*_UNUSED, "final_10")
  else:
    moved = keypoints
    shapes = ((8, 4), 3), ((moved, 8), 3)
    used, unused = _WIDE, _UNUSED
  for i, (key, (shape, size)) in enumerate(zip(used, shapes, strict=True)):
    file.conv1d(key, f"displace{i}", shape, size)
  keys = [key.removeprefix(file.prefix) for key in tensors]
  file.drop(key for key in keys if key.split(".")[0] in (*unused, "down"))
  return file.finish(
    {
      "keypoints": keypoints,
      "moved": moved,
      "shrink": 4,
      "stages": stages,
      "features": w,
      **hourglass,
    }
  )


def _take_resnet(file: StateDict, width: int, before: int) -> tuple[int, ...]:
  """A ResNet of basic blocks, and how many each of its stages has."""
  file.conv("conv1", "resnet/stem", (width, before))
  file.norm("bn1", "resnet/stem_norm", width)
  stages: list[int] = []
  before = width
  while f"layer{len(stages) + 1}.0.conv1.weight" in file:
    wide, block = width * 2 ** len(stages), 0
    while (key := f"layer{len(stages) + 1}.{block}") + ".conv1.weight" in file:
      name = f"resnet/stage{len(stages) + 1}_block{block + 1}"
      for i, inputs in ((1, before), (2, wide)):
        file.conv(f"{key}.conv{i}", f"{name}/conv{i}", (wide, inputs))
        file.norm(f"{key}.bn{i}", f"{name}/norm{i}", wide)
      if wide != before:
        shape = wide, before
        file.conv(f"{key}.downsample.0", f"{name}/project", shape, 1)
        file.norm(f"{key}.downsample.1", f"{name}/project_norm", wide)
      before, block = wide, block + 1
    stages.append(block)
  return tuple(stages)


def hearing_outputs(
  converted: Converted, inputs: Mapping[str, np.ndarray]
) -> dict[str, np.ndarray]:
  """`value` (b t k 2), `jacobian` (b t k 2 2) and `heatmap` (b t k h w).

  Args:
    converted: From `convert_hearing`.
    inputs: `image` (b 3 s s) in [0, 1], `mfcc` (b t 28 12), `pose` (b t 6) and
      `weight`, the factor of what is heard, a number.
  """
  net = AudioToMotion(**converted.sizes)
  frames = inputs["mfcc"].shape[1]

  def run(variables: Any, picture: Any, mfcc: Any, pose: Any, loud: Any) -> Any:
    found: Any = net.apply(variables, picture, mfcc, pose, None, loud)
    return found.found

  found = exactly(run)(
    converted.variables,
    f32(rearrange(inputs["image"], "b c h w -> b h w c")),
    *(f32(inputs[x]) for x in ("mfcc", "pose", "weight")),
  )
  outputs = {
    "value": found.keypoints.points,
    "jacobian": found.keypoints.jacobians,
    "heatmap": found.heat,
  }
  return {
    name: rearrange(np.asarray(x), "(b t) ... -> b t ...", t=frames)
    for name, x in outputs.items()
  }


def feeling_outputs(
  converted: Converted, inputs: Mapping[str, np.ndarray]
) -> dict[str, np.ndarray]:
  """`value` (b n 2), `jacobian` (b n 2 2) and `classes` (b 8).

  Args:
    converted: From `convert_feeling`.
    inputs: `image` (b 3 s s) in [0, 1], and `value` (b k 2) and `jacobian`
      (b k 2 2) of neutral keypoints.
  """
  net = EmotionNet(**converted.sizes)
  neutral = Keypoints(f32(inputs["value"]), f32(inputs["jacobian"]))
  felt = exactly(net.apply)(
    converted.variables,
    f32(rearrange(inputs["image"], "b c h w -> b h w c")),
    neutral,
  )
  return {
    "value": np.asarray(felt.displacement.points),
    "jacobian": np.asarray(felt.displacement.jacobians),
    "classes": np.asarray(felt.logits),
  }
