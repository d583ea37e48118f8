"""Wav2Lip in NumPy, float64, with PyTorch's names, axes and equations.

Written from PyTorch's documentation and a description of the networks, not
from our modules, so that what they share is the truth.
"""

import numpy as np

from tests.pretrained.reference import windows

# Of each layer: channels over the width, kernel, stride (rows, columns),
# padding, kind: "c" convolution, batch norm, ReLU; "r" the same with its input
# added before the ReLU; "t" transposed, otherwise as "c"; "l" convolution and
# leaky ReLU; "p" convolution alone, of so many channels.
R = lambda wide: (wide, 3, (1, 1), 1, "r")  # noqa: E731
DOWN = lambda wide: (wide, 3, (2, 2), 1, "c")  # noqa: E731
UP = lambda wide: (wide, 3, (2, 2), 1, "t")  # noqa: E731
POINT = lambda wide, kind: (wide, 1, (1, 1), 0, kind)  # noqa: E731
LEAKY = lambda wide, k, stride: (wide, k, stride, k // 2, "l")  # noqa: E731


def audio(w, residual):
  return [
    (w, 3, (1, 1), 1, "c"),
    *[R(w)] * 2,
    (2 * w, 3, (3, 1), 1, "c"),
    *[R(2 * w)] * 2,
    (4 * w, 3, (3, 3), 1, "c"),
    *[R(4 * w)] * 2,
    (8 * w, 3, (3, 2), 1, "c"),
    *[R(8 * w)] * residual,
    (16 * w, 3, (1, 1), 0, "c"),
    POINT(16 * w, "c"),
  ]


def generator_layers(w, middle):
  encoder = [
    [(w, 7, (1, 1), 3, "c")],
    [DOWN(2 * w), *[R(2 * w)] * 2],
    [DOWN(4 * w), *[R(4 * w)] * 3],
    [DOWN(8 * w), *[R(8 * w)] * 2],
    [DOWN(16 * w), *[R(16 * w)] * 2],
    [DOWN(32 * w), R(32 * w)],
    [(32 * w, middle, (1, 1), 0, "c"), POINT(32 * w, "c")],
  ]
  decoder = [
    [POINT(32 * w, "c")],
    [(32 * w, middle, (1, 1), 0, "t"), R(32 * w)],
    *[[UP(k * w), *[R(k * w)] * 2] for k in (32, 24, 16, 8, 4)],
  ]
  output = [(2 * w, 3, (1, 1), 1, "c"), POINT(3, "p")]
  return encoder, audio(2 * w, 1), decoder, output


def expert_face(w, middle):
  return [
    (w, 7, (1, 1), 3, "c"),
    (2 * w, 5, (1, 2), 1, "c"),
    *[R(2 * w)] * 2,
    DOWN(4 * w),
    *[R(4 * w)] * 3,
    DOWN(8 * w),
    *[R(8 * w)] * 2,
    DOWN(16 * w),
    *[R(16 * w)] * 2,
    DOWN(16 * w),
    (16 * w, middle, (1, 1), 0, "c"),
    POINT(16 * w, "c"),
  ]


def critic_layers(w, middle):
  one, two = (1, 1), (2, 2)
  return [
    [LEAKY(w, 7, one)],
    [LEAKY(2 * w, 5, (1, 2)), LEAKY(2 * w, 5, one)],
    [LEAKY(4 * w, 5, two), LEAKY(4 * w, 5, one)],
    [LEAKY(8 * w, 5, two), LEAKY(8 * w, 5, one)],
    [LEAKY(16 * w, 3, two), LEAKY(16 * w, 3, one)],
    [LEAKY(16 * w, 3, two), LEAKY(16 * w, 3, one)],
    [(16 * w, middle, one, 0, "l"), POINT(16 * w, "l")],
  ]


def conv(x, kernel, bias, stride, pad):
  seen = windows(x, kernel.shape[-1], 1, pad)[:, :, :: stride[0], :: stride[1]]
  y = np.einsum("nchwij,ocij->nohw", seen, kernel, optimize=True)
  return y + bias[:, None, None]


def transposed(x, kernel, bias, stride, pad):
  """ConvTranspose2d: every place spreads; `pad` 1 comes with one row more."""
  n, _, h, w = x.shape
  size, step = kernel.shape[-1], stride[0]
  rows, columns = step * (h - 1) + size + pad, step * (w - 1) + size + pad
  y = np.zeros((n, kernel.shape[1], rows, columns))
  for i in range(h):
    for j in range(w):
      y[:, :, step * i : step * i + size, step * j : step * j + size] += (
        np.einsum("nc,cohw->nohw", x[:, :, i, j], kernel)
      )
  return y[:, :, pad : rows - pad, pad : columns - pad] + bias[:, None, None]


def layer(state, key, x, spec):
  _, _, stride, pad, kind = spec
  inner = key if kind == "p" else f"{key}.conv_block.0"
  kernel, bias = state[f"{inner}.weight"], state[f"{inner}.bias"]
  y = (transposed if kind == "t" else conv)(x, kernel, bias, stride, pad)
  if kind == "p":
    return y
  if kind == "l":
    return np.where(y > 0, y, 0.01 * y)
  scale, shift, mean, var = (
    state[f"{key}.conv_block.1.{part}"][:, None, None]
    for part in ("weight", "bias", "running_mean", "running_var")
  )
  y = (y - mean) / np.sqrt(var + 1e-5) * scale + shift
  return np.maximum(y + x if kind == "r" else y, 0)


def chain(state, key, x, layers):
  for i, spec in enumerate(layers):
    x = layer(state, f"{key}.{i}", x, spec)
  return x


def _floats(state):
  return {k: np.asarray(v, float) for k, v in state.items()}


def sigmoid(x):
  return 1 / (1 + np.exp(-x))


def generator(state, faces, mel):
  state = _floats(state)
  width = len(state["face_encoder_blocks.0.0.conv_block.0.bias"])
  middle = state["face_encoder_blocks.6.0.conv_block.0.weight"].shape[-1]
  encoder, hear, decoder, output = generator_layers(width, middle)
  sound = chain(state, "audio_encoder", mel, hear)
  maps, x = [], faces
  for i, layers in enumerate(encoder):
    x = chain(state, f"face_encoder_blocks.{i}", x, layers)
    maps.append(x)
  x = sound
  for i, layers in enumerate(decoder):
    x = chain(state, f"face_decoder_blocks.{i}", x, layers)
    x = np.concatenate([x, maps.pop()], 1)
  return {"frames": sigmoid(chain(state, "output_block", x, output))}


def expert(state, below, mel):
  state = _floats(state)
  width = len(state["face_encoder.0.conv_block.0.bias"])
  middle = state["face_encoder.15.conv_block.0.weight"].shape[-1]
  codes = {
    "face": chain(state, "face_encoder", below, expert_face(width, middle)),
    "audio": chain(state, "audio_encoder", mel, audio(width, 2)),
  }
  flat = {name: x.reshape(len(x), -1) for name, x in codes.items()}
  return {
    name: x / np.linalg.norm(x, axis=1, keepdims=True)
    for name, x in flat.items()
  }


def critic(state, below):
  state = _floats(state)
  width = len(state["face_encoder_blocks.0.0.conv_block.0.bias"])
  middle = state["face_encoder_blocks.6.0.conv_block.0.weight"].shape[-1]
  x = below
  for i, layers in enumerate(critic_layers(width, middle)):
    x = chain(state, f"face_encoder_blocks.{i}", x, layers)
  x = layer(state, "binary_pred.0", x, POINT(1, "p"))
  return {"real": sigmoid(x).reshape(-1)}


def _shapes(shapes, key, layers, before):
  """Adds a chain's tensors; gives the channels that it ends with."""
  for i, (wide, size, _, _, kind) in enumerate(layers):
    name = f"{key}.{i}"
    inner = name if kind == "p" else f"{name}.conv_block.0"
    pair = (before, wide) if kind == "t" else (wide, before)
    shapes[f"{inner}.weight"] = (*pair, size, size)
    shapes[f"{inner}.bias"] = (wide,)
    if kind in "crt":
      for part in ("weight", "bias", "running_mean", "running_var"):
        shapes[f"{name}.conv_block.1.{part}"] = (wide,)
      shapes[f"{name}.conv_block.1.num_batches_tracked"] = ()
    before = wide
  return before


def generator_shapes(w, middle):
  encoder, hear, decoder, output = generator_layers(w, middle)
  shapes, before, maps = {}, 6, []
  for i, layers in enumerate(encoder):
    before = _shapes(shapes, f"face_encoder_blocks.{i}", layers, before)
    maps.append(before)
  before = _shapes(shapes, "audio_encoder", hear, 1)
  for i, layers in enumerate(decoder):
    before = _shapes(shapes, f"face_decoder_blocks.{i}", layers, before)
    before += maps.pop()
  _shapes(shapes, "output_block", output, before)
  return shapes


def expert_shapes(w, middle):
  shapes = {}
  _shapes(shapes, "face_encoder", expert_face(w, middle), 15)
  _shapes(shapes, "audio_encoder", audio(w, 2), 1)
  return shapes


def critic_shapes(w, middle):
  shapes, before = {}, 3
  for i, layers in enumerate(critic_layers(w, middle)):
    before = _shapes(shapes, f"face_encoder_blocks.{i}", layers, before)
  _shapes(shapes, "binary_pred", [POINT(1, "p")], before)
  return shapes
