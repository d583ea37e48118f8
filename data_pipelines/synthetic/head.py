"""One person's geometry: head, ears, neck, hair, clothes, and the features.

Axes as in raster.py. The eyes lie near y = 0, the chin near -1.2, the crown
at 1.22. Every part is a grid of vertices, rows from top to bottom and columns
from left to right as the camera sees them.
"""

from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Int, UInt8
from scipy.interpolate import PchipInterpolator

from data_pipelines.synthetic import emotion, texture
from data_pipelines.synthetic.bumps import Bump, Floats, add, step
from data_pipelines.synthetic.identity import Identity, sample
from data_pipelines.synthetic.texture import REGIONS

PIVOT = np.array([0.0, -0.95, -0.22], np.float32)
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

# Material: how far light wraps, highlight strength, highlight sharpness.
SKIN = (0.42, 0.10, 14.0)
MATT = (0.30, 0.0, 1.0)
HAIR = (0.30, 0.14, 9.0)
EYE = (0.60, 0.04, 30.0)
LIP = (0.40, 0.16, 22.0)


class Grid(NamedTuple):
  """Vertices of one grid and how they are drawn."""

  points: Float[np.ndarray, "v 3"]
  uv: Float[np.ndarray, "v 2"]
  triangles: Int[np.ndarray, "t 3"]
  weight: Float[np.ndarray, "v"]  # 1 turns with the head, 0 with the torso
  material: tuple[float, float, float]
  bias: float = 0.0
  sided: bool = False
  moves: bool = False  # follows the fields of the expression
  albedo: Float[np.ndarray, "v"] | float = 1.0


def grid_triangles(rows: int, cols: int) -> Int[np.ndarray, "t 3"]:
  """Two triangles for each cell of a grid, counter-clockwise from the front."""
  index = np.arange(rows * cols).reshape(rows, cols)
  a, b = index[:-1, :-1], index[:-1, 1:]
  c, d = index[1:, :-1], index[1:, 1:]
  first = np.stack([a, c, d], -1)
  second = np.stack([a, d, b], -1)
  return np.concatenate([first.reshape(-1, 3), second.reshape(-1, 3)]).astype(
    np.int32
  )


def _grid(
  points: Float[np.ndarray, "r c 3"],
  uv: Float[np.ndarray, "r c 2"],
  material: tuple[float, float, float],
  weight: float | Float[np.ndarray, "r c"] = 1.0,
  **how: Any,
) -> Grid:
  """A grid of vertices.

  Args:
    points: Positions in head units.
    uv: Atlas position of each vertex, in texels.
    material: How far light wraps, highlight strength, sharpness.
    weight: 1 turns with the head, 0 with the torso.
    how: Further fields of `Grid`.
  """
  rows, cols = points.shape[:2]
  flat = points.reshape(-1, 3).astype(np.float32)
  weight = np.broadcast_to(np.float32(weight), (rows, cols)).reshape(-1)
  return Grid(
    flat,
    uv.reshape(-1, 2).astype(np.float32),
    grid_triangles(rows, cols),
    weight,
    material,
    **how,
  )


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


def _rows() -> Float[np.ndarray, "r"]:
  """Heights of the head's rows: dense where the face is."""
  y = np.linspace(CROWN_Y, -1.26, 2000)
  density = 0.75 + 1.1 * np.exp(-0.5 * ((y + 0.35) / 0.42) ** 2)
  density += 2.5 * np.exp(-np.abs(y - CROWN_Y) / 0.05)
  density += 2.0 * np.exp(-np.abs(y + 1.26) / 0.04)
  total = np.cumsum(density)
  total = (total - total[0]) / (total[-1] - total[0])
  return np.interp(np.linspace(0, 1, 74), total, y)


def _angles() -> Float[np.ndarray, "c"]:
  """Angles of the head's columns, most of them on the front."""
  front = np.linspace(-95, 95, 63)
  back = np.linspace(95, 180, 10)[1:]
  return np.deg2rad(np.concatenate([-back[::-1], front, back]))


