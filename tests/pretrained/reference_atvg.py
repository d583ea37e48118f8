"""ATVG in NumPy, float64, with PyTorch's names, axes and equations.

Written from PyTorch's documentation and a description of the networks, not
from our modules, so that what they share is the truth.
"""

import numpy as np

from tests.pretrained.reference import windows


class Net:
  """A state dict, and the layers that read it."""

  def __init__(self, state):
    self.state = {k: np.asarray(v, float) for k, v in state.items()}

  def conv(
    self, x, key, stride=1, pad=1, dilation=1, suffix=("weight", "bias")
  ):
    kernel = self.state[f"{key}.{suffix[0]}"]
    reach = dilation * (kernel.shape[-1] - 1) + 1
    seen = windows(x, reach, stride, pad)[..., ::dilation, ::dilation]
    y = np.einsum("nchwij,ocij->nohw", seen, kernel, optimize=True)
    bias = self.state.get(f"{key}.{suffix[1]}")
    return y if bias is None else y + bias[:, None, None]

  def deconv(self, x, key):
    """ConvTranspose2d(3, stride=2, padding=1, output_padding=1): it spreads."""
    kernel = self.state[f"{key}.weight"]
    n, _, h, w = x.shape
    y = np.zeros((n, kernel.shape[1], 2 * h + 2, 2 * w + 2))
    for i in range(h):
      for j in range(w):
        y[:, :, 2 * i : 2 * i + 3, 2 * j : 2 * j + 3] += np.einsum(
          "nc,cohw->nohw", x[:, :, i, j], kernel
        )
    y = y[:, :, 1:-1, 1:-1]
    bias = self.state.get(f"{key}.bias")
    return y if bias is None else y + bias[:, None, None]

  def norm(self, x, key):
    scale, bias, mean, var = (
      self.state[f"{key}.{part}"][:, None, None]
      for part in ("weight", "bias", "running_mean", "running_var")
    )
    return (x - mean) / np.sqrt(var + 1e-5) * scale + bias

  def block(self, x, key, stride=1, pad=1):
    return relu(self.norm(self.conv(x, f"{key}.0", stride, pad), f"{key}.1"))

  def up(self, x, key, number):
    x = self.deconv(x, f"{key}.{number}")
    return relu(self.norm(x, f"{key}.{number + 1}"))

  def dense(self, x, key):
    return x @ self.state[f"{key}.weight"].T + self.state[f"{key}.bias"]

  def lstm(self, x):
    """nn.LSTM with batch_first, from zeros."""
    layer = 0
    while f"lstm.weight_ih_l{layer}" in self.state:
      w, u, b, c = (
        self.state[f"lstm.{part}_l{layer}"]
        for part in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
      )
      hidden = cell = np.zeros((len(x), u.shape[1]))
      steps = []
      for t in range(x.shape[1]):
        gates = x[:, t] @ w.T + b + hidden @ u.T + c
        i, f, g, o = np.split(gates, 4, 1)
        cell = sigmoid(f) * cell + sigmoid(i) * np.tanh(g)
        hidden = sigmoid(o) * np.tanh(cell)
        steps.append(hidden)
      x, layer = np.stack(steps, 1), layer + 1
    return x

  def gru(self, x, hidden):
    """One step of the convolutional GRU, dilation 2."""
    seen = self.conv(x, "convGRU", 1, 2, 2, ("weight_ih_l0", "bias_ih_l0"))
    kept = self.conv(hidden, "convGRU", 1, 2, 2, ("weight_hh_l0", "bias_hh_l0"))
    (ir, iz, i_n), (hr, hz, hn) = np.split(seen, 3, 1), np.split(kept, 3, 1)
    new = np.tanh(i_n + sigmoid(ir + hr) * hn)
    update = sigmoid(iz + hz)
    return (1 - update) * new + update * hidden


def relu(x):
  return np.maximum(x, 0)


def sigmoid(x):
  return 1 / (1 + np.exp(-x))


def max_pool(x, strides):
  seen = windows(x, 3, 1, 0).max((-2, -1))
  return seen[:, :, :: strides[0], :: strides[1]]


