"""How a head moves: as a driving video's does, or by itself when it is idle.

Relative: the photograph's head turns as far from its own pose as the driver's
turns from that of his first frame. So a photograph that looks aside stays a
face that looks aside, and no head jumps at the start. Absolute: it stands as
the driver's does, from the first frame on.
"""

import itertools
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import cv2
import numpy as np
from jaxtyping import Float

from data_pipelines.faces import canonical
from data_pipelines.synthetic import motion as drawn
from data_pipelines.synthetic.motion import ByFrame
from speak_jax.photograph import gaze as gazes
from speak_jax.photograph.gaze import OWN_GAZE, Look
from speak_jax.photograph.textured_mesh import (
  ASIDE,
  UNSEEN,
  Motion,
  from_viewer,
  nearing,
  pivot_of,
  uncovered,
)

# Of the driver's own: he may sit nearer, and a photograph has not the room.
SHIFT, SCALE = 0.6, 0.5
LIDS_OPEN = 0.7  # quantile of a driver's lid gaps that counts as open
# Of the lids' way: what is less is the tracker's tremble, what is more is shut.
LIDS_STILL, LIDS_SHUT = 0.25, 0.75

# An idle head: largest yaw, pitch and roll, degrees; largest shift, eye
# distances; seconds from one turn to the next.
IDLE_DEGREES, IDLE_SHIFT, IDLE_SECONDS = (4.0, 2.5, 2.0), 0.03, 1.4


PIECE = 64  # frames whose motion is in memory at once
PACKED = 15  # numbers of a packed drive
LIDS = 12  # which of a packed drive's numbers they are
GAZES = 2  # of a packed drive's numbers, the last, which are not to be averaged


class Drive(NamedTuple):
  """What drives one frame."""

  motion: Motion
  lids: float  # 0 as in the photograph, 1 shut
  # Degrees right and up beside the photograph's gaze.
  gaze: tuple[float, float] = OWN_GAZE

  def packed(self) -> Float[np.ndarray, "15"]:
    """Puts it into numbers; all but GAZES may be averaged over time."""
    return np.concatenate(
      [
        self.motion.rotation.ravel(),
        self.motion.shift,
        [self.motion.scale, self.lids],
        self.gaze,
      ]
    )


def unpacked(numbers: Float[np.ndarray, "15"]) -> Drive:
  """The inverse of `Drive.packed`, of averages too."""
  u, _, vt = np.linalg.svd(numbers[:9].reshape(3, 3))
  rotation = u @ np.diag([1, 1, np.linalg.det(u @ vt)]) @ vt
  return Drive(
    Motion(rotation, numbers[9:11], float(numbers[11])),
    float(numbers[12]),
    (float(numbers[13]), float(numbers[14])),
  )


class Steering(NamedTuple):
  """What is changed of what drives a head."""

  scale: float = 1.0  # of its turn and way
  blinks: bool = True
  # Degrees beside the photograph's, always; None: as it is driven.
  gaze: tuple[float, float] | None = None

  def __call__(self, drive: Drive) -> Drive:
    """Changes what drives one frame."""
    motion, lids, gaze = drive
    if self.scale != 1:
      turn = self.scale * cv2.Rodrigues(motion.rotation)[0]
      motion = Motion(
        cv2.Rodrigues(turn)[0],
        self.scale * motion.shift,
        motion.scale**self.scale,
      )
    return Drive(
      motion,
      lids if self.blinks else 0.0,
      gaze if self.gaze is None else self.gaze,
    )


def driven(
  meshes: Iterable[Float[np.ndarray, "468 3"] | None],
  open_lids: float,
  shift: float = SHIFT,
  scale: float = SCALE,
  rest: Float[np.ndarray, "3 3"] | None = None,
) -> Iterator[Float[np.ndarray, "15"] | None]:
  """Follows a driver, frame by frame; None where he is not seen.

  His gaze is not among it, and his lids are FaceMesh's; see `looking`.

  Args:
    meshes: FaceMesh's points, px of his video.
    open_lids: His lid gap with open eyes, canonical; see `open_lids`.
    shift: Share of his way in the picture that the head goes.
    scale: Exponent of the growth of his face with which the head grows.
    rest: Rotation of the photograph's head, which then turns to the driver's
      pose (absolute); None: it turns as far as he does from his first frame
      (relative). Its place and size are relative in both.
  """
  first: tuple[np.ndarray, np.ndarray, float] | None = None
  for mesh in meshes:
    if mesh is None:
      yield None
      continue
    face = canonical.placed(mesh[None])
    rotation, eyes = face.rotation[0], float(face.eyes[0])
    pivot = pivot_of(mesh, rotation, eyes)
    if first is None:
      first = rotation, pivot, eyes
    closed = 1 - canonical.lid_gap(face.points)[0] / open_lids
    way = (closed - LIDS_STILL) / (LIDS_SHUT - LIDS_STILL)
    yield Drive(
      Motion(
        rotation @ (first[0] if rest is None else rest).T,
        shift * (pivot - first[1])[:2] / first[2],
        float((eyes / first[2]) ** scale),
      ),
      float(np.clip(way, 0, 1)),
    ).packed()


