"""The twins of Wav2Lip's generator and of its expert."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from speak_jax.models import wav2lip
from tests.benchmarks.peers.layers import last


class Block(nn.Module):
  """A convolution, batch norm, perhaps its input, ReLU."""

  def __init__(self, convolution: nn.Module, residual: bool = False):
    super().__init__()
    norm = nn.BatchNorm2d(convolution.out_channels)
    self.conv_block = nn.Sequential(convolution, norm)
    self.residual = residual

  def forward(self, x: Tensor) -> Tensor:
    y = self.conv_block(x)
    return F.relu(y + x if self.residual else y, inplace=True)


def plain(inputs, features, size=3, stride=1, pad=1) -> Block:
  return Block(nn.Conv2d(inputs, features, size, stride, pad))


def residual(features: int, count: int) -> list[Block]:
  return [
    Block(nn.Conv2d(features, features, 3, 1, 1), True) for _ in range(count)
  ]


def down(features: int, count: int) -> list[Block]:
  """From half as many channels, at half the size."""
  half = plain(features // 2, features, stride=2)
  return [half, *residual(features, count)]


def middle(inputs: int, features: int, size: int) -> list[Block]:
  return [
    plain(inputs, features, size, pad=0),
    plain(features, features, 1, pad=0),
  ]


def audio(width: int, count: int) -> nn.Sequential:
  return nn.Sequential(
    plain(1, width),
    *residual(width, 2),
    plain(width, 2 * width, stride=(3, 1)),
    *residual(2 * width, 2),
    plain(2 * width, 4 * width, stride=3),
    *residual(4 * width, 2),
    plain(4 * width, 8 * width, stride=(3, 2)),
    *residual(8 * width, count),
    *middle(8 * width, 16 * width, 3),
  )


def _chains(chains: Sequence[Sequence[Block]]) -> nn.ModuleList:
  return nn.ModuleList(nn.Sequential(*chain) for chain in chains)


class Generator(nn.Module):
  """Repaints the lower halves of faces after a sound."""

  def __init__(self, net: wav2lip.Generator):
    super().__init__()
    w, size = net.width, net.size // wav2lip.STRIDE
    deep = 32 * w
    self.audio_encoder = audio(2 * w, 1)
    self.face_encoder_blocks = _chains(
      [
        [plain(6, w, 7, pad=3)],
        down(2 * w, 2),
        down(4 * w, 3),
        down(8 * w, 2),
        down(16 * w, 2),
        down(deep, 1),
        middle(deep, deep, size),
      ]
    )
    # Channels of each map that lies beside, the coarsest first.
    beside = (deep, deep, 16 * w, 8 * w, 4 * w, 2 * w, w)
    grow = Block(nn.ConvTranspose2d(2 * deep, deep, size))
    decoder = [[plain(deep, deep, 1, pad=0)], [grow, *residual(deep, 1)]]
    channels = deep
    for i, features in enumerate((deep, 24 * w, 16 * w, 8 * w, 4 * w)):
      inputs = channels + beside[i + 1]
      up = nn.ConvTranspose2d(inputs, features, 3, 2, 1, 1)
      decoder.append([Block(up), *residual(features, 2)])
      channels = features
    self.face_decoder_blocks = _chains(decoder)
    self.skips = net.skips
    self.output_block = nn.Sequential(
      plain(channels + beside[-1], 2 * w), nn.Conv2d(2 * w, 3, 1)
    )

  def forward(self, faces: Tensor, mel: Tensor) -> tuple[Tensor, ...]:
    maps, x = [], faces
    for chain in self.face_encoder_blocks:
      x = chain(x)
      maps.append(x)
    x = self.audio_encoder(mel[:, None])
    for chain in self.face_decoder_blocks:
      x = torch.cat([chain(x), maps.pop()], 1)
    x = self.output_block(x)
    if self.skips:
      upper, _ = faces[:, :3].chunk(2, 2)
      _, lower = faces[:, 3:].chunk(2, 2)
      x = x + torch.logit(torch.cat([upper, lower], 2), eps=wav2lip.EDGE)
    return (last(torch.sigmoid(x)),)


class SyncExpert(nn.Module):
  """Codes of five lower halves and of their sound."""

  def __init__(self, net: wav2lip.SyncExpert):
    super().__init__()
    w = net.width
    self.face_encoder = nn.Sequential(
      plain(15, w, 7, pad=3),
      plain(w, 2 * w, 5, stride=(1, 2)),
      *residual(2 * w, 2),
      *down(4 * w, 3),
      *down(8 * w, 2),
      *down(16 * w, 2),
      plain(16 * w, 16 * w, stride=2),
      *middle(16 * w, 16 * w, net.size // wav2lip.STRIDE),
    )
    self.audio_encoder = audio(w, 2)

  def forward(self, below: Tensor, mel: Tensor) -> tuple[Tensor, ...]:
    seen = self.face_encoder(below).flatten(1)
    heard = self.audio_encoder(mel[:, None]).flatten(1)
    return F.normalize(seen), F.normalize(heard)
