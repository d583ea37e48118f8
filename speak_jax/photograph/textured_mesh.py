"""The photograph as a textured mesh: the face, and rings of what surrounds it.

FaceMesh's points are the face. Rings round its outline carry hair, ears and
neck: the innermost moves as the head does, the outermost keeps still, and so
does all that lies beyond. Every point's texture coordinate is its own place
in the photograph.

Coordinates are x, y in px with integers at pixel centres, and z in px, which
grows away from the viewer.
"""

from typing import NamedTuple

import cv2
import numpy as np
from jaxtyping import Float, Int

from data_pipelines.faces import canonical, topology
from data_pipelines.faces.headpose import angles
from speak_jax import spec

POINTS = spec.MESH  # of FaceMesh, which come first
# Edges of what has no triangles; what fills each has a vertex in its middle.
HOLES = (topology.INNER_LIPS, topology.LEFT_EYE, topology.RIGHT_EYE)
# The pivot of a head's rotation, from between the outer corners of the eyes,
# in eye distances: down, and back into the head.
PIVOT_DOWN, PIVOT_BACK = 0.35, 0.9


class Ring(NamedTuple):
  """One closed line round the face, in terms of the face's outline."""

  radius: float  # its distance from the face's middle over the outline's
  depth: float  # from the outline's depth (0) to the pivot's (1)
  follows: float  # share of the head's motion


RINGS = (
  Ring(1.22, 0.5, 1.0),
  Ring(1.55, 0.8, 0.75),
  Ring(1.95, 1.0, 0.35),
  Ring(2.5, 1.0, 0.0),
)
# Eye distances between face and border in which at least the border's hold on
# what lies between falls off: less would draw single pixels long.
LEAST_ROOM = 0.15
CROWN = 0.22  # by which rings are wider above the face, where hair is
NECK = 0.6  # of its share that a ring loses below the chin
# Cosine between the view and a vertex' normal at which it counts as hidden, and
# from which on it is seen plainly.
HIDDEN, PLAIN = 0.5, 0.8
INSET = 0.15  # eye distances from a face's edge within which it is not used
# Of what lies opposite, which part each ring shows; and cosine between up and
# the way from the middle of the face, below which it shows none.
MIRRORED, SHOULDERS = (1.0, 1.0, 0.0, 0.0), -0.6
# Degrees of yaw from which on a photograph counts as one that looks aside, and
# at which it does so altogether: then its far side is made of its near one.
ASIDE, PROFILE = 24.0, 34.0
# Degrees by which it turns to the viewer before its made side is seen: so much
# of a stretched cheek is better than the ghost of another ear.
UNSEEN = 4.0
# Degrees between face and viewer up to which a head goes where it should, and
# which it nears when it should go further: beyond, pictures tear.
ASIDE_FREE, ASIDE_MOST = 40.0, 50.0
# By how much earlier a head nears its end that turns towards the viewer and
# beyond, for each degree of yaw that it has in the photograph: the less of that
# side is there, and is not made of the other.
BARE = 0.65
# The same of its way, eye distances, and of its growth: a driver whose camera
# goes or zooms would draw it out of the picture, and rings would fold.
SHIFT_FREE, SHIFT_MOST = 0.6, 0.8
SCALE_FREE, SCALE_MOST = 1.25, 1.5
# Depth that FaceMesh finds in one picture is too small: with more of it the
# same points come to lie where it finds them in later pictures.
DEEPER = 1.1
STEEPEST = 3.3  # slope of a face's depth in a photograph that looks ahead
# Edges of the upper lids, and the row of points above each that bounds lashes.
_LIDS, _LASHES = topology.LEFT_EYE[1:8], [247, 30, 29, 27, 28, 56, 190]
UPPER_LIDS = np.concatenate([_LIDS, topology.MIRROR[_LIDS]])
LASHES = np.concatenate([_LASHES, topology.MIRROR[_LASHES]])
LASHES_FOLLOW = 0.9  # from going their own way (0) to going the lid's (1)
MOUTH_BACK = 0.1  # eye distances that the middle of the mouth lies behind lips


