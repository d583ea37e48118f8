"""EAMM in NumPy, float64, with PyTorch's names, axes and equations.

Written from PyTorch's documentation and a description of the networks, not
from our modules, so that what they share is the truth.
"""

import numpy as np

from tests.pretrained.reference import windows
from tests.pretrained.reference_atvg import Net, Shapes, max_pool, relu


class Part(Net):
  """One of the networks of a file, by the beginning of its keys."""

  def __init__(self, state, name=""):
    super().__init__(
      {
        key.removeprefix(name): value
        for key, value in state.items()
        if key.startswith(name)
      }
    )

  def named_block(self, x, key):
    return relu(self.norm(self.conv(x, f"{key}.conv"), f"{key}.norm"))

  def spread(self, x, key):
    """ConvTranspose2d(k, stride=2, padding=1)."""
    kernel = self.state[f"{key}.weight"]
    size, (n, _, h, w) = kernel.shape[-1], x.shape
    y = np.zeros((n, kernel.shape[1], 2 * h - 2 + size, 2 * w - 2 + size))
    for i in range(h):
      for j in range(w):
        y[:, :, 2 * i : 2 * i + size, 2 * j : 2 * j + size] += np.einsum(
          "nc,cohw->nohw", x[:, :, i, j], kernel
        )
    return y[:, :, 1:-1, 1:-1] + self.state[f"{key}.bias"][:, None, None]

  def conv1d(self, x, key, stride=1, pad=0):
    kernel = self.state[f"{key}.weight"]
    x = np.pad(x, ((0, 0), (0, 0), (pad, pad)))
    seen = np.lib.stride_tricks.sliding_window_view(x, kernel.shape[-1], 2)
    y = np.einsum("ncli,oci->nol", seen[:, :, ::stride], kernel)
    return y + self.state[f"{key}.bias"][:, None]


def average_pool(x):
  return windows(x, 2, 2, 0).mean((-2, -1))


def softmax(x):
  x = np.exp(x - x.max(-1, keepdims=True))
  return x / x.sum(-1, keepdims=True)


def hourglass(net, x, key):
  kept = [x]
  blocks = 0
  while f"{key}.encoder.down_blocks.{blocks}.conv.weight" in net.state:
    name = f"{key}.encoder.down_blocks.{blocks}"
    kept.append(average_pool(net.named_block(kept[-1], name)))
    blocks += 1
  x = kept.pop()
  for i in range(blocks):
    x = x.repeat(2, 2).repeat(2, 3)
    x = net.named_block(x, f"{key}.decoder.up_blocks.{i}")
    x = np.concatenate([x, kept.pop()], 1)
  return x


def quarter(image):
  """A Gaussian of 13 x 13, deviation 1.5; every fourth place."""
  line = np.exp(-((np.arange(13) - 6.0) ** 2) / (2 * 1.5**2))
  kernel = np.outer(line, line) / line.sum() ** 2
  seen = windows(image, 13, 1, 6)
  return np.einsum("nchwij,ij->nchw", seen, kernel)[:, :, ::4, ::4]


def head(net, maps):
  spots = net.conv(maps, "kp", pad=0)
  n, k, h, w = spots.shape
  heat = softmax(spots.reshape(n, k, -1) / 0.1).reshape(n, k, h, w)
  x, y = np.linspace(-1, 1, w), np.linspace(-1, 1, h)
  value = np.stack([(heat * x).sum((2, 3)), (heat * y[:, None]).sum((2, 3))], 2)
  turns = net.conv(maps, "jacobian", pad=0).reshape(n, k, 4, h, w)
  jacobian = (heat[:, :, None] * turns).sum((3, 4)).reshape(n, k, 2, 2)
  return value, jacobian, heat


