"""A frame of the photograph: each pixel read where its mesh has moved from.

Outside of the mesh, and where it keeps still, the frame is the photograph, bit
for bit.
"""

from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np
from jaxtyping import Float, Float32, UInt8

from data_pipelines.faces import canonical
from data_pipelines.faces.eyes import Eyes
from data_pipelines.media.image import GROUND
from speak_jax.photograph import eyes, inner_mouth, lids, lips, teeth
from speak_jax.photograph.eyes import Eyeball
from speak_jax.photograph.gaze import OWN_GAZE
from speak_jax.photograph.inner_mouth import InnerMouth
from speak_jax.photograph.rasterize import rasterize, smooth_edges
from speak_jax.photograph.textured_mesh import (
  POINTS,
  UNSEEN,
  Motion,
  TexturedMesh,
  bearable,
  posed,
  textured_mesh,
  uncovered,
)

# Degrees beyond UNSEEN by which a head shows what it hides in the photograph.
TURNED = 8.0
NO_EXPRESSION = np.zeros((POINTS, 3))


class Portrait(NamedTuple):
  """A photograph that is ready to be moved."""

  photograph: UInt8[np.ndarray, "h w 3"]
  textured: TexturedMesh
  mouth: InnerMouth
  # Of the mesh's vertices: place in the photograph, and if some are hidden the
  # place of what lies opposite, and how hidden they are, 0 to 1.
  attributes: Float[np.ndarray, "v k"]
  rest: Float[np.ndarray, "468 3"]  # its points at rest, canonical
  closing: Float[np.ndarray, "468 3"]  # what brings its lips together
  shutting: Float[np.ndarray, "468 3"]  # what its shut lids lack
  eyeballs: tuple[Eyeball, ...]  # those that turn
  # How opaque the photograph is, which then lies over mid-grey; None: wholly.
  alpha: UInt8[np.ndarray, "h w"] | None = None

  @property
  def gaze(self) -> Float[np.ndarray, "2"]:
    """Where its eyes look, mean of those that turn, degrees."""
    return np.mean([ball.gaze for ball in self.eyeballs], 0)

  def expression(
    self,
    points: Float[np.ndarray, "468 3"],
    shut: float,
    gaze: tuple[float, float] = OWN_GAZE,
  ) -> Float[np.ndarray, "468 3"]:
    """Makes the motion model's offsets those of this face.

    Args:
      points: Offsets from a face at rest, canonical.
      shut: Its lids: 0 as in the photograph, 1 shut.
      gaze: As for `compose`; upper lids go with it.
    """
    offsets = self.closing + points + shut * self.shutting
    if self.eyeballs and gaze[1]:
      down = eyes.down(self.eyeballs, gaze)
      offsets += (1 - shut) * lids.following(self.rest, down)
    return offsets


def portrait(
  photograph: UInt8[np.ndarray, "h w 3"],
  mesh: Float[np.ndarray, "468 3"],
  found: Eyes | None = None,
  shut: Float[np.ndarray, "468 3"] | None = None,
) -> Portrait:
  """Prepares a photograph.

  Args:
    photograph: RGB, of the size that frames are to have.
    mesh: FaceMesh's points in it, px.
    found: Its eyes; None: their gaze does not move.
    shut: Offsets of shut lids (`MotionModel.shut`); None: lids move as the
      model says, whoever's they are.
  """
  eyeballs: tuple[Eyeball, ...] = ()
  if found is not None:
    mesh, eyeballs = eyes.taken_apart(photograph, mesh, found)
  height, width = photograph.shape[:2]
  textured = textured_mesh(mesh, width, height)
  attributes = textured.vertices[:, :2]
  if textured.seen.min() < 1:
    attributes = np.column_stack(
      [attributes, textured.opposite, 1 - textured.seen]
    )
  rest = canonical.placed(mesh[None]).points[0]
  closing = lips.closing(rest)
  inside = inner_mouth.inner_mouth(photograph, textured, closing, teeth.read())
  lacking = NO_EXPRESSION if shut is None else lids.shutting(rest, shut)
  return Portrait(
    photograph,
    textured,
    inside,
    attributes,
    rest,
    closing,
    lacking,
    eyeballs,
  )


class Move(NamedTuple):
  """What a frame shows of one head; see `compose`."""

  expression: Float[np.ndarray, "468 3"]
  motion: Motion
  gaze: tuple[float, float]


