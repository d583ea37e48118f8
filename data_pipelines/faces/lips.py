"""The mouth that SyncNet sees: a square that the jaw does not move.

`spec.lips_square` says where it lies. `speak_jax.nn.align.align_lips` cuts the
same square out of pictures that exist on the device alone.
"""

import cv2
import numpy as np
from jaxtyping import Float, UInt8

from speak_jax import spec

SIDE = 96  # px, of the squares that are stored, at most


def stored_side(size: int) -> int:
  """Side in pixels of the stored squares of crops of `size` px.

  The square is about half as wide as a crop: more pixels would say no more.
  """
  return min(SIDE, size // 2)


def cut_lips(
  frame: UInt8[np.ndarray, "h h 3"],
  landmarks: Float[np.ndarray, "68 2"],
  size: int,
  square: tuple[float, float] = spec.LIPS_SQUARE,
) -> UInt8[np.ndarray, "s s"]:
  """Cuts the square at `size` px, grey, bilinearly; edges are replicated.

  Args:
    frame: A crop, square.
    landmarks: x, y in its pixels.
    size: Side of the cut.
    square: As in `spec.lips_square`.
  """
  fine = size * spec.lips_fold(frame.shape[0], size)
  middle, side = spec.lips_square(landmarks, square)
  # Picture to cut: what lies along `side` comes to lie along the cut's rows.
  a = fine * side / max(float(side @ side), 1e-6)
  linear = np.array([[a[0], a[1]], [-a[1], a[0]]])
  shift = (fine - 1) / 2 - linear @ middle
  cut = cv2.warpAffine(
    cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY),  # `spec.LUMA`
    np.concatenate([linear, shift[:, None]], 1),
    (fine, fine),
    flags=cv2.INTER_LINEAR,
    borderMode=cv2.BORDER_REPLICATE,
  )
  if fine == size:
    return cut
  return cv2.resize(cut, (size, size), interpolation=cv2.INTER_AREA)