def hearing(state, image, mfcc, pose, weight):
  net, heads = Part(state, "audio_feature."), Part(state, "kp_detector_a.")
  x, i = image, 0
  while f"down_blocks.{i}.conv.weight" in net.state:
    x = average_pool(net.named_block(x, f"down_blocks.{i}"))
    i += 1
  person, steps = x.reshape(len(x), -1), []
  for t in range(mfcc.shape[1]):
    x = mfcc[:, t, None]
    x = net.block(net.block(x, "audio_eocder.0"), "audio_eocder.1")
    x = max_pool(x, (1, 2))
    for i in (3, 4, 5):
      x = net.block(x, f"audio_eocder.{i}")
    x = max_pool(x, (2, 2)).reshape(len(x), -1)
    x = relu(net.dense(x, "audio_eocder_fc.0"))
    x = relu(net.dense(x, "audio_eocder_fc.2")) * weight
    held = relu(net.dense(pose[:, t], "pose_encoder.0"))
    held = relu(net.dense(held, "pose_encoder.2"))
    steps.append(np.concatenate([person, x, held], 1))
  x = net.lstm(np.stack(steps, 1))
  found = []
  for t in range(x.shape[1]):
    y, number = x[:, t, :, None, None], 0
    while f"decon.{number + 1}.weight" in net.state:
      y = net.spread(y, f"decon.{number}")
      y = relu(net.norm(y, f"decon.{number + 1}"))
      number += 3
    found.append(head(heads, net.spread(y, f"decon.{number}")))
  names = "value", "jacobian", "heatmap"
  return {
    name: np.stack([x[i] for x in found], 1) for i, name in enumerate(names)
  }


def feeling(state, image, value, jacobian):
  net = Part(state)
  x = hourglass(net, quarter(image), "predictor")
  x = relu(net.norm(net.conv(x, "conv1"), "bn1"))
  x = windows(x, 3, 2, 1, -np.inf).max((-2, -1))
  stage = 1
  while f"layer{stage}.0.conv1.weight" in net.state:
    block = 0
    while f"layer{stage}.{block}.conv1.weight" in net.state:
      key = f"layer{stage}.{block}"
      stride = 2 if stage > 1 and block == 0 else 1
      y = relu(net.norm(net.conv(x, f"{key}.conv1", stride), f"{key}.bn1"))
      y = net.norm(net.conv(y, f"{key}.conv2"), f"{key}.bn2")
      if f"{key}.downsample.0.weight" in net.state:
        x = net.conv(x, f"{key}.downsample.0", stride, 0)
        x = net.norm(x, f"{key}.downsample.1")
      x, block = relu(x + y), block + 1
    stage += 1
  seen = x.mean((2, 3))
  numbers = np.concatenate([value, jacobian.reshape(*value.shape[:2], 4)], 2)
  parts = [numbers]
  for i in range(10):
    parts += [np.sin(2.0**i * numbers), np.cos(2.0**i * numbers)]
  place = np.concatenate(parts, 2).reshape(len(numbers), -1)
  place = relu(net.dense(relu(net.dense(place, "fc_p.0")), "fc_p.2"))
  code = np.concatenate([seen, place], 1)
  for i in (0, 2, 4):
    code = relu(net.dense(code, f"fc_all.{i}"))

  def pooled(x):
    return relu(x.reshape(*x.shape[:2], -1, 2).max(-1))

  if "final.0.weight" in net.state:
    x = pooled(net.conv1d(code[:, None], "final.0", 2, 1))
    x = net.conv1d(relu(net.conv1d(x, "final.3", 2, 1)), "final.5")
  else:
    x = pooled(net.conv1d(code.reshape(-1, 4, 16), "final_10.0", 1, 1))
    x = net.conv1d(x, "final_10.3")
  return {
    "value": x[:, :, :2],
    "jacobian": x[:, :, 2:].reshape(*x.shape[:2], 2, 2),
    "classes": net.dense(seen, "classify.last_fc"),
  }


class Named(Shapes):
  """Shapes of the parts that have names instead of numbers."""

  def named_block(self, key, out, before):
    self.conv(f"{key}.conv", out, before, bias=True)
    self.norm(f"{key}.norm", out)

  def spread(self, key, before, out, size):
    self[f"{key}.weight"] = (before, out, size, size)
    self[f"{key}.bias"] = (out,)

  def conv1d(self, key, out, before, size):
    self[f"{key}.weight"], self[f"{key}.bias"] = (out, before, size), (out,)

  def hourglass(self, key, width, widest, blocks):
    wide = [3, *(min(widest, width * 2 ** (i + 1)) for i in range(blocks))]
    for i in range(blocks):
      self.named_block(f"{key}.encoder.down_blocks.{i}", wide[i + 1], wide[i])
    for i in range(blocks):
      level = blocks - 1 - i
      before = wide[level + 1] * (1 if i == 0 else 2)
      self.named_block(
        f"{key}.decoder.up_blocks.{i}", min(widest, width * 2**level), before
      )


