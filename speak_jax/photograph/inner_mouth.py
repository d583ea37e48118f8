"""What lips part to show: the photograph's own teeth, and learned ones.

Upper teeth hang from the skull, and lips move over them: what an open mouth
shows in the photograph lies where the skull has it. Lower teeth stand on the
jaw, which chin and lower lip tell. Where the photograph shows none they are
those that portraits taught (`teeth`), in the light that its skin has.

Places in the mouth are canonical (`data_pipelines.faces.canonical`): lengths
are in distances between the outer corners of the eyes, some 92 mm.
"""

from typing import NamedTuple

import cv2
import numpy as np
from jaxtyping import Float, Float32, Int, UInt8

from data_pipelines.faces import canonical, topology
from speak_jax import spec
from speak_jax.photograph import outlines
from speak_jax.photograph import teeth as learned
from speak_jax.photograph.teeth import Teeth
from speak_jax.photograph.textured_mesh import POINTS, TexturedMesh

UPPER_LIP, LOWER_LIP = spec.MESH_GAP
NOSE, CHIN = 2, 152  # the nose's underside; the tip of the chin
CHEEKS = (50, 280, 101, 330)  # points on bare skin, by which the light is told

BEHIND = 0.03  # that teeth are behind the lips
ARCH = 2.0  # by which a row goes back to its sides, per length^2
RESTING = 0.03  # that upper teeth end below a lip at rest: 2 to 3 mm show
LIP_SHARE = 0.85  # of the jaw's way that the lower lip tells; the chin the rest
LOWER_LIGHT = 0.8  # on the lower teeth, of what the upper ones get
APPEARS = 0.015  # by which a gap differs from the photograph's, to be painted
EDGE = 0.008  # by which what the photograph shows is trusted less
# From the middle to where teeth and gums begin to be lost in the dark of the
# cheeks, and to where they are.
SIDE, CHEEK = 0.24, 0.35
FINER = 1.25  # texels of the teeth a pixel of the photograph

TONGUE = np.array([0.39, 0.21, 0.20], np.float32)  # over white teeth's light
LIGHT = (50.0, 250.0)  # least and most that teeth reflect
# How blue skin is, logarithm over its luma, and the share of its hue that teeth
# beside it have: little of a complexion, most of light beyond what those are.
SKIN_BLUE = (-0.9, -0.62, -0.55, -0.42, -0.25)
SHARE = (0.9, 0.75, 0.55, 0.3, 0.2)
HOLLOW = 0.4  # of what is seen between the teeth of a smile: an open mouth


class InnerMouth(NamedTuple):
  """What a photograph says of the inside of its mouth."""

  photograph: UInt8[np.ndarray, "h w 3"]
  shown: Float32[np.ndarray, "h w"]  # 1 where it shows the inside
  rest: Float[np.ndarray, "20 2"]  # edge of the gap between the lips, px
  gap: float  # between the lips
  points: Float[np.ndarray, "468 3"]  # of the face, canonical
  closed: Float[np.ndarray, "2"]  # lower lip and chin, downwards, lips closed
  light: Float32[np.ndarray, "3"]  # on white teeth, 0 to 255
  teeth: Teeth
  # Rows of teeth, whole, in texels that suit the photograph: colour times
  # opacity, and opacity.
  upper: Float32[np.ndarray, "k l 4"]
  lower: Float32[np.ndarray, "m l 4"]
  edge: float  # of the upper teeth, downwards


def inner_mouth(
  photograph: UInt8[np.ndarray, "h w 3"],
  textured: TexturedMesh,
  closing: Float[np.ndarray, "468 3"],
  teeth: Teeth,
) -> InnerMouth:
  """Finds the gap between the lips, and reads the light off the cheeks.

  Args:
    photograph: RGB.
    textured: Its mesh.
    closing: Offsets that bring its lips together, canonical.
    teeth: Of anybody.
  """
  height, width = photograph.shape[:2]
  eyes = textured.eyes
  rest = textured.vertices[topology.INNER_LIPS, :2]
  shown = outlines.filled(rest, (height, width)).astype(np.float32) / 255
  # Lips are soft, and points are a pixel off: their edge is no tooth.
  margin = max(EDGE * eyes, 0.5)
  near = 2 * int(np.ceil(margin)) + 1
  shown = cv2.erode(shown, np.ones((near, near), np.uint8))
  shown = cv2.GaussianBlur(shown, (0, 0), margin)
  middle = textured.vertices[list(canonical.EYE_CORNERS)].mean(0)
  points = (textured.vertices[:POINTS] - middle) @ textured.rotation / eyes
  gap = _gap(textured.vertices, eyes)
  # Lips that are apart show teeth down to the lower one: a smile's do, until
  # the teeth end.
  nose, upper, lower = points[[NOSE, UPPER_LIP, LOWER_LIP], 1]
  edge = max(min(lower, nose + teeth.below_nose), upper + RESTING)
  return InnerMouth(
    photograph,
    shown,
    rest,
    gap,
    points,
    (points + closing)[[LOWER_LIP, CHIN], 1],
    light_of(cheeks(photograph, textured.vertices), teeth).astype(np.float32),
    teeth,
    _fitting(teeth.upper, eyes),
    _fitting(teeth.lower, eyes),
    float(edge),
  )


