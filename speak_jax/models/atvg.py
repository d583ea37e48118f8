"""ATVG: sound to landmarks, landmarks to video, and a critic.

Chen et al., "Hierarchical Cross-Modal Talking Face Generation with Dynamic
Pixel-Wise Loss" (CVPR 2019, arXiv 1905.03820), written from a description of
the networks; of its code nothing is used. The paper's AT-net hears what the
landmarks do, its VG-net moves a picture along with them.

Landmarks are normalised (`landmark_basis`), pictures in [-1, 1]. Time is folded
into the batch for everything but the recurrences.
"""

from collections.abc import Callable
from typing import NamedTuple

import flax.linen as nn
import jax.numpy as jnp
from einops import rearrange, repeat
from jax import Array
from jax.typing import DTypeLike
from jaxtyping import Float

from speak_jax.nn.conv import PYTORCH, Conv, Dense, add_bias, conv_double
from speak_jax.nn.norm import Norm
from speak_jax.nn.recurrent import ConvGru, Lstm

STRIDE = 16  # px of a picture that become one place of its coarsest map
# As published: both nets are drawn so, the critic as PyTorch draws.
NORMAL = nn.initializers.normal(0.02)


class ConvNorm(nn.Module):
  """A convolution without bias, batch norm, ReLU.

  Attributes:
    features: Channels.
    size: Rows and columns of the kernel.
    stride: Both ways.
    cut: Places that are taken off each edge before the norm.
    init: Of the kernel.
    dtype: Of the computations.
  """

  features: int
  size: int = 3
  stride: int = 1
  cut: int = 0
  init: Callable = NORMAL
  dtype: DTypeLike = jnp.float32

  @nn.compact
  def __call__(self, x: Float[Array, "b h w c"], train: bool) -> Array:
    """Zero padding; `train` takes the batch's statistics."""
    x = Conv(
      self.features,
      self.size,
      self.stride,
      use_bias=False,
      dtype=self.dtype,
      kernel_init=self.init,
      name="conv",
    )(x)
    if self.cut:
      x = x[:, self.cut : -self.cut, self.cut : -self.cut]
    return nn.relu(Norm("batch", self.dtype, name="norm")(x, train))


class Up(nn.Module):
  """A transposed convolution to twice the size, batch norm, ReLU."""

  features: int
  use_bias: bool = False
  dtype: DTypeLike = jnp.float32

  @nn.compact
  def __call__(self, x: Float[Array, "b h w c"], train: bool) -> Array:
    """Doubles both sides; parameters `kernel` (3, 3, c, d) and `bias` (d,)."""
    kernel = self.param("kernel", NORMAL, (3, 3, x.shape[-1], self.features))
    x = conv_double(x.astype(self.dtype), kernel.astype(self.dtype))
    if self.use_bias:
      bias = self.param("bias", nn.initializers.zeros, (self.features,))
      x = add_bias(x, bias)
    return nn.relu(Norm("batch", self.dtype, name="norm")(x, train))


class Residual(nn.Module):
  """Two convolutions, half of what is between them dropped, and their input."""

  dtype: DTypeLike = jnp.float32

  @nn.compact
  def __call__(self, x: Float[Array, "b h w c"], train: bool) -> Array:
    """Draws from the random stream "dropout" in training."""
    y = ConvNorm(x.shape[-1], dtype=self.dtype, name="first")(x, train)
    y = nn.Dropout(0.5, deterministic=not train)(y)
    y = Conv(
      x.shape[-1],
      use_bias=False,
      dtype=self.dtype,
      kernel_init=NORMAL,
      name="conv",
    )(y)
    return x + Norm("batch", self.dtype, name="norm")(y, train)


class Sequence(nn.Module):
  """Dense layers, each followed by a ReLU: `dense0`, `dense1`, ..."""

  widths: tuple[int, ...]
  init: Callable = NORMAL
  dtype: DTypeLike = jnp.float32

  @nn.compact
  def __call__(self, x: Float[Array, "*b c"]) -> Float[Array, "*b d"]:
    """Maps the last axis."""
    for i, width in enumerate(self.widths):
      dense = Dense(width, self.dtype, kernel_init=self.init, name=f"dense{i}")
      x = nn.relu(dense(x))
    return x


