"""A face's shape apart from where its head is: FaceMesh's points, canonical.

Canonical points have the head upright and looking straight ahead, x to the
picture's right, y down, z away from the viewer, counted from the middle of the
points that no expression moves, in distances between the outer corners of the
eyes (some 92 mm).
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from data_pipelines.faces.headpose import RIGID, head_rotation
from speak_jax import spec

EYE_CORNERS = (33, 263)  # the outer ones, left and right in the picture
UPPER_LIDS, LOWER_LIDS = (159, 386), (145, 374)  # at the middle of each eye
RESTING = 0.2  # share of a clip's frames whose lips are the nearest


class Placed(NamedTuple):
  """n faces, each as a canonical shape and where its head is."""

  points: Float[np.ndarray, "n 468 3"]  # canonical
  rotation: Float[np.ndarray, "n 3 3"]  # from the canonical pose
  middle: Float[np.ndarray, "n 3"]  # of the points that no expression moves
  eyes: Float[np.ndarray, "n"]  # between the outer corners, unit of the mesh


def placed(mesh: Float[np.ndarray, "n 468 3"]) -> Placed:
  """Takes faces apart into shape and place.

  Args:
    mesh: FaceMesh's points, finite, in any one unit.
  """
  mesh = mesh.astype(np.float64)
  rotation, middle = head_rotation(mesh), mesh[:, RIGID].mean(1)
  left, right = (mesh[:, corner] for corner in EYE_CORNERS)
  eyes = np.linalg.norm(left - right, axis=-1)
  points = (mesh - middle[:, None]) @ rotation / eyes[:, None, None]
  return Placed(points, rotation, middle, eyes)


def lip_gap(points: Float[np.ndarray, "n 468 3"]) -> Float[np.ndarray, "n"]:
  """Measures how far lips are apart, in canonical units."""
  upper, lower = spec.MESH_GAP
  apart = points[:, upper] - points[:, lower]
  return np.linalg.norm(apart, axis=-1)


def lid_gap(points: Float[np.ndarray, "n 468 3"]) -> Float[np.ndarray, "n"]:
  """Measures how far lids are apart, mean of both eyes, in canonical units."""
  apart = points[:, UPPER_LIDS] - points[:, LOWER_LIDS]
  return np.linalg.norm(apart, axis=-1).mean(-1)


def at_rest(
  points: Float[np.ndarray, "n 468 3"],
) -> Float[np.ndarray, "468 3"]:
  """Averages the frames of a clip whose lips are the nearest to each other."""
  gap = lip_gap(points)
  return points[gap <= np.quantile(gap, RESTING)].mean(0)


def lids_closed(
  points: Float[np.ndarray, "n 468 3"], rest: Float[np.ndarray, "468 3"]
) -> Float[np.ndarray, "n"]:
  """Measures how far lids are closed: 0 as at rest, 1 shut; below 0 wide."""
  return 1 - lid_gap(points) / max(float(lid_gap(rest[None])[0]), 1e-3)
