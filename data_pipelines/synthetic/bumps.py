"""Tables of bumps: what stands out of a face, or darkens it, and where."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

# Arrays of one shape, or numbers.
Floats = Float[np.ndarray, "*n"] | np.floating | float


class Bump(NamedTuple):
  """A Gaussian on the face, seen from the front; lengths in head units."""

  what: str
  amount: float  # at its middle; below 0: a hollow
  x: float
  y: float
  sigma_x: float
  sigma_y: float
  both: bool = True  # on both sides of the face, at x and -x


def bump(
  x: Floats,
  y: Floats,
  at_x: float,
  at_y: float,
  sigma_x: float,
  sigma_y: float,
) -> Any:
  """Two-dimensional Gaussian, 1 at (at_x, at_y)."""
  return np.exp(
    -0.5 * (((x - at_x) / sigma_x) ** 2 + ((y - at_y) / sigma_y) ** 2)
  )


def add(
  total: Floats,
  bumps: Sequence[Bump],
  x: Floats,
  y: Floats,
) -> Any:
  """Adds a table's bumps at places (x, y) to `total`, in their order."""
  across = np.abs(x)
  for one in bumps:
    shape = bump(
      across if one.both else x, y, one.x, one.y, one.sigma_x, one.sigma_y
    )
    total = total + one.amount * shape
  return total


def step(low: Any, high: Any, value: Any) -> Any:
  """Smooth step from 0 at `low` to 1 at `high`, which may lie below it.

  Args:
    low: Number or array.
    high: Likewise, of a shape that broadcasts.
    value: Likewise.
  """
  t = np.clip((value - low) / (high - low), 0, 1)
  return t * t * (3 - 2 * t)
