"""The twin of our SyncNet, from pictures and spectra on."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from speak_jax.models import syncnet
from tests.benchmarks.peers.layers import conv, group_norm


class Tower(nn.Module):
  """Convolutions that halve the picture until few rows are left."""

  def __init__(self, net: syncnet.SyncNet, shape: tuple[int, int, int]):
    super().__init__()
    rows, columns, channels = shape
    self.unit, self.layers = net.unit, []
    for i in range(max(1, (rows - 1).bit_length() - 2)):
      features = net.width * min(2**i, 8)
      for j, stride in enumerate((2, 1)):
        name = f"stage{i}_{j}"
        layer = conv(channels, features, 3, stride, bias=False)
        self.add_module(f"{name}_conv", layer)
        self.add_module(f"{name}_norm", group_norm(features))
        self.layers += [f"{name}_conv", f"{name}_norm"]
        channels = features
      rows, columns = -(-rows // 2), -(-columns // 2)
    self.out = nn.Linear(rows * columns * channels, net.out)

  def forward(self, x: Tensor) -> Tensor:
    for name in self.layers:
      x = self.get_submodule(name)(x)
      if name.endswith("_norm"):
        x = F.relu(x, inplace=True)
    x = self.out(x.permute(0, 2, 3, 1).flatten(1))
    return F.normalize(x) if self.unit else x * x.shape[1] ** -0.5


class SyncNet(nn.Module):
  """Codes of a window's pictures and of its spectrum."""

  def __init__(
    self,
    net: syncnet.SyncNet,
    window: tuple[int, int, int, int],
    spectrum: tuple[int, int],
  ):
    super().__init__()
    frames, rows, columns, colours = window
    self.moving = net.moving
    channels = 2 * frames - 1 if net.moving else frames * colours
    self.lips = Tower(net, (rows, columns, channels))
    self.sound = Tower(net, (*spectrum, 1))

  def forward(self, mouth: Tensor, spectra: Tensor) -> tuple[Tensor, ...]:
    """Takes mouths as ours does, (b, t, h, w, c)."""
    if self.moving:
      x = motion(mouth)
    else:
      x = mouth.permute(0, 1, 4, 2, 3).flatten(1, 2)
    return self.lips(x), self.sound(spectra[:, None])


def motion(mouth: Tensor) -> Tensor:
  """Grey frames of one brightness and contrast, and their differences."""
  grey = mouth.mean(-1)
  grey = grey - grey.mean((1, 2, 3), keepdim=True)
  variance = (grey**2).mean((1, 2, 3), keepdim=True)
  grey = grey / (variance + syncnet.LEAST_CONTRAST**2).sqrt()
  return torch.cat([grey, 3 * (grey[:, 1:] - grey[:, :-1])], 1)
