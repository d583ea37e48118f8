"""The twin of SPEAK's generator, its geometry included."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from speak_jax.models import generator, geometry
from speak_jax.nn import warp
from tests.benchmarks.peers.layers import (
  Sequence,
  conv,
  last,
  leaky,
  numbers,
  scaled,
)

POINTS = 68
HEATMAPS = len(range(POINTS)[geometry.HEATMAP_LANDMARKS])


class StyleConv(nn.Module):
  """A convolution whose inputs are scaled by a style of each example."""

  def __init__(
    self, inputs: int, features: int, size: int, latent: int, plain: bool
  ):
    super().__init__()
    self.plain = plain
    self.kernel = numbers(features, inputs, size, size)
    self.bias = numbers(features)
    self.style = nn.Linear(latent, inputs)

  def forward(self, x: Tensor, latent: Tensor) -> Tensor:
    style = self.style(latent)
    if not self.plain:
      style = style * (style.square().mean(-1, keepdim=True) + 1e-8).rsqrt()
    x = x * style[:, :, None, None]
    padding = self.kernel.shape[-1] // 2
    if self.plain:
      return F.conv2d(x, self.kernel, self.bias, padding=padding)
    y = F.conv2d(x, self.kernel, padding=padding)
    energy = style.square() @ self.kernel.square().sum((2, 3)).T
    gain = (energy + 1e-8).rsqrt()[:, :, None, None]
    return torch.addcmul(self.bias[:, None, None], y, gain)


def twice(x: Tensor) -> Tensor:
  """A bilinear picture of twice the size."""
  return F.interpolate(x, scale_factor=2, mode="bilinear")


class Block(nn.Module):
  """One resolution."""

  def __init__(
    self, inputs: int, features: int, latent: int, maps: int, first: bool
  ):
    super().__init__()
    self.conv0 = None
    if not first:
      self.conv0 = StyleConv(inputs, features, 3, latent, False)
    self.maps = conv(maps, features, 1) if maps else None
    self.conv1 = StyleConv(features, features, 3, latent, False)
    self.rgb = StyleConv(features, 3, 1, latent, True)

  def forward(
    self, x: Tensor, latent: Tensor, maps: Tensor | None
  ) -> tuple[Tensor, Tensor]:
    if self.conv0 is not None:
      x = twice(leaky(self.conv0(x, latent)))
    if self.maps is not None:
      x = x + self.maps(maps)
    x = leaky(self.conv1(x, latent))
    return x, self.rgb(x, latent)


class Synthesis(nn.Module):
  """Blocks one after the other, maps moved into them."""

  def __init__(
    self, channels: generator.Channels, latent: int, maps: dict[int, int]
  ):
    super().__init__()
    self.sizes = [size for size, _ in channels]
    first, width = channels[0]
    self.start = numbers(first, first, width)
    for i, (size, features) in enumerate(channels):
      inputs = maps.get(size, 0)
      if inputs and size <= generator.HEATMAPS_UP_TO:
        inputs += HEATMAPS
      block = Block(width, features, latent, inputs, not i)
      self.add_module(f"block{size}", block)
      width = features

  def forward(
    self,
    latents: Tensor,
    maps: dict[int, Tensor],
    flow: Tensor,
    points: Tensor,
  ) -> Tensor:
    x = self.start.permute(2, 0, 1).expand(len(latents), -1, -1, -1)
    frames, entry = None, None
    for i, size in enumerate(self.sizes):
      entry = seen = None
      if size in maps:
        entry = seen = moved(maps[size], flow, points)
        if size <= generator.HEATMAPS_UP_TO:
          seen = torch.cat([entry, heatmaps(points, size)], 1)
      x, rgb = self.get_submodule(f"block{size}")(x, latents[:, i], seen)
      frames = rgb if frames is None else twice(frames) + rgb
    return frames if entry is None else frames + entry[:, :3]


def centres(size: int) -> Tensor:
  """Centres of a row's cells, the row spanning -1 to 1."""
  return (torch.arange(size) + 0.5) * (2 / size) - 1


def moved(entry: Tensor, flow: Tensor, points: Tensor) -> Tensor:
  """A map where its face is to be, blank between open lips."""
  size = entry.shape[-1]
  row = centres(size)
  grid = torch.stack(torch.meshgrid(row, row, indexing="xy"), -1)
  grid = grid + last(scaled(flow, size))
  entry = F.grid_sample(entry, grid, padding_mode="border", align_corners=False)
  gap = opening(points, size)
  content, blank = entry[:, :-1] * (1 - gap), entry[:, -1:]
  return torch.cat([content, torch.maximum(blank, gap)], 1)


def opening(points: Tensor, size: int) -> Tensor:
  """1 where the mouth is open, falling to 0 over the last cell."""
  cells = centres(size)
  top, bottom = (
    outline(points[:, list(edge)], cells)[:, None, None]
    for edge in (geometry.UPPER_EDGE, geometry.LOWER_EDGE)
  )
  y = cells[:, None]
  return (torch.minimum(y - top, bottom - y) * (size / 2)).clamp(0, 1)


def outline(edge: Tensor, x: Tensor) -> Tensor:
  """y of a line through points, from left to right."""
  at, y = edge.unbind(-1)
  half = at.shape[1] // 2
  left = at[:, : half + 1].flip(1).cummin(1).values.flip(1)
  at = torch.cat([left, at[:, half:].cummax(1).values[:, 1:]], 1)
  width = at.diff(dim=1).clamp(min=geometry.SHEER)
  done = (x[:, None] - at[:, None, :-1]) / width[:, None]
  return y[:, :1] + (y.diff(dim=1)[:, None] * done.clamp(0, 1)).sum(-1)


