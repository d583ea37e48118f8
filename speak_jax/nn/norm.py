"""Normalisation; statistics are always taken in float32."""

import math

import flax.linen as nn
import jax.numpy as jnp
from einops import rearrange, reduce
from jax import Array, lax
from jax.typing import DTypeLike
from jaxtyping import Float

# ImageNet's mean and deviation of red, green and blue in [0, 1].
MEAN = (0.485, 0.456, 0.406)
DEVIATION = (0.229, 0.224, 0.225)


class GroupNorm(nn.Module):
  """Group normalisation over the picture and gcd(channels, 32) groups.

  Statistics per channel first, groups second: one pass over the picture to
  measure and one to apply, which is what XLA fuses well.
  """

  dtype: DTypeLike = jnp.float32
  epsilon: float = 1e-5

  @nn.compact
  def __call__(self, x: Float[Array, "b *n c"]) -> Float[Array, "b *n c"]:
    """Normalises each example by itself."""
    channels = x.shape[-1]
    groups = math.gcd(channels, 32)
    scale = self.param("scale", nn.initializers.ones, (channels,))
    bias = self.param("bias", nn.initializers.zeros, (channels,))
    wide = x.astype(jnp.float32)
    axes = tuple(range(1, x.ndim - 1))
    moments = jnp.stack([wide.mean(axes), (wide * wide).mean(axes)])
    mean, square = reduce(moments, "m b (g c) -> m b g 1", "mean", g=groups)
    inverse = lax.rsqrt(jnp.maximum(square - mean**2, 0) + self.epsilon)
    gain = inverse * rearrange(scale, "(g c) -> g c", g=groups)
    shift = rearrange(bias, "(g c) -> g c", g=groups) - mean * gain
    gain = jnp.expand_dims(rearrange(gain, "b g c -> b (g c)"), axes)
    shift = jnp.expand_dims(rearrange(shift, "b g c -> b (g c)"), axes)
    return (wide * gain + shift).astype(self.dtype)


class Norm(nn.Module):
  """Group or batch normalisation, by name.

  `batch` keeps running statistics in the collection `batch_stats` with
  torchvision's momentum and epsilon.
  """

  kind: str  # "group", "batch"
  dtype: DTypeLike = jnp.float32

  @nn.compact
  def __call__(self, x: Float[Array, "b *n c"], train: bool = False) -> Array:
    """Normalises `x`; `train` matters to batch statistics alone.

    Raises:
      ValueError: an unknown kind.
    """
    if self.kind == "group":
      return GroupNorm(dtype=self.dtype, name="group")(x)
    if self.kind == "batch":
      return nn.BatchNorm(
        use_running_average=not train,
        momentum=0.9,
        epsilon=1e-5,
        dtype=self.dtype,
        name="batch",
      )(x)
    raise ValueError(f"norm {self.kind!r} is not one of group, batch")


def standardize(x: Float[Array, "*b d"], epsilon: float = 1e-6) -> Array:
  """Layer norm without gain and bias: zero mean, unit variance, float32."""
  x = x.astype(jnp.float32)
  x = x - x.mean(-1, keepdims=True)
  return x * lax.rsqrt((x**2).mean(-1, keepdims=True) + epsilon)


def imagenet(frames: Float[Array, "*b h w 3"]) -> Float[Array, "*b h w 3"]:
  """Frames in [-1, 1] as published ResNets and VGGs take them."""
  return ((frames + 1) / 2 - jnp.asarray(MEAN)) / jnp.asarray(DEVIATION)


def unit(x: Float[Array, "*b d"], epsilon: float = 1e-8) -> Array:
  """Vectors of length 1 along the last axis, float32."""
  x = x.astype(jnp.float32)
  return x * lax.rsqrt((x**2).sum(-1, keepdims=True) + epsilon)