class TexturedMesh(NamedTuple):
  """A photograph's v vertices and t triangles, at rest."""

  vertices: Float[np.ndarray, "v 3"]  # px; x, y are the texture coordinates
  triangles: Int[np.ndarray, "t 3"]
  follows: Float[np.ndarray, "v"]  # share of the head's motion, 0 to 1
  # Share of the motion away from each border of the picture (left, top, right,
  # bottom) that a ring goes less, so that the border keeps its place.
  held: Float[np.ndarray, "4 r"]
  # Places in the photograph of what lies opposite on the face, px; and how
  # well each vertex is seen itself, 0 to 1.
  opposite: Float[np.ndarray, "v 2"]
  seen: Float[np.ndarray, "v"]
  rotation: Float[np.ndarray, "3 3"]  # of the head at rest
  pivot: Float[np.ndarray, "3"]  # px
  eyes: float  # px between the outer corners of the eyes


def textured_mesh(
  mesh: Float[np.ndarray, "468 3"], width: int, height: int
) -> TexturedMesh:
  """Builds the textured mesh of a photograph.

  Args:
    mesh: FaceMesh's points in it, px.
    width, height: Of the photograph, px.
  """
  face = mesh.astype(np.float64)
  place = canonical.placed(face[None])
  face[:, 2] *= DEEPER
  rotation, eyes = place.rotation[0], float(place.eyes[0])
  yaw = abs(float(np.degrees(angles(rotation[None])[0, 0])))
  aside = float(np.clip((yaw - ASIDE) / (PROFILE - ASIDE), 0, 1))
  face[:, 2] += (1 - aside) * (_gentle(face) - face[:, 2])
  pivot = pivot_of(face, rotation, eyes)
  outline = face[topology.OUTLINE]
  from_middle = outline[:, :2] - outline[:, :2].mean(0)
  up = -rotation[:2, 1]
  upness = from_middle @ up / np.linalg.norm(from_middle, axis=1)
  rings, shares = [], []
  for ring in RINGS:
    wide = ring.radius * (1 + CROWN * upness.clip(0))
    flat = outline[:, :2].mean(0) + from_middle * wide[:, None]
    depth = outline[:, 2] + ring.depth * (pivot[2] - outline[:, 2])
    rings.append(np.column_stack([flat, depth]))
    shares.append(ring.follows * (1 - NECK * (-upness).clip(0) ** 2))
  middles = np.stack([face[hole].mean(0) for hole in HOLES])
  middles[0, 2] += MOUTH_BACK * eyes
  size = np.array([width, height])
  return TexturedMesh(
    np.concatenate([face, *rings, middles]),
    _triangles(),
    np.concatenate([np.ones(POINTS), *shares, np.ones(len(HOLES))]),
    _held([outline, *rings], [np.ones(len(outline)), *shares], eyes, size),
    *_both_sides(face, aside, rings, upness, middles, rotation, eyes),
    rotation,
    pivot,
    eyes,
  )


def pivot_of(
  face: Float[np.ndarray, "468 3"],
  rotation: Float[np.ndarray, "3 3"],
  eyes: float,
) -> Float[np.ndarray, "3"]:
  """Finds the point about which a head turns, in the unit of its face.

  Args:
    face: FaceMesh's points.
    rotation: Of the head.
    eyes: Between the outer corners of its eyes.
  """
  corners = face[list(canonical.EYE_CORNERS)].mean(0)
  return corners + eyes * rotation @ (0, PIVOT_DOWN, PIVOT_BACK)


def _both_sides(
  face: Float[np.ndarray, "468 3"],
  aside: float,
  rings: list[np.ndarray],
  upness: Float[np.ndarray, "o"],
  middles: Float[np.ndarray, "3 3"],
  rotation: Float[np.ndarray, "3 3"],
  eyes: float,
) -> tuple[Float[np.ndarray, "v 2"], Float[np.ndarray, "v"]]:
  """Finds what lies opposite of each vertex, and which are seen.

  The far side of a face that looks aside is hidden or a few pixels wide; what
  turns into view is then taken from the near side.
  """
  corners = face[topology.TRIANGLES]
  normals = np.cross(
    corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
  )
  total = np.zeros_like(face)
  for k in range(3):
    np.add.at(total, topology.TRIANGLES[:, k], normals)
  # FaceMesh's triangles run so that normals of what is seen point away.
  total /= np.linalg.norm(total, axis=1).clip(1e-9)[:, None]
  total *= np.sign(np.median(total[:, 2]))
  facing = total[:, 2]
  # From where the face looks in the picture, into the face.
  inwards = rotation[:2, 2] / max(np.linalg.norm(rotation[:2, 2]), 1e-9)
  # The near side's own edge, where ear and jaw are, stays in view.
  share = ((facing - HIDDEN) / (PLAIN - HIDDEN)).clip(0, 1)
  share = np.where(total[:, :2] @ inwards > 0, share, 1.0)
  # Between both sides lies the face's edge in the picture, where background is
  # mixed in: places there are drawn into the face.
  places = face[:, :2] + INSET * eyes * (1 - share)[:, None] * inwards
  mirror, outline = topology.MIRROR, topology.OUTLINE
  nearer = facing[mirror] > facing
  opposite = np.where(nearer[:, None], places[mirror], places)
  share = 1 - aside * (1 - share)
  # Rings next to the face take hair and ears along; neck and shoulders, and
  # what lies further out, are what they are.
  order = [list(outline).index(i) for i in mirror[outline]]
  shares = [
    1 - (1 - share[outline]) * part * (upness > SHOULDERS) for part in MIRRORED
  ]
  around = [ring[order, :2] for ring in rings]
  return (
    np.concatenate([opposite, *around, middles[[0, 2, 1], :2]]),
    np.concatenate([share, *shares, np.ones(len(middles))]),
  )


