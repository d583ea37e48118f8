"""Changes of a mouth's picture that say nothing of what it speaks."""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
from einops import rearrange
from jaxtyping import Array, Float, PRNGKeyArray

from speak_jax.nn.warp import sample

TAPS = 3  # on each side of a blurred pixel
BUMPS = 4  # points along each side that an elastic warp moves by themselves


class Shake(NamedTuple):
  """How far each change goes; 0 or False leaves it out.

  The first seven move pixels.
  """

  shift: float  # of the side, at most, along each axis
  scale: float  # about 1, at most
  stretch: float  # of width against height about 1, at most; the area stays
  shear: float  # sideways, of the distance from the middle row, at most
  turn: float  # degrees, at most
  elastic: float  # of the side, standard deviation at 4 x 4 points
  mirror: bool  # half of the examples
  blur: float  # pixels, standard deviation, at most
  gamma: float  # exponent about 1, at most, of the picture as [0, 1]
  light: float  # of [-1, 1], at most, at the ends of each axis
  colour: (
    float  # gain about 1 and offset of [-1, 1], at most; .3 more by channel
  )


class Moves(NamedTuple):
  """Where each example's pixels are read: one draw of all that moves them."""

  shift: Float[Array, "b 2"]  # of the side, along x and y
  scale: Float[Array, "b"]
  stretch: Float[Array, "b"]  # width by its root, height by its inverse
  shear: Float[Array, "b"]
  turn: Float[Array, "b"]  # radians
  bumps: Float[Array, "b 4 4 2"]  # of the side, along x and y
  mirror: Float[Array, "b"]  # 1, or -1 for a mirrored one


def shake(
  frames: Float[Array, "b n t h w c"], key: PRNGKeyArray, how: Shake
) -> Float[Array, "b n t h w c"]:
  """Changes the windows of a clip, all of its frames alike.

  One draw an example: windows that were changed each in its own way could be
  told apart without listening. All that moves pixels is one map, which is
  sampled once.

  Args:
    frames: In [-1, 1]; what lies beyond their border is as at it.
    key: Of all draws.
    how: Which changes.
  """
  b, n, t, h, w, c = frames.shape
  keys = jax.random.split(key, 5)
  draw = functools.partial(_even, b)
  maps = rearrange(frames, "b n t h w c -> b h w (n t c)")
  if any(how[:7]):
    maps = sample(maps, *places(draw_moves(keys[0], b, how), h, w))
  if how.blur:
    maps = _blur(maps, jnp.abs(draw(keys[1], how.blur)))
  if how.gamma:
    power = jnp.exp2(draw(keys[2], jnp.log2(1 + how.gamma), 1, 1, 1))
    maps = curve(maps, power)
  if how.light:
    maps = lit(maps, draw(keys[3], how.light, 2))
  frames = rearrange(maps, "b h w (n t c) -> b n t h w c", n=n, t=t, c=c)
  if how.colour:
    common, single = jax.random.split(keys[4])
    each = 0.3 * (c > 1) * draw(single, how.colour, 2, c)  # grey has no hue
    gain, offset = jnp.moveaxis(draw(common, how.colour, 2, 1) + each, 1, 0)
    gain, offset = (x[:, None, None, None, None] for x in (1 + gain, offset))
    frames = (frames * gain + offset).clip(-1, 1)
  return frames


def draw_moves(key: PRNGKeyArray, count: int, how: Shake) -> Moves:
  """Draws the moves of `count` examples, each evenly, bumps normally."""
  keys = jax.random.split(key, len(Moves._fields))
  draw = functools.partial(_even, count)

  def ratio(key, most):  # as often r as 1 / r
    return jnp.exp2(draw(key, jnp.log2(1 + most)))

  return Moves(
    shift=draw(keys[0], how.shift, 2),
    scale=ratio(keys[1], how.scale),
    stretch=ratio(keys[2], how.stretch),
    shear=draw(keys[3], how.shear),
    turn=draw(keys[4], jnp.deg2rad(how.turn)),
    bumps=how.elastic * jax.random.normal(keys[5], (count, BUMPS, BUMPS, 2)),
    mirror=jnp.where(
      jax.random.bernoulli(keys[6], 0.5 * how.mirror, (count,)), -1.0, 1.0
    ),
  )


def _even(
  count: int, key: PRNGKeyArray, most: float | Array, *shape: int
) -> Float[Array, "b *shape"]:
  """Numbers of `count` examples, evenly between -`most` and `most`."""
  shape = (count, *shape)
  return jax.random.uniform(key, shape, minval=-most, maxval=most)


def places(
  moves: Moves, height: int, width: int
) -> tuple[Float[Array, "b h w"], Float[Array, "b h w"]]:
  """Where every pixel is read: x, y in cells from the first one's centre.

  A pixel's place from the middle is mirrored, sheared, stretched, turned and
  scaled, in this order; then come the shift and, smoothly between its points
  (cubic), the elastic warp.
  """
  shear, turn, mirror = (
    x[:, None, None] for x in (moves.shear, moves.turn, moves.mirror)
  )
  scale = moves.scale[:, None, None]
  wide = jnp.sqrt(moves.stretch)[:, None, None]
  v = jnp.arange(height)[:, None] - (height - 1) / 2
  u = (jnp.arange(width) - (width - 1) / 2) * mirror + shear * v
  u, v = u * wide, v / wide
  cos, sin = scale * jnp.cos(turn), scale * jnp.sin(turn)
  bumps = jax.image.resize(
    moves.bumps, (len(moves.bumps), height, width, 2), "cubic"
  )
  off = (moves.shift[:, None, None] + bumps) * jnp.array([width, height])
  x = u * cos - v * sin + (width - 1) / 2 + off[..., 0]
  y = u * sin + v * cos + (height - 1) / 2 + off[..., 1]
  return x, y


def curve(
  maps: Float[Array, "b h w c"], power: Float[Array, "b 1 1 1"]
) -> Float[Array, "b h w c"]:
  """Pictures in [-1, 1] whose grey levels, as [0, 1], are raised to a power."""
  # A power's slope at 0 is infinite, or nothing.
  level = (0.5 + 0.5 * maps).clip(1e-3, 1)
  return 2 * level**power - 1


def lit(
  maps: Float[Array, "b h w c"], slope: Float[Array, "b 2"]
) -> Float[Array, "b h w c"]:
  """Pictures with light from a side: nothing in the middle is added.

  Args:
    maps: In [-1, 1], and so is the result.
    slope: What is added at the right and the lower edge.
  """
  down, along = (
    jnp.linspace(-1, 1, size, dtype=maps.dtype) for size in maps.shape[1:3]
  )
  right, below = slope[:, :1, None], slope[:, 1:, None]
  added = right * along + below * down[:, None]
  return (maps + added[..., None]).clip(-1, 1)


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
