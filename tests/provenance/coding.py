"""A video that is marked, coded and changed."""

import cv2
import numpy as np

from data_pipelines.media.image import read_image
from speak_jax.common import packaged


def portrait(side: int, n: int) -> np.ndarray:
  """The example portrait as a video of n frames whose middle part moves."""
  whole = read_image(packaged.PORTRAIT)[:660, :660]
  still = cv2.resize(whole, (side, side), interpolation=cv2.INTER_AREA)
  frames = np.repeat(still[None], n, 0)
  a, b = side // 4, side - side // 4
  for i, frame in enumerate(frames):
    step = round(3 * np.sin(i / 3))
    frame[a:b, a:b] = still[a:b, a + step : b + step]
  return frames