def at_net(state, example, mfcc):
  net = Net(state)
  person = relu(net.dense(example, "lmark_encoder.0"))
  person = relu(net.dense(person, "lmark_encoder.2"))
  steps = []
  for t in range(mfcc.shape[1]):
    x = mfcc[:, t, None]
    x = net.block(net.block(x, "audio_eocder.0"), "audio_eocder.1")
    x = max_pool(x, (1, 2))
    for i in (3, 4, 5):
      x = net.block(x, f"audio_eocder.{i}")
    x = max_pool(x, (2, 2)).reshape(len(x), -1)
    x = relu(net.dense(x, "audio_eocder_fc.0"))
    x = relu(net.dense(x, "audio_eocder_fc.2"))
    steps.append(np.concatenate([person, x], 1))
  return {"coefficients": net.dense(net.lstm(np.stack(steps, 1)), "lstm_fc.0")}


def vg_net(state, image, example, landmarks):
  """As it is used, every frame the first, and as it is meant."""
  net = Net(state)
  x = np.pad(image, ((0, 0), (0, 0), (3, 3), (3, 3)), "reflect")
  x = net.block(x, "image_encoder1.1", pad=0)
  x = net.block(x, "image_encoder1.2", 2)
  fine = net.block(x, "image_encoder1.3", 2)
  coarse = net.block(
    net.block(fine, "image_encoder2.0", 2), "image_encoder2.1", 2
  )

  def maps(points):
    x = relu(net.dense(points, "landmark_encoder.0"))
    x = x.reshape(len(x), 1, *coarse.shape[2:])
    near = net.block(x, "landmark_encoder_stage2.0")
    return near, net.block(near, "lmark_feature.0")

  still_near, still_far = maps(example)
  blocks = 0
  while f"generator1.{blocks}.conv_block.0.weight" in net.state:
    blocks += 1

  def paint(x, mask):
    for i in range(blocks):
      key = f"generator1.{i}.conv_block"
      y = relu(net.norm(net.conv(x, f"{key}.0"), f"{key}.1"))
      x = x + net.norm(net.conv(y, f"{key}.4"), f"{key}.5")
    x = net.up(net.up(x, "generator1", blocks), "generator1", blocks + 3)
    x = fine * (1 - mask) + x * mask
    x = net.up(net.up(x, "base", 0), "base", 3)
    colour = np.tanh(net.conv(x, "generator_color.0", pad=3))
    attention = sigmoid(net.conv(x, "generator_attention.0", pad=3))
    return attention * colour + (1 - attention) * image, attention, colour

  made = {x: [] for x in ("frames", "attention", "colour", "mask", "recurrent")}
  state = nothing = np.zeros((len(image), coarse.shape[1], *coarse.shape[2:]))
  for t in range(landmarks.shape[1]):
    near, far = maps(landmarks[:, t])
    both = np.concatenate([near, still_near], 1)
    x = net.up(net.up(both, "lmark_att", 0), "lmark_att", 3)
    mask = sigmoid(net.conv(x, "lmark_att.6.0"))
    x = np.concatenate([coarse, far - still_far], 1)
    x = net.block(x, "bottle_neck.0")
    frame, attention, colour = paint(net.gru(x, nothing), mask)
    state = net.gru(x, state)
    for name, value in (
      ("frames", frame),
      ("attention", attention),
      ("colour", colour),
      ("mask", mask),
      ("recurrent", paint(state, mask)[0]),
    ):
      made[name].append(value)
  return {name: np.stack(values, 1) for name, values in made.items()}


def critic(state, frames, example):
  net = Net(state)
  person = relu(net.dense(relu(net.dense(example, "encoder.0")), "encoder.2"))
  steps = []
  for t in range(frames.shape[1]):
    x = relu(net.conv(frames[:, t], "image_encoder_dis.0.0", 2))
    for i in (1, 2, 3):
      x = net.block(x, f"image_encoder_dis.{i}", 2)
    x = relu(net.dense(x.reshape(len(x), -1), "img_fc.0"))
    steps.append(np.concatenate([person, x], 1))
  x = net.lstm(np.stack(steps, 1))
  return {
    "decision": sigmoid(net.dense(x, "decision.0").mean((1, 2))),
    "landmarks": np.tanh(net.dense(x, "lstm_fc.0")) + example[:, None],
  }


