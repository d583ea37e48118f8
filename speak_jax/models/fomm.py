"""The First Order Motion Model: keypoints, dense motion, a generator.

Siarohin et al., "First Order Motion Model for Image Animation" (NeurIPS 2019,
arXiv 2003.00196), written from a description of the networks; of its code
nothing is used. Keypoints that nobody has labelled tell by how much each part
of a picture has moved, and what is behind it is painted anew.

Pictures are RGB in [0, 1], places (x, y) in a picture that spans -1 to 1.
Places, matrices and flows are float32 whatever the networks compute in.
"""

from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from einops import rearrange, reduce, repeat
from jax import Array, lax
from jax.typing import DTypeLike
from jaxtyping import Float

from speak_jax.nn import matrices, resize
from speak_jax.nn.conv import PYTORCH, Conv
from speak_jax.nn.norm import Norm
from speak_jax.nn.warp import corner_grid, resize_flow, sample_grid

TEMPERATURE = 0.1  # of the maps in which keypoints are the middles
VARIANCE = 0.01  # of the bells that stand for keypoints in dense motion


class Keypoints(NamedTuple):
  """Where a picture's parts are, and how they are turned and stretched."""

  points: Float[Array, "*b k 2"]  # x, y
  jacobians: Float[Array, "*b k 2 2"]  # of the map from an unseen reference


class Found(NamedTuple):
  """Keypoints, and the maps that they were found in."""

  keypoints: Keypoints
  heat: Float[Array, "b k h w"]  # each adds up to 1


class Block(nn.Module):
  """A convolution, batch norm, ReLU; `conv` and `norm`."""

  features: int
  size: int = 3
  dtype: DTypeLike = jnp.float32

  @nn.compact
  def __call__(self, x: Float[Array, "b h w c"], train: bool) -> Array:
    """Zero padding; `train` takes the batch's statistics."""
    x = _conv(self.features, self.size, self.dtype, "conv")(x)
    return nn.relu(Norm("batch", self.dtype, name="norm")(x, train))


class Hourglass(nn.Module):
  """Halves maps several times and doubles them again, what it saw beside.

  Attributes:
    width: Channels of the last block, beside which the input lies.
    widest: No block has more channels.
    blocks: Halvings.
    dtype: Of the computations.
  """

  width: int
  widest: int
  blocks: int
  dtype: DTypeLike = jnp.float32

  @nn.compact
  def __call__(
    self, x: Float[Array, "b h w c"], train: bool
  ) -> Float[Array, "b h w d"]:
    """Maps of `width` + c channels; both sides halve `blocks` times."""
    widths = [min(self.widest, self.width * 2**i) for i in range(self.blocks)]
    seen = [x.astype(self.dtype)]
    for i in range(self.blocks):
      wide = min(self.widest, self.width * 2 ** (i + 1))
      block = Block(wide, dtype=self.dtype, name=f"down{i}")
      seen.append(halved(block(seen[-1], train)))
    x = seen.pop()
    for i in reversed(range(self.blocks)):
      block = Block(widths[i], dtype=self.dtype, name=f"up{i}")
      x = jnp.concatenate([block(doubled(x), train), seen.pop()], -1)
    return x


class KeypointHead(nn.Module):
  """Keypoints out of maps: the middles of bright spots.

  Attributes:
    keypoints: How many.
    dtype: Of the convolutions.
  """

  keypoints: int
  dtype: DTypeLike = jnp.float32

  @nn.compact
  def __call__(self, x: Float[Array, "b h w c"]) -> Found:
    """Reads maps of at least 8 x 8; spots are of 6 rows and columns less."""
    k = self.keypoints
    spots = Conv(
      k, 7, valid=True, dtype=self.dtype, kernel_init=PYTORCH, name="points"
    )(x)
    # At first every part is upright and of its own size.
    turns = Conv(
      4 * k,
      7,
      valid=True,
      dtype=self.dtype,
      kernel_init=nn.initializers.zeros,
      bias_init=lambda *_: jnp.tile(jnp.array([1.0, 0.0, 0.0, 1.0]), k),
      name="jacobians",
    )(x)
    height, width = spots.shape[1:3]
    spots = rearrange(spots.astype(jnp.float32), "b h w k -> b k (h w)")
    heat = nn.softmax(spots / TEMPERATURE)
    grid = rearrange(corner_grid(height, width), "h w c -> (h w) c")
    turns = rearrange(
      turns.astype(jnp.float32), "b h w (k i j) -> b k (h w) i j", k=k, i=2
    )
    precise = lax.Precision.HIGHEST
    points = jnp.einsum("bkn,nc->bkc", heat, grid, precision=precise)
    mean = jnp.einsum("bkn,bknij->bkij", heat, turns, precision=precise)
    heat = rearrange(heat, "b k (h w) -> b k h w", h=height)
    return Found(Keypoints(points, mean), heat)


