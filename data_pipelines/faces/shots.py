"""Whether two pictures are of one shot."""

import cv2
import numpy as np
from jaxtyping import Float, UInt8

# A cut to another shot, even to a face in the same place: thumbnails of the two
# pictures, 24 px wide, differ by more than this share of their contrast. On 20
# real clips motion between two frames reaches 0.45; the 324 cuts between two of
# them, face on face, start at 0.62.
THUMBNAIL_PX, NEW_SHOT = 24, 0.53


def thumbnail(
  picture: UInt8[np.ndarray, "h w 3"],
) -> Float[np.ndarray, "l l 3"]:
  """A picture at THUMBNAIL_PX by THUMBNAIL_PX, each pixel an area's mean."""
  size = (THUMBNAIL_PX, THUMBNAIL_PX)
  return cv2.resize(picture, size, interpolation=cv2.INTER_AREA).astype(
    np.float32
  )


def difference(
  a: Float[np.ndarray, "l l 3"], b: Float[np.ndarray, "l l 3"]
) -> float:
  """Mean difference of two thumbnails over their contrast; 0 for the same."""
  contrast = max(float(a.std() + b.std()) / 2, 1.0)
  return float(np.abs(a - b).mean()) / contrast
