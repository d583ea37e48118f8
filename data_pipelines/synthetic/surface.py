"""The neutral skin of a head: one smooth shape with a face's relief.

Axes as in raster.py. The eyes lie near y = 0, the chin near -1.2, the crown
at 1.22.
"""

from typing import Any

import numpy as np
from jaxtyping import Float
from scipy.interpolate import PchipInterpolator

from data_pipelines.synthetic.bumps import Bump, Floats, add, step
from data_pipelines.synthetic.identity import Identity

CHIN_Y, CROWN_Y = -1.2, 1.22

_KNOTS = np.array(
  [-1.26, -1.23, -1.17, -1.05, -0.88, -0.66, -0.4, -0.1, 0.2, 0.5, 0.8, 1.0,
   1.13, 1.2, 1.22]
)  # fmt: skip
_WIDTH = np.array(
  [0.02, 0.15, 0.27, 0.40, 0.525, 0.615, 0.68, 0.72, 0.735, 0.735, 0.67, 0.54,
   0.37, 0.18, 0.02]
)  # fmt: skip
_FRONT = np.array(
  [0.38, 0.52, 0.60, 0.625, 0.625, 0.66, 0.67, 0.655, 0.69, 0.68, 0.55, 0.35,
   0.13, -0.06, -0.15]
)  # fmt: skip
_BACK = np.array(
  [0.34, 0.28, 0.18, 0.02, -0.16, -0.36, -0.64, -0.86, -0.96, -0.97, -0.86,
   -0.66, -0.44, -0.26, -0.18]
)  # fmt: skip
_CENTRE = np.array(
  [0.36, 0.36, 0.30, 0.20, 0.10, 0.02, -0.04, -0.08, -0.12, -0.15, -0.17,
   -0.17, -0.16, -0.16, -0.16]
)  # fmt: skip


def anchors(person: Identity) -> dict[str, float]:
  """Where the features of a person are, in head units."""
  s = person.value
  nose_y = -0.42 - 0.028 * s("nose_length")
  mouth_y = min(-0.70 - 0.022 * s("mouth_height"), nose_y - 0.21)
  return dict(
    eye_x=0.315 + 0.016 * s("eye_distance"),
    eye_y=0.0,
    eye_w=0.148 + 0.008 * s("eye_size"),
    eye_h=1 + 0.08 * s("eye_size"),
    brow_y=0.235 + 0.022 * s("brow_height"),
    nose_y=nose_y,
    nose_w=0.135 + 0.014 * s("nose_width"),
    mouth_y=mouth_y,
    mouth_w=0.272 + 0.017 * s("mouth_width"),
    chin_y=CHIN_Y,
  )


