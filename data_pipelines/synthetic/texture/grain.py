"""Fixed noises that skin, hair and cloth are grained with; mixing colours."""

from functools import lru_cache
from typing import Any

import cv2
import numpy as np
from jaxtyping import Float


@lru_cache(maxsize=1)
def _noise() -> dict[str, Float[np.ndarray, "512 512"]]:
  """Fixed unit noises: fine, medium, broad, and strands along v."""
  rng = np.random.default_rng(7)
  white = rng.normal(0, 1, (512, 512)).astype(np.float32)

  def unit(image: np.ndarray) -> np.ndarray:
    return (image - image.mean()) / image.std()

  def blur(image: np.ndarray, across: float, along: float) -> np.ndarray:
    return cv2.GaussianBlur(
      np.tile(image, (3, 3)), (0, 0), sigmaX=across, sigmaY=along
    )[512:1024, 512:1024]

  strands = unit(blur(white, 0.7, 26)) + 0.7 * unit(
    blur(np.roll(white, 99, 1), 2.2, 40)
  )
  return dict(
    fine=unit(blur(white, 0.6, 0.6)),
    medium=unit(blur(np.roll(white, 50, 0), 4, 4)),
    broad=unit(blur(np.roll(white, 150, 0), 22, 22)),
    strands=unit(strands),
    white=white,
  )


def take(
  kind: str, shape: tuple[int, int], rng: np.random.Generator
) -> Float[np.ndarray, "h w"]:
  """A randomly shifted piece of one of the noises."""
  h, w = shape
  y, x = rng.integers(0, 512, 2)
  rows = (np.arange(h) + y) % 512
  cols = (np.arange(w) + x) % 512
  return _noise()[kind][np.ix_(rows, cols)]


def mix(
  base: Float[np.ndarray, "h w 3"],
  colour: Any,
  amount: Float[np.ndarray, "h w"],
) -> Float[np.ndarray, "h w 3"]:
  """Blends a colour into an image by a mask (h, w)."""
  return base + (np.asarray(colour, np.float32) - base) * amount[..., None]