def looking(
  rows: Iterable[Float[np.ndarray, "15"] | None],
  looks: Iterable[Look | None],
  rest: Float[np.ndarray, "2"] | None = None,
) -> Iterator[Float[np.ndarray, "15"] | None]:
  """Puts what a driver's eyes do into what `driven` yields.

  Args:
    rows: From `driven`, whose lids stay where the iris network knows no better.
    looks: His eyes in each frame; None without a face.
    rest: The photograph's gaze, which he then sets (absolute); None: he moves
      it as far as his goes from his first (relative).
  """
  looks, again = itertools.tee(looks)
  ways = gazes.followed(
    (None if look is None else look.gaze for look in looks), rest
  )
  for row, way, lids in zip(rows, ways, gazes.closed(again), strict=True):
    if row is None:
      yield None
      continue
    row = row.copy()
    row[-GAZES:] = way
    if lids is not None:
      row[LIDS] = lids
    yield row


def open_lids(
  meshes: Iterable[Float[np.ndarray, "468 3"] | None],
) -> float:
  """Measures the lid gap of somebody whose eyes are open, canonical."""
  seen = (mesh for mesh in meshes if mesh is not None)
  gaps = []
  while some := list(itertools.islice(seen, PIECE)):
    gaps.append(canonical.lid_gap(canonical.placed(np.stack(some)).points))
  return max(float(np.quantile(np.concatenate(gaps), LIDS_OPEN)), 1e-3)


def idle(
  n: int,
  fps: float,
  seed: int = 0,
  turns: ByFrame | None = None,
  rest: Float[np.ndarray, "3 3"] | None = None,
) -> Iterator[Drive]:
  """Moves a head that nobody drives: it sways, blinks, and looks about.

  One that looks aside in its photograph never sways so far to the viewer that
  its other side, which nobody knows, would be seen.

  Args:
    n: Frames.
    fps: Frames a second.
    seed: The same seed gives the same motion, of which fewer frames are the
      beginning.
    turns: Its rotation in frames, if it shall turn so; None: it sways.
    rest: Its rotation in the photograph; None: it looks at the viewer.
  """
  # Draws of their own: how many there are of one must not change another.
  rngs = [np.random.default_rng([seed, number]) for number in range(3)]
  aside = rest is not None and from_viewer(rest) > ASIDE
  sway = drawn.swaying(rngs[0], n, fps, 5, IDLE_SECONDS)
  lids = drawn.blinking(rngs[1], n, fps)
  looks = gazes.idle(rngs[2], n, fps)
  first = sway(np.zeros(1, int))  # the first frame is the photograph
  for start in range(0, n, PIECE):
    index = np.arange(start, min(start + PIECE, n))
    if turns is None:
      motions = (
        Motion(
          rotation_of(*np.radians(numbers[:3] * IDLE_DEGREES)),
          numbers[3:] * IDLE_SHIFT,
          1.0,
        )
        for numbers in sway(index) - first
      )
      if rest is not None and aside:
        motions = (_covered(motion, rest) for motion in motions)
    else:
      motions = (Motion(turn, np.zeros(2), 1.0) for turn in turns(index))
    for motion, lid, gaze in zip(
      motions, lids(index), looks(index), strict=True
    ):
      yield Drive(motion, float(lid), (float(gaze[0]), float(gaze[1])))


def _covered(motion: Motion, rest: Float[np.ndarray, "3 3"]) -> Motion:
  """Turns a head less to the viewer: it nears UNSEEN."""
  degrees = uncovered(motion, rest)
  if degrees <= 0:
    return motion
  share = nearing(degrees, 0.0, UNSEEN) / degrees
  turn = share * cv2.Rodrigues(motion.rotation)[0]
  return motion._replace(rotation=cv2.Rodrigues(turn)[0])


def rotation_of(
  yaw: Float[np.ndarray, "*n"] | float,
  pitch: Float[np.ndarray, "*n"] | float,
  roll: Float[np.ndarray, "*n"] | float,
) -> Float[np.ndarray, "*n 3 3"]:
  """Builds R = Rz(roll) Ry(-yaw) Rx(-pitch), radians; x right, y down."""
  angles = np.stack([np.negative(pitch), np.negative(yaw), roll])
  (sx, sy, sz), (cx, cy, cz) = np.sin(angles), np.cos(angles)
  rows = (
    (cz * cy, cz * sy * sx - sz * cx, cz * sy * cx + sz * sx),
    (sz * cy, sz * sy * sx + cz * cx, sz * sy * cx - cz * sx),
    (-sy, cy * sx, cy * cx),
  )
  return np.stack([np.stack(row, -1) for row in rows], -2)
