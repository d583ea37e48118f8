"""Normalisation; statistics are always taken in float32."""

import functools
import math

import flax.linen as nn
import jax
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
    scale = self.param("scale", nn.initializers.ones, (channels,))
    bias = self.param("bias", nn.initializers.zeros, (channels,))
    return _group_norm(x, scale, bias, self.epsilon, self.dtype)


@functools.partial(jax.custom_vjp, nondiff_argnums=(3, 4))
def _group_norm(
  x: Float[Array, "b *n c"],
  scale: Float[Array, "c"],
  bias: Float[Array, "c"],
  epsilon: float,
  dtype: DTypeLike,
) -> Float[Array, "b *n c"]:
  """Normalises, and knows its gradient.

  What differentiation makes of the statistics are as many passes over the
  picture, but twice as many operations, and networks of ours have hundreds of
  norms: compilers took a fifth longer.
  """
  return _group_norm_forward(x, scale, bias, epsilon, dtype)[0]


def _group_norm_forward(x, scale, bias, epsilon, dtype):
  groups = math.gcd(x.shape[-1], 32)
  axes = tuple(range(1, x.ndim - 1))
  wide = x.astype(jnp.float32)
  moments = jnp.stack([wide.mean(axes), (wide * wide).mean(axes)])
  mean, square = reduce(moments, "m b (g c) -> m b g 1", "mean", g=groups)
  inverse = lax.rsqrt(jnp.maximum(square - mean**2, 0) + epsilon)
  gain = inverse * rearrange(scale, "(g c) -> g c", g=groups)
  shift = rearrange(bias, "(g c) -> g c", g=groups) - mean * gain
  y = wide * _each(gain, x) + _each(shift, x)
  return y.astype(dtype), (x, scale, mean, inverse)


def _group_norm_backward(epsilon, dtype, kept, slope):
  del epsilon, dtype
  x, scale, mean, inverse = kept
  groups = math.gcd(x.shape[-1], 32)
  axes = tuple(range(1, x.ndim - 1))
  by_group = functools.partial(rearrange, pattern="b (g c) -> b g c", g=groups)
  wide, slope = x.astype(jnp.float32), slope.astype(jnp.float32)
  # Of y = scale * n + bias with n = (x - mean) * inverse: sums of dy and of
  # dy * n over the picture.
  plain = by_group(slope.sum(axes))
  along = inverse * (by_group((slope * wide).sum(axes)) - mean * plain)
  scale = rearrange(scale, "(g c) -> g c", g=groups)
  count = x[0].size // groups
  push, pull = (
    (scale * part).sum(-1, keepdims=True) / count for part in (plain, along)
  )
  # dx = inverse * (scale * dy - push - pull * n)
  of_x = -pull * inverse**2
  rest = -push * inverse - of_x * mean
  dx = slope * _each(inverse * scale, x) + wide * _each(of_x, x)
  dx = (dx + _each(rest, x)).astype(x.dtype)
  return dx, along.sum(0).reshape(-1), plain.sum(0).reshape(-1)


def _each(values: Float[Array, "b g _"], x: Float[Array, "b *n c"]) -> Array:
  """One value a channel, or one a group, at every place of the picture."""
  channels = x.shape[-1] // values.shape[1]
  values = jnp.broadcast_to(values, (*values.shape[:2], channels))
  # Not `len`: exported programs have no number for the examples.
  return values.reshape(x.shape[0], *[1] * (x.ndim - 2), x.shape[-1])


_group_norm.defvjp(_group_norm_forward, _group_norm_backward)


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
