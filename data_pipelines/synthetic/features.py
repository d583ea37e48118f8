"""Eyes, brows and mouth: patches that glide on the skin, frame by frame.

All frames of a clip are computed at once. A patch lies on the face's surface
and moves with the same displacement fields as the skin around it; it is drawn
with a small depth bias instead of a hole in the head.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from data_pipelines.synthetic import emotion
from data_pipelines.synthetic.head import DEPTH_GRID, Model
from data_pipelines.synthetic.parts import EYE, LIP, SKIN, grid_triangles
from data_pipelines.synthetic.texture.atlas import REGIONS
from data_pipelines.synthetic.texture.eyes import EYE_SPAN

_EYE_U = np.linspace(-1, 1, 13)
_LIP_U = np.linspace(-1, 1, 25)
# Full opening parts the inner lips by this share of the eyes' distance.
GAPE = 0.60


class FaceMotion(NamedTuple):
  """What drives the features, one row per frame."""

  channels: Float[np.ndarray, "n c"]  # weights of emotion.CHANNELS
  mouth_open: Float[np.ndarray, "n"]  # 0 shut, 1 as wide as it goes
  mouth_wide: Float[np.ndarray, "n"]  # -1 narrow, 1 wide
  mouth_round: Float[np.ndarray, "n"]  # 0 to 1, pursed
  mouth_press: Float[np.ndarray, "n"]  # 0 to 1, lips pressed together
  blink: Float[np.ndarray, "n"]  # 0 open, 1 shut
  gaze: Float[np.ndarray, "n 2"]  # x, y, about -1 to 1
  light: Float[np.ndarray, "n 3"]  # direction to the key light


class Features(NamedTuple):
  """Vertices of all patches of n frames."""

  points: Float[np.ndarray, "n v 3"]
  uv: Float[np.ndarray, "n v 2"]
  albedo: Float[np.ndarray, "n v"]
  triangles: Int[np.ndarray, "t 3"]
  bias: Float[np.ndarray, "t"]
  material: Float[np.ndarray, "v 3"]
  landmarks: Int[np.ndarray, "42"]  # vertices of points 17-26 and 36-67


class _Patch(NamedTuple):
  x: np.ndarray  # (n, rows, cols)
  y: np.ndarray
  bulge: np.ndarray  # added to the surface's depth
  uv: np.ndarray  # (n, rows, cols, 2)
  albedo: np.ndarray
  bias: float
  material: tuple[float, float, float]


def _depth(
  model: Model, x: Float[np.ndarray, "n v"], y: Float[np.ndarray, "n v"]
) -> Float[np.ndarray, "n v"]:
  """Bilinear look-up of the face's depth at places in head units."""
  x0, x1, y0, y1, nx, ny = DEPTH_GRID
  fx = np.clip((x - x0) / (x1 - x0) * (nx - 1), 0, nx - 1.001)
  fy = np.clip((y - y0) / (y1 - y0) * (ny - 1), 0, ny - 1.001)
  ix, iy = fx.astype(np.int32), fy.astype(np.int32)
  fx, fy = fx - ix, fy - iy
  flat = model.depth.reshape(-1)
  at = iy * nx + ix
  top = flat[at] * (1 - fx) + flat[at + 1] * fx
  low = flat[at + nx] * (1 - fx) + flat[at + nx + 1] * fx
  return top * (1 - fy) + low * fy


class _Eye(NamedTuple):
  """The opening of one eye in n frames, and what its patches share."""

  side: int  # -1: left in the picture
  x: float  # of its middle
  y: float
  half: float  # width
  tilt: Float[np.ndarray, "13"]
  outer: Float[np.ndarray, "13"]  # -1 inner corner, 1 outer corner
  arc: Float[np.ndarray, "13"]  # of the upper lid
  top: Float[np.ndarray, "n 13"]  # y of the upper lid's edge
  low: Float[np.ndarray, "n 13"]  # of the lower lid's
  gaze_x: Float[np.ndarray, "n 1 1"]  # shift of iris and pupil
  gaze_y: Float[np.ndarray, "n 1 1"]


