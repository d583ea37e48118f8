"""Lips that are apart in the photograph, brought together.

What speech does to lips is told from closed ones.
"""

import numpy as np
from jaxtyping import Float

from data_pipelines.faces import topology
from speak_jax import spec

CLOSED = 0.012  # of the gap, eye distances, at which lips touch
UPPER_SHARE = 0.25  # of the way that the upper lip goes; the jaw does the rest
CHIN, CHIN_SHARE = (152, 148, 377), 0.5
# Points that stay: nose, cheeks, jaw's angles, temples.
STILL = (2, 98, 327, 129, 358, 50, 280, 205, 425, 172, 397, 132, 361, 6)
NEAR = 0.05  # eye distances, within which all handles weigh alike


def closing(
  points: Float[np.ndarray, "468 3"],
) -> Float[np.ndarray, "468 3"]:
  """Finds the offsets that close a mouth; all 0 if it is closed.

  Args:
    points: Of the face at rest, canonical.
  """
  upper = topology.INNER_LIPS[1:10]  # left to right, without the corners
  lower = topology.INNER_LIPS[:10:-1]
  gap = (points[lower] - points[upper])[:, 1].clip(0)
  if gap.max() <= CLOSED:
    return np.zeros_like(points)
  handles = {int(i): 0.0 for i in STILL}
  handles |= dict.fromkeys(CHIN, -CHIN_SHARE * (1 - UPPER_SHARE) * gap.max())
  handles |= dict(zip(upper.tolist(), UPPER_SHARE * gap, strict=True))
  handles |= dict(zip(lower.tolist(), (UPPER_SHARE - 1) * gap, strict=True))
  # The outer edges go with the inner ones, from corner to corner.
  outer = spec.MESH_LIPS[:20]
  handles |= dict.fromkeys((outer[0], outer[10], *topology.INNER_LIPS[::10]), 0)
  for edge, share in (
    (outer[1:10], UPPER_SHARE),
    (outer[:10:-1], UPPER_SHARE - 1),
  ):
    handles |= dict(zip(edge, share * gap, strict=True))
  at = np.array(list(handles))
  away = points[:, None, :2] - points[at, :2]
  weight = 1 / ((away**2).sum(-1) + NEAR**2) ** 2
  moved = weight @ np.array(list(handles.values())) / weight.sum(1)
  moved[at] = list(handles.values())
  offsets = np.zeros_like(points)
  offsets[:, 1] = moved
  return offsets
