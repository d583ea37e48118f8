"""Random warps of a plane: a map that keeps lines, and a thin plate's bending.

T(z) = A z + b + sum over controls c of w_c U(|z - c|), U(r) = r^2 log r
(Bookstein 1989), places (x, y) in a picture that spans -1 to 1. The public
code of the First Order Motion Model takes |x| + |y| for r, whose bending has
creases, and moves x and y alike; ours does neither.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from einops import rearrange
from jax import Array
from jaxtyping import Float, PRNGKeyArray

from speak_jax.nn import matrices
from speak_jax.nn.warp import corner_grid, sample

TINY = 1e-12  # added to r^2, so that its logarithm is finite


class ThinPlate(NamedTuple):
  """A warp of each example."""

  matrix: Float[Array, "b 2 2"]
  shift: Float[Array, "b 2"]
  weights: Float[Array, "b c 2"]  # of the controls, a square grid row by row


def draw(
  key: PRNGKeyArray, count: int, turn: float, bend: float, side: int
) -> ThinPlate:
  """Draws warps near the identity.

  Args:
    key: Of what is drawn.
    count: How many.
    turn: Deviation of each number of the matrix and of the shift.
    bend: Deviation of the weights.
    side: Controls in a row of the grid, and rows.
  """
  keys = jax.random.split(key, 3)
  matrix = jnp.eye(2) + turn * jax.random.normal(keys[0], (count, 2, 2))
  shift = turn * jax.random.normal(keys[1], (count, 2))
  weights = bend * jax.random.normal(keys[2], (count, side**2, 2))
  return ThinPlate(matrix, shift, weights)


def moved(
  plate: ThinPlate, points: Float[Array, "b n 2"]
) -> Float[Array, "b n 2"]:
  """Where points come to."""
  square = (_away(plate, points) ** 2).sum(-1)  # b n c
  height = square * jnp.log(square + TINY) / 2
  bent = jnp.einsum("bnc,bcd->bnd", height, plate.weights, precision="highest")
  straight = matrices.apply(plate.matrix[:, None], points)
  return straight + plate.shift[:, None] + bent


def jacobian(
  plate: ThinPlate, points: Float[Array, "b n 2"]
) -> Float[Array, "b n 2 2"]:
  """Derivatives of where points come to; the last axis is by x and y."""
  away = _away(plate, points)
  square = (away**2).sum(-1, keepdims=True)
  slope = away * (jnp.log(square + TINY) + square / (square + TINY))
  bent = jnp.einsum("bncj,bci->bnij", slope, plate.weights, precision="highest")
  return plate.matrix[:, None] + bent


def warped(
  plate: ThinPlate, pictures: Float[Array, "b h w c"]
) -> Float[Array, "b h w c"]:
  """Pictures that show at z what was at T(z); beyond edges they mirror."""
  height, width = pictures.shape[1:3]
  grid = rearrange(corner_grid(height, width), "h w c -> (h w) c")
  grid = jnp.broadcast_to(grid, (len(pictures), *grid.shape))
  places = rearrange(moved(plate, grid), "b (h w) c -> b h w c", h=height)
  x, y = (
    _mirrored((places[..., i] + 1) / 2 * (side - 1), side - 1)
    for i, side in ((0, width), (1, height))
  )
  return sample(pictures, x, y)


def _away(
  plate: ThinPlate, points: Float[Array, "b n 2"]
) -> Float[Array, "b n c 2"]:
  """From each control to each point."""
  side = round(plate.weights.shape[1] ** 0.5)
  controls = rearrange(corner_grid(side, side), "h w c -> (h w) c")
  return points[:, :, None] - controls


def _mirrored(place: Array, last: int) -> Array:
  """Places beyond 0 and `last` as mirrors there show them."""
  return last - jnp.abs(last - jnp.abs(place))
