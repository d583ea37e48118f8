"""How a head is held, in six numbers that its 68 landmarks tell.

EAMM's pose. The public code takes yaw, pitch, roll, scale and place from a
face model that is fitted to the picture; here a rigid head is, to the points
that neither speech nor expression moves. So records and videos of any origin
are measured alike, and nothing of a mouth passes.

Functions of landmarks take NumPy's arrays and JAX's.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

NUMBERS = 6  # yaw, pitch, roll, rad; size, x and y, sides of the picture
# x right, y down, z away, in distances between the eyes: their corners, the
# ridge of the nose, its tip and its wings.
_RIGID = {
  36: (-0.72, 0.05, 0.02),
  39: (-0.28, 0.06, -0.06),
  42: (0.28, 0.06, -0.06),
  45: (0.72, 0.05, 0.02),
  27: (0.0, 0.0, -0.35),
  28: (0.0, 0.16, -0.48),
  29: (0.0, 0.33, -0.64),
  30: (0.0, 0.50, -0.74),
  31: (-0.27, 0.70, -0.36),
  33: (0.0, 0.73, -0.48),
  35: (0.27, 0.70, -0.36),
}
_INDICES = list(_RIGID)
_HEAD = np.array(list(_RIGID.values()))
_HEAD = _HEAD - _HEAD.mean(0)
# Least squares: points, from their mean, times this are the head's axes in
# the picture.
_AXES = np.linalg.pinv(_HEAD).T.astype(np.float32)  # k 3


class PoseScale(NamedTuple):
  """Mean and deviation of the numbers over training people; float32."""

  mean: Float[np.ndarray, "6"]
  deviation: Float[np.ndarray, "6"]


def head_pose(
  landmarks: Float[Any, "*b 68 2"], size: int
) -> Float[Any, "*b 6"]:
  """Yaw, pitch and roll in radians; scale and place in sides of the picture.

  Args:
    landmarks: In pixels of the picture.
    size: Its side, px.
  """
  xp = _library(landmarks)
  points = (landmarks[..., _INDICES, :] + 0.5) / size
  middle = points.mean(-2)
  # The picture's axes in the head's, by sums: an accelerator rounds products.
  away = (points - middle[..., None, :])[..., None] * _AXES[:, None]
  across, down = xp.moveaxis(away.sum(-3), -2, 0)
  scale = (xp.linalg.norm(across, axis=-1) + xp.linalg.norm(down, axis=-1)) / 2
  across, down = (_unit(x) for x in (across, down))
  away = _unit(xp.cross(across, down))
  yaw = xp.arcsin(away[..., 0].clip(-1, 1))
  pitch = -xp.arctan2(away[..., 1], away[..., 2])
  roll = xp.arctan2(down[..., 0], across[..., 0])
  return xp.stack([yaw, pitch, roll, scale, middle[..., 0], middle[..., 1]], -1)


def fit(clips: Sequence[Float[np.ndarray, "_ 68 2"]]) -> PoseScale:
  """Mean and deviation over all frames of clips.

  Args:
    clips: Landmarks in sides of their pictures, as `records.landmarks` has
      them at size 1. Clips may be empty.

  Raises:
    ValueError: there are no landmarks.
  """
  count, total, squares = 0, np.zeros(NUMBERS), np.zeros(NUMBERS)
  for clip in clips:
    numbers = head_pose(clip.astype(np.float64), 1)
    count += len(numbers)
    total += numbers.sum(0)
    squares += (numbers**2).sum(0)
  if not count:
    raise ValueError("there are no landmarks to measure heads by")
  mean = total / count
  deviation = np.sqrt((squares / count - mean**2).clip(1e-8))
  return PoseScale(mean.astype(np.float32), deviation.astype(np.float32))


def standardised(
  numbers: Float[Any, "*b 6"], scale: PoseScale
) -> Float[Any, "*b 6"]:
  """Numbers of mean 0 and deviation 1 over training people."""
  return (numbers - scale.mean) / scale.deviation


def _unit(x: Any) -> Any:
  return x / _library(x).linalg.norm(x, axis=-1, keepdims=True).clip(1e-6)


def _library(array: Any) -> Any:
  """The library that an array belongs to."""
  return jnp if isinstance(array, jax.Array) else np
