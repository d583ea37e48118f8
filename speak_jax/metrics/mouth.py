"""The mouth box: where a figure must move before lips are said to move."""

import numpy as np
from jaxtyping import Bool, Float

from speak_jax import spec


def mouth_box(
  landmarks: Float[np.ndarray, "n 68 2"], size: int
) -> Bool[np.ndarray, "n h w"]:
  """Rectangle round the lips plus a tenth to a fifth of the eye distance.

  Take it from the true frames' landmarks, so that every row is measured in
  one place. At least one pixel is inside.
  """
  lips = landmarks[:, spec.MOUTH]
  eyes = spec.interocular(landmarks)[:, None]
  low = np.floor(lips.min(1) - eyes * [0.1, 0.1]).clip(0, size - 1)
  high = np.ceil(lips.max(1) + eyes * [0.1, 0.2]).clip(low, size - 1)
  along = np.arange(size)
  inside = (along >= low[..., None]) & (along <= high[..., None])
  return inside[:, 1, :, None] & inside[:, 0, None, :]