def _held(
  loops: list[np.ndarray],
  shares: list[np.ndarray],
  eyes: float,
  size: Int[np.ndarray, "2"],
) -> Float[np.ndarray, "4 r"]:
  """Finds by how much less rings go where the picture cuts them.

  Beyond its border there is nothing to show. So what lies between the face and
  the border is stretched: the share of the motion falls off linearly by so
  much that it is 0 at the border.

  Args:
    loops: The face's outline and the rings, px.
    shares: Of the head's motion, of each.
    eyes: Px between the outer corners of the eyes.
    size: Of the picture, px.
  """
  places, follows = np.stack(loops)[..., :2], np.stack(shares)
  held = []
  for inside in (places, size - 1 - places):
    for axis in range(2):
      room = inside[..., axis]  # px from the border, of each loop
      rays = zip(-room.T, follows.T, strict=True)
      at_border = np.array([np.interp(0, *ray, right=0) for ray in rays])
      gone = (room[0] - room[1:]) / np.maximum(room[0], LEAST_ROOM * eyes)
      held.append((at_border * gone.clip(0)).ravel())
  return np.stack(held)


def _gentle(face: Float[np.ndarray, "468 3"]) -> Float[np.ndarray, "468"]:
  """Finds the greatest depth that falls off no steeper than STEEPEST.

  A cheek that is seen edge-on has few pixels in the photograph, and a turn
  would smear them over many.
  """
  away = np.linalg.norm(face[:, None, :2] - face[:, :2], axis=-1)
  return (face[:, 2] + STEEPEST * away).min(1)


class Motion(NamedTuple):
  """How a head stands in one frame, against how it stands in the photograph."""

  rotation: Float[np.ndarray, "3 3"]  # from its pose in the photograph
  shift: Float[np.ndarray, "2"]  # right, down; eye distances
  scale: float  # 1: as large as in the photograph


STILL = Motion(np.eye(3), np.zeros(2), 1.0)


def from_viewer(rotation: Float[np.ndarray, "3 3"]) -> float:
  """Degrees between where a head looks and the viewer."""
  return float(np.degrees(np.arccos(np.clip(rotation[2, 2], -1, 1))))


def uncovered(motion: Motion, rest: Float[np.ndarray, "3 3"]) -> float:
  """Degrees by which a head turns into view what it hides in the photograph.

  From where it looks there, towards the viewer and beyond; negative further
  aside.

  Args:
    motion: Of the head.
    rest: Its rotation in the photograph, which is not straight ahead.
  """
  away, now = rest[:, 2], motion.rotation @ rest[:, 2]
  aside = away[:2] / max(np.linalg.norm(away[:2]), 1e-9)
  return from_viewer(rest) - float(
    np.degrees(np.arctan2(now[:2] @ aside, now[2]))
  )


