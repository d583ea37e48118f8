"""How a head turns, by 68 points alone: a second opinion beside FaceMesh's."""

import numpy as np
from jaxtyping import Float
from scipy.spatial.transform import Rotation

from data_pipelines.faces.headpose import head_rotation
from data_pipelines.faces.tracker import IBUG
from speak_jax import spec

# Points that speech hardly moves: the nose and the corners of the eyes.
RIGID = [*range(spec.NOSE.start, spec.NOSE.stop), 36, 39, 42, 45]


def by_mesh(
  mesh: Float[np.ndarray, "n 468 3"],
) -> Float[np.ndarray, "n 3"]:
  """Turns since the first frame, by FaceMesh: rotation vectors, degrees.

  Args:
    mesh: Its points; NaN where there is no face, which gives NaN.
  """
  turns = np.full((len(mesh), 3, 3), np.nan)
  known = np.isfinite(mesh).all((1, 2))
  turns[known] = head_rotation(mesh[known])
  return _since_the_first(turns)


def by_points(
  points: Float[np.ndarray, "n 68 2"], shape: Float[np.ndarray, "468 3"]
) -> Float[np.ndarray, "n 3"]:
  """Turns since the first frame, by points in the picture.

  A scaled orthographic projection of a rigid shape is fitted to each frame
  (POS of DeMenthon and Davis 1995).

  Args:
    points: iBUG's; NaN where there is no face, which gives NaN.
    shape: FaceMesh's points of the same person in the first frame: its depth
      is all that is taken from there.

  Returns:
    Rotation vectors, degrees.
  """
  solid = shape[IBUG][RIGID].astype(np.float64)
  inverse = np.linalg.pinv(solid - solid.mean(0))
  turns = np.full((len(points), 3, 3), np.nan)
  for i in np.flatnonzero(np.isfinite(points).all((1, 2))):
    flat = points[i, RIGID] - points[i, RIGID].mean(0)
    u, _, vt = np.linalg.svd((inverse @ flat).T, full_matrices=False)
    rows = u @ vt
    turns[i] = np.stack([*rows, np.cross(*rows)])
  return _since_the_first(turns)


def _since_the_first(
  turns: Float[np.ndarray, "n 3 3"],
) -> Float[np.ndarray, "n 3"]:
  vectors = np.full((len(turns), 3), np.nan)
  known = np.isfinite(turns).all((1, 2))
  if len(turns) and np.isfinite(turns[0]).all():
    gone = turns[known] @ turns[0].T
    vectors[known] = np.degrees(Rotation.from_matrix(gone).as_rotvec())
  return vectors