class KeypointDetector(nn.Module):
  """Finds keypoints in pictures.

  Attributes:
    keypoints: How many; 10 as published.
    width: Of the hourglass; 32.
    widest: Of the hourglass; 1024.
    blocks: Of the hourglass; 5.
    shrink: It sees pictures of this part of their sides; 4.
    dtype: Of the convolutions.
  """

  keypoints: int
  width: int
  widest: int
  blocks: int
  shrink: int
  dtype: DTypeLike = jnp.float32

  @nn.compact
  def __call__(
    self, pictures: Float[Array, "b s s 3"], train: bool = False
  ) -> Found:
    """Sees each picture alone; `train` takes the batch's statistics."""
    x = resize.gaussian(pictures, self.shrink)
    hourglass = Hourglass(
      self.width, self.widest, self.blocks, self.dtype, name="hourglass"
    )
    head = KeypointHead(self.keypoints, self.dtype, name="head")
    return head(hourglass(x, train))


class Motion(NamedTuple):
  """How a picture is to be moved; float32."""

  flow: Float[Array, "b h w 2"]  # what is to lie here is read so far away
  occlusion: Float[Array, "b h w 1"]  # 0: nothing to be read, paint
  masks: Float[Array, "b h w n"]  # shares of the background and each keypoint


class DenseMotion(nn.Module):
  """A flow for every place out of what few keypoints do.

  Attributes:
    width: Of the hourglass; 64 as published.
    widest: Of the hourglass; 1024.
    blocks: Of the hourglass; 5.
    aligned: See `nn.warp.sample_grid`; the public code's pictures are read as
      if False, although its places are made for True.
    dtype: Of the convolutions.
  """

  width: int
  widest: int
  blocks: int
  aligned: bool = True
  dtype: DTypeLike = jnp.float32

  @nn.compact
  def __call__(
    self,
    picture: Float[Array, "b h w 3"],
    source: Keypoints,
    driving: Keypoints,
    train: bool = False,
  ) -> Motion:
    """Sees a small picture moved as each of the keypoints says.

    Args:
      picture: The small source.
      source: Its keypoints.
      driving: Of the picture to be made.
      train: Takes the batch's statistics.
    """
    height, width = picture.shape[1:3]
    grid = corner_grid(height, width)
    shifts = part_shifts(grid, source, driving)  # b n h w 2, n = k + 1
    count = shifts.shape[1]
    reads = rearrange(grid + shifts, "b n h w c -> b (n h) w c")
    moved = sample_grid(picture, reads, self.aligned)
    moved = rearrange(moved, "b (n h) w c -> b n h w c", n=count)
    heat = bells(grid, driving.points) - bells(grid, source.points)
    heat = jnp.pad(heat, ((0, 0), (1, 0), (0, 0), (0, 0)))[..., None]
    x = jnp.concatenate([heat, moved], -1)
    x = rearrange(x, "b n h w c -> b h w (n c)")
    x = Hourglass(
      self.width, self.widest, self.blocks, self.dtype, name="hourglass"
    )(x, train)
    masks = _conv(count, 7, self.dtype, "masks")(x).astype(jnp.float32)
    masks = nn.softmax(masks)
    occlusion = _conv(1, 7, self.dtype, "occlusion")(x).astype(jnp.float32)
    flow = jnp.einsum(
      "bhwn,bnhwc->bhwc", masks, shifts, precision=lax.Precision.HIGHEST
    )
    return Motion(flow, nn.sigmoid(occlusion), masks)


class Residual(nn.Module):
  """Norm, ReLU, convolution, twice, and their input."""

  dtype: DTypeLike = jnp.float32

  @nn.compact
  def __call__(self, x: Float[Array, "b h w c"], train: bool) -> Array:
    """As many channels as come in."""
    y = x
    for i in range(2):
      y = nn.relu(Norm("batch", self.dtype, name=f"norm{i}")(y, train))
      y = _conv(x.shape[-1], 3, self.dtype, f"conv{i}")(y)
    return x + y


class Encoded(NamedTuple):
  """What the generator knows of a source before anything moves."""

  maps: Float[Array, "b f f c"]
  small: Float[Array, "b h h 3"]
  picture: Float[Array, "b s s 3"]


class Painted(NamedTuple):
  """What the generator makes."""

  frames: Float[Array, "b s s 3"]  # in [0, 1], float32
  motion: Motion


