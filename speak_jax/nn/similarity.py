"""Rotation, scale and shift between two sets of points, by least squares.

The one that `data_pipelines.faces.face` has in NumPy, where records are cut.
"""

from typing import NamedTuple

import jax.numpy as jnp
from jax import Array
from jaxtyping import Float


class Similarity(NamedTuple):
  """x -> factor (x - origin) + centre, points being complex numbers."""

  real: Float[Array, "*b"]  # of the factor
  imaginary: Float[Array, "*b"]
  origin: Float[Array, "*b 2"]  # mean of the points that it was fitted to
  centre: Float[Array, "*#b 2"]  # mean of the points that they were to meet


def fit(
  source: Float[Array, "*s k 2"], goal: Float[Array, "*g k 2"]
) -> Similarity:
  """Fits the similarity that brings points nearest to others.

  In the least squares, goal = a * offset has a = sum(conj(offset) * goal) /
  sum(|offset|^2), both about their means.

  Args:
    source: k points (x, y) of each example.
    goal: Where they are to come to, in any other unit.
  """
  origin, centre = source.mean(-2), goal.mean(-2)
  offset, goal = source - origin[..., None, :], goal - centre[..., None, :]
  square = (offset**2).sum((-1, -2)).clip(1e-6)
  real = (offset * goal).sum((-1, -2)) / square
  cross = offset[..., 0] * goal[..., 1] - offset[..., 1] * goal[..., 0]
  return Similarity(real, cross.sum(-1) / square, origin, centre)


def moved(
  fitted: Similarity, points: Float[Array, "*p k 2"]
) -> Float[Array, "*b k 2"]:
  """Moves k points of each example."""
  away = points - fitted.origin[..., None, :]
  x, y = away[..., 0], away[..., 1]
  real, imaginary = fitted.real[..., None], fitted.imaginary[..., None]
  turned = [real * x - imaginary * y, imaginary * x + real * y]
  return jnp.stack(turned, -1) + fitted.centre[..., None, :]


def read_at(
  fitted: Similarity, column: Array, row: Array
) -> tuple[Float[Array, "*b h w"], Float[Array, "*b h w"]]:
  """Says where a grid's cells come from: the inverse, of places (x, y).

  Args:
    fitted: Of each example.
    column: x of the cells, whole numbers or not, of a shape that fits
      (*b, h, w).
    row: Their y.
  """
  norm = (fitted.real**2 + fitted.imaginary**2).clip(1e-12)
  real, imaginary, left, top, across, down = (
    jnp.asarray(x)[..., None, None]
    for x in (
      fitted.real / norm,
      fitted.imaginary / norm,
      fitted.origin[..., 0],
      fitted.origin[..., 1],
      fitted.centre[..., 0],
      fitted.centre[..., 1],
    )
  )
  u, v = column - across, row - down
  return real * u + imaginary * v + left, real * v - imaginary * u + top