def _hairline(
  person: Identity, angle: Float[np.ndarray, "*n"]
) -> Float[np.ndarray, "*n"]:
  """Height where the hair ends at an angle about the head."""
  degrees = np.abs(np.rad2deg(angle))
  bang = person.fringe
  high = 0.74 + 0.02 * person.value("forehead_width")
  if not person.feminine:
    high += 0.16 * person.age
  top = high * (1 - bang) + 0.36 * bang
  temple = (high - 0.03 - 0.0 * bang) * (1 - bang) + 0.33 * bang
  if person.style in ("short", "bun", "bald"):
    knots = [0, 22, 42, 55, 68, 80, 92, 105, 120, 145, 180]
    values = [top, temple, 0.62 if bang < 0.5 else 0.33, 0.40, 0.10, -0.14,
              0.16, 0.10, -0.38, -0.72, -0.80]  # fmt: skip
  elif person.style == "medium":
    knots = [0, 22, 40, 50, 60, 72, 85, 110, 180]
    values = [top, temple, 0.62 if bang < 0.5 else 0.33, 0.36, -0.10, -0.62,
              -0.84, -0.98, -1.02]  # fmt: skip
  else:
    knots = [0, 22, 40, 50, 58, 68, 80, 110, 180]
    values = [top, temple, 0.60 if bang < 0.5 else 0.33, 0.36, -0.2, -1.25,
              -1.85, -2.1, -2.2]  # fmt: skip
  return PchipInterpolator(knots, values)(degrees)


def _hair(
  person: Identity, surface: Surface, rng: np.random.Generator
) -> list[Grid]:
  """The shell of hair, and a bun."""
  if person.style == "bald":
    return []
  rows, cols = 30, 73
  angle = np.linspace(-np.pi, np.pi, cols)[None]
  s = np.linspace(0, 1, rows)[:, None]
  edge = _hairline(person, angle)
  edge = edge + 0.025 * np.interp(
    angle, np.linspace(-np.pi, np.pi, 40), rng.normal(0, 1, 40)
  )
  y = CROWN_Y - (CROWN_Y - edge) * (0.55 * s**1.9 + 0.45 * s**1.25)
  y = np.minimum(y, CROWN_Y - 1e-4 * s)
  # Below the ears hair hangs straight instead of following the jaw.
  hang = -0.12 if person.style in ("medium", "long") else -0.60
  base = surface.at(angle, np.maximum(y, hang))
  drop = np.clip(hang - y, 0, None)
  points = base.copy()
  points[..., 1] = y
  flare = 0.05 if person.style == "medium" else 0.02
  points[..., 0] *= 1 + flare * np.sin(np.clip(drop, 0, 1.2) * 2.6)
  behind = np.cos(angle) < 0.35
  points[..., 2] -= 0.12 * np.clip(drop, 0, 1) * behind
  if person.style == "long":
    points[..., 2] += 0.10 * np.clip(drop - 0.8, 0, 1) * ~behind
  out = np.stack(
    [base[..., 0] / 0.74, (y - 0.25) / 0.95 * (y > -0.1), base[..., 2] + 0.15],
    -1,
  )
  out[..., 2] /= 0.85
  out /= np.linalg.norm(out, axis=-1, keepdims=True) + 1e-6
  big = 1 + 1.1 * person.curl
  thick = {"short": 0.085, "medium": 0.12, "long": 0.12, "bun": 0.06}
  amount = thick[person.style] * person.volume * big
  profile = 0.60 + 0.40 * np.sin(np.clip(s * 1.1, 0, 1) * np.pi) ** 0.7
  profile = profile + 0.45 * step(0.5, 1.15, y)
  # Thin at the hairline, so that there is no shelf on the forehead.
  lip = np.where(np.cos(angle) > 0, 0.30 + 0.35 * person.fringe, 0.6)
  taper = 1 - (1 - lip) * step(0.72, 1.0, s)
  if person.style in ("long", "medium"):
    taper = np.where(y < -0.2, np.maximum(taper, 0.75), taper)
  sweep = 1 + 0.25 * person.parting * np.sin(angle) * (person.curl < 0.3)
  thickness = amount * profile * taper * sweep
  bumps = rng.normal(0, 1, (rows, cols))
  bumps[:, -1] = bumps[:, 0]
  bumps[0] = 0
  rough = 0.006 + 0.035 * person.curl
  strand = np.sin(angle * 23 + 5 * s) + np.sin(angle * 14 - 4 * s)
  thickness = thickness + rough * bumps * (s > 0.05) * taper
  thickness = thickness + 0.005 * strand * s * (1 - person.curl)
  wisps = points + out * (thickness * 1.05 + 0.012 * taper * s**0.5)[..., None]
  points = points + out * thickness[..., None]
  weight = 0.15 + 0.85 * step(-1.9, -0.8, points[..., 1])
  shade = 1 - 0.35 * step(-0.2, -1.4, y) * (np.cos(angle) < 0.45)
  shell = _grid(
    points,
    REGIONS["hair"].uv((angle + np.pi) / (2 * np.pi) + 0 * s, s + 0 * angle),
    HAIR,
    weight,
    sided=True,
    albedo=np.broadcast_to(shade, (rows, cols)).reshape(-1),
  )
  parts = [shell]
  if person.curl < 0.3:
    place = REGIONS["wisps"].uv(
      (angle + np.pi) / (2 * np.pi) + 0 * s, s + 0 * angle
    )
    shade = np.broadcast_to(shade, (rows, cols)).reshape(-1)
    parts.append(_grid(wisps, place, HAIR, weight, sided=True, albedo=shade))
  if person.style == "bun":
    v = np.linspace(0.02, np.pi - 0.02, 10)[:, None]
    u = np.linspace(-np.pi, np.pi, 19)[None]
    size = 0.30 * person.volume
    wave = 1 + 0.05 * np.sin(6 * u + 4 * v)
    ball = size * np.stack(
      [np.sin(v) * np.sin(u) * wave, np.cos(v) * wave + 0 * u,
       np.sin(v) * np.cos(u) * wave], -1,
    )  # fmt: skip
    at = np.array([0.0, 1.18, -0.42])
    parts.append(
      _grid(
        ball + at,
        REGIONS["hair"].uv((u / np.pi / 2 + 0.5) * 0.5, 0.3 + v / 8),
        HAIR,
      )
    )
  return parts


