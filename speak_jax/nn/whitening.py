"""Codes of zero mean and unit covariance, by running statistics.

What diffusion adds noise to should be as wide as the noise, in every
direction. The statistics are a collection of a group, so that they are in its
checkpoints; an update's microbatches may be averaged.
"""

from typing import Any

import jax
import jax.numpy as jnp
from jax.scipy.linalg import solve_triangular
from jaxtyping import Array, Float

STEPS = 200  # updates over which statistics are taken
RIDGE = 1e-2  # of the mean variance: what hardly moves is not blown up


def fresh(width: int) -> dict[str, Array]:
  """Statistics that change nothing, and soon count for nothing."""
  return {
    "sum": jnp.zeros(width),
    "products": jnp.eye(width),
    "count": jnp.ones(()),
  }


def update(state: Any, codes: Float[Array, "*b d"]) -> dict[str, Array]:
  """The statistics after a batch; no gradient flows into it."""
  codes = jax.lax.stop_gradient(codes.astype(jnp.float32))
  rows, keep = codes.reshape(-1, codes.shape[-1]), 1 - 1 / STEPS
  return {
    "sum": keep * state["sum"] + rows.mean(0),
    "products": keep * state["products"] + rows.T @ rows / len(rows),
    "count": keep * state["count"] + 1,
  }


def whiten(state: Any, codes: Float[Array, "*b d"]) -> Float[Array, "*b d"]:
  """Codes without their mean and covariance, float32."""
  mean, factor = _shape(state)
  rows = (codes.astype(jnp.float32) - mean).reshape(-1, codes.shape[-1])
  return solve_triangular(factor, rows.T, lower=True).T.reshape(codes.shape)


def unwhiten(state: Any, white: Float[Array, "*b d"]) -> Float[Array, "*b d"]:
  """The inverse of `whiten`."""
  mean, factor = _shape(state)
  return mean + white.astype(jnp.float32) @ factor.T


def _shape(state: Any) -> tuple[Float[Array, "d"], Float[Array, "d d"]]:
  """The mean, and the covariance's lower triangular root."""
  mean = state["sum"] / state["count"]
  covariance = state["products"] / state["count"] - jnp.outer(mean, mean)
  ridge = RIDGE * jnp.trace(covariance) / len(mean)
  return mean, jnp.linalg.cholesky(covariance + ridge * jnp.eye(len(mean)))
