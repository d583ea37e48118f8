"""ResNet and VGG in NumPy, float64, PyTorch's names and axes.

Written from the papers and torchvision's documentation, not from our modules,
so that what they share is the truth.
"""

import numpy as np

MEAN = np.array([0.485, 0.456, 0.406])[:, None, None]
DEVIATION = np.array([0.229, 0.224, 0.225])[:, None, None]


def windows(x, size, stride, pad, fill=0.0):
  x = np.pad(x, ((0, 0), (0, 0), (pad, pad), (pad, pad)), constant_values=fill)
  seen = np.lib.stride_tricks.sliding_window_view(x, (size, size), (2, 3))
  return seen[:, :, ::stride, ::stride]


def conv(x, kernel, stride=1):
  size = kernel.shape[-1]
  seen = windows(x, size, stride, size // 2)
  return np.einsum("nchwij,ocij->nohw", seen, kernel, optimize=True)


def resnet_shapes(stages, widths, stem, classes, expansion=4):
  """Shapes of torchvision's keys."""
  shapes = {}

  def add(conv, norm, *shape):
    shapes[f"{conv}.weight"] = shape
    for part in ("weight", "bias", "running_mean", "running_var"):
      shapes[f"{norm}.{part}"] = shape[:1]
    shapes[f"{norm}.num_batches_tracked"] = ()

  add("conv1", "bn1", stem, 3, 7, 7)
  before = stem
  for i, (depth, width) in enumerate(zip(stages, widths, strict=True), 1):
    for j in range(depth):
      at = f"layer{i}.{j}"
      out = width * expansion
      if expansion == 4:
        add(f"{at}.conv1", f"{at}.bn1", width, before, 1, 1)
        add(f"{at}.conv2", f"{at}.bn2", width, width, 3, 3)
        add(f"{at}.conv3", f"{at}.bn3", out, width, 1, 1)
      else:
        add(f"{at}.conv1", f"{at}.bn1", width, before, 3, 3)
        add(f"{at}.conv2", f"{at}.bn2", width, width, 3, 3)
      if j == 0 and (i > 1 or before != out):
        add(f"{at}.downsample.0", f"{at}.downsample.1", out, before, 1, 1)
      before = out
  if classes:
    shapes |= {"fc.weight": (classes, before), "fc.bias": (classes,)}
  return shapes


def resnet(state, image):
  """torchvision's outputs, `stem` behind the pooling."""

  def norm(x, name):
    scale, bias, mean, var = (
      state[f"{name}.{part}"].astype(float)[:, None, None]
      for part in ("weight", "bias", "running_mean", "running_var")
    )
    return (x - mean) / np.sqrt(var + 1e-5) * scale + bias

  def weight(name):
    return state[f"{name}.weight"].astype(float)

  x = (image / 255 - MEAN) / DEVIATION
  x = np.maximum(norm(conv(x, weight("conv1"), 2), "bn1"), 0)
  x = windows(x, 3, 2, 1, -np.inf).max((-2, -1))
  out = {"stem": x}
  i = 1
  while f"layer{i}.0.conv1.weight" in state:
    j = 0
    while f"layer{i}.{j}.conv1.weight" in state:
      at = f"layer{i}.{j}"
      stride = 2 if i > 1 and j == 0 else 1
      last = 3 if f"{at}.conv3.weight" in state else 2
      y = x
      for k in range(1, last + 1):
        # Version 1.5: the first 3x3 convolution has the stride.
        here = stride if k == last - 1 else 1
        y = norm(conv(y, weight(f"{at}.conv{k}"), here), f"{at}.bn{k}")
        y = np.maximum(y, 0) if k < last else y
      if f"{at}.downsample.0.weight" in state:
        x = conv(x, weight(f"{at}.downsample.0"), stride)
        x = norm(x, f"{at}.downsample.1")
      x = np.maximum(x + y, 0)
      j += 1
    out[f"layer{i}"] = x
    i += 1
  out["pool"] = x.mean((2, 3))
  if "fc.weight" in state:
    out["logits"] = out["pool"] @ weight("fc").T + state["fc.bias"]
  return out


def vgg_shapes(widths):
  """Shapes of torchvision's keys, of convolutions by size."""
  shapes, at, before = {}, 0, 3
  for layers in widths:
    for width in layers:
      shapes[f"features.{at}.weight"] = (width, before, 3, 3)
      shapes[f"features.{at}.bias"] = (width,)
      at, before = at + 2, width
    at += 1
  return shapes


def vgg(state, image, widths):
  """relu1_1 and so on."""
  x = (image / 255 - MEAN) / DEVIATION
  out, at = {}, 0
  for i, layers in enumerate(widths, 1):
    for j in range(len(layers)):
      kernel = state[f"features.{at}.weight"].astype(float)
      x = conv(x, kernel) + state[f"features.{at}.bias"][:, None, None]
      x = np.maximum(x, 0)
      if j == 0:
        out[f"relu{i}_1"] = x
      at += 2
    high, wide = x.shape[2] // 2, x.shape[3] // 2
    x = x[:, :, : 2 * high, : 2 * wide]
    x = x.reshape(*x.shape[:2], high, 2, wide, 2).max((3, 5))
    at += 1
  return out
