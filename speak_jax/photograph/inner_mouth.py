"""What lips part to show: the photograph's own teeth, and paint for the rest.

Upper teeth hang from the skull, and lips move over them: what an open mouth
shows in the photograph lies where the skull has it. Lower teeth stand on the
jaw, and the lower lip stands for that.
"""

from typing import NamedTuple

import cv2
import numpy as np
from jaxtyping import Float, Float32, Int, UInt8

from data_pipelines.faces import topology
from speak_jax import spec
from speak_jax.photograph.textured_mesh import TexturedMesh

UPPER_LIP, LOWER_LIP = spec.MESH_GAP
CHEEKS = (50, 280, 101, 330)  # points on bare skin, by which the light is told

# Lengths are in distances between the outer corners of the eyes, some 92 mm:
# an incisor shows 2 to 3 mm below a resting lip.
UPPER_EDGE, UPPER_BOW = 0.028, 0.30  # of the teeth below the lip; per length^2
LOWER_EDGE, LOWER_BOW = 0.015, 0.20  # the same above the lower lip
SEAMS = (0.0, 0.088, 0.150, 0.205, 0.245)  # between teeth, from the middle
SEAM = 0.006  # half of a seam's width
HALF_ARCH = 0.27  # from the middle to where the cheek's shadow is complete
SHADE = 0.035  # below the upper lip
TINT = 0.4  # share of the skin's colour that its light is taken to have
SOFT = 0.006  # of all edges
APPEARS = 0.015  # by which a gap differs from the photograph's, to be painted
FRACTION = 3  # bits of a pixel's fraction that outlines are drawn with
EDGE = 0.008  # by which what the photograph shows is trusted less

CAVITY = np.array([34.0, 14.0, 14.0])
TONGUE = np.array([150.0, 82.0, 80.0])
# Teeth of 753 people who smile in public-domain portraits: their colour under
# white light over its luma, and how their luma follows from that of the cheeks;
# nine in ten are less bright than BRIGHTEST cheeks.
TOOTH = np.array([1.05, 0.98, 0.97])
FROM_CHEEKS, BASE, BRIGHTEST = 0.68, 69.0, 1.34
LIGHT = (50.0, 232.0)  # least and most that teeth reflect


class InnerMouth(NamedTuple):
  """What a photograph says of the inside of its mouth."""

  photograph: UInt8[np.ndarray, "h w 3"]
  shown: Float32[np.ndarray, "h w"]  # 1 where it shows the inside
  rest: Float[np.ndarray, "20 2"]  # edge of the gap between the lips, px
  gap: float  # between the lips, eye distances
  cavity: Float[np.ndarray, "3"]  # colours under its light
  tongue: Float[np.ndarray, "3"]
  tooth: Float[np.ndarray, "3"]


def inner_mouth(
  photograph: UInt8[np.ndarray, "h w 3"], textured: TexturedMesh
) -> InnerMouth:
  """Finds the gap between the lips, and reads the light off the cheeks."""
  height, width = photograph.shape[:2]
  places = textured.vertices[list(CHEEKS), :2].round().astype(int)
  columns, rows = places.clip(0, (width - 1, height - 1)).T
  skin = np.median(photograph[rows, columns], 0)
  luma = float(skin @ spec.LUMA)
  light = min(FROM_CHEEKS * luma + BASE, BRIGHTEST * luma)
  light = float(np.clip(light, *LIGHT))
  # What is lit by a candle has its colour, of which the skin's tells a part.
  hue = skin / max(luma, 1.0)
  share = (TINT * hue + 1 - TINT) * light / LIGHT[1]
  rest = textured.vertices[topology.INNER_LIPS, :2]
  shown = _filled(rest, (height, width)).astype(np.float32) / 255
  # Lips are soft, and points are a pixel off: their edge is no tooth.
  margin = max(EDGE * textured.eyes, 0.5)
  near = 2 * int(np.ceil(margin)) + 1
  shown = cv2.erode(shown, np.ones((near, near), np.uint8))
  shown = cv2.GaussianBlur(shown, (0, 0), margin)
  return InnerMouth(
    photograph,
    shown,
    rest,
    _gap(textured.vertices, textured.eyes),
    CAVITY * share,
    TONGUE * share,
    TOOTH * LIGHT[1] * share,
  )


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
  inside = _filled(edge - low, patch.shape[:2])
  inside = cv2.GaussianBlur(inside, (0, 0), max(EDGE * eyes, 0.6))
  alpha = inside[..., None] * (opacity / 255)
  painted = _paint(patch.shape[:2], low, vertices, skull, eyes, inner)
  own, shown = _own(patch.shape[:2], low, skull, inner)
  mouth = painted + shown[..., None] * (own - painted)
  mixed = patch + alpha * (mouth.clip(0, 255) - patch)
  patch[:] = np.rint(mixed).astype(np.uint8)