def compose_all(
  ones: Sequence[Portrait], moves: Sequence[Move]
) -> UInt8[np.ndarray, "h w c"]:
  """Draws a frame of several heads of one photograph.

  Each is drawn over the one before: what surrounds both, hair say, is moved by
  both.

  Args:
    ones: The same photograph, prepared for each of its faces.
    moves: Of each.
  """
  frame, alpha = ones[0].photograph, ones[0].alpha
  for one, move in zip(ones, moves, strict=True):
    here = one._replace(photograph=frame, alpha=alpha)
    frame, alpha = _drawn(here, *move)
  return frame if alpha is None else _lifted(frame, alpha)


def compose(
  one: Portrait,
  expression: Float[np.ndarray, "468 3"],
  motion: Motion,
  gaze: tuple[float, float] = OWN_GAZE,
) -> UInt8[np.ndarray, "h w c"]:
  """Draws a frame: RGB, or RGBA of a portrait with alpha, which goes along.

  Args:
    one: The photograph.
    expression: As for `textured_mesh.posed`.
    motion: Of the head, which follows as far as it is bearable.
    gaze: Degrees right and up beside that of the photograph.
  """
  return compose_all((one,), (Move(expression, motion, gaze),))


def _drawn(
  one: Portrait,
  expression: Float[np.ndarray, "468 3"],
  motion: Motion,
  gaze: tuple[float, float],
) -> tuple[UInt8[np.ndarray, "h w 3"], UInt8[np.ndarray, "h w"] | None]:
  """Draws one head: RGB over mid-grey, and alpha if the portrait has it."""
  height, width = one.photograph.shape[:2]
  textured = one.textured
  made = one.attributes.shape[1] > 2
  motion = bearable(motion, textured.rotation, made)
  vertices = posed(textured, expression, motion)
  shown = rasterize(vertices, one.attributes, textured.triangles, width, height)
  picture = one.photograph
  if one.alpha is not None:
    picture = np.dstack([picture, one.alpha])
  frame = picture.copy()
  if shown.values.size:
    rows, columns = shown.values.shape[:2]
    degrees = uncovered(motion, textured.rotation) - UNSEEN
    frame[shown.top :, shown.left :][:rows, :columns] = _read(
      picture, shown.values, min(max(degrees / TURNED, 0.0), 1.0)
    )
    smooth_edges(
      frame[shown.top :, shown.left :][:rows, :columns], shown.values
    )
  frame, alpha = np.ascontiguousarray(frame[..., :3]), frame[..., 3:]
  skull = posed(textured, NO_EXPRESSION, motion)
  unit = textured.eyes * motion.scale
  inner_mouth.paint(frame, vertices, skull, unit, one.mouth)
  eyes.paint(frame, vertices, skull, textured, one.eyeballs, gaze)
  return frame, None if one.alpha is None else alpha[..., 0]


def _lifted(
  frame: UInt8[np.ndarray, "h w 3"], alpha: UInt8[np.ndarray, "h w"]
) -> UInt8[np.ndarray, "h w 4"]:
  """Takes a picture off the mid-grey that it lies over: RGBA."""
  edges = (alpha > 0) & (alpha < 255)
  share = alpha[edges, None].astype(np.float32) / 255
  own = (frame[edges] - (1 - share) * GROUND) / share
  frame[edges] = np.rint(own.clip(0, 255)).astype(np.uint8)
  return np.dstack([frame, alpha])


def _read(
  photograph: UInt8[np.ndarray, "h w c"],
  values: Float32[np.ndarray, "k l a"],
  turned: float,
) -> UInt8[np.ndarray, "k l c"]:
  """Reads the photograph where rasterized attributes say.

  Args:
    photograph: RGB, or RGB over mid-grey and alpha.
    values: `Portrait.attributes`, rasterized.
    turned: From 0, a head as in the photograph, which hides what it hides
      there, to 1, one that shows it.
  """
  own = _remapped(photograph, values[..., :2])
  if values.shape[2] == 2 or not turned:
    return own
  opposite = _remapped(photograph, values[..., 2:4])
  return np.rint(
    own + turned * values[..., 4:] * (opposite.astype(np.float32) - own)
  ).astype(np.uint8)


def _remapped(
  photograph: UInt8[np.ndarray, "h w c"], places: Float32[np.ndarray, "k l 2"]
) -> UInt8[np.ndarray, "k l c"]:
  return cv2.remap(
    photograph,
    np.ascontiguousarray(places[..., 0]),
    np.ascontiguousarray(places[..., 1]),
    cv2.INTER_CUBIC,
    borderMode=cv2.BORDER_REFLECT_101,
  )
