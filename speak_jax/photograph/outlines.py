"""Outlines in a picture, to a fraction of a pixel."""

import cv2
import numpy as np
from jaxtyping import Float, UInt8

FRACTION = 3  # bits of a pixel's fraction that outlines are drawn with


def filled(
  outline: Float[np.ndarray, "k 2"],
  shape: tuple[int, ...],
  line: int = cv2.LINE_AA,
) -> UInt8[np.ndarray, "h w"]:
  """Fills an outline with 255.

  Args:
    outline: px.
    shape: Of the picture.
    line: Its edge: cv2.LINE_AA is smooth, cv2.LINE_8 is not.
  """
  inside = np.zeros(shape, np.uint8)
  fixed = (outline * (1 << FRACTION)).round().astype(np.int32)
  return cv2.fillPoly(inside, [fixed], 255, line, FRACTION)