def hear(
  sound: Float[Array, "b t 28 12"],
  width: int,
  init: Callable,
  dtype: DTypeLike,
  train: bool,
) -> Float[Array, "b t d"]:
  """What is heard about each frame, 4 width wide; EAMM's ears as well.

  Called in a network, whose layers `conv0` to `conv4` and `hear` it makes.

  Args:
    sound: `nn.mfcc.windows`.
    width: Channels of the first convolution.
    init: Of the kernels.
    dtype: Of the computations.
    train: Takes the batch's statistics, and changes `batch_stats`.
  """

  def block(x: Array, features: int, index: int) -> Array:
    layer = ConvNorm(features, init=init, dtype=dtype, name=f"conv{index}")
    return layer(x, train)

  x = rearrange(sound, "b t n m -> (b t) n m 1")
  x = block(block(x, width, 0), 2 * width, 1)
  x = nn.max_pool(x, (3, 3), (1, 2))
  for i, features in ((2, 4 * width), (3, 4 * width), (4, 8 * width)):
    x = block(x, features, i)
  x = nn.max_pool(x, (3, 3), (2, 2))
  x = rearrange(x, "(b t) n m c -> b t (n m c)", t=sound.shape[1])
  return Sequence((32 * width, 4 * width), init, dtype, name="hear")(x)


class ATNet(nn.Module):
  """What landmarks do to a sound, as coefficients of their basis.

  Attributes:
    width: Channels of the first convolution; 64 as published.
    layers: Of the LSTM, 4 width wide; 3.
    dtype: Of the computations.
  """

  width: int
  layers: int
  dtype: DTypeLike = jnp.float32

  @nn.compact
  def __call__(
    self,
    example: Float[Array, "b k"],
    sound: Float[Array, "b t 28 12"],
    state: Float[Array, "l 2 b d"] | None = None,
    train: bool = False,
  ) -> tuple[Float[Array, "b t k"], Float[Array, "l 2 b d"]]:
    """Coefficients of each frame, float32, and the LSTM's state after them.

    Args:
      example: Coefficients of the identity picture.
      sound: `nn.mfcc.windows`.
      state: Of the frames before; None: there are none.
      train: Takes the batch's statistics, and changes `batch_stats`.
    """
    w, dtype, frames = self.width, self.dtype, sound.shape[1]
    person = Sequence((4 * w, 8 * w), dtype=dtype, name="person")(example)
    x = hear(sound, w, NORMAL, dtype, train)
    person = repeat(person, "b d -> b t d", t=frames)
    x, state = Lstm(4 * w, self.layers, dtype, name="lstm")(
      jnp.concatenate([person, x], -1), state
    )
    out = Dense(example.shape[-1], kernel_init=NORMAL, name="out")
    return out(x), state


class Painted(NamedTuple):
  """What VG-net makes of a picture; float32."""

  frames: Float[Array, "b t s s 3"]  # in [-1, 1]
  attention: Float[Array, "b t s s 1"]  # where they are not the picture
  colour: Float[Array, "b t s s 3"]  # what is there instead
  mask: Float[Array, "b t f f 1"]  # where coarse maps are not the picture's
  state: Float[Array, "b e e d"]  # after the last frame