def _ear(person: Identity, surface: Surface, side: int) -> Grid:
  """A shell-like ear: raised rim, hollow middle, lobe."""
  rings, steps = 8, 25
  r = np.linspace(0, 1, rings)[:, None]
  turn = np.linspace(0, 2 * np.pi, steps)[None]
  size = 1 + 0.08 * person.value("ear_size")
  up, across = np.cos(turn), np.sin(turn)  # across > 0: towards the back
  # An ear is wide above and narrow at the lobe.
  wide = 0.145 * (1 + 0.28 * up) * (1 - 0.10 * (across < 0))
  high = np.where(up > 0, 0.235, 0.265)
  ridge = 0.045 * np.exp(-0.5 * ((r - 0.82) / 0.12) ** 2)
  ridge = ridge - 0.030 * np.exp(-0.5 * (r / 0.45) ** 2)
  ridge = ridge + 0.020 * np.exp(-0.5 * ((r - 0.5) / 0.1) ** 2) * (across > 0)
  lean = 0.50 + 0.14 * person.value("ear_angle")
  back = (across * wide * r + 0.06) * size
  y = -0.12 + up * high * r * size
  root = surface.at(np.pi / 2 + 0.10, -0.1)
  x = root[0] - 0.035 + np.sin(lean) * back + np.cos(lean) * ridge
  z = root[2] + 0.02 - np.cos(lean) * back + np.sin(lean) * ridge
  z = z - 0.12 * (y + 0.12)
  points = np.stack([side * (x + 0 * r), y, z], -1)
  uv = REGIONS["ear"].uv(turn / (2 * np.pi) + 0 * r, r + 0 * turn)
  shade = 0.74 + 0.26 * step(0.05, 0.6, r) + 0 * turn
  return _grid(points, uv, SKIN, sided=True, albedo=shade.reshape(-1))


