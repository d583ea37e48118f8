"""What a head carries: hair, ears, neck, clothes, glasses, beard, as grids.

A grid's rows go from top to bottom and its columns from left to right as the
camera sees them.
"""

from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Int
from scipy.interpolate import PchipInterpolator

from data_pipelines.synthetic.bumps import step
from data_pipelines.synthetic.identity import Identity
from data_pipelines.synthetic.surface import CROWN_Y, Surface
from data_pipelines.synthetic.texture.atlas import REGIONS

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


def grid(
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


def hairline(
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


def hair(
  person: Identity, surface: Surface, rng: np.random.Generator
) -> list[Grid]:
  """The shell of hair, and a bun."""
  if person.style == "bald":
    return []
  rows, cols = 30, 73
  angle = np.linspace(-np.pi, np.pi, cols)[None]
  s = np.linspace(0, 1, rows)[:, None]
  edge = hairline(person, angle)
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
  shell = grid(
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
    parts.append(grid(wisps, place, HAIR, weight, sided=True, albedo=shade))
  if person.style == "bun":
    parts.append(_bun(person))
  return parts


def _bun(person: Identity) -> Grid:
  """A ball of hair behind the crown."""
  v = np.linspace(0.02, np.pi - 0.02, 10)[:, None]
  u = np.linspace(-np.pi, np.pi, 19)[None]
  size = 0.30 * person.volume
  wave = 1 + 0.05 * np.sin(6 * u + 4 * v)
  ball = size * np.stack(
    [np.sin(v) * np.sin(u) * wave, np.cos(v) * wave + 0 * u,
     np.sin(v) * np.cos(u) * wave], -1,
  )  # fmt: skip
  at = np.array([0.0, 1.18, -0.42])
  uv = REGIONS["hair"].uv((u / np.pi / 2 + 0.5) * 0.5, 0.3 + v / 8)
  return grid(ball + at, uv, HAIR)


def ear(person: Identity, surface: Surface, side: int) -> Grid:
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
  return grid(points, uv, SKIN, sided=True, albedo=shade.reshape(-1))


def neck(person: Identity) -> Grid:
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
  return grid(points, uv, (0.40, 0.05, 12.0), weight)


def torso(person: Identity) -> list[Grid]:
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
  parts = [grid(points, uv, MATT, 0.0)]
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
    parts.append(grid(points, uv, MATT, 0.12, sided=True))
  return parts


def glasses(person: Identity, surface: Surface) -> list[Grid]:
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
    parts.append(grid(lens_points, lens_uv, MATT, sided=True))
    parts.append(grid(points, uv, material, sided=True))
    t = np.linspace(0, 1, 12)[None]
    rows = np.linspace(1, -1, 2)[:, None] * 0.022
    ear = surface.at(np.pi / 2, 0.06)
    x = a["eye_x"] + wide + (ear[0] + 0.015 - a["eye_x"] - wide) * t**0.45
    z = plane - 0.03 + (ear[2] - 0.05 - plane) * t
    points = np.stack(
      [side * (x + 0 * rows), 0.05 + rows + 0 * t, z + 0 * rows], -1
    )
    uv = frame.uv(0.5 + 0 * points[..., 0], 0.5 + 0 * points[..., 0])
    parts.append(grid(points, uv, material, sided=True))
  t = np.linspace(-1, 1, 9)[None]
  rows = np.linspace(1, -1, 2)[:, None] * 0.015
  span = a["eye_x"] + 0.01 - wide + 0.01
  points = np.stack(
    [span * t + 0 * rows, 0.05 + 0.03 * (1 - t**2) + rows,
     plane + 0.035 * (1 - t**2) + 0 * rows], -1,
  )  # fmt: skip
  uv = frame.uv(0.5 + 0 * points[..., 0], 0.5 + 0 * points[..., 0])
  parts.append(grid(points, uv, material, sided=True))
  return parts


def beard(person: Identity, surface: Surface) -> list[Grid]:
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
  return [grid(points, uv, (0.35, 0.04, 8.0), moves=True, bias=0.012)]
