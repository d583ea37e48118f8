"""Head pose from the face mesh, by rigid alignment to a mean head."""

import numpy as np
from jaxtyping import Float

# Mean positions (x right, y down, z away) of mesh points that speech and
# expression hardly move, in inter-ocular distances. Averaged by Procrustes
# analysis over twelve people and made symmetric. Zero pitch: the top of the
# forehead stands over the chin. Pairs are (left, right): x of the right one.
_PAIRS = {
  (33, 263): (0.72, 0.05, 0.02),
  (133, 362): (0.28, 0.06, -0.06),
  (127, 356): (1.10, 0.17, 0.80),
  (234, 454): (1.09, 0.40, 0.85),
  (162, 389): (1.08, -0.08, 0.67),
  (21, 251): (1.03, -0.29, 0.48),
  (54, 284): (0.93, -0.48, 0.30),
  (103, 332): (0.78, -0.64, 0.11),
  (67, 297): (0.55, -0.75, -0.05),
  (109, 338): (0.30, -0.80, -0.15),
  (116, 345): (1.00, 0.33, 0.19),
  (50, 280): (0.77, 0.57, -0.12),
  (98, 327): (0.27, 0.71, -0.35),
  (48, 278): (0.30, 0.60, -0.46),
}
_MIDDLE = {
  10: (-0.82, -0.18),
  151: (-0.57, -0.26),
  9: (-0.30, -0.33),
  168: (-0.05, -0.32),
  6: (0.06, -0.40),
  197: (0.17, -0.49),
  195: (0.26, -0.59),
  5: (0.37, -0.69),
  4: (0.50, -0.74),
  2: (0.73, -0.48),
}
RIGID = np.array([i for pair in _PAIRS for i in pair] + list(_MIDDLE))
HEAD = np.array(
  [(s * x, y, z) for x, y, z in _PAIRS.values() for s in (-1, 1)]
  + [(0.0, y, z) for y, z in _MIDDLE.values()]
)


def head_pose(
  mesh: Float[np.ndarray, "n 468 3"],
) -> Float[np.ndarray, "n 3"]:
  """Yaw, pitch and roll in degrees of each mesh; NaN where the mesh is NaN.

  The rotation that best takes the mean head to the mesh (Kabsch), read as
  roll in the picture plane after yaw after pitch. So turning the picture
  changes roll alone. Perspective is ignored.
  """
  known = np.isfinite(mesh[:, RIGID]).all((1, 2))
  pose = np.full((len(mesh), 3), np.nan, np.float32)
  if known.any():
    pose[known] = np.degrees(angles(head_rotation(mesh[known])))
  return pose


def head_rotation(
  mesh: Float[np.ndarray, "n 468 3"],
) -> Float[np.ndarray, "n 3 3"]:
  """Finds the rotation that best takes the mean head to each mesh (Kabsch).

  Args:
    mesh: Finite; x right, y down, z away, all in one unit.
  """
  points = mesh[:, RIGID].astype(np.float64)
  centred = points - points.mean(1, keepdims=True)
  covariance = centred.transpose(0, 2, 1) @ (HEAD - HEAD.mean(0))
  u, _, vt = np.linalg.svd(covariance)
  u[:, :, 2] *= np.sign(np.linalg.det(u @ vt))[:, None]  # no mirror images
  return u @ vt


def angles(rotation: Float[np.ndarray, "n 3 3"]) -> Float[np.ndarray, "n 3"]:
  """Reads R = Rz(roll) Ry(-yaw) Rx(-pitch): yaw, pitch and roll, radians."""
  yaw = np.arcsin(rotation[:, 2, 0].clip(-1, 1))
  pitch = -np.arctan2(rotation[:, 2, 1], rotation[:, 2, 2])
  roll = np.arctan2(rotation[:, 1, 0], rotation[:, 0, 0])
  return np.stack([yaw, pitch, roll], 1)
