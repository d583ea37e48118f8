"""EAMM: sound to keypoints, and what an emotion adds to them.

Ji et al., "EAMM: One-Shot Emotional Talking Face via Audio-Based Emotion-Aware
Motion Model" (SIGGRAPH 2022, arXiv 2205.15278), written from a description of
the networks; of its code nothing is used. What the keypoints move is `fomm`.

Pictures are RGB in [0, 1], keypoints those of `fomm.Keypoints`. Time is folded
into the batch for everything but the recurrence.
"""

import math
from typing import NamedTuple

import flax.linen as nn
import jax.numpy as jnp
from einops import rearrange, repeat
from jax import Array
from jax.typing import DTypeLike
from jaxtyping import Float

from speak_jax.models import fomm
from speak_jax.models.atvg import Sequence, hear
from speak_jax.models.fomm import Found, Hourglass, KeypointHead, Keypoints
from speak_jax.nn import resize
from speak_jax.nn.conv import PYTORCH, Conv1d, Dense, add_bias, conv_double
from speak_jax.nn.norm import Norm
from speak_jax.nn.recurrent import Lstm
from speak_jax.nn.resnet import ResNet

SEED = 4  # sides of the first map that is made of a frame's numbers
FREQUENCIES = 10  # of each number of a keypoint
NUMBERS = 6  # of a keypoint: two of its place, four of its Jacobian
CODE = 64  # numbers that displacements are made of


class Heard(NamedTuple):
  """What sound does to keypoints."""

  found: Found  # of b t frames, those of a clip in a row
  state: Float[Array, "l 2 b d"]  # of the recurrence after the last frame


class AudioToMotion(nn.Module):
  """Keypoints of a person who says something and holds the head so.

  Attributes:
    keypoints: How many; 10 as published.
    channels: Of the maps that they are read from; 35.
    side: Of these maps, 8, 16, ...; 64.
    width: Channels of the first convolution over sound; 64.
    layers: Of the LSTM, 4 width wide; 3.
    dtype: Of the computations.
  """

  keypoints: int
  channels: int
  side: int
  width: int
  layers: int
  dtype: DTypeLike = jnp.float32

  @nn.compact
  def __call__(
    self,
    picture: Float[Array, "b s s 3"],
    sound: Float[Array, "b t 28 12"],
    pose: Float[Array, "b t 6"],
    state: Float[Array, "l 2 b d"] | None = None,
    loud: float | Float[Array, ""] = 1.0,
    train: bool = False,
  ) -> Heard:
    """Keypoints of each frame.

    Args:
      picture: The person; its side is a power of 2.
      sound: `nn.mfcc.windows`.
      pose: `head_pose.standardised`.
      state: Of the frames before; None: there are none.
      loud: Factor of what is heard.
      train: Takes the batch's statistics, and changes `batch_stats`.
    """
    w, dtype, frames = self.width, self.dtype, sound.shape[1]
    x = picture
    for i in range(round(math.log2(picture.shape[1]))):
      block = fomm.Block(4 * 2**i, dtype=dtype, name=f"see{i}")
      x = fomm.halved(block(x, train))
    person = repeat(x, "b 1 1 d -> b t d", t=frames)
    told = hear(sound, w, PYTORCH, dtype, train) * loud
    held = Sequence((2 * w, 4 * w), PYTORCH, dtype, name="pose")(pose)
    x, state = Lstm(4 * w, self.layers, dtype, name="lstm")(
      jnp.concatenate([person, told, held], -1), state
    )
    x = rearrange(x, "b t d -> (b t) 1 1 d")

    def norm(x: Array, name: str) -> Array:
      return nn.relu(Norm("batch", dtype, name=name)(x, train))

    x = norm(Spread(4 * w, SEED, dtype, name="seed")(x), "seed_norm")
    for i in range(round(math.log2(self.side / SEED)) - 1):
      x = norm(Double(2 * w, dtype, name=f"up{i}")(x), f"up{i}_norm")
    x = Double(self.channels, dtype, name="maps")(x)
    return Heard(KeypointHead(self.keypoints, dtype, name="head")(x), state)


def anchored(source: Keypoints, heard: Keypoints) -> Keypoints:
  """Keypoints of a picture, moved by what is heard.

  A fresh network hears all points near the middle, and parts that stand
  upright: that moves nothing.

  Args:
    source: Of the pictures; one, or as many as there are frames.
    heard: Of the frames, from the middle and from upright.
  """
  turned = source.jacobians + heard.jacobians - jnp.eye(2)
  return Keypoints(source.points + heard.points, turned)


class Spread(nn.Module):
  """A transposed convolution that makes a map of one place.

  As published, with padding 1: the edges of its kernel meet nothing else.

  Attributes:
    features: Channels.
    size: Sides of the map.
    dtype: Of the computations.
  """

  features: int
  size: int
  dtype: DTypeLike = jnp.float32

  @nn.compact
  def __call__(self, x: Float[Array, "b 1 1 c"]) -> Float[Array, "b s s d"]:
    """Parameters `kernel` (s + 2, s + 2, c, d) and `bias` (d,)."""
    shape = (self.size + 2, self.size + 2, x.shape[-1], self.features)
    kernel = self.param("kernel", PYTORCH, shape).astype(self.dtype)
    inner = kernel[1:-1, 1:-1]
    y = jnp.einsum("bijc,hwcd->bhwd", x.astype(self.dtype), inner)
    bias = self.param("bias", nn.initializers.zeros, shape[-1:])
    return add_bias(y, bias)