def _opening(
  model: Model, m: FaceMotion, c: dict[str, np.ndarray], side: int
) -> _Eye:
  """How far an eye is open; `c` are the channels by name."""
  a, s = model.anchor, model.person.value
  u = _EYE_U
  outer = u * side
  half = a["eye_w"]
  upper = 0.074 * a["eye_h"] * (
    1 + 0.42 * c["lid_wide"] - 0.28 * c["lid_droop"] - 0.20 * c["squint"]
    + 0.25 * m.gaze[:, 1].clip(-1, 1)
  )  # fmt: skip
  lower = (
    0.046
    * a["eye_h"]
    * (1 + 0.18 * c["lid_wide"] - 0.55 * c["squint"] - 0.25 * c["smile"])
  )
  upper = upper.clip(0.016, None)
  lower = lower.clip(0.006, None)
  upper = upper * (1 - m.blink) - lower * 0.75 * m.blink
  tilt = half * (0.07 + 0.055 * s("eye_tilt")) * outer
  # The top of the arc lies towards the nose, the bottom towards the temple.
  arc = (1 - np.abs(u) ** 2.3) * (1 - 0.16 * outer)
  bottom = (1 - np.abs(u) ** 2.1) * (1 + 0.14 * outer)
  y_top = a["eye_y"] + tilt + upper[:, None] * arc
  y_low = a["eye_y"] + tilt - lower[:, None] * bottom
  # A shut eye must not turn inside out.
  y_top = np.maximum(y_top, y_low + 0.002)
  return _Eye(
    side=side,
    x=side * a["eye_x"],
    y=a["eye_y"],
    half=half,
    tilt=tilt,
    outer=outer,
    arc=arc,
    top=y_top,
    low=y_low,
    gaze_x=0.055 * m.gaze[:, 0][:, None, None],
    gaze_y=0.030 * m.gaze[:, 1][:, None, None],
  )


def _eyeball(eye: _Eye) -> _Patch:
  v = np.linspace(0, 1, 7)[None, :, None]
  y = eye.top[:, None] * (1 - v) + eye.low[:, None] * v
  x = np.broadcast_to(eye.x + eye.half * _EYE_U, y.shape)
  ball = 0.055 * (1 - ((x - eye.x) / eye.half) ** 2)
  uv = REGIONS["eye"].uv(
    0.5 + 0.5 * (x - eye.x - eye.gaze_x) / EYE_SPAN,
    0.5 - 0.5 * (y - eye.y - 0.012 - eye.gaze_y) / EYE_SPAN,
  )
  shade = 0.62 + 0.38 * np.minimum(1, v / 0.45) + 0 * y
  shade = shade * (1 - 0.25 * np.abs(_EYE_U) ** 3)
  return _Patch(x, y, ball, uv, shade, 0.05, EYE)


def _highlight(eye: _Eye, m: FaceMotion) -> _Patch:
  """Where the light mirrors on the ball; nothing where the lid hides it."""
  size = 0.019
  dx = np.array([-1, 1.0])[None, None, :] * size
  dy = np.array([1, -1.0])[None, :, None] * size
  hx = eye.x + eye.gaze_x + 0.030 * m.light[:, 0][:, None, None] + dx + 0 * dy
  hy = (
    eye.y
    + eye.gaze_y
    + 0.012
    + 0.032 * m.light[:, 1][:, None, None]
    + dy
    + 0 * dx
  )
  huv = REGIONS["shine"].uv(
    np.broadcast_to([[0.0, 1.0], [0.0, 1.0]], hx.shape),
    np.broadcast_to([[0.0, 0.0], [1.0, 1.0]], hx.shape),
  )
  visible = np.clip((eye.top[:, 6] - hy[:, 0, 0] + 0.5 * size) / size, 0, 1)
  visible = np.clip(visible * (1 - 1.4 * m.blink), 0, 1)
  hx = eye.x + (hx - eye.x) * (visible > 0.05)[:, None, None]
  shrink = visible[:, None, None]
  hx = hx.mean((1, 2), keepdims=True) + dx * shrink + 0 * dy
  hy = hy.mean((1, 2), keepdims=True) + dy * shrink + 0 * dx
  return _Patch(
    hx, hy, np.full(hx.shape, 0.055), huv, np.ones(hx.shape), 0.055,
    (1.0, 0.0, 1.0),
  )  # fmt: skip


