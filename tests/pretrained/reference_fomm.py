"""The First Order Motion Model in NumPy, float64, with PyTorch's names.

Written from PyTorch's documentation and a description of the networks, not
from our modules, so that what they share is the truth.
"""

import numpy as np

from tests.pretrained.reference import windows
from tests.pretrained.reference_atvg import Net, Shapes, relu, sigmoid


def bell(size, deviation):
  """The buffer that files hold of it, (3, 1, size, size)."""
  line = np.exp(-((np.arange(size) - (size - 1) / 2) ** 2) / 2 / deviation**2)
  both = line[:, None] * line
  return np.repeat((both / both.sum())[None, None], 3, 0)


def small(x, kernel, factor):
  """AntiAliasInterpolation2d: a depthwise convolution, every factor-th."""
  seen = windows(x, kernel.shape[-1], 1, kernel.shape[-1] // 2)
  y = np.einsum("nchwij,cij->nchw", seen, kernel[:, 0])
  return y[:, :, ::factor, ::factor]


def block(net, x, key, pad=1):
  return relu(net.norm(net.conv(x, f"{key}.conv", 1, pad), f"{key}.norm"))


def pool(x):
  n, c, h, w = x.shape
  return x.reshape(n, c, h // 2, 2, w // 2, 2).mean((3, 5))


def double(x):
  return x.repeat(2, 2).repeat(2, 3)


def hourglass(net, x, key):
  seen, count = [x], 0
  while f"{key}.encoder.down_blocks.{count}.conv.weight" in net.state:
    x = pool(block(net, x, f"{key}.encoder.down_blocks.{count}"))
    seen.append(x)
    count += 1
  x = seen.pop()
  for i in range(count):
    x = block(net, double(x), f"{key}.decoder.up_blocks.{i}")
    x = np.concatenate([x, seen.pop()], 1)
  return x


def softmax(x, axis):
  x = np.exp(x - x.max(axis, keepdims=True))
  return x / x.sum(axis, keepdims=True)


def grid(h, w):
  """Columns and rows from -1 to 1, (h, w, 2)."""
  return np.stack(np.meshgrid(np.linspace(-1, 1, w), np.linspace(-1, 1, h)), -1)


def grid_sample(x, places):
  """F.grid_sample's defaults: bilinear, zeros, align_corners=False."""
  n, c, h, w = x.shape
  column = ((places[..., 0] + 1) * w - 1) / 2
  row = ((places[..., 1] + 1) * h - 1) / 2
  left, top = np.floor(column).astype(int), np.floor(row).astype(int)
  y = np.zeros((n, c, *places.shape[1:3]))
  for i in (0, 1):
    for j in (0, 1):
      r, k = top + i, left + j
      share = (1 - abs(row - r)) * (1 - abs(column - k))
      inside = (r >= 0) & (r < h) & (k >= 0) & (k < w)
      for b in range(n):
        taken = x[b][:, r[b].clip(0, h - 1), k[b].clip(0, w - 1)]
        y[b] += taken * (share[b] * inside[b])
  return y


def detector(state, image, factor):
  net = Net({k.removeprefix("kp_detector."): v for k, v in state.items()})
  x = small(image, net.state["down.weight"], factor)
  x = hourglass(net, x, "predictor")
  spots = net.conv(x, "kp", 1, 0)
  n, k, h, w = spots.shape
  heat = softmax(spots.reshape(n, k, h * w) / 0.1, 2).reshape(spots.shape)
  value = np.einsum("nkhw,hwc->nkc", heat, grid(h, w))
  turns = net.conv(x, "jacobian", 1, 0).reshape(n, k, 4, h, w)
  jacobian = np.einsum("nkhw,nkjhw->nkj", heat, turns).reshape(n, k, 2, 2)
  return {"value": value, "jacobian": jacobian, "heatmap": heat}


def generator(
  state,
  factor,
  image,
  source_value,
  source_jacobian,
  driving_value,
  driving_jacobian,
):
  net = Net({k.removeprefix("generator."): v for k, v in state.items()})
  motion = "dense_motion_network"
  picture = small(image, net.state[f"{motion}.down.weight"], factor)
  n, _, h, w = picture.shape
  places = grid(h, w)
  parts = [np.broadcast_to(places, (n, h, w, 2))]
  heats = [np.zeros((n, h, w))]
  for k in range(source_value.shape[1]):
    turn = source_jacobian[:, k] @ np.linalg.inv(driving_jacobian[:, k])
    away = places - driving_value[:, None, None, k]
    moved = np.einsum("nij,nhwj->nhwi", turn, away)
    parts.append(moved + source_value[:, None, None, k])
    driven, kept = (
      np.exp(-0.5 * ((places - v[:, None, None, k]) ** 2).sum(-1) / 0.01)
      for v in (driving_value, source_value)
    )
    heats.append(driven - kept)
  seen = []
  for heat, part in zip(heats, parts, strict=True):
    seen += [heat[:, None], grid_sample(picture, part)]
  x = hourglass(net, np.concatenate(seen, 1), f"{motion}.hourglass")
  mask = softmax(net.conv(x, f"{motion}.mask", 1, 3), 1)
  occlusion = sigmoid(net.conv(x, f"{motion}.occlusion", 1, 3))
  deformation = np.einsum("nkhw,knhwc->nhwc", mask, np.stack(parts))

  x = block(net, image, "first", 3)
  for i in range(2):
    x = pool(block(net, x, f"down_blocks.{i}"))
  x = grid_sample(x, deformation) * occlusion
  i = 0
  while f"bottleneck.r{i}.conv1.weight" in net.state:
    y, key = x, f"bottleneck.r{i}"
    for j in (1, 2):
      y = net.conv(relu(net.norm(y, f"{key}.norm{j}")), f"{key}.conv{j}")
    x, i = x + y, i + 1
  for i in range(2):
    x = block(net, double(x), f"up_blocks.{i}")
  return {
    "prediction": sigmoid(net.conv(x, "final", 1, 3)),
    "mask": mask,
    "occlusion_map": occlusion,
    "deformation": deformation,
  }


class Parts(Shapes):
  """Shapes of a state dict's tensors."""

  def part(self, key, out, before, size=3):
    self.conv(f"{key}.conv", out, before, size, bias=True)
    self.norm(f"{key}.norm", out)

  def hourglass(self, key, before, width, widest, blocks):
    wide = [before]
    wide += [min(widest, width * 2 ** (i + 1)) for i in range(blocks)]
    for i in range(blocks):
      self.part(f"{key}.encoder.down_blocks.{i}", wide[i + 1], wide[i])
    for i in range(blocks):
      level = blocks - i
      into = wide[level] * (1 if i == 0 else 2)
      out = min(widest, width * 2 ** (level - 1))
      self.part(f"{key}.decoder.up_blocks.{i}", out, into)


def detector_shapes(keypoints, width, widest, blocks, bell):
  shapes = Parts()
  shapes.hourglass("predictor", 3, width, widest, blocks)
  shapes.conv("kp", keypoints, width + 3, 7, bias=True)
  shapes.conv("jacobian", 4 * keypoints, width + 3, 7, bias=True)
  shapes["down.weight"] = (3, 1, bell, bell)
  return {f"kp_detector.{k}": v for k, v in shapes.items()}


def generator_shapes(
  keypoints, width, halvings, residuals, motion_width, widest, blocks, bell
):
  shapes, key = Parts(), "dense_motion_network"
  parts = keypoints + 1
  shapes.hourglass(f"{key}.hourglass", 4 * parts, motion_width, widest, blocks)
  shapes.conv(f"{key}.mask", parts, motion_width + 4 * parts, 7, bias=True)
  shapes.conv(f"{key}.occlusion", 1, motion_width + 4 * parts, 7, bias=True)
  shapes[f"{key}.down.weight"] = (3, 1, bell, bell)
  shapes.part("first", width, 3, 7)
  for i in range(halvings):
    shapes.part(f"down_blocks.{i}", width * 2 ** (i + 1), width * 2**i)
    level = halvings - i
    shapes.part(f"up_blocks.{i}", width * 2 ** (level - 1), width * 2**level)
  for i in range(residuals):
    for j in (1, 2):
      key = f"bottleneck.r{i}"
      shapes.norm(f"{key}.norm{j}", width * 2**halvings)
      most = width * 2**halvings
      shapes.conv(f"{key}.conv{j}", most, most, bias=True)
  shapes.conv("final", 3, width, 7, bias=True)
  return {f"generator.{k}": v for k, v in shapes.items()}
