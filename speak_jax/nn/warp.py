"""Bilinear warping of feature maps by a flow."""

import jax
import jax.numpy as jnp
from einops import rearrange
from jax import Array
from jaxtyping import Float


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