def hearing_shapes(w, blocks, layers, ups, channels, keypoints):
  """ "audio_feature" and the head of "kp_detector_a", which are used."""
  shapes = Named()
  for i in range(blocks):
    before = 3 if i == 0 else 2 * 2**i
    shapes.named_block(f"down_blocks.{i}", 4 * 2**i, before)
  shapes.dense("pose_encoder.0", 2 * w, 6)
  shapes.dense("pose_encoder.2", 4 * w, 2 * w)
  shapes.block("audio_eocder.0", w, 1)
  shapes.block("audio_eocder.1", 2 * w, w)
  shapes.block("audio_eocder.3", 4 * w, 2 * w)
  shapes.block("audio_eocder.4", 4 * w, 4 * w)
  shapes.block("audio_eocder.5", 8 * w, 4 * w)
  shapes.dense("audio_eocder_fc.0", 32 * w, 8 * w * 24)
  shapes.dense("audio_eocder_fc.2", 4 * w, 32 * w)
  shapes.lstm(4 * w, 2 * 2**blocks + 8 * w, layers)
  shapes.spread("decon.0", 4 * w, 4 * w, 6)
  shapes.norm("decon.1", 4 * w)
  before = 4 * w
  for i in range(1, ups + 1):
    shapes.spread(f"decon.{3 * i}", before, 2 * w, 4)
    shapes.norm(f"decon.{3 * i + 1}", 2 * w)
    before = 2 * w
  shapes.spread(f"decon.{3 * ups + 3}", before, channels, 4)
  heads = Named()
  heads.conv("kp", keypoints, channels, 7, bias=True)
  heads.conv("jacobian", 4 * keypoints, channels, 7, bias=True)
  return {f"audio_feature.{k}": v for k, v in shapes.items()} | {
    f"kp_detector_a.{k}": v for k, v in heads.items()
  }


def feeling_shapes(width, widest, blocks, w, stages, keypoints, moved):
  """ "emo_detector", with what is never called; moved 0: by the wide head."""
  shapes = Named()
  shapes.hourglass("predictor", width, widest, blocks)
  shapes["down.weight"] = (3, 1, 13, 13)
  shapes.conv("conv1", w, width + 3)
  shapes.norm("bn1", w)
  before = w
  for stage, depth in enumerate(stages, 1):
    wide = w * 2 ** (stage - 1)
    for block in range(depth):
      key = f"layer{stage}.{block}"
      shapes.conv(f"{key}.conv1", wide, before)
      shapes.norm(f"{key}.bn1", wide)
      shapes.conv(f"{key}.conv2", wide, wide)
      shapes.norm(f"{key}.bn2", wide)
      if before != wide:
        shapes.conv(f"{key}.downsample.0", wide, before, 1)
        shapes.norm(f"{key}.downsample.1", wide)
      before = wide
  shapes.dense("fc", 8, before)
  shapes.dense("fc_p.0", 16 * w, 126 * keypoints)
  shapes.dense("fc_p.2", 8 * w, 16 * w)
  shapes.dense("fc_n.0", 2 * w, 6 * keypoints)
  shapes.dense("fc_n.2", 8 * w, 2 * w)
  shapes.dense("fc_all.0", 8 * w, before + 8 * w)
  shapes.dense("fc_all.2", 4 * w, 8 * w)
  shapes.dense("fc_all.4", 64, 4 * w)
  if moved:
    shapes.conv1d("final.0", 2, 1, 4)
    shapes.conv1d("final.3", 4, 2, 4)
    shapes.conv1d("final.5", moved, 4, 3)
  for i in (0, 3):
    shapes.conv1d(f"final_4.{i}", 4, 4, 3)
  shapes.conv1d("final_10.0", 8, 4, 3)
  shapes.conv1d("final_10.3", keypoints, 8, 3)
  shapes.dense("classify.last_fc", 8, before)
  return dict(shapes)