class VGNet(nn.Module):
  """Moves a picture along with landmarks.

  Attributes:
    size: Side of the picture in pixels, a multiple of 32; 128 as published.
    width: Channels at full size; 64 as published.
    blocks: Residual blocks; 9.
    recurrent: Whether a frame knows those before it. The published weights
      must not: their recurrence ran over the batch in training and was fed one
      clip at a time afterwards, so that every frame was its first.
    dtype: Of the computations.
  """

  size: int
  width: int
  blocks: int
  recurrent: bool = True
  dtype: DTypeLike = jnp.float32

  @nn.compact
  def __call__(
    self,
    picture: Float[Array, "b s s 3"],
    example: Float[Array, "b k 2"],
    landmarks: Float[Array, "b t k 2"],
    state: Float[Array, "b e e d"] | None = None,
    train: bool = False,
  ) -> Painted:
    """A frame for each set of landmarks.

    Args:
      picture: The person, in [-1, 1].
      example: Landmarks of the picture.
      landmarks: Of the frames.
      state: Of the frames before; None: there are none.
      train: Takes the batch's statistics, changes `batch_stats` and draws from
        the random stream "dropout".
    """
    w, dtype, frames = self.width, self.dtype, landmarks.shape[1]
    side = self.size // STRIDE

    def block(x: Array, features: int, name: str, stride: int = 1) -> Array:
      layer = ConvNorm(features, stride=stride, dtype=dtype, name=name)
      return layer(x, train)

    def up(x: Array, features: int, name: str, use_bias: bool = False) -> Array:
      return Up(features, use_bias, dtype, name=name)(x, train)

    def each(x: Array) -> Array:
      """A clip's map for each of its frames."""
      return repeat(x, "b h w c -> (b t) h w c", t=frames)

    # The picture, at a fourth and a sixteenth of its size.
    x = jnp.pad(picture, ((0, 0), (3, 3), (3, 3), (0, 0)), "reflect")
    x = ConvNorm(w, 7, cut=3, dtype=dtype, name="stem")(x, train)
    fine = block(block(x, w, "down0", 2), 2 * w, "down1", 2)
    coarse = block(block(fine, 4 * w, "down2", 2), 8 * w, "down3", 2)

    # The landmarks, the example before the frames', as small maps.
    points = jnp.concatenate([example[:, None], landmarks], 1)
    points = rearrange(points, "b t k c -> (b t) (k c)")
    place = Sequence((side**2,), dtype=dtype, name="place")(points)
    place = rearrange(place, "b (h w) -> b h w 1", h=side)
    near = block(place, 4 * w, "landmarks0")
    far = block(near, 8 * w, "landmarks1")
    near, far = (
      rearrange(x, "(b t) h w c -> b t h w c", t=frames + 1)
      for x in (near, far)
    )
    still = jnp.broadcast_to(near[:, :1], near[:, 1:].shape)
    both = jnp.concatenate([near[:, 1:], still], -1)
    away = rearrange(far[:, 1:] - far[:, :1], "b t h w c -> (b t) h w c")

    # Where the picture's own map will not do.
    x = rearrange(both, "b t h w c -> (b t) h w c")
    x = up(up(x, 4 * w, "mask0", True), 2 * w, "mask1", True)
    mask = nn.sigmoid(self._head(x, 1, 3, "mask"))

    # What happens between the frames.
    x = jnp.concatenate([each(coarse), away], -1)
    x = block(x, 2 * w, "bottleneck")
    x = rearrange(x, "(b t) h w c -> b t h w c", t=frames)
    x, state = ConvGru(8 * w, self.recurrent, dtype, name="gru")(x, state)

    # And what it looks like.
    x = rearrange(x, "b t h w c -> (b t) h w c").astype(dtype)
    for i in range(self.blocks):
      x = Residual(dtype, name=f"block{i}")(x, train)
    x = up(up(x, 4 * w, "up0"), 2 * w, "up1")
    x = each(fine) * (1 - mask) + x * mask
    x = up(up(x, w, "up2"), w // 2, "up3")
    colour = jnp.tanh(self._head(x, 3, 7, "colour"))
    attention = nn.sigmoid(self._head(x, 1, 7, "attention"))
    painted = attention * colour + (1 - attention) * each(picture)
    painted, attention, colour, mask = (
      rearrange(x, "(b t) h w c -> b t h w c", t=frames)
      for x in (painted, attention, colour, mask)
    )
    return Painted(painted, attention, colour, mask, state)

  def _head(self, x: Array, features: int, size: int, name: str) -> Array:
    """A convolution of which a map is made, float32."""
    layer = Conv(
      features, size, dtype=self.dtype, kernel_init=NORMAL, name=name
    )
    return layer(x).astype(jnp.float32)


class Judged(NamedTuple):
  """What the critic says of clips; float32."""

  logits: Float[Array, "b"]  # real above 0: mean over the frames
  landmarks: Float[Array, "b t k 2"]  # that it reads off the frames


class Critic(nn.Module):
  """Is this clip real, and where are its landmarks?

  Attributes:
    size: Side of a frame in pixels, a multiple of 16; 128 as published.
    width: Channels of the first convolution; 64.
    layers: Of the LSTM, 4 width wide; 3.
    dtype: Of the computations.
  """

  size: int
  width: int
  layers: int
  dtype: DTypeLike = jnp.float32

  @nn.compact
  def __call__(
    self,
    frames: Float[Array, "b t s s 3"],
    example: Float[Array, "b k 2"],
    train: bool = False,
  ) -> Judged:
    """Judges clips.

    Args:
      frames: In [-1, 1].
      example: Landmarks of the identity picture.
      train: Takes the batch's statistics, and changes `batch_stats`.
    """
    w, dtype, count = self.width, self.dtype, frames.shape[1]
    points = rearrange(example, "b k c -> b (k c)")
    known = Sequence((4 * w, 8 * w), PYTORCH, dtype, name="person")(points)
    x = rearrange(frames, "b t h w c -> (b t) h w c")
    first = Conv(w, stride=2, dtype=dtype, kernel_init=PYTORCH, name="conv0")
    x = nn.relu(first(x))
    for i in range(1, 4):
      layer = ConvNorm(
        2**i * w, stride=2, init=PYTORCH, dtype=dtype, name=f"conv{i}"
      )
      x = layer(x, train)
    x = rearrange(x, "(b t) h w c -> b t (h w c)", t=count)
    x = Sequence((8 * w,), PYTORCH, dtype, name="see")(x)
    known = repeat(known, "b d -> b t d", t=count)
    x, _ = Lstm(4 * w, self.layers, dtype, name="lstm")(
      jnp.concatenate([known, x], -1)
    )
    logits = Dense(1, kernel_init=PYTORCH, name="decision")(x)
    moved = Dense(points.shape[-1], kernel_init=PYTORCH, name="landmarks")(x)
    moved = rearrange(jnp.tanh(moved), "b t (k c) -> b t k c", c=2)
    return Judged(logits.mean((1, 2)), moved + example[:, None])
