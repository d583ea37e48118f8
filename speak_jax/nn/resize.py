"""Doubling and halving of pictures as shifted sums."""

import jax.numpy as jnp
from einops import rearrange, reduce
from jax import Array
from jaxtyping import Float


def _double(x: Array, axis: int) -> Array:
  """Linear interpolation to twice the size along one axis."""
  size = x.shape[axis]
  first = [slice(None)] * x.ndim
  last = [slice(None)] * x.ndim
  first[axis], last[axis] = slice(0, 1), slice(size - 1, size)
  body, rest = list(first), list(first)
  body[axis], rest[axis] = slice(0, size - 1), slice(1, size)
  before = jnp.concatenate([x[tuple(first)], x[tuple(body)]], axis)
  after = jnp.concatenate([x[tuple(rest)], x[tuple(last)]], axis)
  even = 0.75 * x + 0.25 * before
  odd = 0.75 * x + 0.25 * after
  both = jnp.stack([even, odd], axis + 1)
  shape = list(x.shape)
  shape[axis] = 2 * size
  return both.reshape(shape)


def double(x: Float[Array, "b h w c"]) -> Float[Array, "b 2*h 2*w c"]:
  """Bilinear picture of twice the size, edges repeated.

  Equals `jax.image.resize(..., "bilinear")`, and StyleGAN2's [1, 3, 3, 1]
  upsampling away from the edge.
  """
  return _double(_double(x, 1), 2)


def halve(x: Float[Array, "b h w c"]) -> Float[Array, "b i j c"]:
  """Mean of 2 x 2 pixels; both sides must be even."""
  return reduce(x, "b (h i) (w j) c -> b h w c", "mean", i=2, j=2)


def halve_max(x: Float[Array, "b h w c"]) -> Float[Array, "b i j c"]:
  """Largest of 2 x 2 pixels; a reshape, as pooling's gradient is slow."""
  x = rearrange(x, "b (h i) (w j) c -> b h i w j c", i=2, j=2)
  return x.max((2, 4))
