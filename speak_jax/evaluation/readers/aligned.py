"""The 128 px crop that aligns pose and scale away, beside the static crop.

Both videos are cut by their own landmarks, frame by frame, so that a head in
the wrong place costs nothing and only the face's look is compared. A public
evaluation of this field (yuangan/evaluation_eat) measures PSNR, SSIM and
landmark distances there; its template file is not ours to ship, so the
proportions are measured anew: name the crop "aligned 128 (ours)".
"""

from typing import NamedTuple

import cv2
import numpy as np
from jaxtyping import Bool, Float, UInt8

SIZE = 128  # px
POINTS = slice(27, 45)  # nose, left eye and half of the right one

# Where these points lie in the crop, pixels with integers at pixel centres:
# means over twelve people, the box of all 68 points 116 px wide or high.
# fmt: off
TEMPLATE = np.array([
  (63.5, 20.5), (63.5, 32.0), (63.5, 42.7), (63.5, 49.6),
  (49.5, 60.6), (57.4, 61.7), (63.5, 61.5), (69.6, 61.7), (77.5, 60.6),
  (25.8, 25.5), (31.8, 22.4), (40.4, 21.8),
  (48.8, 26.2), (41.0, 28.1), (32.5, 28.0),
  (78.2, 26.2), (86.6, 21.8), (95.2, 22.4),
])
# fmt: on


class Aligned(NamedTuple):
  """Aligned faces of n frames; rows without a face are black and NaN."""

  frames: UInt8[np.ndarray, "n 128 128 3"]
  landmarks: Float[np.ndarray, "n 68 2"]  # in pixels of `frames`
  found: Bool[np.ndarray, "n"]


def align(
  frames: UInt8[np.ndarray, "n h w 3"], landmarks: Float[np.ndarray, "n 68 2"]
) -> Aligned:
  """Cuts each face by the similarity of its nose and eyes to the template.

  A frame that shrinks is area-averaged first, as that evaluation does; what
  lies outside the picture repeats its edge.

  Args:
    frames: Whole pictures.
    landmarks: x, y in their pixels, NaN where there is no face.
  """
  found = np.asarray(np.isfinite(landmarks).all((1, 2)))
  cuts = np.zeros((len(frames), SIZE, SIZE, 3), np.uint8)
  points = np.full(landmarks.shape, np.nan)
  for i in np.flatnonzero(found):
    matrix = similarity(landmarks[i, POINTS], TEMPLATE)
    cuts[i] = _cut(frames[i], matrix)
    points[i] = landmarks[i] @ matrix[:, :2].T + matrix[:, 2]
  return Aligned(cuts, points, found)


def similarity(
  source: Float[np.ndarray, "k 2"], target: Float[np.ndarray, "k 2"]
) -> Float[np.ndarray, "2 3"]:
  """Least-squares rotation, scale and shift that takes source to target."""
  # As complex numbers a similarity is z -> a z + b.
  z, w = (p.astype(np.float64) @ [1, 1j] for p in (source, target))
  offset = z - z.mean()
  square = max(float((np.abs(offset) ** 2).sum()), 1e-9)
  a = np.vdot(offset, w - w.mean()) / square
  b = w.mean() - a * z.mean()
  return np.array([[a.real, -a.imag, b.real], [a.imag, a.real, b.imag]])


def _cut(
  frame: UInt8[np.ndarray, "h w 3"], matrix: Float[np.ndarray, "2 3"]
) -> UInt8[np.ndarray, "128 128 3"]:
  """One crop by an affine matrix, bilinear after area averaging."""
  scale = float(np.hypot(matrix[0, 0], matrix[1, 0]))
  if scale < 1:
    height, width = frame.shape[:2]
    small = max(round(width * scale), 1), max(round(height * scale), 1)
    frame = cv2.resize(frame, small, interpolation=cv2.INTER_AREA)
    # Pixel edges, not centres, are what scales: hence the half pixels.
    back = np.array([width / small[0], height / small[1]])
    shift = matrix[:, :2] @ (back / 2 - 0.5) + matrix[:, 2]
    matrix = np.column_stack([matrix[:, :2] * back, shift])
  return cv2.warpAffine(
    frame,
    matrix,
    (SIZE, SIZE),
    flags=cv2.INTER_LINEAR,
    borderMode=cv2.BORDER_REPLICATE,
  )
