"""Flows that follow landmarks, and bilinear warping by a flow.

Coordinates are float32 whatever the pictures are: an accelerator's default
product of float32 rounds to bfloat16 first, which here is 2 px of 256.
"""

import jax
import jax.numpy as jnp
from einops import rearrange
from jax import Array, lax
from jaxtyping import Float

from speak_jax.nn import resize

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
  return resize.linear(flow, size, size)


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
  height, width = maps.shape[1:3]
  flow = flow.astype(jnp.float32)
  x = jnp.arange(width) + flow[..., 0] * (width / 2)
  y = jnp.arange(height)[:, None] + flow[..., 1] * (height / 2)
  return sample(maps, x, y)


def sample(
  maps: Float[Array, "b h w c"],
  x: Float[Array, "b i j"],
  y: Float[Array, "b i j"],
) -> Float[Array, "b i j c"]:
  """Reads maps bilinearly; beyond their border they go on as at it.

  Args:
    maps: At least 2 x 2, any number of channels; the result is of their type.
    x, y: Where to read, in cells from the centre of the first one; float32.
  """
  height, width, channels = maps.shape[1:]
  x, y = x.clip(0, width - 1), y.clip(0, height - 1)
  left = jnp.floor(x).clip(0, width - 2).astype(jnp.int32)
  top = jnp.floor(y).clip(0, height - 2).astype(jnp.int32)
  dx = (x - left)[..., None].astype(maps.dtype)
  dy = (y - top)[..., None].astype(maps.dtype)
  corner = top * width + left
  index = jnp.stack([corner, corner + 1, corner + width, corner + width + 1], 1)
  rows = rearrange(maps, "b h w c -> b (h w) c")
  pick = jax.vmap(lambda row, i: row.at[i].get(mode="promise_in_bounds"))
  taps = pick(rows, rearrange(index, "b k i j -> b (k i j)"))
  taps = rearrange(
    taps,
    "b (k i j) c -> k b i j c",
    k=4,
    i=x.shape[1],
    j=x.shape[2],
    c=channels,
  )
  # Not a + d * (b - a), whose last column and row round.
  upper = taps[0] * (1 - dx) + taps[1] * dx
  lower = taps[2] * (1 - dx) + taps[3] * dx
  return upper * (1 - dy) + lower * dy


def sample_grid(
  maps: Float[Array, "b h w c"],
  grid: Float[Array, "b i j 2"],
  aligned: bool = True,
) -> Float[Array, "b i j c"]:
  """Reads maps at places of a picture that is 2 wide; zeros lie beyond it.

  Args:
    maps: At least 1 x 1, any number of channels; the result is of their type.
    grid: (x, y) of each place, as `corner_grid` has them where nothing moves.
    aligned: Whether -1 and 1 are the centres of the outermost cells; False:
      the outer edges of those. PyTorch's `align_corners`.
  """
  sides = jnp.asarray(maps.shape[2:0:-1], jnp.float32)  # columns, rows
  grid = (grid.astype(jnp.float32) + 1) / 2
  cells = grid * (sides - 1) if aligned else grid * sides - 0.5
  padded = jnp.pad(maps, ((0, 0), (1, 1), (1, 1), (0, 0)))
  return sample(padded, cells[..., 0] + 1, cells[..., 1] + 1)


def corner_grid(height: int, width: int) -> Float[Array, "h w 2"]:
  """(x, y) of a map's cells, the outermost ones at -1 and 1; float32."""
  x, y = (
    jnp.linspace(-1, 1, side, dtype=jnp.float32) for side in (width, height)
  )
  return jnp.stack(jnp.meshgrid(x, y), -1)


def flow_from_landmarks(
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
  # Differences are squared, not multiplied out: |g|^2 + |l|^2 - 2 g l cancels,
  # and its product of matrices is the very one that accelerators round.
  x, y = jnp.moveaxis(
    (pixel_centers(size)[:, None, None] - landmarks[:, None]) ** 2, -1, 0
  )
  away = y[:, :, None] + x[:, None]  # b s s k
  weight = 1 / (away + NEAR**2) ** 2
  moved = jnp.einsum(
    "byxk,bkd->byxd",
    weight,
    source - landmarks,
    precision=lax.Precision.HIGHEST,
  )
  return moved / weight.sum(-1, keepdims=True)


def pixel_centers(size: int) -> Float[Array, "s"]:
  """Centres of a row's cells, the row spanning -1 to 1."""
  return (jnp.arange(size) + 0.5) * (2 / size) - 1