def bearable(
  motion: Motion, rest: Float[np.ndarray, "3 3"], made: bool = False
) -> Motion:
  """Moves a head less where it would go further than can be drawn.

  The angle between the face and the viewer is what it should be up to
  ASIDE_FREE, or to the photograph's own if that is more, and nears ASIDE_MOST
  or as much more. What it leans by in the picture (roll) stays. So it is with
  its way and its growth, and with what it turns into view (see BARE).

  Args:
    motion: That is wanted.
    rest: Rotation of the head in the photograph.
    made: Whether what the photograph hides is made of its other side.
  """
  way, growth = float(np.hypot(*motion.shift)), abs(float(np.log(motion.scale)))
  if way > SHIFT_FREE:
    share = nearing(way, SHIFT_FREE, SHIFT_MOST) / way
    motion = motion._replace(shift=motion.shift * share)
  if growth > np.log(SCALE_FREE):
    most = nearing(growth, np.log(SCALE_FREE), np.log(SCALE_MOST))
    scale = float(np.exp(np.copysign(most, np.log(motion.scale))))
    motion = motion._replace(scale=scale)
  turned = motion.rotation @ rest
  wanted, free = from_viewer(turned), max(ASIDE_FREE, from_viewer(rest))
  if not made:
    # Beyond the viewer; the further up or down it looks, the less it is so.
    own = float(np.degrees(np.arctan2(rest[0, 2], rest[2, 2])))
    sideways = turned[0, 2] / max(np.hypot(*turned[:2, 2]), 1e-9)
    beyond = max(-np.copysign(1.0, own) * sideways, 0.0)
    least = max(ASIDE_FREE - (1 + BARE) * abs(own), 0.0)
    free += beyond * (least - free)
  if wanted <= free:
    return motion
  less = wanted - nearing(wanted, free, free + ASIDE_MOST - ASIDE_FREE)
  axis = np.cross(turned[:, 2], (0, 0, 1))
  axis /= max(np.linalg.norm(axis), 1e-9)
  back = cv2.Rodrigues(np.radians(less) * axis)[0]
  return motion._replace(rotation=back @ motion.rotation)


def nearing(wanted: float, free: float, most: float) -> float:
  """What is beyond `free` nears `most`."""
  room = most - free
  return free + room * float(np.tanh((wanted - free) / room))


def posed(
  textured: TexturedMesh,
  expression: Float[np.ndarray, "468 3"],
  motion: Motion,
) -> Float[np.ndarray, "v 3"]:
  """Finds where the vertices come to lie.

  Args:
    textured: The photograph.
    expression: By how much the face's points move, in its own frame (x to the
      picture's right, y down, z away, when it looks straight ahead), eye
      distances.
    motion: Of the head.

  Returns:
    Vertices, px; those that follow nothing are where they were.
  """
  rest, eyes = textured.vertices, textured.eyes
  moved = rest.copy()
  # Lashes go with the lid's edge: the skin above is what stretches.
  expression = expression.copy()
  behind = expression[UPPER_LIDS] - expression[LASHES]
  expression[LASHES] += LASHES_FOLLOW * behind
  moved[:POINTS] += eyes * expression @ textured.rotation.T
  # What fills a hole follows its edge.
  for i, hole in enumerate(HOLES, len(rest) - len(HOLES)):
    moved[i] += (moved[hole] - rest[hole]).mean(0)
  turned = motion.scale * (moved - textured.pivot) @ motion.rotation.T
  turned += textured.pivot
  turned[:, :2] += eyes * motion.shift
  way = turned - rest
  # Rings go as the outline does that they surround, the less the further out:
  # so nothing folds between them.
  rings = slice(POINTS, POINTS + len(topology.OUTLINE) * len(RINGS))
  way[rings] = np.tile(way[topology.OUTLINE], (len(RINGS), 1))
  inwards = np.stack([way[rings, :2], -way[rings, :2]]).clip(0)
  way *= textured.follows[:, None]
  left, top, right, bottom = textured.held
  way[rings, 0] += right * inwards[1, :, 0] - left * inwards[0, :, 0]
  way[rings, 1] += bottom * inwards[1, :, 1] - top * inwards[0, :, 1]
  return rest + way


def _triangles() -> Int[np.ndarray, "t 3"]:
  """Those of the face, of the rings, and of what fills the holes."""
  around = len(topology.OUTLINE)
  parts, inner = [topology.TRIANGLES], topology.OUTLINE
  for first in range(POINTS, POINTS + around * len(RINGS), around):
    outer = first + np.arange(around)
    following = np.roll(inner, -1), np.roll(outer, -1)
    parts += [
      np.column_stack([inner, following[0], outer]),
      np.column_stack([following[0], following[1], outer]),
    ]
    inner = outer
  middle = POINTS + around * len(RINGS)
  for hole in HOLES:
    parts.append(
      np.column_stack([hole, np.roll(hole, -1), np.full(len(hole), middle)])
    )
    middle += 1
  return np.concatenate(parts).astype(np.int32)
