"""Residual networks: from ResNet-50 in torchvision's layout to tiny ones."""

from typing import NamedTuple

import flax.linen as nn
import jax.numpy as jnp
from jax import Array, lax
from jax.typing import DTypeLike
from jaxtyping import Float

from speak_jax.nn.conv import Conv
from speak_jax.nn.norm import Norm

# Kernel and stride of a stem, and whether it pools.
_STEMS = {"deep": (7, 2, True), "small": (3, 2, False), "fine": (3, 1, True)}


class Features(NamedTuple):
  """What a residual network saw."""

  stem: Float[Array, "b h w c"]  # what the first stage is given
  stages: tuple[Float[Array, "b h w c"], ...]  # the last map of each stage
  pooled: Float[Array, "b c"]  # float32 mean over the last map


class Block(nn.Module):
  """Basic (3x3, 3x3) or bottleneck (1x1, 3x3, 1x1) residual block, v1.5."""

  width: int
  stride: int
  bottleneck: bool
  norm: str
  dtype: DTypeLike

  @nn.compact
  def __call__(self, x: Float[Array, "b h w c"], train: bool) -> Array:
    """Adds the block's residual to `x`, projected where shapes differ."""
    out = self.width * (4 if self.bottleneck else 1)
    # Size, stride and features of each convolution.
    layers = (
      ((1, 1, self.width), (3, self.stride, self.width), (1, 1, out))
      if self.bottleneck
      else ((3, self.stride, out), (3, 1, out))
    )
    y = x
    for i, (size, stride, features) in enumerate(layers, 1):
      y = Conv(features, size, stride, False, self.dtype, name=f"conv{i}")(y)
      y = Norm(self.norm, self.dtype, name=f"norm{i}")(y, train)
      if i < len(layers):
        y = nn.relu(y)
    if self.stride > 1 or x.shape[-1] != out:
      x = Conv(out, 1, self.stride, False, self.dtype, name="project")(x)
      x = Norm(self.norm, self.dtype, name="project_norm")(x, train)
    return nn.relu(x + y)


class ResNet(nn.Module):
  """A residual network that keeps the map of every stage.

  Attributes:
    stages: Blocks of each stage; every stage but the first halves the size.
    width: Channels of the first stage, each later one having twice as many;
      or those of every stage (all times 4 with bottlenecks).
    bottleneck: ResNet-50's blocks instead of ResNet-18's.
    stem: "deep" = 7x7 at stride 2 and max pooling, to a quarter of the
      picture; "small" = 3x3 at stride 2, to a half; "fine" = 3x3 at stride 1
      and max pooling, to a half.
    norm: "group" or "batch".
    remat: Recompute blocks in the backward pass.
    stem_width: Channels of the stem; None: as the first stage's `width`.
  """

  stages: tuple[int, ...]
  width: int | tuple[int, ...]
  bottleneck: bool
  stem: str
  norm: str = "group"
  dtype: DTypeLike = jnp.float32
  remat: bool = False
  stem_width: int | None = None

  @nn.compact
  def __call__(
    self, frames: Float[Array, "b h w c"], train: bool = False
  ) -> Features:
    """Features of pictures, or maps, of any size.

    Raises:
      ValueError: an unknown stem, or not as many widths as stages.
    """
    if self.stem not in _STEMS:
      raise ValueError(f"stem {self.stem!r} is not one of {', '.join(_STEMS)}")
    widths = self.width
    if isinstance(widths, int):
      widths = tuple(widths * 2**i for i in range(len(self.stages)))
    if len(widths) != len(self.stages):
      raise ValueError(f"{len(widths)} widths of {len(self.stages)} stages")
    size, stride, pools = _STEMS[self.stem]
    first = widths[0] if self.stem_width is None else self.stem_width
    x = Conv(first, size, stride, False, self.dtype, name="stem")(frames)
    x = nn.relu(Norm(self.norm, self.dtype, name="stem_norm")(x, train))
    if pools:
      x = _max_pool(x)
    stem = x
    block = nn.remat(Block, static_argnums=(2,)) if self.remat else Block
    maps = []
    for i, (depth, width) in enumerate(zip(self.stages, widths, strict=True)):
      for j in range(depth):
        x = block(
          width=width,
          stride=2 if i and not j else 1,
          bottleneck=self.bottleneck,
          norm=self.norm,
          dtype=self.dtype,
          name=f"stage{i + 1}_block{j + 1}",
        )(x, train)
      maps.append(x)
    return Features(stem, tuple(maps), x.astype(jnp.float32).mean((1, 2)))


def _max_pool(x: Array) -> Array:
  """3x3 at stride 2, padded by 1: torchvision's."""
  window, strides = (1, 3, 3, 1), (1, 2, 2, 1)
  padding = ((0, 0), (1, 1), (1, 1), (0, 0))
  return lax.reduce_window(x, -jnp.inf, lax.max, window, strides, padding)