class Double(nn.Module):
  """A transposed 4x4 convolution to twice the size."""

  features: int
  dtype: DTypeLike = jnp.float32

  @nn.compact
  def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b 2*h 2*w d"]:
    """Parameters `kernel` (4, 4, c, d) and `bias` (d,)."""
    shape = (4, 4, x.shape[-1], self.features)
    kernel = self.param("kernel", PYTORCH, shape).astype(self.dtype)
    bias = self.param("bias", nn.initializers.zeros, shape[-1:])
    return add_bias(conv_double(x.astype(self.dtype), kernel), bias)


class Felt(NamedTuple):
  """What an emotion adds to keypoints; float32."""

  displacement: Keypoints  # of those that it moves, in their order
  logits: Float[Array, "b 8"]  # of `spec.EMOTIONS`


class EmotionNet(nn.Module):
  """What the emotion of a picture adds to neutral keypoints.

  Attributes:
    keypoints: How many there are; 10 as published.
    moved: How many of them are displaced; 4. All are by a wider head, which
      the public code has and its weights do not use.
    width: Of the hourglass; 32.
    widest: Of the hourglass; 1024.
    blocks: Of the hourglass; 5.
    shrink: It sees pictures of this part of their sides; 4.
    stages: Blocks of the residual network's stages; (2, 2, 2, 2).
    features: Channels of the first of them; 64.
    dtype: Of the computations.
  """

  keypoints: int
  moved: int
  width: int
  widest: int
  blocks: int
  shrink: int
  stages: tuple[int, ...]
  features: int
  dtype: DTypeLike = jnp.float32

  @nn.compact
  def __call__(
    self,
    pictures: Float[Array, "b s s 3"],
    neutral: Keypoints,
    train: bool = False,
  ) -> Felt:
    """Sees pictures of `nn.emotion_view`, each alone.

    Args:
      pictures: Of the emotion.
      neutral: Keypoints without it, of the same frames.
      train: Takes the batch's statistics, and changes `batch_stats`.
    """
    w, dtype = self.features, self.dtype

    def dense(x: Array, widths: tuple[int, ...], name: str) -> Array:
      return Sequence(widths, PYTORCH, dtype, name=name)(x)

    x = resize.gaussian(pictures, self.shrink)
    x = Hourglass(
      self.width, self.widest, self.blocks, dtype, name="hourglass"
    )(x, train)
    seen = ResNet(self.stages, w, False, "fine", "batch", dtype, name="resnet")(
      x, train
    ).pooled
    classes = Dense(8, kernel_init=PYTORCH, name="classes")
    place = dense(waves(neutral), (16 * w, 8 * w), "place")
    both = jnp.concatenate([seen, place], -1)
    code = dense(both, (8 * w, 4 * w, CODE), "both").astype(jnp.float32)
    return Felt(self._displacement(code), classes(seen))

  def _displacement(self, code: Float[Array, "b 64"]) -> Keypoints:
    """Six numbers of each keypoint that is moved."""

    def conv(x: Array, features: int, size: int, stride: int, pad: int, i: int):
      layer = Conv1d(
        features, size, stride, pad, kernel_init=PYTORCH, name=f"displace{i}"
      )
      return layer(x)

    def halved(x: Array) -> Array:
      return nn.relu(nn.max_pool(x, (2,), (2,)))

    if self.moved == self.keypoints:
      x = rearrange(code, "b (c n) -> b n c", c=4)
      x = conv(halved(conv(x, 8, 3, 1, 1, 0)), self.moved, 3, 1, 0, 1)
    else:
      x = halved(conv(code[..., None], 2, 4, 2, 1, 0))
      x = conv(nn.relu(conv(x, 4, 4, 2, 1, 1)), self.moved, 3, 1, 0, 2)
    numbers = rearrange(x, "b n k -> b k n")
    turns = rearrange(numbers[..., 2:], "b k (i j) -> b k i j", i=2)
    return Keypoints(numbers[..., :2], turns)


def waves(keypoints: Keypoints) -> Float[Array, "b d"]:
  """Each keypoint's six numbers, their sines and cosines at 2^0 to 2^9.

  Source: the positional encoding of NeRF (arXiv 2003.08934), without its pi.
  """
  turns = rearrange(keypoints.jacobians, "b k i j -> b k (i j)")
  numbers = jnp.concatenate([keypoints.points, turns], -1)
  parts = [numbers]
  for i in range(FREQUENCIES):
    parts += [jnp.sin(2.0**i * numbers), jnp.cos(2.0**i * numbers)]
  return rearrange(jnp.concatenate(parts, -1), "b k n -> b (k n)")


def displaced(
  keypoints: Keypoints,
  displacement: Keypoints,
  moved: tuple[int, ...],
  factors: tuple[float, ...],
) -> Keypoints:
  """Keypoints with what an emotion adds to some of them.

  Args:
    keypoints: All of them.
    displacement: Of those that are moved.
    moved: Which these are.
    factors: Of each one's displacement.
  """
  index, factor = jnp.array(moved), jnp.array(factors)
  return Keypoints(
    keypoints.points.at[..., index, :].add(
      factor[:, None] * displacement.points
    ),
    keypoints.jacobians.at[..., index, :, :].add(
      factor[:, None, None] * displacement.jacobians
    ),
  )
