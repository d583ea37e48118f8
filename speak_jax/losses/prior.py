"""What a diffusion prior of motion is trained by: places and velocities."""

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float


def clean_squared(
  pred: Float[Array, "b t d"],
  true: Float[Array, "b t d"],
  known: Bool[Array, "b t"],
) -> Float[Array, "b"]:
  """Mean squared error of the frames that were not known."""
  error = ((pred - true) ** 2).mean(-1)
  return _mean(error, ~known)


def velocity_squared(
  pred: Float[Array, "b t d"],
  true: Float[Array, "b t d"],
  known: Bool[Array, "b t"],
) -> Float[Array, "b"]:
  """Mean squared error of what changes from each frame to the next.

  The first frame after a known one is compared with that: no jump where one
  window goes on from another.
  """
  off = jnp.where(known[..., None], 0, pred - true)
  error = ((off[:, 1:] - off[:, :-1]) ** 2).mean(-1)
  return _mean(error, ~known[:, 1:])


def _mean(
  error: Float[Array, "b t"], scored: Bool[Array, "b t"]
) -> Float[Array, "b"]:
  """Over the frames that are scored, of which there must be some."""
  return (error * scored).sum(-1) / jnp.maximum(scored.sum(-1), 1)