def _lid(model: Model, eye: _Eye, c: dict[str, np.ndarray]) -> _Patch:
  """The upper lid with its fold."""
  a, u = model.anchor, _EYE_U
  v = np.linspace(0, 1, 5)[None, :, None]
  rise = 0.050 + 0.012 * model.person.value("eye_depth") + 0.012 * c["lid_wide"]
  fold = 0.074 * a["eye_h"] * eye.arc + rise[:, None] * (1 - 0.6 * u**2)
  y_fold = eye.y + eye.tilt + np.maximum(fold, 0.012)
  y_fold = np.maximum(y_fold, eye.top + 0.014)
  y = y_fold[:, None] * (1 - v) + eye.top[:, None] * v
  x = np.broadcast_to(eye.x + eye.half * (u * 1.10), y.shape)
  bulge = 0.05 * (1 - u**2) * (0.35 + 0.65 * v) + 0.012 * np.sin(v * np.pi)
  uv = REGIONS["lid"].uv(
    np.broadcast_to(0.5 + 0.5 * u, y.shape), np.broadcast_to(v, y.shape)
  )
  return _Patch(
    x, y, np.broadcast_to(bulge, y.shape), uv, np.ones(y.shape), 0.056, SKIN
  )


def _lashes(model: Model, eye: _Eye) -> list[_Patch]:
  """The upper lashes, and the lower rim: a thin, pale-dark line."""
  u, outer, makeup = _EYE_U, eye.outer, model.person.makeup
  thick = 0.017 + 0.014 * makeup + (0.004 if model.person.feminine else 0)
  wing = 1 + 0.06 * (outer > 0.9) * (0.5 + makeup)
  fat = thick * (0.45 + 0.55 * (1 - u**2) + 0.35 * outer * makeup)
  v = np.array([0.0, 1.0])[None, :, None]
  y = eye.top[:, None] + (fat * (1 - v) - 0.006 * v)
  y = y + 0.012 * (outer > 0.9) * makeup
  x = np.broadcast_to(eye.x + eye.half * u * wing, y.shape)
  uv = REGIONS["lash"].uv(
    np.broadcast_to(0.5 + 0.5 * u, y.shape), np.broadcast_to(v, y.shape)
  )
  bulge = np.broadcast_to(0.055 * (1 - u**2), y.shape)
  ink = (0.5, 0.0, 1.0)
  patches = [_Patch(x, y, bulge, uv, np.ones(y.shape), 0.062, ink)]
  y = eye.low[:, None] + (0.004 * (1 - v) - (0.008 + 0.004 * makeup) * v)
  x = np.broadcast_to(eye.x + eye.half * u, y.shape)
  uv = REGIONS["lash"].uv(
    np.broadcast_to(0.5 + 0.5 * u, y.shape),
    np.broadcast_to(0.06 + 0.10 * (1 - v), y.shape),
  )
  bulge = np.broadcast_to(0.045 * (1 - u**2), y.shape)
  patches.append(_Patch(x, y, bulge, uv, np.ones(y.shape), 0.060, ink))
  return patches


def _eye(model: Model, m: FaceMotion, side: int) -> list[_Patch]:
  """Eyeball, highlight, lid and lashes of one eye (side -1: picture left)."""
  c = {name: m.channels[:, i] for i, name in enumerate(emotion.CHANNELS)}
  eye = _opening(model, m, c, side)
  return [
    _eyeball(eye),
    _highlight(eye, m),
    _lid(model, eye, c),
    *_lashes(model, eye),
  ]


def _brow(model: Model, n: int, side: int) -> _Patch:
  """A brow; u runs from the left to the right of the picture."""
  a, s = model.anchor, model.person.value
  u = np.linspace(0, 1, 9)
  t = u if side > 0 else 1 - u  # 0 at the nose
  from_x, to_x = a["eye_x"] - 0.205, a["eye_x"] + 0.215
  x = side * (from_x + (to_x - from_x) * t)
  arch = 0.028 if model.person.feminine else 0.012
  y = (
    a["brow_y"]
    - 0.02
    + (0.035 + arch) * np.sin(np.clip(t * 1.32, 0, 1.4) * np.pi / 1.55)
  )
  y = y - 0.060 * np.clip(t - 0.62, 0, 1)
  thick = (0.040 + 0.009 * s("brow_thickness")) * (1.15 - 0.55 * t)
  v = np.linspace(0, 1, 4)[:, None]
  y = y + thick * (1 - 2 * v)
  x = np.broadcast_to(x, y.shape)
  uv = REGIONS["brow"].uv(np.broadcast_to(t, y.shape), v + 0 * y)

  def every(value: np.ndarray) -> np.ndarray:
    return np.broadcast_to(value, (n, *value.shape))

  return _Patch(
    every(x), every(y), every(0.012 + 0 * y), every(uv), every(1 + 0 * y),
    0.045, (0.4, 0.02, 8.0),
  )  # fmt: skip


