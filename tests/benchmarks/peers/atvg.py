"""The twin of ATVG's VG-net."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from speak_jax.models import atvg
from tests.benchmarks.peers.layers import Norm, Sequence, conv, last, numbers


class ConvNorm(nn.Module):
  """A convolution without bias, batch norm, ReLU."""

  def __init__(self, inputs: int, features: int, stride: int = 1):
    super().__init__()
    self.conv = conv(inputs, features, 3, stride, bias=False)
    self.norm = Norm("batch", features)

  def forward(self, x: Tensor) -> Tensor:
    return F.relu(self.norm(self.conv(x)), inplace=True)


class Up(nn.ConvTranspose2d):
  """A transposed convolution to twice the size, batch norm, ReLU."""

  def __init__(self, inputs: int, features: int, bias: bool = False):
    super().__init__(inputs, features, 3, 2, 1, 1, bias=bias)
    self.norm = Norm("batch", features)

  def forward(self, x: Tensor) -> Tensor:
    return F.relu(self.norm(super().forward(x)), inplace=True)


class Residual(nn.Module):
  """Two convolutions, half of what is between them dropped."""

  def __init__(self, channels: int):
    super().__init__()
    self.first = ConvNorm(channels, channels)
    self.dropout = nn.Dropout(0.5)
    self.conv = conv(channels, channels, bias=False)
    self.norm = Norm("batch", channels)

  def forward(self, x: Tensor) -> Tensor:
    return x + self.norm(self.conv(self.dropout(self.first(x))))


class ConvGru(nn.Module):
  """A gated recurrent unit of maps, its convolutions of dilation 2."""

  def __init__(self, inputs: int, features: int):
    super().__init__()
    self.input = numbers(3 * features, inputs, 3, 3)
    self.recurrent = numbers(3 * features, features, 3, 3)
    self.input_bias = numbers(3 * features)
    self.recurrent_bias = numbers(3 * features)

  def forward(self, x: Tensor, steps: int) -> Tensor:
    """States after each step; (b t) c h w, as its inputs."""
    seen = F.conv2d(x, self.input, self.input_bias, padding=2, dilation=2)
    seen = seen.unflatten(0, (-1, steps))
    shape = (len(seen), self.recurrent.shape[1], *seen.shape[3:])
    state, states = seen.new_zeros(shape), []
    for step in range(steps):
      recalled = F.conv2d(
        state, self.recurrent, self.recurrent_bias, padding=2, dilation=2
      )
      reset, keep, new = recalled.chunk(3, 1)
      seen_reset, seen_keep, seen_new = seen[:, step].chunk(3, 1)
      new = torch.tanh(seen_new + torch.sigmoid(seen_reset + reset) * new)
      state = new + torch.sigmoid(seen_keep + keep) * (state - new)
      states.append(state)
    return torch.stack(states, 1).flatten(0, 1)


class VGNet(nn.Module):
  """Moves a picture along with landmarks."""

  def __init__(self, net: atvg.VGNet, landmarks: int):
    super().__init__()
    w, self.side = net.width, net.size // atvg.STRIDE
    self.stem = ConvNorm(3, w)
    self.stem.conv = nn.Conv2d(
      3, w, 7, padding=3, padding_mode="reflect", bias=False
    )
    self.down0, self.down1 = ConvNorm(w, w, 2), ConvNorm(w, 2 * w, 2)
    self.down2 = ConvNorm(2 * w, 4 * w, 2)
    self.down3 = ConvNorm(4 * w, 8 * w, 2)
    self.place = Sequence(2 * landmarks, (self.side**2,), F.relu)
    self.landmarks0 = ConvNorm(1, 4 * w)
    self.landmarks1 = ConvNorm(4 * w, 8 * w)
    self.mask0 = Up(8 * w, 4 * w, bias=True)
    self.mask1 = Up(4 * w, 2 * w, bias=True)
    self.mask = conv(2 * w, 1)
    self.bottleneck = ConvNorm(16 * w, 2 * w)
    self.gru = ConvGru(2 * w, 8 * w)
    self.blocks = net.blocks
    for i in range(net.blocks):
      self.add_module(f"block{i}", Residual(8 * w))
    self.up0, self.up1 = Up(8 * w, 4 * w), Up(4 * w, 2 * w)
    self.up2, self.up3 = Up(2 * w, w), Up(w, w // 2)
    self.colour = conv(w // 2, 3, 7)
    self.attention = conv(w // 2, 1, 7)

  def forward(
    self, picture: Tensor, example: Tensor, landmarks: Tensor
  ) -> tuple[Tensor, ...]:
    """A frame for each set of landmarks, (b t) h w 3."""
    frames = landmarks.shape[1]

    def each(x: Tensor) -> Tensor:
      return x.repeat_interleave(frames, 0)

    fine = self.down1(self.down0(self.stem(picture)))
    coarse = self.down3(self.down2(fine))

    points = torch.cat([example[:, None], landmarks], 1).flatten(2)
    place = self.place(points.flatten(0, 1))
    place = place.unflatten(1, (1, self.side, self.side))
    near = self.landmarks0(place)
    far = self.landmarks1(near).unflatten(0, (-1, frames + 1))
    near = near.unflatten(0, (-1, frames + 1))
    still = near[:, :1].expand_as(near[:, 1:])
    both = torch.cat([near[:, 1:], still], 2).flatten(0, 1)
    away = (far[:, 1:] - far[:, :1]).flatten(0, 1)
    mask = torch.sigmoid(self.mask(self.mask1(self.mask0(both))))

    x = self.bottleneck(torch.cat([each(coarse), away], 1))
    x = self.gru(x, frames)
    for i in range(self.blocks):
      x = self.get_submodule(f"block{i}")(x)
    x = self.up1(self.up0(x))
    x = each(fine) * (1 - mask) + x * mask
    x = self.up3(self.up2(x))
    colour = torch.tanh(self.colour(x))
    attention = torch.sigmoid(self.attention(x))
    painted = attention * colour + (1 - attention) * each(picture)
    return (last(painted),)
