"""A smooth curve through numbers that are evenly spaced.

As `scipy.interpolate.CubicSpline` draws it, to the last digits; without SciPy,
which takes a quarter of a second to load, and a head that idles waits for it.
"""

from collections.abc import Callable

import numpy as np
from jaxtyping import Float


def through(
  values: Float[np.ndarray, "k c"], at: Float[np.ndarray, "n"]
) -> Float[np.ndarray, "n c"]:
  """Reads the cubic spline whose knots are 0, 1 and so on.

  Its third derivative does not jump at the second knot and the last but one
  (not-a-knot).

  Args:
    values: At the knots, four at least.
    at: Where it is read, from 0 to k - 1.
  """
  return reader(values)(at)


def reader(
  values: Float[np.ndarray, "k c"],
) -> Callable[[Float[np.ndarray, "n"]], Float[np.ndarray, "n c"]]:
  """Makes what reads the spline of `through`, piece by piece."""
  bends = _bends(values)

  def read(at: Float[np.ndarray, "n"]) -> Float[np.ndarray, "n c"]:
    first = np.clip(at.astype(int), 0, len(values) - 2)
    right = (at - first)[:, None]
    left = 1 - right
    ends = left * values[first] + right * values[first + 1]
    bent = (left**3 - left) * bends[first] + (right**3 - right) * bends[
      first + 1
    ]
    return ends + bent / 6

  return read


def _bends(values: Float[np.ndarray, "k c"]) -> Float[np.ndarray, "k c"]:
  """Second derivatives at the knots."""
  second = np.diff(values, 2, axis=0)  # of the knots 1 to k - 2
  bends = np.empty_like(values)
  # Not-a-knot: there the equation of three neighbours is one of the middle.
  bends[1], bends[-2] = second[0], second[-1]
  # b[i - 1] + 4 b[i] + b[i + 1] = 6 second, by elimination.
  shares = np.zeros(len(values))
  for i in range(2, len(values) - 2):
    shares[i] = 1 / (4 - shares[i - 1])
    bends[i] = (6 * second[i - 1] - bends[i - 1]) * shares[i]
  for i in range(len(values) - 3, 1, -1):
    bends[i] -= shares[i] * bends[i + 1]
  bends[0] = 2 * bends[1] - bends[2]
  bends[-1] = 2 * bends[-2] - bends[-3]
  return bends