def light_of(
  skin: Float[np.ndarray, "3"], teeth: Teeth
) -> Float[np.ndarray, "3"]:
  """Guesses the colour of white teeth, 0 to 255, from that of the cheeks."""
  luma = max(float(skin @ spec.LUMA), 1.0)
  hue = np.log(skin.clip(1) / luma)
  colour = np.exp(np.interp(hue[2], SKIN_BLUE, SHARE) * hue)
  by_skin, itself, most = teeth.bright.tolist()
  light = min(by_skin * luma + 255 * itself, most * luma)
  return colour / (colour @ spec.LUMA) * float(np.clip(light, *LIGHT))


def paint(
  frame: UInt8[np.ndarray, "h w 3"],
  vertices: Float[np.ndarray, "v 3"],
  skull: Float[np.ndarray, "v 3"],
  eyes: float,
  inner: InnerMouth,
) -> None:
  """Paints the gap between the lips into a frame, in place.

  Args:
    frame: The moved photograph.
    vertices: Of its mesh, px.
    skull: The same vertices had the face no expression: teeth stand there.
    eyes: Eye distance in the frame, px.
    inner: Of the photograph.
  """
  opacity = min(abs(_gap(vertices, eyes) - inner.gap) / APPEARS, 1.0)
  edge = vertices[topology.INNER_LIPS, :2]
  low = (np.floor(edge.min(0)).astype(int) - 1).clip(0)
  high = np.ceil(edge.max(0)).astype(int) + 2
  patch = frame[low[1] : high[1], low[0] : high[0]]
  if not patch.size:
    return
  inside = outlines.filled(edge - low, patch.shape[:2])
  inside = cv2.GaussianBlur(inside, (0, 0), max(EDGE * eyes, 0.6))
  alpha = inside[..., None] * (opacity / 255)
  painted = _paint(patch.shape[:2], low, vertices, skull, inner)
  own, shown = _own(patch.shape[:2], low, skull, inner)
  mouth = painted + shown[..., None] * (own - painted)
  mixed = patch + alpha * (mouth.clip(0, 255) - patch)
  patch[:] = np.rint(mixed).astype(np.uint8)


def cheeks(
  photograph: UInt8[np.ndarray, "h w 3"], points: Float[np.ndarray, "k 3"]
) -> Float[np.ndarray, "3"]:
  """Reads the colour of bare skin, 0 to 255.

  Args:
    photograph: RGB.
    points: FaceMesh's in it, px; more may follow.
  """
  height, width = photograph.shape[:2]
  places = points[list(CHEEKS), :2].round().astype(int)
  columns, rows = places.clip(0, (width - 1, height - 1)).T
  return np.median(photograph[rows, columns], 0)


def _own(
  shape: tuple[int, ...],
  corner: Int[np.ndarray, "2"],
  skull: Float[np.ndarray, "v 3"],
  inner: InnerMouth,
) -> tuple[UInt8[np.ndarray, "h w 3"], Float32[np.ndarray, "h w"]]:
  """What the photograph shows of the inside, where the skull has it now."""
  now = skull[topology.INNER_LIPS, :2] - corner
  known = np.column_stack([now, np.ones(len(now))])
  matrix = np.linalg.lstsq(known, inner.rest, rcond=None)[0].T
  read = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
  return (
    cv2.warpAffine(
      inner.photograph,
      matrix,
      shape[::-1],
      flags=read,
      borderMode=cv2.BORDER_REPLICATE,
    ),
    cv2.warpAffine(inner.shown, matrix, shape[::-1], flags=read),
  )


def _gap(vertices: Float[np.ndarray, "v 3"], eyes: float) -> float:
  """Distance between the lips, eye distances."""
  apart = vertices[UPPER_LIP, :2] - vertices[LOWER_LIP, :2]
  return float(np.linalg.norm(apart)) / eyes


def _fitting(
  half: Float[np.ndarray, "h w 4"], eyes: float
) -> Float32[np.ndarray, "k l 4"]:
  """Makes half a row whole, in texels that suit an eye distance, px."""
  row = np.concatenate([half[:, ::-1], half], 1).astype(np.float32)
  row = cv2.GaussianBlur(row, (0, 0), learned.BLUR)
  # Opacity is made of what is smooth, so that its edges are sharp.
  finest = max(int(np.ceil(eyes * learned.TEXEL * FINER)), 1)
  row = cv2.resize(
    row, None, fx=finest, fy=finest, interpolation=cv2.INTER_CUBIC
  )
  row[..., 3] = 1 / (1 + np.exp(-row[..., 3]))
  across = np.abs(np.linspace(-1, 1, row.shape[1])) * learned.COLUMNS
  lost = _step(across * learned.TEXEL - (SIDE + CHEEK) / 2, (CHEEK - SIDE) / 2)
  row[..., 3] *= 1 - lost
  row[..., :3] = row[..., :3].clip(0) * row[..., 3:]
  factor = min(eyes * learned.TEXEL * FINER / finest, 1.0)
  size = [max(round(n * factor), 2) for n in row.shape[1::-1]]
  return cv2.resize(row, size, interpolation=cv2.INTER_AREA)


