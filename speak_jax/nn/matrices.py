"""Products and inverses of 2 x 2 matrices, number by number, in float32.

An accelerator's default product of matrices rounds to bfloat16 first, which is
too coarse for places in a picture.
"""

import jax.numpy as jnp
from jax import Array
from jaxtyping import Float

FLAT = 1e-6  # the least size of a determinant that is divided by


def apply(
  matrix: Float[Array, "*m 2 2"], point: Float[Array, "*p 2"]
) -> Float[Array, "*b 2"]:
  """Matrices times points (x, y); leading axes broadcast."""
  return (matrix * point[..., None, :]).sum(-1)


def product(
  left: Float[Array, "*l 2 2"], right: Float[Array, "*r 2 2"]
) -> Float[Array, "*b 2 2"]:
  """Matrices times matrices; leading axes broadcast."""
  return (left[..., :, :, None] * right[..., None, :, :]).sum(-2)


def inverse(matrix: Float[Array, "*b 2 2"]) -> Float[Array, "*b 2 2"]:
  """Inverses in closed form; of a flat matrix a large one, not infinity."""
  (a, b), (c, d) = ((matrix[..., i, 0], matrix[..., i, 1]) for i in (0, 1))
  det = a * d - b * c
  det = jnp.where(jnp.abs(det) < FLAT, jnp.copysign(FLAT, det), det)
  adjugate = jnp.stack([d, -b, -c, a], -1) / det[..., None]
  return adjugate.reshape(matrix.shape)
