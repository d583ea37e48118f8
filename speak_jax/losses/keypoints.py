"""Losses that make keypoints stick to parts of a picture.

Siarohin et al. 2019 (arXiv 2003.00196), section 3.2: a picture is warped by a
known T, and what is found in both must differ by T alone. The warped picture
shows at z what the other has at T(z).
"""

import jax.numpy as jnp
from jaxtyping import Array, Float

from speak_jax.nn import matrices, thin_plate
from speak_jax.nn.thin_plate import ThinPlate


def points_astray(
  points: Float[Array, "b k 2"],
  warped: Float[Array, "b k 2"],
  warp: ThinPlate,
) -> Float[Array, "b"]:
  """Mean |p - T(p')| (Eq. 8).

  Args:
    points: Of the picture as it was.
    warped: Of the warped one.
    warp: T.
  """
  return jnp.abs(points - thin_plate.moved(warp, warped)).mean((1, 2))


def jacobians_astray(
  jacobians: Float[Array, "b k 2 2"],
  warped: Float[Array, "b k 2 2"],
  points: Float[Array, "b k 2"],
  warp: ThinPlate,
) -> Float[Array, "b"]:
  """Mean |1 - J^-1 T'(p') J'| (Eq. 11): a flat J cannot hide, as in J - T' J'.

  Args:
    jacobians: Of the picture as it was.
    warped: Of the warped one.
    points: Of the warped one.
    warp: T.
  """
  turned = matrices.product(thin_plate.jacobian(warp, points), warped)
  same = matrices.product(matrices.inverse(jacobians), turned)
  return jnp.abs(jnp.eye(2) - same).mean((1, 2, 3))