def heatmaps(points: Tensor, size: int) -> Tensor:
  """A Gaussian where each landmark is, (b, k, s, s)."""
  points = points[:, geometry.HEATMAP_LANDMARKS, None]
  away = (centres(size)[:, None] - points) * (size / 2 / geometry.HEATMAP_STD)
  blob = torch.exp(-0.5 * away.square())
  return blob[:, :, :, None, 1] * blob[:, :, None, :, 0]


class CoarseFlow(nn.Module):
  """A flow by the poses, (b, 2, s, s)."""

  def __init__(self, size: int, width: int, pose: int):
    super().__init__()
    self.size = size
    self.linear = nn.Linear(pose, 2 * size**2, bias=False)
    self.mlp = Sequence(2 * pose, (width, width), leaky)
    self.out = nn.Linear(width, 2 * size**2)

  def forward(self, turn: Tensor, poses: Tensor) -> Tensor:
    flow = self.linear(turn) + self.out(self.mlp(poses))
    return flow.reshape(-1, self.size, self.size, 2).movedim(-1, 1)


class Expression(nn.Module):
  """Landmarks with another expression."""

  def __init__(self, width: int, identity: int, emotion: int, drive: int):
    super().__init__()
    self.face = nn.Linear(identity + 2 * emotion + 2 * POINTS, width)
    self.drive = nn.Linear(drive, width, bias=False)
    self.hidden = nn.Linear(width, width)
    self.out = nn.Linear(width, 2 * POINTS)

  def forward(
    self,
    points: Tensor,
    identity: Tensor,
    own: Tensor,
    emotion: Tensor,
    drive: Tensor,
  ) -> Tensor:
    shape = 4 * (points - points.mean(1, keepdim=True)).flatten(1)
    seen = torch.cat([identity, emotion, emotion - own, shape], -1)
    x = self.hidden(leaky(self.face(seen) + self.drive(drive)))
    return points + self.out(leaky(x)).reshape(points.shape)


class Turn(nn.Module):
  """Landmarks of a head that turns."""

  def __init__(self, width: int, pose: int):
    super().__init__()
    self.mlp = Sequence(2 * pose, (width // 2, width // 2), leaky)
    self.field = nn.Linear(2 * pose + width // 2, 14)
    self.depth = numbers(POINTS)

  def forward(self, points: Tensor, poses: Tensor) -> Tensor:
    field = self.field(torch.cat([poses, self.mlp(poses)], -1))
    x, y = points.unbind(-1)
    one, depth = torch.ones_like(x), self.depth.expand_as(x)
    basis = torch.stack([one, x, y, x * x, x * y, y * y, depth], -1)
    return points + basis @ field.reshape(-1, 7, 2)


class Geometry(nn.Module):
  """The flow, and the landmarks that it follows."""

  def __init__(self, image: int, width: int, widths: tuple[int, int, int, int]):
    super().__init__()
    identity, pose, emotion, speech = widths
    self.fine = min(geometry.FINE, image // 2)
    coarse = min(geometry.COARSE, image // 4)
    self.Flow_0 = CoarseFlow(coarse, width, pose)
    self.Expression_0 = Expression(width, identity, emotion, speech)
    self.Turn_0 = Turn(width, pose)

  def forward(
    self,
    own: tuple[Tensor, Tensor, Tensor, Tensor],
    pose: Tensor,
    emotion: Tensor,
    speech: Tensor,
  ) -> tuple[Tensor, Tensor]:
    identity, own_pose, own_emotion, source = own
    turn = pose - own_pose
    poses = torch.cat([turn, pose], -1)
    points = self.Expression_0(source, identity, own_emotion, emotion, speech)
    points = self.Turn_0(points, poses)
    flow = scaled(self.Flow_0(turn, poses), self.fine)
    return flow + follow(points, source, self.fine), points


def follow(points: Tensor, source: Tensor, size: int) -> Tensor:
  """The flow that reads at `source` what is to lie at `points`."""
  still = torch.tensor(warp.STILL).expand(len(points), -1, -1)
  points, source = (torch.cat([x, still], 1) for x in (points, source))
  away = (centres(size)[:, None, None] - points[:, None]).square()
  x, y = away.unbind(-1)
  weight = (y[:, :, None] + x[:, None] + warp.NEAR**2).square().reciprocal()
  moved = torch.einsum("byxk,bkd->bdyx", weight, source - points)
  return moved / weight.sum(-1)[:, None]


class Generator(nn.Module):
  """G_g: frames of encoded pictures and of what they are to do."""

  def __init__(
    self,
    net: generator.GlobalGenerator,
    widths: tuple[int, int, int, int],
    maps: dict[int, int],
  ):
    """Of the codes of identity, pose, emotion and speech; {size: channels}."""
    super().__init__()
    levels = len(net.channels)
    self.base = numbers(levels, net.latent, net.latent)
    self.gain = numbers(levels, 1)
    image, self.sizes = net.channels[-1][0], list(maps)
    self.geometry = Geometry(image, net.latent, widths)
    self.generator = Synthesis(net.channels, net.latent, maps)

  def forward(
    self,
    identity: Tensor,
    own_pose: Tensor,
    own_emotion: Tensor,
    landmarks: Tensor,
    pose: Tensor,
    emotion: Tensor,
    speech: Tensor,
    facial: Tensor,
    latent: Tensor,
    *maps: Tensor,
  ) -> tuple[Tensor, ...]:
    own = identity, own_pose, own_emotion, landmarks
    flow, points = self.geometry(own, pose, emotion, speech)
    base = torch.einsum("bd,lde->ble", facial, self.base)
    latents = self.gain * latent + base
    by_size = dict(zip(self.sizes, maps, strict=True))
    return (last(self.generator(latents, by_size, flow, points)),)