def _mouth(model: Model, m: FaceMotion) -> list[_Patch]:
  """Inside, teeth, upper and lower lip."""
  a, s = model.anchor, model.person.value
  u = _LIP_U
  squeeze = 1 - 0.30 * m.mouth_round + 0.10 * m.mouth_wide
  squeeze = squeeze - 0.06 * m.mouth_open.clip(0, 1)
  half = (a["mouth_w"] * squeeze)[:, None, None]
  gap = (GAPE * 2 * a["eye_x"] * m.mouth_open)[:, None, None]
  pursed = m.mouth_round[:, None, None]
  press = m.mouth_press[:, None, None]
  arc = 1 - np.abs(u) ** 2.2
  # The mean over landmarks 61-63 of `arc` makes the gap what its name says.
  arc_mean = np.mean([1 - abs(_LIP_U[k]) ** 2.2 for k in (7, 12, 17)])
  shape = arc / arc_mean
  rest = 0.006 * np.cos(u * 4.2) * (1 - np.abs(u)) + 0.012 * u**2 - 0.004
  seam = a["mouth_y"] + rest
  inner_up = seam + 0.24 * gap * shape
  inner_low = seam - 0.76 * gap * shape
  full = 1 - 0.55 * press
  stretch = 1 - 0.18 * (m.mouth_open[:, None, None]).clip(0, 1)
  bow = 1 - 0.30 * np.exp(-0.5 * (u / 0.13) ** 2)
  up_h = (0.070 + 0.013 * s("upper_lip")) * np.abs(1 - np.abs(u) ** 1.7)
  low_h = (0.092 + 0.015 * s("lower_lip")) * np.abs(1 - np.abs(u) ** 2.4)
  up_h = (up_h * bow) * full * stretch * (1 + 0.25 * pursed)
  low_h = low_h * full * stretch * (1 + 0.2 * pursed)
  outer_up = inner_up + up_h
  outer_low = inner_low - low_h
  x_row = half * u + 0 * gap

  def strip(
    top: np.ndarray, low: np.ndarray, rows: int
  ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    v = np.linspace(0, 1, rows)[None, :, None]
    y = top * (1 - v) + low * v
    return np.broadcast_to(x_row, y.shape), y, v

  x, y, v = strip(inner_up + 0.004, inner_low - 0.004, 6)
  # Teeth hang on the skull, the tongue and the lower teeth on the jaw.
  inside_uv = REGIONS["mouth"].uv(
    0.5 + 0.5 * x / 0.30, 1 - (y - inner_low.min(-1, keepdims=True)) / 0.32
  )
  shade = 0.9 - 0.35 * np.exp(-((v / 0.25) ** 2)) + 0 * y
  flat = np.full(y.shape, -0.01)
  dull = (0.9, 0.0, 1.0)
  patches = [_Patch(x, y, flat, inside_uv, shade, 0.06, dull)]
  teeth_uv = np.zeros((*y.shape, 2), np.float32)
  light = 0.98 - 0.30 * np.exp(-(((y - inner_up) / 0.03) ** 2)) + 0 * y
  patches.append(_Patch(x, y, flat, teeth_uv, light, 0.065, dull))

  x, y, v = strip(outer_up, inner_up, 6)
  round_z = np.sin(np.clip(v * 0.8 + 0.1, 0, 1) * np.pi)
  bulge = (0.030 + 0.02 * pursed) * round_z * (1 - u**2) ** 0.5
  bulge = bulge - 0.012 * (v > 0.95) + 0 * y
  uv = REGIONS["upper_lip"].uv(
    np.broadcast_to(0.5 + 0.5 * u, y.shape), np.broadcast_to(v, y.shape)
  )
  patches.append(_Patch(x, y, bulge, uv, np.ones(y.shape), 0.07, LIP))
  x, y, v = strip(inner_low, outer_low, 6)
  round_z = np.sin(np.clip(v * 0.85 + 0.10, 0, 1) * np.pi)
  bulge = (0.042 + 0.02 * pursed) * round_z * (1 - u**2) ** 0.5
  bulge = bulge - 0.035 * m.mouth_open[:, None, None] + 0 * y
  uv = REGIONS["lower_lip"].uv(
    np.broadcast_to(0.5 + 0.5 * u, y.shape),
    np.broadcast_to(1 - v, y.shape),
  )
  patches.append(_Patch(x, y, bulge, uv, np.ones(y.shape), 0.07, LIP))
  return patches


# The outline of a mouth is written over by nothing: these are its corners.
def _landmarks(offset: dict[str, int]) -> list[int]:
  """Vertex of each of points 17-26 (brows) and 36-67 (eyes, mouth)."""
  out = []
  for name in ("brow_left", "brow_right"):
    out += [offset[name] + k for k in (0, 2, 4, 6, 8)]
  for name in ("eye_left", "eye_right"):
    top, low = offset[name], offset[name] + 6 * 13
    out += [top, top + 4, top + 8, top + 12, low + 8, low + 4]
  up, low = offset["upper"], offset["lower"]
  out += [up + k for k in (0, 4, 8, 12, 16, 20, 24)]
  out += [low + 5 * 25 + k for k in (20, 16, 12, 8, 4)]
  out += [up + 5 * 25 + k for k in (1, 7, 12, 17, 23)]
  out += [low + k for k in (17, 12, 7)]
  return out


def build(model: Model, m: FaceMotion) -> Features:
  """Computes every patch of every frame."""
  n = len(m.blink)
  left, right = _eye(model, m, -1), _eye(model, m, 1)
  mouth = _mouth(model, m)
  patches = [
    *left,
    *right,
    _brow(model, n, -1),
    _brow(model, n, 1),
    *mouth,
  ]
  sizes = [p.x.shape[1] * p.x.shape[2] for p in patches]
  offsets = np.cumsum([0, *sizes])
  names = dict(
    eye_left=0, eye_right=len(left), brow_left=2 * len(left),
    brow_right=2 * len(left) + 1, teeth=2 * len(left) + 3,
    upper=2 * len(left) + 4, lower=2 * len(left) + 5,
  )  # fmt: skip
  offset = {name: int(offsets[i]) for name, i in names.items()}

  def flat(values: list[np.ndarray], *tail: int) -> np.ndarray:
    return np.concatenate(
      [np.reshape(value, (n, -1, *tail)) for value in values], 1
    ).astype(np.float32)

  x, y = flat([p.x for p in patches]), flat([p.y for p in patches])
  bulge = flat([p.bulge for p in patches])
  z = _depth(model, x, y) + bulge
  # The lips carry the jaw in their own shape; the fields do the rest, taken
  # where the feature is in the first frame's neutral position.
  rest_x, rest_y = x.mean(0), y.mean(0)
  lips = slice(offset["teeth"] - sizes[names["teeth"] - 1], None)
  rest_y = rest_y.copy()
  rest_y[lips] = model.anchor["mouth_y"] + np.clip(
    rest_y[lips] - model.anchor["mouth_y"], -0.05, 0.06
  )
  rest_x[lips] = np.tile(
    model.anchor["mouth_w"] * _LIP_U, len(rest_x[lips]) // len(_LIP_U)
  )
  field = emotion.fields(rest_x, rest_y, z.mean(0), model.anchor)
  k = len(emotion.FIELDS)
  field[emotion.FIELDS.index("jaw")] = 0
  field[emotion.FIELDS.index("round"), :, 0] = 0
  # einsum without BLAS: the same bits for any number of threads.
  move = np.einsum("nk,kvc->nvc", m.channels[:, :k], field)
  points = np.stack([x, y, z], -1) + move
  uv = flat([p.uv for p in patches], 2)
  start = offset["teeth"]
  teeth = slice(start, start + sizes[names["teeth"]])
  uv[:, teeth] = REGIONS["teeth"].uv(
    0.5 + 0.5 * points[:, teeth, 0] / 0.25,
    (model.anchor["mouth_y"] + 0.085 - points[:, teeth, 1]) / 0.22,
  )
  triangles = [
    grid_triangles(p.x.shape[1], p.x.shape[2]) + o
    for p, o in zip(patches, offsets[:-1], strict=True)
  ]
  return Features(
    points=points.astype(np.float32),
    uv=uv,
    albedo=flat([p.albedo for p in patches]),
    triangles=np.concatenate(triangles).astype(np.int32),
    bias=np.concatenate(
      [
        np.full(len(t), p.bias, np.float32)
        for p, t in zip(patches, triangles, strict=True)
      ]
    ),
    material=np.concatenate(
      [
        np.tile(np.array(p.material, np.float32), (size, 1))
        for p, size in zip(patches, sizes, strict=True)
      ]
    ),
    landmarks=np.array(_landmarks(offset), np.int32),
  )