def _neck(person: Identity) -> Grid:
  """A tube that widens into the shoulders."""
  v = np.linspace(0, 1, 14)[:, None]
  angle = np.linspace(-np.pi, np.pi, 37)[None]
  y = -0.62 - 1.13 * v
  scale = 1 + 0.055 * person.value("neck_width")
  if not person.feminine:
    scale *= 1.06
  radius = (0.45 - 0.025 * np.sin(v * 2.4) + 0.10 * v**4) * scale
  # The larynx and the two cords give the neck some shape.
  apple = 0.0 if person.feminine else 0.04
  larynx = (
    apple
    * np.exp(-0.5 * (angle / 0.16) ** 2)
    * np.exp(-0.5 * ((v - 0.55) / 0.08) ** 2)
  )
  cord = 0.02 * np.exp(-0.5 * ((np.abs(angle) - 0.75 + 0.45 * v) / 0.14) ** 2)
  radius = radius + larynx + cord
  x = radius * np.sin(angle)
  z = -0.20 + radius * 0.92 * np.cos(angle) + 0.02 * v
  points = np.stack([x, y + 0 * angle, z], -1)
  uv = REGIONS["neck"].uv(angle / (2 * np.pi) + 0.5 + 0 * v, v + 0 * angle)
  weight = step(-1.5, -0.85, y) + 0 * angle
  return _grid(points, uv, (0.40, 0.05, 12.0), weight)


def _torso(person: Identity) -> list[Grid]:
  """Shoulders and chest in their clothes, with a collar where there is one."""
  broad = 1.0 if person.feminine else 1.12
  knots = [-1.38, -1.47, -1.58, -1.72, -1.92, -2.3, -3.3]
  width = PchipInterpolator(knots[::-1], [1.70, 1.66, 1.42, 1.06, 0.78, 0.58,
                                          0.44])  # fmt: skip
  front = PchipInterpolator(knots[::-1], [0.62, 0.56, 0.44, 0.34, 0.28, 0.24,
                                          0.20])  # fmt: skip
  v = np.linspace(0, 1, 22)[:, None]
  angle = np.deg2rad(np.linspace(-118, 118, 45))[None]
  y = -1.38 - 1.92 * v**1.5
  half = width(y)
  half = np.where(half > 0.6, 0.6 + (half - 0.6) * broad, half)
  sin, cos = np.sin(angle), np.cos(angle)
  x = half * np.sign(sin) * np.abs(sin) ** 0.9
  z = -0.24 + (front(y) + 0.24) * np.sign(cos) * np.abs(cos) ** 0.7
  # The neckline falls towards the front.
  fall = 0.16 * np.clip(cos, 0, 1) * np.clip(1 - v * 3, 0, 1)
  points = np.stack([x, y - fall, z], -1)
  uv = REGIONS["cloth"].uv(
    0.5 + 0.5 * x / 1.2, np.clip((-1.38 - (y - fall)) / 1.5, 0, 1)
  )
  parts = [_grid(points, uv, MATT, 0.0)]
  if person.clothes in ("shirt", "suit", "turtleneck", "hoodie"):
    rows = np.linspace(0, 1, 6)[:, None]
    gap = {"shirt": 0.10, "suit": 0.07}.get(person.clothes, 0.0)
    turn = np.linspace(-np.pi + gap, np.pi - gap, 49)[None] + np.pi
    cos, sin = np.cos(turn), np.sin(turn)
    if person.clothes == "turtleneck":
      radius = 0.49 + 0.05 * rows + 0.02 * np.sin(rows * np.pi)
      y = -1.10 - 0.42 * rows - 0.10 * np.clip(cos, 0, 1)
    elif person.clothes == "hoodie":
      radius = 0.56 + 0.14 * np.sin(rows * np.pi) + 0.10 * rows
      y = -1.28 - 0.34 * rows - 0.14 * np.clip(cos, 0, 1)
    else:
      radius = 0.485 + 0.15 * rows**1.2
      point = np.exp(-0.5 * ((np.abs(sin) - 0.35) / 0.2) ** 2) * (cos > 0)
      y = -1.27 - (0.15 + 0.15 * point) * rows - 0.20 * np.clip(cos, 0, 1)
    x = radius * sin
    z = -0.19 + radius * 0.95 * cos
    points = np.stack([x, y + 0 * turn, z], -1)
    # Columns must run from left to right in front, hence the reversal.
    points = points[:, ::-1] if cos[0, 0] > 0 else points
    uv = REGIONS["collar"].uv(0.5 + 0 * x, rows + 0 * turn)
    parts.append(_grid(points, uv, MATT, 0.12, sided=True))
  return parts