def _filled(
  outline: Float[np.ndarray, "k 2"], shape: tuple[int, ...]
) -> UInt8[np.ndarray, "h w"]:
  """Fills an outline, px, with 255; its edge is smooth."""
  inside = np.zeros(shape, np.uint8)
  fixed = (outline * (1 << FRACTION)).round().astype(np.int32)
  return cv2.fillPoly(inside, [fixed], 255, cv2.LINE_AA, FRACTION)


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


def _paint(
  shape: tuple[int, ...],
  corner: Int[np.ndarray, "2"],
  vertices: Float[np.ndarray, "v 3"],
  skull: Float[np.ndarray, "v 3"],
  eyes: float,
  inner: InnerMouth,
) -> Float[np.ndarray, "h w 3"]:
  """Paints a rectangle of the frame as if there were no lips.

  Args:
    shape: Of the rectangle, px.
    corner: Its first column and row, px of the frame.
    vertices, skull, eyes, inner: As for `paint`.
  """
  left, right = skull[[78, 308], :2]
  across = (right - left) / np.linalg.norm(right - left)
  down = np.array([-across[1], across[0]])
  rows, columns = np.indices(shape)
  places = np.stack([columns, rows], -1) + corner

  def from_point(point: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    away = (places - point[:2]) / eyes
    return away @ across, away @ down

  u, below_upper = from_point(skull[UPPER_LIP])
  _, below_lower = from_point(vertices[LOWER_LIP])
  _, below_lip = from_point(vertices[UPPER_LIP])
  gap = _gap(vertices, eyes)
  pixel = 1 / eyes
  soft = max(SOFT, 1.5 * pixel)
  painted = np.broadcast_to(inner.cavity, (*shape, 3)).copy()

  def over(colour: np.ndarray, share: np.ndarray) -> None:
    painted[:] = painted + share[..., None] * (colour - painted)

  # The tongue lies on the floor and is seen where the mouth is open.
  hump = -0.45 * gap + 1.2 * u**2
  over(inner.tongue, 0.75 * _step(below_lower - hump, 0.05))
  lower = _step(below_lower + LOWER_EDGE - LOWER_BOW * u**2, soft)
  over(0.72 * inner.tooth, 0.9 * lower * _teeth(1.15 * u, pixel))
  upper = _step(UPPER_EDGE - UPPER_BOW * u**2 - below_upper, soft)
  over(inner.tooth, upper * _teeth(u, pixel))
  shade = 0.5 + 0.5 * _step(below_lip - 0.2 * SHADE, 0.6 * SHADE)
  corners = (1 - (u / HALF_ARCH) ** 2).clip(0.15, 1)
  return painted * (shade * corners**0.7)[..., None]


def _teeth(
  u: Float[np.ndarray, "h w"], pixel: float
) -> Float[np.ndarray, "h w"]:
  """Opacity of a row of teeth at places across the mouth: seams are darker.

  A seam that is narrower than a pixel is as much lighter.
  """
  nearest = np.min([np.abs(np.abs(u) - seam) for seam in SEAMS], 0)
  width = max(SEAM, pixel)
  return 1 - 0.22 * SEAM / width * np.exp(-0.5 * (nearest / width) ** 2)


def _step(x: np.ndarray, width: float) -> np.ndarray:
  """Rises smoothly from 0 at -width to 1 at width."""
  t = (0.5 + 0.5 * x / width).clip(0, 1)
  return t * t * (3 - 2 * t)
