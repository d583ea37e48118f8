"""Changes of a mouth's picture that say nothing of what it speaks."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from einops import rearrange
from jaxtyping import Array, Float, PRNGKeyArray

from speak_jax.nn.warp import sample

TAPS = 3  # on each side of a blurred pixel


class Shake(NamedTuple):
  """How far each change goes; 0 or False leaves it out."""

  shift: float  # of the side, at most, along each axis
  scale: float  # about 1, at most
  turn: float  # degrees, at most
  colour: (
    float  # gain about 1 and offset of [-1, 1], at most; .3 more by channel
  )
  mirror: bool  # half of the examples
  blur: float  # pixels, standard deviation, at most


def shake(
  frames: Float[Array, "b n t h w 3"], key: PRNGKeyArray, how: Shake
) -> Float[Array, "b n t h w 3"]:
  """Changes the windows of a clip, all of its frames alike.

  One draw an example: windows that were changed each in its own way could be
  told apart without listening.

  Args:
    frames: In [-1, 1]; what lies beyond their border is as at it.
    key: Of all draws.
    how: Which changes.
  """
  b, n, t, h, w, c = frames.shape
  keys = jax.random.split(key, 7)

  def draw(key, most, *shape):
    return jax.random.uniform(key, (b, *shape), minval=-most, maxval=most)

  maps = rearrange(frames, "b n t h w c -> b h w (n t c)")
  if how.shift or how.scale or how.turn or how.mirror:
    size = jnp.exp2(draw(keys[0], np.log2(1 + how.scale)))[:, None, None]
    angle = jnp.deg2rad(draw(keys[1], how.turn))[:, None, None]
    move = draw(keys[2], how.shift, 2) * jnp.array([w, h])
    coin = jax.random.bernoulli(keys[3], 0.5 * how.mirror, (b,))
    sign = jnp.where(coin, -1.0, 1.0)[:, None, None]
    u = (jnp.arange(w) - (w - 1) / 2) * sign
    v = (jnp.arange(h) - (h - 1) / 2)[:, None]
    cos, sin = size * jnp.cos(angle), size * jnp.sin(angle)
    x = u * cos - v * sin + (w - 1) / 2 + move[:, 0, None, None]
    y = u * sin + v * cos + (h - 1) / 2 + move[:, 1, None, None]
    maps = sample(maps, x, y)
  if how.blur:
    maps = _blur(maps, jnp.abs(draw(keys[4], how.blur)))
  frames = rearrange(maps, "b h w (n t c) -> b n t h w c", n=n, t=t, c=c)
  if how.colour:
    each = 0.3 * draw(keys[5], how.colour, 2, c)
    gain, offset = jnp.moveaxis(draw(keys[6], how.colour, 2, 1) + each, 1, 0)
    gain, offset = (x[:, None, None, None, None] for x in (1 + gain, offset))
    frames = (frames * gain + offset).clip(-1, 1)
  return frames


def _blur(
  maps: Float[Array, "b h w c"], deviation: Float[Array, "b"]
) -> Float[Array, "b h w c"]:
  """Gaussian, along rows and columns."""
  steps = jnp.arange(-TAPS, TAPS + 1)
  weights = jnp.exp(-0.5 * (steps / deviation.clip(1e-3)[:, None]) ** 2)
  weights /= weights.sum(1, keepdims=True)
  for axis in (1, 2):
    pad = [(0, 0)] * 4
    pad[axis] = (TAPS, TAPS)
    wide, size = jnp.pad(maps, pad, mode="edge"), maps.shape[axis]
    maps = jnp.zeros_like(maps)
    for k in range(2 * TAPS + 1):
      part = jax.lax.slice_in_dim(wide, k, k + size, axis=axis)
      maps += weights[:, k, None, None, None] * part
  return maps
