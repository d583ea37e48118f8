"""Eyeballs of a photograph, which turn behind its lids.

Each eye's opening is taken apart into an eyeball, whole and evenly lit, and
the shade that lids and lashes cast on it, so that their product is the
photograph. The eyeball goes with the gaze, the shade with the lids. What lids
hide of an iris is its lower half again, what they hide of the white is the
white beside it.
"""

from typing import NamedTuple

import cv2
import numpy as np
from jaxtyping import Bool, Float, Float32, UInt8

from data_pipelines.faces import eyes as faces_eyes
from data_pipelines.faces.eyes import CORNERS, LOOPS, Eyes
from speak_jax import spec
from speak_jax.photograph import gaze as gazes
from speak_jax.photograph import outlines
from speak_jax.photograph.textured_mesh import TexturedMesh

# Shares of an eye's width, from corner to corner.
LEAST_PX = 6  # of it, to be moved at all
ROOM = 0.35  # round the corners and above, that an eyeball is known for
EDGE = 0.05  # of the opening, which lashes and their shadow cover
WHITE = 0.25  # over which hidden white is taken from what is seen
LOCAL, BRIGHTER = 0.12, 1.5  # over which it is this times as bright at most
LEAST_WHITE = 0.03  # of the opening, that must be seen of it
APPEARS = 0.012  # by which iris or lids move, to be drawn anew altogether
SOFT = 0.012  # of the opening's edge in a frame

LIMBUS = 1.08  # of the iris' radius, from where on there is white
RIM = 0.12  # of it, over which iris becomes white
SHADE = (0.15, 1.1)  # least and most that lids do to the light
SKIN = 0.15  # by which what is brighter than that is none of the eyeball
TINT = 1.2  # and to a colour, against that
DARK = 8.0  # of 255, below which a colour says nothing
# How far an iris' centre goes from the middle of its eye, of its width; and
# degrees right and up that a gaze goes from the photograph's.
REACH = 0.27
MOST = (28.0, 16.0)
LUMA = np.array(spec.LUMA, np.float32)
NARROW = 1.0  # px between lids, at which nothing is between them
AROUND = np.ones((3, 3), np.uint8)


class Eyeball(NamedTuple):
  """One eye of a photograph, in a rectangle of it."""

  corner: Float[np.ndarray, "2"]  # px of its first column and row
  surface: Float32[np.ndarray, "h w 3"]  # as if there were no lids
  # The photograph over that, and how much of each pixel is eyeball.
  shade: Float32[np.ndarray, "h w 4"]
  iris: Float[np.ndarray, "2"]  # centre, px of the photograph
  gaze: Float[np.ndarray, "2"]  # degrees; see `gaze`
  loop: np.ndarray  # vertices of the edge of the opening


def taken_apart(
  photograph: UInt8[np.ndarray, "h w 3"],
  mesh: Float[np.ndarray, "468 3"],
  eyes: Eyes,
) -> tuple[Float[np.ndarray, "468 3"], tuple[Eyeball, ...]]:
  """Takes those eyes apart that the photograph shows well enough.

  Args:
    photograph: RGB.
    mesh: FaceMesh's points in it, px.
    eyes: Found in it.

  Returns:
    The mesh with lids where these eyes have them, and the eyeballs.
  """
  seen = faces_eyes.readable(photograph, mesh, eyes, LEAST_PX)
  looks = gazes.of_eyes(eyes, mesh)
  mesh = faces_eyes.refined(mesh, eyes, seen)
  return mesh, tuple(
    _eyeball(photograph, mesh, eyes, side, looks[side])
    for side in (0, 1)
    if seen[side]
  )


def down(balls: tuple[Eyeball, ...], gaze: tuple[float, float]) -> float:
  """By how much irises go down, eye distances; arguments as for `paint`."""
  return float(np.mean([_offset(ball, gaze)[1] for ball in balls]))


def paint(
  frame: UInt8[np.ndarray, "h w 3"],
  vertices: Float[np.ndarray, "v 3"],
  skull: Float[np.ndarray, "v 3"],
  textured: TexturedMesh,
  balls: tuple[Eyeball, ...],
  gaze: tuple[float, float],
) -> None:
  """Paints turned eyeballs between the lids of a frame, in place.

  Args:
    frame: The moved photograph.
    vertices: Of its mesh, px.
    skull: The same vertices had the face no expression: eyeballs lie there.
    textured: The photograph's mesh.
    balls: Of the photograph.
    gaze: Degrees right and up beside the photograph's own gaze.
  """
  for ball in balls:
    _paint(frame, vertices, skull, textured, ball, gaze)