def _glasses(person: Identity, surface: Surface) -> list[Grid]:
  """Two rims, the bridge, the arms and faintly reflecting lenses."""
  if not person.glasses:
    return []
  a = surface.anchor
  parts = []
  material = (0.3, 0.25, 20.0)
  plane = float(surface.front(np.array(a["eye_x"]), np.array(0.02))) + 0.13
  power = {1: 1.0, 2: 0.55, 3: 0.7}[person.glasses]
  wide, high = 0.225, 0.175 if person.glasses == 1 else 0.15
  thin = 0.017
  frame = REGIONS["frame"]
  for side in (-1, 1):
    turn = np.linspace(0, 2 * np.pi, 33)[None]
    sin, cos = np.sin(turn), np.cos(turn)
    rim = np.linspace(1, -1, 2)[:, None] * thin
    x = (wide + rim) * np.sign(sin) * np.abs(sin) ** power
    y = (high + rim) * np.sign(cos) * np.abs(cos) ** power
    bend = -0.10 * ((x * side + a["eye_x"]) ** 2 - 0.05)
    points = np.stack(
      [x + side * (a["eye_x"] + 0.01), y - 0.015, plane + bend], -1
    )
    if person.glasses == 3:
      points = np.where((y < -0.02)[..., None] & (rim > 0)[..., None],
                        points[::-1], points)  # fmt: skip
    uv = frame.uv(0.5 + 0 * x, 0.5 + 0 * x)
    lens_points = np.stack([points[1], points[1].mean(0) + 0 * points[1]])
    lens_uv = REGIONS["lens"].uv(
      0.5 + 0.5 * np.stack([sin[0], 0 * sin[0]]),
      0.5 - 0.5 * np.stack([cos[0], 0 * cos[0]]),
    )
    parts.append(_grid(lens_points, lens_uv, MATT, sided=True))
    parts.append(_grid(points, uv, material, sided=True))
    t = np.linspace(0, 1, 12)[None]
    rows = np.linspace(1, -1, 2)[:, None] * 0.022
    ear = surface.at(np.pi / 2, 0.06)
    x = a["eye_x"] + wide + (ear[0] + 0.015 - a["eye_x"] - wide) * t**0.45
    z = plane - 0.03 + (ear[2] - 0.05 - plane) * t
    points = np.stack(
      [side * (x + 0 * rows), 0.05 + rows + 0 * t, z + 0 * rows], -1
    )
    uv = frame.uv(0.5 + 0 * points[..., 0], 0.5 + 0 * points[..., 0])
    parts.append(_grid(points, uv, material, sided=True))
  t = np.linspace(-1, 1, 9)[None]
  rows = np.linspace(1, -1, 2)[:, None] * 0.015
  span = a["eye_x"] + 0.01 - wide + 0.01
  points = np.stack(
    [span * t + 0 * rows, 0.05 + 0.03 * (1 - t**2) + rows,
     plane + 0.035 * (1 - t**2) + 0 * rows], -1,
  )  # fmt: skip
  uv = frame.uv(0.5 + 0 * points[..., 0], 0.5 + 0 * points[..., 0])
  parts.append(_grid(points, uv, material, sided=True))
  return parts


