"""The atlas that all of a person is painted on, and where each part lies."""

from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

SHAPE = (640, 548)


class Region(NamedTuple):
  """A rectangle of the atlas, in its pixels."""

  x: int
  y: int
  w: int
  h: int

  def uv(self, u: Any, v: Any) -> Float[np.ndarray, "*n 2"]:
    """Atlas position of fractions of the region.

    Args:
      u: To the right, 0 to 1; a number or an array.
      v: Down, likewise, of a shape that broadcasts.
    """
    u, v = np.broadcast_arrays(u, v)
    u = self.x + np.clip(u, 0, 1) * (self.w - 1)
    v = self.y + np.clip(v, 0, 1) * (self.h - 1)
    return np.stack([u, v], -1).astype(np.float32)

  def grid(self) -> tuple[np.ndarray, np.ndarray]:
    """Fractions (u, v) of every texel, each (h, w)."""
    v, u = np.mgrid[: self.h, : self.w].astype(np.float32)
    return u / (self.w - 1), v / (self.h - 1)


REGIONS = {
  "skin": Region(0, 0, 320, 320),
  "hair": Region(0, 322, 320, 208),
  "wisps": Region(0, 532, 320, 104),
  "cloth": Region(322, 0, 224, 160),
  "neck": Region(322, 162, 124, 60),
  "eye": Region(448, 162, 96, 96),
  "lid": Region(322, 224, 62, 32),
  "lash": Region(386, 224, 60, 32),
  "upper_lip": Region(322, 260, 96, 32),
  "lower_lip": Region(420, 260, 96, 32),
  "mouth": Region(322, 294, 96, 64),
  "teeth": Region(322, 360, 96, 48),
  "brow": Region(420, 294, 96, 32),
  "shine": Region(420, 328, 32, 32),
  "frame": Region(454, 328, 16, 16),
  "lens": Region(472, 328, 32, 32),
  "collar": Region(506, 328, 32, 32),
  "ear": Region(420, 362, 64, 64),
  "beard": Region(322, 430, 160, 96),
}
