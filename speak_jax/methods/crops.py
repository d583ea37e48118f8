"""Native crops of a method: cut out of the canonical crop, and put back.

Coordinates are those of `data_pipelines.media.warp`: x, y in pixels with whole
numbers at pixel centres; a matrix (2, 3) takes pixels of the canonical crop to
those of the native one.
"""

import cv2
import numpy as np
from jaxtyping import Float, UInt8

from data_pipelines.media.warp import warp


def square(
  middle: Float[np.ndarray, "2"], side: float, size: int
) -> Float[np.ndarray, "2 3"]:
  """The matrix that cuts an upright square as `size` x `size` pixels.

  Args:
    middle: x, y in the canonical crop.
    side: In pixels of the canonical crop.
    size: Of the native crop.
  """
  scale = size / side
  # The middle of the native crop lies between its pixels where size is even.
  shift = (size - 1) / 2 - scale * middle
  return np.array([[scale, 0, shift[0]], [0, scale, shift[1]]], np.float64)


def cut(
  frames: UInt8[np.ndarray, "t h w 3"],
  matrices: Float[np.ndarray, "t 2 3"],
  size: int,
) -> UInt8[np.ndarray, "t s s 3"]:
  """Cuts each frame by its own matrix; edges are replicated."""
  return np.stack(
    [
      warp(frame, matrix, size)
      for frame, matrix in zip(frames, matrices, strict=True)
    ]
  )


def paste(
  native: UInt8[np.ndarray, "t n n 3"],
  matrices: Float[np.ndarray, "t 2 3"],
  onto: UInt8[np.ndarray, "#t s s 3"],
  *,
  feather: float = 0.0,
) -> UInt8[np.ndarray, "t s s 3"]:
  """Puts native crops back to where they were cut: the inverse of `cut`.

  Args:
    native: Frames as the method makes them.
    matrices: With which they were cut.
    onto: What is shown round them: one picture for all, such as the identity
      picture, or the frames that they were cut from.
    feather: Pixels of the native crop over which its border fades; 0 = none.
  """
  size, side = onto.shape[1], native.shape[1]
  background = np.broadcast_to(onto, (len(native), *onto.shape[1:]))
  pasted = np.empty(background.shape, np.uint8)
  for i, (frame, matrix) in enumerate(zip(native, matrices, strict=True)):
    inverse = cv2.invertAffineTransform(np.asarray(matrix, np.float64))
    share = _coverage(matrix, size, side, feather)[..., None]
    mixed = share * warp(frame, inverse, size) + (1 - share) * background[i]
    pasted[i] = np.rint(mixed)
  return pasted


def _coverage(
  matrix: Float[np.ndarray, "2 3"], size: int, side: int, feather: float
) -> Float[np.ndarray, "s s"]:
  """How much of each canonical pixel the native crop covers, 0 to 1."""
  scale = float(
    np.hypot(matrix[0, 0], matrix[1, 0])
  )  # native px in one of ours
  places = np.stack(np.meshgrid(np.arange(size), np.arange(size)), -1)
  x = places @ matrix[:, :2].T + matrix[:, 2]
  inside = np.minimum(x + 0.5, side - 0.5 - x).min(-1)  # px to the nearest edge
  if feather:
    return (inside / feather).clip(0, 1)
  return (inside / scale + 0.5).clip(0, 1)