class Surface:
  """The neutral skin of a head as a function of angle and height."""

  def __init__(self, person: Identity):
    s = person.value
    self.person = person
    self.anchor = anchors(person)
    y = _KNOTS
    lower = step(-0.3, -0.85, y) * step(-1.26, -1.0, y)
    chin = step(-0.95, -1.17, y)
    cheek = np.exp(-0.5 * ((y + 0.15) / 0.22) ** 2)
    fore = np.exp(-0.5 * ((y - 0.55) / 0.3) ** 2)
    width = _WIDTH * (
      1.04
      + 0.030 * s("face_width")
      + 0.042 * s("jaw_width") * lower
      + 0.07 * s("chin_width") * chin
      + 0.025 * s("cheek_width") * cheek
      + 0.025 * s("forehead_width") * fore
    )
    front = _FRONT + 0.03 * s("chin_height") * chin * (y > -1.25)
    self._width = PchipInterpolator(y, width)
    self._front = PchipInterpolator(y, front)
    self._back = PchipInterpolator(y, _BACK)
    self._centre = PchipInterpolator(y, _CENTRE)

  def at(
    self, angle: Float[np.ndarray, "*#n"] | float, y: Any
  ) -> Float[np.ndarray, "*m 3"]:
    """Points at angles about the vertical axis, radians, 0 in front.

    Args:
      angle: Radians.
      y: Heights in head units, of a shape that broadcasts.
    """
    angle, y = np.broadcast_arrays(angle, y)
    clipped = np.clip(y, _KNOTS[0], _KNOTS[-1])
    sin, cos = np.sin(angle), np.cos(angle)
    power = 0.80 + 0.16 * step(0.25, 0.95, clipped)
    x = self._width(clipped) * np.sign(sin) * np.abs(sin) ** power
    centre = self._centre(clipped)
    reach = np.where(cos > 0, self._front(clipped), self._back(clipped))
    z = centre + (reach - centre) * np.abs(cos) ** power
    z = z + self._relief(x, y) * np.clip(cos * 2.5, 0, 1)
    return np.stack([x, y, z], -1)

  def front(self, x: Floats, y: Floats) -> Any:
    """Depth of the face at (x, y)."""
    clipped = np.clip(y, _KNOTS[0], _KNOTS[-1])
    power = 0.80 + 0.16 * step(0.25, 0.95, clipped)
    sin = np.clip(np.abs(x) / self._width(clipped), 0, 0.999) ** (1 / power)
    cos = np.sqrt(1 - sin**2)
    centre = self._centre(clipped)
    z = centre + (self._front(clipped) - centre) * cos**power
    return z + self._relief(x, y) * np.clip(cos * 2.5, 0, 1)

  def _relief(self, x: Floats, y: Floats) -> Any:
    """What stands out of the plain shape: nose, sockets, cheeks, chin."""
    s = self.person.value
    nose = self.anchor["nose_y"]
    # Bridge: from the root between the eyes down to the tip.
    t = np.clip((0.12 - y) / (0.12 - nose - 0.05), 0, 1)
    ridge = (0.045 + 0.16 * t**1.2) * step(nose - 0.075, nose + 0.03, y)
    ridge = ridge * step(0.30, 0.06, y)
    wide = 0.058 + 0.03 * t + 0.006 * s("nose_width")
    high = 1 + 0.13 * s("nose_height")
    bridge = high * ridge * np.exp(-0.5 * (np.abs(x) / wide) ** 2)
    return add(bridge, _relief(self.person, self.anchor), x, y)


def _relief(person: Identity, anchor: dict[str, float]) -> tuple[Bump, ...]:
  """The bumps and hollows of a face; amounts are depths in head units."""
  s = person.value
  nose, mouth = anchor["nose_y"], anchor["mouth_y"]
  eye_x, brow = anchor["eye_x"], anchor["brow_y"]
  high = 1 + 0.13 * s("nose_height")
  tip = nose + 0.055 + 0.02 * s("nose_tip")
  deep = 1 + 0.2 * s("eye_depth")
  ridge = 0.035 + 0.014 * s("brow_ridge")
  full = 0.055 + 0.018 * s("cheek_fullness")
  wing = anchor["nose_w"] * 0.72
  return (
    Bump("tip of the nose", 0.085 * high, 0, tip, 0.075, 0.06, both=False),
    Bump("wings of the nose", 0.085, wing, nose + 0.02, 0.05, 0.05),
    Bump("eye sockets", -0.085 * deep, eye_x - 0.02, 0.01, 0.15, 0.10),
    Bump("inner corners of the eyes", -0.03, eye_x - 0.16, 0.03, 0.05, 0.08),
    Bump("ridge of the brows", ridge, 0.26, brow - 0.02, 0.18, 0.06),
    Bump("cheekbones", full, eye_x + 0.07, nose + 0.12, 0.15, 0.15),
    Bump("hollow cheeks", -0.025, 0.50, mouth + 0.05, 0.13, 0.16),
    Bump("round of the lips", 0.055, 0, mouth, 0.23, 0.15, both=False),
    Bump("philtrum", -0.012, 0, mouth + 0.16, 0.025, 0.06, both=False),
    Bump("under the lips", -0.045, 0, mouth - 0.17, 0.17, 0.05, both=False),
    Bump("chin", 0.050, 0, -1.06, 0.15, 0.085, both=False),
    Bump("temples", -0.03, 0.66, 0.3, 0.1, 0.2),
  )
