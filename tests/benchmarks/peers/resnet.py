"""The twin of our residual networks."""

from torch import Tensor, nn
from torch.nn import functional as F

from speak_jax.nn import resnet
from tests.benchmarks.peers.layers import Norm, conv

STEMS = {"deep": (7, 2, True), "small": (3, 2, False), "fine": (3, 1, True)}


class Block(nn.Module):
  """A basic block or a bottleneck."""

  def __init__(self, net: resnet.ResNet, inputs: int, width: int, stride: int):
    super().__init__()
    out = width * (4 if net.bottleneck else 1)
    sizes = (1, 3, 1) if net.bottleneck else (3, 3)
    strides = (1, stride, 1) if net.bottleneck else (stride, 1)
    features = (width, width, out) if net.bottleneck else (out, out)
    channels = inputs
    self.count = len(sizes)
    for i in range(self.count):
      layer = conv(channels, features[i], sizes[i], strides[i], bias=False)
      self.add_module(f"conv{i + 1}", layer)
      self.add_module(f"norm{i + 1}", Norm(net.norm, features[i]))
      channels = features[i]
    self.project = None
    if stride > 1 or inputs != out:
      self.project = conv(inputs, out, 1, stride, bias=False)
      self.project_norm = Norm(net.norm, out)

  def forward(self, x: Tensor) -> Tensor:
    y = x
    for i in range(1, self.count + 1):
      y = self.get_submodule(f"norm{i}")(self.get_submodule(f"conv{i}")(y))
      if i < self.count:
        y = F.relu(y, inplace=True)
    if self.project is not None:
      x = self.project_norm(self.project(x))
    return F.relu(y + x, inplace=True)


class ResNet(nn.Module):
  """The pooled vector of pictures."""

  def __init__(self, net: resnet.ResNet):
    super().__init__()
    size, stride, self.pools = STEMS[net.stem]
    assert isinstance(net.width, int) and net.stem_width is None
    channels = net.width
    self.stem = conv(3, channels, size, stride, bias=False)
    self.stem_norm = Norm(net.norm, channels)
    self.blocks = []
    for i, depth in enumerate(net.stages):
      width = net.width * 2**i
      for j in range(depth):
        block = Block(net, channels, width, 2 if i and not j else 1)
        self.blocks.append(f"stage{i + 1}_block{j + 1}")
        self.add_module(self.blocks[-1], block)
        channels = width * (4 if net.bottleneck else 1)

  def forward(self, frames: Tensor) -> tuple[Tensor, ...]:
    x = F.relu(self.stem_norm(self.stem(frames)), inplace=True)
    if self.pools:
      x = F.max_pool2d(x, 3, 2, 1)
    for name in self.blocks:
      x = self.get_submodule(name)(x)
    return (x.mean((2, 3)),)
