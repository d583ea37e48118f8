"""Affine maps of points and pictures.

Coordinates are x, y in pixels with integers at pixel centres, as OpenCV has
them; a matrix (2, 3) takes source pixels to target pixels.
"""

import cv2
import numpy as np
from jaxtyping import Float, UInt8


def similarity(
  source: Float[np.ndarray, "k 2"], target: Float[np.ndarray, "k 2"]
) -> Float[np.ndarray, "2 3"]:
  """Least-squares rotation, scale and shift that takes source to target."""
  # As complex numbers a similarity is z -> a z + b, so the fit is one line.
  # Plain Python numbers: at three points NumPy's overhead is the whole cost.
  z = [complex(x, y) for x, y in source.tolist()]
  w = [complex(x, y) for x, y in target.tolist()]
  z0, w0 = sum(z) / len(z), sum(w) / len(w)
  cross = sum(
    (p - z0).conjugate() * (q - w0) for p, q in zip(z, w, strict=True)
  )
  a = cross / max(sum(abs(p - z0) ** 2 for p in z), 1e-9)
  b = w0 - a * z0
  return np.array([[a.real, -a.imag, b.real], [a.imag, a.real, b.imag]])


def transform(
  landmarks: Float[np.ndarray, "*n 2"], matrix: Float[np.ndarray, "2 3"]
) -> Float[np.ndarray, "*n 2"]:
  """Moves points by an affine matrix; float32."""
  moved = landmarks @ matrix[:, :2].T + matrix[:, 2]
  return moved.astype(np.float32)


def transform_mesh(
  mesh: Float[np.ndarray, "*n 3"], matrix: Float[np.ndarray, "2 3"]
) -> Float[np.ndarray, "*n 3"]:
  """Moves points with depth by a similarity, which scales z; float32."""
  scale = np.hypot(matrix[0, 0], matrix[1, 0])
  return np.concatenate(
    [
      transform(mesh[..., :2], matrix),
      (mesh[..., 2:] * scale).astype(np.float32),
    ],
    -1,
  )


def warp(
  frame: UInt8[np.ndarray, "h w 3"],
  matrix: Float[np.ndarray, "2 3"],
  size: int,
) -> UInt8[np.ndarray, "s s 3"]:
  """Cuts `size` x `size` px by an affine matrix; edges are replicated.

  A picture that shrinks to less than half is area-averaged first, because
  OpenCV's warp looks at four pixels only and would alias.
  """
  scale = (matrix[0, 0] ** 2 + matrix[1, 0] ** 2) ** 0.5
  if scale < 0.5:
    shrink = int(1 / scale)
    frame, matrix = _part(frame, matrix, size, shrink)
    height, width = frame.shape[:2]
    small = max(width // shrink, 1), max(height // shrink, 1)
    frame = cv2.resize(frame, small, interpolation=cv2.INTER_AREA)
    factor = np.array([width / small[0], height / small[1]])
    linear = matrix[:, :2] * factor
    shift = matrix[:, :2] @ (factor / 2 - 0.5) + matrix[:, 2]
    matrix = np.concatenate([linear, shift[:, None]], 1)
  return cv2.warpAffine(
    frame,
    matrix,
    (size, size),
    flags=cv2.INTER_LINEAR,
    borderMode=cv2.BORDER_REPLICATE,
  )


def _part(
  frame: UInt8[np.ndarray, "h w 3"],
  matrix: Float[np.ndarray, "2 3"],
  size: int,
  block: int,
) -> tuple[UInt8[np.ndarray, "y x 3"], Float[np.ndarray, "2 3"]]:
  """What of a picture `warp` can see, and the matrix from there.

  Of a large one that shows a small face most need not be averaged.

  Args:
    frame: The picture.
    matrix: Of the picture.
    size: Side of the cut in pixels.
    block: Side of the squares that are averaged, px. The part holds those of
      the whole, and one more than is seen on each side.
  """
  ends = np.array([[0, 0], [0, size], [size, 0], [size, size]]) - 0.5
  seen = (ends - matrix[:, 2]) @ np.linalg.inv(matrix[:, :2]).T
  extent = np.array(frame.shape[1::-1])
  low = (np.floor(seen.min(0) / block).astype(int) - 1) * block
  high = (np.ceil(seen.max(0) / block).astype(int) + 2) * block
  # Beyond the picture its edge is seen, which the last squares end at.
  low = low.clip(0, (extent - 1) // block * block)
  high = np.minimum(np.maximum(high, low + block), extent)
  squares = -(-(high - low) // block)
  low = np.where(high < extent, low, np.maximum(extent - squares * block, 0))
  shift = matrix[:, :2] @ low + matrix[:, 2]
  part = frame[low[1] : high[1], low[0] : high[0]]
  return part, np.concatenate([matrix[:, :2], shift[:, None]], 1)
