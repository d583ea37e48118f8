"""The twins of the First Order Motion Model's networks."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from speak_jax.models import fomm
from speak_jax.nn import resize
from tests.benchmarks.peers.layers import Norm, conv, last, scaled


def corner_grid(height: int, width: int) -> Tensor:
  """(x, y) of a map's cells, the outermost ones at -1 and 1."""
  y, x = torch.linspace(-1, 1, height), torch.linspace(-1, 1, width)
  return torch.stack(torch.meshgrid(x, y, indexing="xy"), -1)


class Small(nn.Module):
  """A Gaussian, and every so manieth place of what it leaves."""

  def __init__(self, factor: int):
    super().__init__()
    self.factor = factor
    taps = (
      torch.from_numpy(resize.bell(factor)) if factor > 1 else torch.ones(1)
    )
    kernel = torch.outer(taps, taps).float().expand(3, 1, -1, -1)
    self.register_buffer("kernel", kernel.clone(), persistent=False)

  def forward(self, x: Tensor) -> Tensor:
    pad = self.kernel.shape[-1] // 2
    return F.conv2d(x, self.kernel, stride=self.factor, padding=pad, groups=3)


class Block(nn.Module):
  """A convolution, batch norm, ReLU."""

  def __init__(self, inputs: int, features: int, size: int = 3):
    super().__init__()
    self.conv = conv(inputs, features, size)
    self.norm = Norm("batch", features)

  def forward(self, x: Tensor) -> Tensor:
    return F.relu(self.norm(self.conv(x)), inplace=True)


class Hourglass(nn.Module):
  """Halves maps and doubles them again, what it saw beside."""

  def __init__(self, inputs: int, width: int, widest: int, blocks: int):
    super().__init__()
    widths = [min(widest, width * 2**i) for i in range(blocks + 1)]
    channels, self.blocks = [inputs, *widths[1:]], blocks
    for i in range(blocks):
      self.add_module(f"down{i}", Block(channels[i], channels[i + 1]))
    deep = channels[-1]
    for i in reversed(range(blocks)):
      self.add_module(f"up{i}", Block(deep, widths[i]))
      deep = widths[i] + channels[i]
    self.channels = deep

  def forward(self, x: Tensor) -> Tensor:
    seen = [x]
    for i in range(self.blocks):
      x = F.avg_pool2d(self.get_submodule(f"down{i}")(seen[-1]), 2)
      seen.append(x)
    x = seen.pop()
    for i in reversed(range(self.blocks)):
      x = self.get_submodule(f"up{i}")(doubled(x))
      x = torch.cat([x, seen.pop()], 1)
    return x


def doubled(x: Tensor) -> Tensor:
  """Each place four times."""
  return F.interpolate(x, scale_factor=2, mode="nearest")


class KeypointHead(nn.Module):
  """The middles of bright spots, and the mean matrices in them."""

  def __init__(self, inputs: int, keypoints: int):
    super().__init__()
    self.points = nn.Conv2d(inputs, keypoints, 7)
    self.jacobians = nn.Conv2d(inputs, 4 * keypoints, 7)

  def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
    spots, turns = self.points(x), self.jacobians(x)
    grid = corner_grid(*spots.shape[2:]).flatten(0, 1)
    heat = F.softmax(spots.flatten(2) / fomm.TEMPERATURE, -1)
    turns = turns.reshape(*spots.shape[:2], 4, -1)
    mean = torch.einsum("bkn,bkjn->bkj", heat, turns)
    return heat @ grid, mean.unflatten(-1, (2, 2))


class KeypointDetector(nn.Module):
  """Finds keypoints in pictures."""

  def __init__(self, net: fomm.KeypointDetector):
    super().__init__()
    self.small = Small(net.shrink)
    self.hourglass = Hourglass(3, net.width, net.widest, net.blocks)
    self.head = KeypointHead(self.hourglass.channels, net.keypoints)

  def forward(self, pictures: Tensor) -> tuple[Tensor, ...]:
    return self.head(self.hourglass(self.small(pictures)))