def _paint(
  frame: UInt8[np.ndarray, "h w 3"],
  vertices: Float[np.ndarray, "v 3"],
  skull: Float[np.ndarray, "v 3"],
  textured: TexturedMesh,
  ball: Eyeball,
  gaze: tuple[float, float],
) -> None:
  """`paint` of one eye."""
  rest, now = textured.vertices[ball.loop, :2], vertices[ball.loop, :2]
  ends = [0, 8]  # of a loop: the eye's corners
  wide = float(np.linalg.norm(rest[8] - rest[0]))
  way = _way(ball, textured, rest, gaze)
  still = skull[ball.loop, :2]
  # The eyeball lies where the skull has it; corners that an expression moves
  # take it along, for it moves none in truth.
  still = still + (now[ends] - still[ends]).mean(0)
  change = np.abs((now - still) - (now - still)[ends].mean(0)).max()
  opacity = min(max(np.hypot(*way), change) / (APPEARS * wide), 1.0)
  # Even an outline that holds nothing would be drawn, as a line.
  gap = np.linalg.norm(now[1:8] - now[:8:-1], axis=1).max()
  opacity *= float(np.clip(gap - NARROW, 0, 1))
  low = (np.floor(now.min(0)).astype(int) - 2).clip(0)
  high = np.ceil(now.max(0)).astype(int) + 3
  patch = frame[low[1] : high[1], low[0] : high[0]]
  if not opacity or not patch.size:
    return
  inside = outlines.filled(now - low, patch.shape[:2])
  inside = cv2.GaussianBlur(inside, (0, 0), max(SOFT * wide, 0.5))
  surface = _read(ball.surface, patch, still - low, rest - ball.corner - way)
  shade = _read(ball.shade, patch, now - low, rest - ball.corner)
  shade, own = shade[..., :3], shade[..., 3]
  alpha = (inside * own)[..., None] * np.float32(opacity / 255)
  eye = ((surface + DARK) * shade - DARK).clip(0, 255)
  mixed = patch + alpha * (eye - patch)
  patch[:] = np.rint(mixed).astype(np.uint8)


def _read(
  picture: Float32[np.ndarray, "h w c"],
  patch: UInt8[np.ndarray, "k l 3"],
  now: Float[np.ndarray, "16 2"],
  rest: Float[np.ndarray, "16 2"],
) -> Float32[np.ndarray, "k l c"]:
  """Reads a picture whose points `rest` lie at `now` in a patch."""
  known = np.column_stack([now, np.ones(len(now))])
  # Where lids are shut the points lie on a line: least squares of least norm.
  matrix = np.linalg.lstsq(known, rest, rcond=1e-3)[0].T
  return cv2.warpAffine(
    picture,
    matrix,
    patch.shape[1::-1],
    flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
    borderMode=cv2.BORDER_REPLICATE,
  )


def _way(
  ball: Eyeball,
  textured: TexturedMesh,
  rest: Float[np.ndarray, "16 2"],
  gaze: tuple[float, float],
) -> Float[np.ndarray, "2"]:
  """By how much an iris goes in the photograph, px: as far as it may."""
  way = textured.eyes * (textured.rotation @ _offset(ball, gaze))[:2]
  middle, wide = (rest[0] + rest[8]) / 2, np.linalg.norm(rest[8] - rest[0])
  across = (rest[8] - rest[0]) / wide
  before = float((ball.iris - middle) @ across)
  most = max(REACH * wide, abs(before))
  after = np.clip(before + way @ across, -most, most)
  return way + (after - before - way @ across) * across


def _offset(ball: Eyeball, gaze: tuple[float, float]) -> Float[np.ndarray, "3"]:
  """By how much an iris goes in the head's own frame, eye distances."""
  turned = np.clip(gaze, np.negative(MOST), MOST)
  return gazes.iris_offset(ball.gaze, ball.gaze + turned)


