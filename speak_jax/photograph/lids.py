"""Lids that shut, along the person's own: a large eye as well as a narrow one.

The motion model closes the mean eye that it has learned from: a large one
would keep a slit, lids of a narrow one would cross, and corners would bend.
"""

import numpy as np
from jaxtyping import Float

from data_pipelines.faces.eyes import LOOPS

UPPER_SHARE = 0.9  # of the way that the upper lids go
FOLLOWS = 0.6  # of an iris' way up or down that the upper lid goes
MOST_OPEN = 0.5  # of its gap, by which a lid follows an iris at most


def shutting(
  points: Float[np.ndarray, "468 3"], shut: Float[np.ndarray, "468 3"]
) -> Float[np.ndarray, "468 3"]:
  """Finds by how much a person's lids go another way than the model's.

  Both lids meet near the lower one's own line; what the model does to the
  corners takes that along, for the skin round them goes as it says.

  Args:
    points: Of the face at rest, canonical.
    shut: Offsets of shut lids, as the motion model has them.

  Returns:
    Canonical offsets beside these, of the edges of both lids.
  """
  offsets = np.zeros_like(points)
  for loop in LOOPS:
    upper, lower, corners = loop[1:8], loop[:8:-1], loop[[0, 8]]
    gap = points[lower] - points[upper]
    middle = (points[upper, 0] + points[lower, 0]) / 2
    share = np.interp(middle, points[corners, 0], (0, 1))[:, None]
    along = (1 - share) * shut[corners[0]] + share * shut[corners[1]]
    for lid, way in (
      (upper, UPPER_SHARE * gap),
      (lower, (UPPER_SHARE - 1) * gap),
    ):
      offsets[lid] = way + along - shut[lid]
  return offsets


def following(
  points: Float[np.ndarray, "468 3"], way: float
) -> Float[np.ndarray, "468 3"]:
  """Finds the offsets of upper lids that go with the irises.

  Args:
    points: Of the face at rest, canonical.
    way: By how much the irises go down, eye distances; less than 0: up.
  """
  offsets = np.zeros_like(points)
  for loop in LOOPS:
    upper, lower = loop[1:8], loop[:8:-1]
    gap = np.linalg.norm(points[lower] - points[upper], axis=1)
    most = MOST_OPEN * gap.max()
    lid = float(np.clip(FOLLOWS * way, -most, most))
    offsets[upper, 1] = lid * gap / max(float(gap.max()), 1e-9)
  return offsets