class DenseMotion(nn.Module):
  """A flow for every place out of what few keypoints do."""

  def __init__(self, net: fomm.Generator, keypoints: int):
    super().__init__()
    self.aligned = net.aligned
    count = keypoints + 1
    self.hourglass = Hourglass(
      4 * count, net.motion_width, net.widest, net.blocks
    )
    self.masks = conv(self.hourglass.channels, count, 7)
    self.occlusion = conv(self.hourglass.channels, 1, 7)

  def forward(
    self,
    picture: Tensor,
    source: tuple[Tensor, Tensor],
    driving: tuple[Tensor, Tensor],
  ) -> tuple[Tensor, Tensor]:
    height, width = picture.shape[2:]
    grid = corner_grid(height, width)
    turn = source[1] @ torch.linalg.inv(driving[1])
    away = grid - driving[0][:, :, None, None]
    shifts = torch.einsum("bkij,bkhwj->bkhwi", turn, away)
    shifts = shifts + source[0][:, :, None, None] - grid
    shifts = F.pad(shifts, (0, 0, 0, 0, 0, 0, 1, 0))
    count = shifts.shape[1]
    reads = (grid + shifts).flatten(1, 2)
    moved = F.grid_sample(picture, reads, align_corners=self.aligned)
    moved = moved.unflatten(2, (count, height)).transpose(1, 2)
    heat = bells(grid, driving[0]) - bells(grid, source[0])
    heat = F.pad(heat, (0, 0, 0, 0, 1, 0))[:, :, None]
    x = torch.cat([heat, moved], 2).flatten(1, 2)
    x = self.hourglass(x)
    masks = F.softmax(self.masks(x), 1)
    flow = (masks[..., None] * shifts).sum(1)
    return flow, torch.sigmoid(self.occlusion(x))


def bells(grid: Tensor, points: Tensor) -> Tensor:
  """A bell of height 1 round each point."""
  away = grid - points[:, :, None, None]
  return torch.exp(-(away**2).sum(-1) / (2 * fomm.VARIANCE))


class Residual(nn.Module):
  """Norm, ReLU, convolution, twice, and their input."""

  def __init__(self, channels: int):
    super().__init__()
    self.norm0, self.norm1 = Norm("batch", channels), Norm("batch", channels)
    self.conv0, self.conv1 = conv(channels, channels), conv(channels, channels)

  def forward(self, x: Tensor) -> Tensor:
    y = self.conv0(F.relu(self.norm0(x), inplace=True))
    return x + self.conv1(F.relu(self.norm1(y), inplace=True))


class Generator(nn.Module):
  """Moves a source's maps by a dense flow and paints what comes into view."""

  def __init__(self, net: fomm.Generator, keypoints: int):
    super().__init__()
    wide = [net.width * 2**i for i in range(net.halvings + 1)]
    self.aligned, self.skips = net.aligned, net.skips
    self.small = Small(net.shrink)
    self.motion = DenseMotion(net, keypoints)
    self.first = Block(3, wide[0], 7)
    self.parts: dict[str, list[str]] = {"down": [], "block": [], "up": []}
    for i, features in enumerate(wide[1:]):
      self._add("down", Block(wide[i], features))
    for _ in range(net.residuals):
      self._add("block", Residual(wide[-1]))
    for i in reversed(range(net.halvings)):
      self._add("up", Block(wide[i + 1], wide[i]))
    self.last = conv(wide[0], 3, 7)

  def _add(self, part: str, module: nn.Module) -> None:
    name = f"{part}_{len(self.parts[part])}"
    self.add_module(name, module)
    self.parts[part].append(name)

  def forward(
    self,
    picture: Tensor,
    source: Tensor,
    source_jacobians: Tensor,
    driving: Tensor,
    driving_jacobians: Tensor,
  ) -> tuple[Tensor, ...]:
    x = self.first(picture)
    for name in self.parts["down"]:
      x = F.avg_pool2d(self.get_submodule(name)(x), 2)
    flow, occlusion = self.motion(
      self.small(picture),
      (source, source_jacobians),
      (driving, driving_jacobians),
    )
    x = self._moved(x, flow) * scaled(occlusion, x.shape[-1])
    for name in self.parts["block"]:
      x = self.get_submodule(name)(x)
    for name in self.parts["up"]:
      x = self.get_submodule(name)(doubled(x))
    frames = torch.sigmoid(self.last(x))
    if self.skips:
      shown = scaled(occlusion, picture.shape[-1])
      frames = shown * self._moved(picture, flow) + (1 - shown) * frames
    return (last(frames),)

  def _moved(self, maps: Tensor, flow: Tensor) -> Tensor:
    flow = last(scaled(flow.movedim(-1, 1), maps.shape[-1]))
    grid = corner_grid(*maps.shape[2:]) + flow
    return F.grid_sample(maps, grid, align_corners=self.aligned)