class Generator(nn.Module):
  """Moves a source's maps by a dense flow and paints what comes into view.

  Attributes:
    width: Channels at full size; 64 as published.
    halvings: Of the maps that are moved, each to twice the channels; 2.
    residuals: Blocks where maps are smallest; 6.
    motion_width: Of dense motion; 64.
    widest: Of dense motion; 1024.
    blocks: Of dense motion; 5.
    shrink: Dense motion sees pictures of this part of their sides; 4.
    aligned: See `DenseMotion`.
    skips: Frames show the moved picture itself where nothing hides it, so that
      they are a face from the first step on, as Siarohin et al. 2021 (arXiv
      2104.11280) have it. False: all of a frame is painted, as published.
    dtype: Of the convolutions.
  """

  width: int
  halvings: int
  residuals: int
  motion_width: int
  widest: int
  blocks: int
  shrink: int
  aligned: bool = True
  skips: bool = False
  dtype: DTypeLike = jnp.float32

  def setup(self):
    """Names the layers, which `encode` and `move` share among them."""
    wide = [self.width * 2**i for i in range(self.halvings + 1)]
    self.motion = DenseMotion(
      self.motion_width, self.widest, self.blocks, self.aligned, self.dtype
    )
    self.first = Block(self.width, 7, self.dtype)
    self.down = [Block(w, dtype=self.dtype) for w in wide[1:]]
    self.block = [Residual(self.dtype) for _ in range(self.residuals)]
    self.up = [Block(w, dtype=self.dtype) for w in reversed(wide[:-1])]
    self.last = _conv(3, 7, self.dtype, "last")

  def __call__(
    self,
    picture: Float[Array, "b s s 3"],
    source: Keypoints,
    driving: Keypoints,
    train: bool = False,
  ) -> Painted:
    """Makes a frame of each picture: `encode`, then `move`."""
    return self.move(self.encode(picture, train), source, driving, train)

  def encode(
    self, picture: Float[Array, "b s s 3"], train: bool = False
  ) -> Encoded:
    """What is reckoned once for all frames of a source."""
    x = self.first(picture, train)
    for block in self.down:
      x = halved(block(x, train))
    return Encoded(x, resize.gaussian(picture, self.shrink), picture)

  def move(
    self,
    encoded: Encoded,
    source: Keypoints,
    driving: Keypoints,
    train: bool = False,
  ) -> Painted:
    """Makes a frame of each source, or several of one.

    Args:
      encoded: Of the sources; one, or as many as there are frames.
      source: Keypoints of the sources, as many.
      driving: Keypoints of the frames.
      train: Takes the batch's statistics.
    """
    count = len(driving.points)
    encoded, source = jax.tree.map(
      lambda x: jnp.broadcast_to(x, (count, *x.shape[1:])), (encoded, source)
    )
    motion = self.motion(encoded.small, source, driving, train)
    x = moved(encoded.maps, motion.flow, self.aligned)
    x = x * _resized(motion.occlusion, x.shape[1]).astype(x.dtype)
    for block in self.block:
      x = block(x, train)
    for block in self.up:
      x = block(doubled(x), train)
    frames = nn.sigmoid(self.last(x).astype(jnp.float32))
    if self.skips:
      picture = moved(encoded.picture, motion.flow, self.aligned)
      shown = _resized(motion.occlusion, picture.shape[1])
      frames = shown * picture + (1 - shown) * frames
    return Painted(frames, motion)


def part_shifts(
  grid: Float[Array, "h w 2"], source: Keypoints, driving: Keypoints
) -> Float[Array, "b n h w 2"]:
  """How far away what is to lie at a place is, as each keypoint says.

  Near keypoint k of the driving picture, place z is p_s + J_s J_d^-1 (z - p_d)
  of the source (Eq. 4). The first of n = k + 1 is the background, which stays.
  """
  turn = matrices.product(source.jacobians, matrices.inverse(driving.jacobians))
  away = grid - driving.points[:, :, None, None]
  shifts = matrices.apply(turn[:, :, None, None], away)
  shifts = shifts + source.points[:, :, None, None] - grid
  return jnp.pad(shifts, ((0, 0), (1, 0), *((0, 0),) * 3))


def bells(
  grid: Float[Array, "h w 2"], points: Float[Array, "b k 2"]
) -> Float[Array, "b k h w"]:
  """A bell of height 1 round each point."""
  away = grid - points[:, :, None, None]
  return jnp.exp(-(away**2).sum(-1) / (2 * VARIANCE))


def moved(
  maps: Float[Array, "b h w c"],
  flow: Float[Array, "b i i 2"],
  aligned: bool = True,
) -> Float[Array, "b h w c"]:
  """Maps or pictures of any size, read where `Motion.flow` says."""
  height, width = maps.shape[1:3]
  grid = corner_grid(height, width) + resize_flow(flow, height)
  return sample_grid(maps, grid, aligned)


def _resized(x: Float[Array, "b i i 1"], side: int) -> Float[Array, "b h h 1"]:
  return x if x.shape[1] == side else resize.linear(x, side, side)


def halved(x: Float[Array, "b h w c"]) -> Float[Array, "b i j c"]:
  """Means of 2 x 2 places; what an odd side has left over is left out."""
  x = x[:, : x.shape[1] // 2 * 2, : x.shape[2] // 2 * 2]
  return reduce(x, "b (h i) (w j) c -> b h w c", "mean", i=2, j=2)


def doubled(x: Float[Array, "b h w c"]) -> Float[Array, "b 2*h 2*w c"]:
  """Each place four times."""
  return repeat(x, "b h w c -> b (h i) (w j) c", i=2, j=2)


def _conv(features: int, size: int, dtype: DTypeLike, name: str) -> Conv:
  """A convolution as PyTorch draws it."""
  return Conv(features, size, dtype=dtype, kernel_init=PYTORCH, name=name)