def _beard(person: Identity, surface: Surface) -> list[Grid]:
  """A second skin over the jaw that carries the hairs of a full beard."""
  if person.beard < 0.55:
    return []
  v = np.linspace(0, 1, 14)[:, None]
  angle = np.deg2rad(np.linspace(-92, 92, 49))[None]
  a = surface.anchor
  top = np.interp(
    np.abs(np.rad2deg(angle)),
    [0, 14, 24, 34, 46, 62, 78, 92],
    [
      a["mouth_y"] - 0.135, a["mouth_y"] - 0.135, a["mouth_y"] - 0.04,
      a["mouth_y"] + 0.03, a["mouth_y"] + 0.02, a["nose_y"] - 0.02, 0.0, 0.1,
    ],
  )  # fmt: skip
  low = np.interp(
    np.abs(np.rad2deg(angle)), [0, 40, 70, 92], [-1.245, -1.22, -1.05, -0.55]
  )
  y = top + (low - top) * v
  points = surface.at(angle, y)
  thick = (
    (person.beard - 0.45) * 0.20 * np.sin(np.clip((v - 0.25) * 2.1, 0, 1.57))
  )
  thick = thick * step(74, 30, np.abs(np.rad2deg(angle)))
  out = np.stack([points[..., 0], (y + 0.75) * 0.9, points[..., 2] - 0.05], -1)
  out /= np.linalg.norm(out, axis=-1, keepdims=True)
  points = points + out * thick[..., None]
  uv = REGIONS["beard"].uv(
    0.5 + 0.5 * angle / np.deg2rad(92) + 0 * v,
    np.minimum(1.0, 0.02 + v * 1.9) * (0.35 + 0.65 * np.minimum(1, (
      92 - np.abs(np.rad2deg(angle))) / 25)),
  )  # fmt: skip
  return [_grid(points, uv, (0.35, 0.04, 8.0), moves=True, bias=0.012)]


# Landmarks that lie on the plain skin: 17 of the jaw, 9 of the nose.
_JAW_ANGLE = np.deg2rad([84, 82, 79, 74, 66, 54, 38, 19, 0])
_JAW_Y = np.array([0.0, -0.22, -0.44, -0.66, -0.85, -1.0, -1.12, -1.19, -1.215])


def _markers(surface: Surface) -> Float[np.ndarray, "26 3"]:
  """Neutral positions of landmarks 0 to 16 and 27 to 35."""
  a = surface.anchor
  right = surface.at(_JAW_ANGLE, _JAW_Y)
  left = surface.at(-_JAW_ANGLE[:-1], _JAW_Y[:-1])
  jaw = np.concatenate([left, right[::-1]])
  y = np.linspace(0.06, a["nose_y"] + 0.06, 4)
  x = np.concatenate([np.zeros(4), np.linspace(-0.75, 0.75, 5) * a["nose_w"]])
  base = a["nose_y"] - 0.055 + 0.02 * np.abs(np.linspace(-1, 1, 5))
  y = np.concatenate([y, base])
  return np.concatenate([jaw, np.stack([x, y, surface.front(x, y)], -1)])


class Model(NamedTuple):
  """Everything of a person that no frame changes."""

  person: Identity
  anchor: dict[str, float]
  atlas: UInt8[np.ndarray, "h w 4"]
  before: Int[np.ndarray, "a 3"]  # triangles drawn before the features
  after: Int[np.ndarray, "b 3"]  # hair, glasses: drawn after them
  points: Float[np.ndarray, "v 3"]
  uv: Float[np.ndarray, "v 2"]
  weight: Float[np.ndarray, "v"]
  material: Float[np.ndarray, "v 3"]
  sided_vertex: Int[np.ndarray, "v"]
  albedo: Float[np.ndarray, "v"]
  bias: tuple[Float[np.ndarray, "a"], Float[np.ndarray, "b"]]
  sided: tuple[Int[np.ndarray, "a"], Int[np.ndarray, "b"]]
  moving: slice  # vertices that the fields displace
  fields: Float[np.ndarray, "k m 3"]
  folds: Float[np.ndarray, "f m"]
  depth: Float[np.ndarray, "h w"]  # face depth on a grid, see DEPTH_GRID
  markers: slice  # where landmarks 0-16, 27-35 are among the points