def _eyeball(
  photograph: UInt8[np.ndarray, "h w 3"],
  mesh: Float[np.ndarray, "468 3"],
  eyes: Eyes,
  side: int,
  gaze: Float[np.ndarray, "2"],
) -> Eyeball:
  """Takes one eye apart."""
  left, right = mesh[CORNERS[side], :2]
  wide = float(np.linalg.norm(right - left))
  across = (right - left) / wide
  down = np.array([-across[1], across[0]])
  iris, radius = eyes.irises[side], float(eyes.radii[side])
  loop = mesh[LOOPS[side], :2]
  room = ROOM * wide
  low = np.floor(np.minimum(loop.min(0), iris - radius) - room).astype(int)
  high = np.ceil(np.maximum(loop.max(0), iris + radius) + room).astype(int) + 1
  columns, rows = np.meshgrid(
    np.arange(low[0], high[0], dtype=np.float32),
    np.arange(low[1], high[1], dtype=np.float32),
  )
  own = _taken(photograph, columns, rows)
  # The corner on the nose's side holds no white: the network leaves it out.
  opening = outlines.filled(eyes.lids[side] - low, columns.shape, cv2.LINE_8)
  opening = opening > 0
  plain = _plain(opening, max(EDGE * wide, 0.75))
  away = np.stack([columns, rows], -1) - iris
  distance = np.hypot(away[..., 0], away[..., 1]) / radius
  white = _white(own, plain * (distance > LIMBUS + RIM), opening, wide)
  mirrored = away - 2 * (away @ down)[..., None] * down + iris
  mirrored = mirrored.astype(np.float32)
  ring = _ring(own, plain, distance)
  again = _taken(photograph, mirrored[..., 0], mirrored[..., 1])
  at = (mirrored - low).astype(np.float32)
  there = cv2.remap(plain, at[..., 0], at[..., 1], cv2.INTER_LINEAR)
  # A highlight is not doubled.
  again = ring + there[..., None] * (again - ring).clip(-30, 30)
  rim = ((LIMBUS - distance) / max(RIM, 0.7 / radius) + 0.5).clip(0, 1)
  hidden = white + rim[..., None] * (again - white)
  surface = (hidden + plain[..., None] * (own - hidden)).clip(1, 255)
  shade = (own + DARK) / (surface + DARK)
  grey = (shade @ LUMA)[..., None]
  shade = grey * (shade / grey).clip(1 / TINT, TINT)
  inside = outlines.filled(loop - low, columns.shape, cv2.LINE_8)
  inside = cv2.dilate(inside, AROUND)
  shade = np.where(inside[..., None] > 0, shade, 1)
  skin = ((grey[..., 0] - SHADE[1]) / SKIN).clip(0, 1) * (plain < 1)
  # Corners, where no iris comes, go as the mesh does.
  eye = cv2.dilate(opening.astype(np.float32), AROUND)
  eye = cv2.GaussianBlur(eye, (0, 0), max(SOFT * wide, 0.5))
  shade = np.dstack([shade.clip(*SHADE), eye * (1 - skin)])
  return Eyeball(
    low.astype(np.float64),
    surface.astype(np.float32),
    shade.astype(np.float32),
    iris.astype(np.float64),
    gaze,
    LOOPS[side],
  )


def _taken(
  photograph: UInt8[np.ndarray, "h w 3"],
  columns: Float32[np.ndarray, "k l"],
  rows: Float32[np.ndarray, "k l"],
) -> Float32[np.ndarray, "k l 3"]:
  """Reads a photograph at places, its edges being repeated."""
  read = cv2.remap(
    photograph, columns, rows, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
  )
  return read.astype(np.float32)


def _plain(
  opening: Bool[np.ndarray, "h w"], edge: float
) -> Float32[np.ndarray, "h w"]:
  """How plainly a pixel shows the eyeball: 0 at the lids, 1 well within."""
  depth = cv2.distanceTransform(opening.astype(np.uint8), cv2.DIST_L2, 3)
  return ((depth - 0.5 * edge) / edge).clip(0, 1).astype(np.float32)


def _white(
  own: Float32[np.ndarray, "h w 3"],
  seen: Float32[np.ndarray, "h w"],
  opening: Bool[np.ndarray, "h w"],
  wide: float,
) -> Float32[np.ndarray, "h w 3"]:
  """The white everywhere, from where it is seen."""
  luma = own @ LUMA
  # What is darker than most of it is lashes, or a vein.
  known = luma[seen > 0.5] if (seen > 0.5).any() else luma[opening]
  bright = np.quantile(known, 0.5)
  weight = seen * (luma >= 0.8 * bright)
  if weight.sum() < LEAST_WHITE * opening.sum():  # none is seen
    weight = (opening & (luma >= np.median(luma[opening]))) * 1.0
  mean = np.tensordot(weight, own, 2) / weight.sum()
  blur = lambda x: cv2.GaussianBlur(x, (0, 0), WHITE * wide)  # noqa: E731
  near = blur(weight.astype(np.float32))[..., None]
  total = blur((own * weight[..., None]).astype(np.float32))
  # Far from all that is seen it is the mean.
  few = 0.05 * float(near.max())
  white = (total + few * mean) / (near + few)
  # In hard light, or in a lid's shadow, it is no lantern.
  here = cv2.GaussianBlur(own, (0, 0), LOCAL * wide) @ LUMA
  most = BRIGHTER * here + DARK
  return white * np.minimum(1, most / (white @ LUMA))[..., None]


def _ring(
  own: Float32[np.ndarray, "h w 3"],
  plain: Float32[np.ndarray, "h w"],
  distance: Float[np.ndarray, "h w"],
) -> Float32[np.ndarray, "h w 3"]:
  """The iris' colour at each distance from its centre."""
  steps = np.linspace(0, LIMBUS, 9)
  seen = plain > 0.5
  within = seen & (distance <= LIMBUS)
  colours = []
  for step in steps:
    near = within & (np.abs(distance - step) <= 0.15)
    near = near if near.any() else within
    colours.append(
      np.median(own[near], 0) if near.any() else own[distance < 1].mean(0)
    )
  colours = np.stack(colours)
  return np.stack(
    [np.interp(distance, steps, colours[:, k]) for k in range(3)], -1
  ).astype(np.float32)