def _paint(
  shape: tuple[int, ...],
  corner: Int[np.ndarray, "2"],
  vertices: Float[np.ndarray, "v 3"],
  skull: Float[np.ndarray, "v 3"],
  inner: InnerMouth,
) -> Float32[np.ndarray, "h w 3"]:
  """Paints a rectangle of the frame as if there were no lips.

  Args:
    shape: Of the rectangle, px.
    corner: Its first column and row, px of the frame.
    vertices, skull, inner: As for `paint`.
  """
  # From canonical places, and 1, to px; the skull is rigid.
  known = np.column_stack([inner.points, np.ones(POINTS)])
  matrix = np.linalg.lstsq(known, skull[:POINTS], rcond=None)[0]
  back = np.linalg.inv(matrix[:3])
  depth = inner.points[topology.INNER_LIPS, 2].mean() + BEHIND
  # The plane of the front teeth, as the frame shows it.
  plane = np.linalg.inv(matrix[:2, :2])
  middle = matrix[3, :2] + depth * matrix[2, :2]
  # By which what is deeper seems to be aside.
  right, down = (matrix[2, :2] @ plane).tolist()

  def in_plane(places: np.ndarray) -> np.ndarray:
    return (places - middle) @ plane

  columns = np.arange(shape[1])[:, None] * plane[0]
  rows = np.arange(shape[0])[:, None] * plane[1]
  flat = rows[:, None] + columns + in_plane(corner)
  flat = flat.astype(np.float32)
  u, v = flat[..., 0], flat[..., 1]
  lips = in_plane(vertices[topology.INNER_LIPS, :2]).astype(np.float32)
  below = (v - _line(u, lips[:11])).clip(0)
  above = (_line(u, np.concatenate([lips[10:], lips[:1]])) - v).clip(0)
  side = np.minimum(u - lips[0, 0], lips[10, 0] - u).clip(0)
  # A row goes back by ARCH u^2, so that in a head that is turned it is seen
  # aslant.
  bent = np.sqrt((1 + 4 * ARCH * right * u).clip(0))
  u = 2 * u / (1 + bent)
  v = v - ARCH * down * u**2
  moved = ((vertices[[LOWER_LIP, CHIN]] - matrix[3]) @ back)[:, 1]
  way = np.dot([LIP_SHARE, 1 - LIP_SHARE], moved - inner.closed)
  lower_edge = float(inner.closed[0] + way) - learned.LOWER_EDGE
  upper = _row(
    inner.upper, u, v - inner.edge + learned.BOW * u**2, learned.UPPER_TOP
  )
  lower = _row(
    inner.lower,
    u,
    v - lower_edge - learned.LOWER_BOW * u**2,
    learned.LOWER_TOP,
  )
  # The tongue lies on the floor and is seen where the mouth is open.
  hump = 0.45 * (lips[15, 1] - lips[5, 1]) - 1.2 * u**2
  tongue = 0.75 * _step(hump - above, 0.05)[..., None]
  colour = HOLLOW * inner.teeth.cavity
  colour = colour + tongue * (TONGUE - colour)
  colour = colour * (1 - lower[..., 3:]) + LOWER_LIGHT * lower[..., :3]
  colour = colour * (1 - upper[..., 3:]) + upper[..., :3]
  light = learned.light(u, below, above, side, inner.teeth.shade, np)
  return colour * light * inner.light


def _row(
  row: Float32[np.ndarray, "k l 4"],
  across: Float32[np.ndarray, "h w"],
  down: Float32[np.ndarray, "h w"],
  top: float,
) -> Float32[np.ndarray, "h w 4"]:
  """Reads a row of teeth at places from the middle of its edge."""
  width = row.shape[1]
  texels = width / (2 * learned.COLUMNS * learned.TEXEL)  # a length
  return cv2.remap(
    row,
    (across * texels + (width - 1) / 2).astype(np.float32),
    ((down - top) * texels - 0.5).astype(np.float32),
    cv2.INTER_LINEAR,
    borderMode=cv2.BORDER_REPLICATE,
  )


def _line(
  u: Float32[np.ndarray, "h w"], points: Float[np.ndarray, "k 2"]
) -> Float32[np.ndarray, "h w"]:
  """Height of a line of points at places across."""
  order = np.argsort(points[:, 0])
  return np.interp(u, points[order, 0], points[order, 1]).astype(np.float32)


def _step(x: np.ndarray, width: float) -> np.ndarray:
  """Rises smoothly from 0 at -width to 1 at width."""
  t = (0.5 + 0.5 * x / width).clip(0, 1)
  return t * t * (3 - 2 * t)