DEPTH_GRID = (-0.8, 0.8, -1.3, 1.0, 161, 231)  # x from, to; y from, to; sizes


def build(person: Identity) -> Model:
  """Makes the geometry and paints the atlas of one person."""
  rng = np.random.default_rng((*person.seed, 9))
  surface = Surface(person)
  angle, y = _angles()[None], _rows()[:, None]
  head = surface.at(angle, y)
  uv = REGIONS["skin"].uv(
    np.linspace(0, 1, head.shape[1])[None], np.linspace(0, 1, len(y))[:, None]
  )
  scalp = _hairline(person, angle) - 0.0 - y
  marks = _markers(surface).astype(np.float32)
  marker_part = Grid(
    marks, np.zeros((26, 2), np.float32), np.zeros((0, 3), np.int32),
    np.ones(26, np.float32), SKIN, moves=True,
  )  # fmt: skip
  first = [
    *_torso(person),
    _neck(person),
    _ear(person, surface, -1),
    _ear(person, surface, 1),
    _grid(head, uv, SKIN, moves=True),
    *_beard(person, surface),
    marker_part,
  ]
  second = [*_hair(person, surface, rng), *_glasses(person, surface)]
  parts = first + second
  offsets = np.cumsum([0] + [len(p.points) for p in parts])

  def join(chosen: list[Grid], start: int) -> tuple[np.ndarray, ...]:
    triangles = [p.triangles + offsets[start + i] for i, p in enumerate(chosen)]
    bias = [np.full(len(p.triangles), p.bias, np.float32) for p in chosen]
    sided = [np.full(len(p.triangles), p.sided, np.int8) for p in chosen]
    if not chosen:
      return (
        np.zeros((0, 3), np.int32),
        np.zeros(0, np.float32),
        np.zeros(0, np.int8),
      )
    return (
      np.concatenate(triangles).astype(np.int32),
      np.concatenate(bias),
      np.concatenate(sided),
    )

  before, bias0, sided0 = join(first, 0)
  after, bias1, sided1 = join(second, len(first))
  points = np.concatenate([p.points for p in parts])
  flags = [p.moves for p in parts]
  start, count = flags.index(True), sum(flags)  # these parts are neighbours
  moving = slice(int(offsets[start]), int(offsets[start + count]))
  where = points[moving].T.astype(np.float32)
  x0, x1, y0, y1, nx, ny = DEPTH_GRID
  grid_x, grid_y = np.meshgrid(np.linspace(x0, x1, nx), np.linspace(y0, y1, ny))
  return Model(
    person=person,
    anchor=surface.anchor,
    atlas=texture.paint(person, head, scalp, surface.anchor),
    before=before,
    after=after,
    points=points,
    uv=np.concatenate([p.uv for p in parts]),
    weight=np.concatenate([p.weight for p in parts]).astype(np.float32),
    material=np.concatenate(
      [
        np.tile(np.array(p.material, np.float32), (len(p.points), 1))
        for p in parts
      ]
    ),
    sided_vertex=np.concatenate(
      [np.full(len(p.points), p.sided, np.int8) for p in parts]
    ),
    albedo=np.concatenate(
      [np.broadcast_to(np.float32(p.albedo), (len(p.points),)) for p in parts]
    ),
    bias=(bias0, bias1),
    sided=(sided0, sided1),
    moving=moving,
    fields=emotion.fields(where[0], where[1], where[2], surface.anchor),
    folds=emotion.folds(where[0], where[1], where[2], surface.anchor),
    depth=surface.front(grid_x, grid_y).astype(np.float32),
    markers=slice(
      int(offsets[len(first) - 1]), int(offsets[len(first) - 1]) + 26
    ),
  )


@lru_cache(maxsize=24)
def model(seed: int, split: str, index: int) -> Model:
  """The model of person `index` of a split; the last few are kept."""
  return build(sample(seed, split, index))
