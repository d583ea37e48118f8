"""ATVG's losses: of landmarks, and of pixels where its attention is.

Chen et al. 2019 (arXiv 1905.03820), sections 3.1 and 3.3.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from speak_jax import spec

MOUTH = 100.0  # weight of the mouth's rows, inside the square
LEAST = 0.5  # of what a pixel counts that the network leaves as it is


def coefficients_squared(
  pred: Float[Array, "b t d"], true: Float[Array, "b t d"]
) -> Float[Array, "b"]:
  """Mean squared error of coefficients."""
  return ((pred - true) ** 2).mean((1, 2))


def landmarks_squared(
  pred: Float[Array, "b t 68 2"], true: Float[Array, "b t 68 2"]
) -> Float[Array, "b"]:
  """Mean squared error of normalised landmarks, the mouth's rows first of all.

  As published: y of the mouth's 20 points counts 10,000 times as much.
  """
  weight = jnp.ones((68, 2)).at[spec.MOUTH, 1].set(MOUTH)
  return (((pred - true) * weight) ** 2).mean((1, 2, 3))


def attended_l1(
  pred: Float[Array, "b t h w 3"],
  target: Float[Array, "b t h w 3"],
  attention: Float[Array, "b t h w 1"],
) -> Float[Array, "b"]:
  """The dynamic pixel loss: mean |pred - target| (attention + 1/2).

  The attention gets no gradient: it would rather look away.

  Args:
    pred: Frames in [-1, 1].
    target: The true ones.
    attention: In [0, 1]; where `pred` is painted anew.
  """
  weight = jax.lax.stop_gradient(attention.astype(jnp.float32)) + LEAST
  error = jnp.abs(pred.astype(jnp.float32) - target.astype(jnp.float32))
  return (error * weight).mean((1, 2, 3, 4))
