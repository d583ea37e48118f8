"""Flows that follow landmarks, and bilinear warping by a flow."""

import jax
import jax.numpy as jnp
from einops import rearrange
from jax import Array
from jaxtyping import Float

NEAR = 0.03  # the picture is 2 wide; nearer than this all points weigh alike
# Points of the picture's edge that stay, an eighth of its width apart: not
# those of its lower side, where shoulders turn with the head.
STILL = tuple(
  [(x, y / 4) for x in (-1.0, 1.0) for y in range(-4, 4)]
  + [(x / 4, -1.0) for x in range(-3, 4)]
)


def resize_flow(
  flow: Float[Array, "b r r 2"], size: int
) -> Float[Array, "b s s 2"]:
  """The same flow on another grid; values are in picture units, so kept."""
  if flow.shape[1] == size:
    return flow
  shape = (flow.shape[0], size, size, 2)
  return jax.image.resize(flow, shape, "bilinear")


def warp(
  maps: Float[Array, "b h w c"], flow: Float[Array, "b h w 2"]
) -> Float[Array, "b h w c"]:
  """Backward warp: pixel p of the result is read at p + flow(p).

  Args:
    maps: Any number of channels.
    flow: (x, y) in normalised coordinates, where the picture is 2 wide and 2
      high: .5 moves by a quarter of it. Zero is the identity, exactly.
      Positions outside the picture read its border.
  """
  height, width, channels = maps.shape[1:]
  flow = flow.astype(jnp.float32)
  x = jnp.arange(width) + flow[..., 0] * (width / 2)
  y = jnp.arange(height)[:, None] + flow[..., 1] * (height / 2)
  x, y = x.clip(0, width - 1), y.clip(0, height - 1)
  left = jnp.floor(x).clip(0, width - 2).astype(jnp.int32)
  top = jnp.floor(y).clip(0, height - 2).astype(jnp.int32)
  dx = (x - left)[..., None].astype(maps.dtype)
  dy = (y - top)[..., None].astype(maps.dtype)
  corner = top * width + left
  index = jnp.stack([corner, corner + 1, corner + width, corner + width + 1], 1)
  rows = rearrange(maps, "b h w c -> b (h w) c")
  pick = jax.vmap(lambda row, i: row.at[i].get(mode="promise_in_bounds"))
  taps = pick(rows, rearrange(index, "b k h w -> b (k h w)"))
  taps = rearrange(
    taps, "b (k h w) c -> k b h w c", k=4, h=height, w=width, c=channels
  )
  # Not a + d * (b - a), whose last column and row round.
  upper = taps[0] * (1 - dx) + taps[1] * dx
  lower = taps[2] * (1 - dx) + taps[3] * dx
  return upper * (1 - dy) + lower * dy


def follow(
  landmarks: Float[Array, "b k 2"], source: Float[Array, "b k 2"], size: int
) -> Float[Array, "b s s 2"]:
  """Backward flow that reads at `source` what is to lie at `landmarks`.

  Between landmarks it is their mean by inverse distance to the fourth power
  (Shepard 1968). The picture's edge stays, but for its lower side: what lies
  behind the head does not move with it. Pictures span -1 to 1.
  """
  still = jnp.broadcast_to(
    jnp.asarray(STILL), (landmarks.shape[0], len(STILL), 2)
  )
  landmarks, source = (
    jnp.concatenate([points, still], 1) for points in (landmarks, source)
  )
  x, y = jnp.meshgrid(*[along(size)] * 2)
  grid = jnp.stack([x.ravel(), y.ravel()], -1)
  away = (
    (grid**2).sum(-1)[:, None]
    + (landmarks**2).sum(-1)[:, None]
    - 2 * jnp.einsum("gd,bkd->bgk", grid, landmarks)
  )
  weight = 1 / (away.clip(0) + NEAR**2) ** 2
  moved = jnp.einsum("bgk,bkd->bgd", weight, source - landmarks)
  flow = moved / weight.sum(-1, keepdims=True)
  return flow.reshape(-1, size, size, 2)


def along(size: int) -> Float[Array, "s"]:
  """Centres of a row's cells, the row spanning -1 to 1."""
  return (jnp.arange(size) + 0.5) * (2 / size) - 1