class Shapes(dict):
  """Shapes of a state dict's tensors."""

  def conv(self, key, out, before, size=3, bias=False):
    self[f"{key}.weight"] = (out, before, size, size)
    if bias:
      self[f"{key}.bias"] = (out,)

  def norm(self, key, width):
    for part in ("weight", "bias", "running_mean", "running_var"):
      self[f"{key}.{part}"] = (width,)
    self[f"{key}.num_batches_tracked"] = ()

  def block(self, key, out, before, size=3):
    self.conv(f"{key}.0", out, before, size)
    self.norm(f"{key}.1", out)

  def up(self, key, number, before, out, bias=False):
    self[f"{key}.{number}.weight"] = (before, out, 3, 3)
    if bias:
      self[f"{key}.{number}.bias"] = (out,)
    self.norm(f"{key}.{number + 1}", out)

  def dense(self, key, out, before):
    self[f"{key}.weight"], self[f"{key}.bias"] = (out, before), (out,)

  def lstm(self, width, before, layers):
    for i in range(layers):
      gates = 4 * width
      self[f"lstm.weight_ih_l{i}"] = (gates, before if i == 0 else width)
      self[f"lstm.weight_hh_l{i}"] = (gates, width)
      self[f"lstm.bias_ih_l{i}"] = self[f"lstm.bias_hh_l{i}"] = (gates,)


def at_shapes(w, layers):
  shapes = Shapes()
  shapes.dense("lmark_encoder.0", 4 * w, 6)
  shapes.dense("lmark_encoder.2", 8 * w, 4 * w)
  shapes.block("audio_eocder.0", w, 1)
  shapes.block("audio_eocder.1", 2 * w, w)
  shapes.block("audio_eocder.3", 4 * w, 2 * w)
  shapes.block("audio_eocder.4", 4 * w, 4 * w)
  shapes.block("audio_eocder.5", 8 * w, 4 * w)
  shapes.dense("audio_eocder_fc.0", 32 * w, 8 * w * 24)
  shapes.dense("audio_eocder_fc.2", 4 * w, 32 * w)
  shapes.lstm(4 * w, 12 * w, layers)
  shapes.dense("lstm_fc.0", 6, 4 * w)
  return dict(shapes)


def vg_shapes(w, side, blocks):
  shapes = Shapes()
  shapes.block("image_encoder1.1", w, 3, 7)
  shapes.block("image_encoder1.2", w, w)
  shapes.block("image_encoder1.3", 2 * w, w)
  shapes.block("image_encoder2.0", 4 * w, 2 * w)
  shapes.block("image_encoder2.1", 8 * w, 4 * w)
  shapes.dense("landmark_encoder.0", side**2, 136)
  shapes.block("landmark_encoder_stage2.0", 4 * w, 1)
  shapes.up("lmark_att", 0, 8 * w, 4 * w, bias=True)
  shapes.up("lmark_att", 3, 4 * w, 2 * w, bias=True)
  shapes.conv("lmark_att.6.0", 1, 2 * w, bias=True)
  shapes.block("lmark_feature.0", 8 * w, 4 * w)
  for i in range(blocks):
    shapes.conv(f"generator1.{i}.conv_block.0", 8 * w, 8 * w)
    shapes.norm(f"generator1.{i}.conv_block.1", 8 * w)
    shapes.conv(f"generator1.{i}.conv_block.4", 8 * w, 8 * w)
    shapes.norm(f"generator1.{i}.conv_block.5", 8 * w)
  shapes.up("generator1", blocks, 8 * w, 4 * w)
  shapes.up("generator1", blocks + 3, 4 * w, 2 * w)
  shapes.up("base", 0, 2 * w, w)
  shapes.up("base", 3, w, w // 2)
  shapes.conv("generator_color.0", 3, w // 2, 7, bias=True)
  shapes.conv("generator_attention.0", 1, w // 2, 7, bias=True)
  shapes.block("bottle_neck.0", 2 * w, 16 * w)
  for part, before in (("ih", 2 * w), ("hh", 8 * w)):
    shapes[f"convGRU.weight_{part}_l0"] = (24 * w, before, 3, 3)
    shapes[f"convGRU.bias_{part}_l0"] = (24 * w,)
  return dict(shapes)


def critic_shapes(w, side, layers):
  shapes = Shapes()
  shapes.conv("image_encoder_dis.0.0", w, 3, bias=True)
  for i in (1, 2, 3):
    shapes.block(f"image_encoder_dis.{i}", 2**i * w, 2 ** (i - 1) * w)
  shapes.dense("encoder.0", 4 * w, 136)
  shapes.dense("encoder.2", 8 * w, 4 * w)
  shapes.dense("decoder.0", 8 * w, 16 * w)
  shapes.dense("decoder.2", 136, 8 * w)
  shapes.dense("img_fc.0", 8 * w, 8 * w * side**2)
  shapes.lstm(4 * w, 16 * w, layers)
  shapes.dense("lstm_fc.0", 136, 4 * w)
  shapes.dense("decision.0", 1, 4 * w)
  return dict(shapes)
