"""How far predicted points of a face are from the true ones."""

import jax.numpy as jnp
from jaxtyping import Array, Float

from speak_jax import spec


def points_l1(
  points: Float[Array, "b t v 3"], true: Float[Array, "b t v 3"]
) -> Float[Array, "b"]:
  """Mean distance along each axis."""
  return jnp.abs(points - true).mean((1, 2, 3))


def speed_l1(
  points: Float[Array, "b t v 3"], true: Float[Array, "b t v 3"]
) -> Float[Array, "b"]:
  """The same of what changes from frame to frame."""
  return points_l1(jnp.diff(points, axis=1), jnp.diff(true, axis=1))


def gap(points: Float[Array, "b t 468 3"]) -> Float[Array, "b t"]:
  """How much further than at rest the lower lip is below the upper one."""
  upper, lower = spec.MESH_GAP
  return points[:, :, lower, 1] - points[:, :, upper, 1]


def correlation(
  x: Float[Array, "b t"], y: Float[Array, "b t"]
) -> Float[Array, "b"]:
  """Pearson's r over time; 0 where one of both does not change."""
  x, y = (z - z.mean(1, keepdims=True) for z in (x, y))
  both = (x**2).sum(1) * (y**2).sum(1)
  return (x * y).sum(1) / jnp.sqrt(jnp.maximum(both, 1e-12))
