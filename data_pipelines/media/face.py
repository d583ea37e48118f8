"""Where the face is: 68 landmarks through a clip, and the crops they give.

Coordinates are x, y in pixels with integers at pixel centres, as OpenCV has
them. Angles are degrees: yaw > 0 turns the head to the picture's right, pitch
> 0 looks up, roll > 0 tilts the head clockwise in the picture.
"""

import os
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, UInt8

from data_pipelines.media.headpose import head_pose
from data_pipelines.media.nets import (
  MODEL_FILES,
  BlazeFace,
  Face,
  FaceMesh,
  MissingModelError,
  box_of,
  checked,
  face_roi,
  mesh_roi,
  models_dir,
)
from data_pipelines.media.warp import similarity, transform, warp
from speak_jax import spec

__all__ = [  # with the names of `warp` and `nets` that users of faces need
  "MissingModelError",
  "Track",
  "Tracker",
  "align_face",
  "align_mouth",
  "bridge",
  "models_dir",
  "outside",
  "runs",
  "square",
  "transform",
  "warp",
]

SQUARE = 1.3  # side of the static crop over the larger side of the landmarks
SQUARE_UP = 0.04  # of the side: hair needs more room than the neck

# Left eye, right eye, mouth centre in the unit square of an aligned face.
# Eyes .4 apart leave room for the brows and for the chin of an open mouth.
FACE_TEMPLATE = np.array([[0.30, 0.23], [0.70, 0.23], [0.50, 0.66]])
# A patch of 1.6 inter-ocular distances holds a wide-open mouth and its chin.
MOUTH_SIDE = 1.6


def anchors(
  landmarks: Float[np.ndarray, "68 2"],
) -> Float[np.ndarray, "3 2"]:
  """Left eye centre, right eye centre and middle of the mouth's corners."""
  return np.stack(
    [
      landmarks[spec.LEFT_EYE].sum(0) / 6,
      landmarks[spec.RIGHT_EYE].sum(0) / 6,
      (landmarks[48] + landmarks[54]) / 2,
    ]
  )


def face_matrix(
  landmarks: Float[np.ndarray, "68 2"], size: int
) -> Float[np.ndarray, "2 3"]:
  """Picture to aligned face of `size` px: brows at the top, chin below."""
  return similarity(anchors(landmarks), FACE_TEMPLATE * size - 0.5)


def mouth_matrix(
  landmarks: Float[np.ndarray, "68 2"], size: int
) -> Float[np.ndarray, "2 3"]:
  """Picture to mouth patch of `size` px, centred on the lips.

  Rotation and scale are those of the aligned face, not of the mouth, so that
  an opening mouth does not change the scale, nor a turning head the width.
  """
  eyes = FACE_TEMPLATE[1, 0] - FACE_TEMPLATE[0, 0]
  matrix = face_matrix(landmarks, size) / (eyes * MOUTH_SIDE)
  centre = landmarks[spec.MOUTH].sum(0) / 20
  matrix[:, 2] = (size - 1) / 2 - matrix[:, :2] @ centre
  return matrix


def align_face(
  frame: UInt8[np.ndarray, "h w 3"],
  landmarks: Float[np.ndarray, "68 2"],
  size: int,
) -> UInt8[np.ndarray, "s s 3"]:
  """Cuts the face upright: eyes, brows, mouth and chin fill the square."""
  return warp(frame, face_matrix(landmarks, size), size)


def align_mouth(
  frame: UInt8[np.ndarray, "h w 3"],
  landmarks: Float[np.ndarray, "68 2"],
  size: int,
) -> UInt8[np.ndarray, "s s 3"]:
  """Cuts a square patch round the lips, 1.6 inter-ocular distances wide."""
  return warp(frame, mouth_matrix(landmarks, size), size)


def square(
  landmarks: Float[np.ndarray, "n 68 2"], size: int
) -> Float[np.ndarray, "2 3"]:
  """One static crop for a whole track, source pixels to `size` px.

  The square holds every frame's landmarks, 1.3 times as wide as their union
  and moved up by .04 of its side. It never turns, so head motion survives.
  """
  low, high = landmarks.min((0, 1)), landmarks.max((0, 1))
  side = max(SQUARE * float((high - low).max()), 1.0)
  corner = (low + high) / 2 - side / 2 - np.array([0, SQUARE_UP * side])
  scale = size / side
  # Pixel edges, not centres, are what scales: hence the half pixels.
  shift = scale * (0.5 - corner) - 0.5
  return np.array([[scale, 0, shift[0]], [0, scale, shift[1]]])


def outside(
  matrix: Float[np.ndarray, "2 3"], size: int, width: int, height: int
):
  """Share of a static crop's area that lies outside the picture, 0 to 1."""
  scale = matrix[0, 0]
  side = size / scale
  corner = 0.5 - (matrix[:, 2] + 0.5) / scale
  inside = np.minimum(corner + side, (width, height)) - np.maximum(corner, 0)
  return 1 - float(inside.clip(0).prod() / side**2)


# FaceMesh vertices that lie where iBUG has its 68 points. Jaw points sit on
# the mesh's silhouette: close to iBUG's, not the same anatomy.
# fmt: off
IBUG = np.array([
  127, 234, 132, 58, 172, 136, 149, 148, 152,
  377, 378, 365, 397, 288, 361, 454, 356,  # jaw, left to right
  70, 63, 105, 66, 107, 336, 296, 334, 293, 300,  # brows
  168, 197, 5, 4, 98, 97, 2, 326, 327,  # nose
  33, 160, 158, 133, 153, 144,  # left eye in the picture
  362, 385, 387, 263, 373, 380,
  61, 40, 37, 0, 267, 270, 291, 321, 314, 17, 84, 91,  # outer lips
  78, 81, 13, 311, 308, 402, 14, 178,  # inner lips
])
# fmt: on

_CHECK = 25  # frames between two looks of the detector at a tracked face
_SEARCH = 5  # a lost face is searched for in tiles on every 5th frame only
_LOYAL = 25  # frames during which a lost face may not become another one


class Track(NamedTuple):
  """One face through a clip; rows of missing frames are NaN."""

  landmarks: Float[np.ndarray, "n 68 2"]  # source pixels
  pose: Float[np.ndarray, "n 3"]  # yaw, pitch, roll in degrees
  found: Bool[np.ndarray, "n"]
  faces: int  # most faces seen at once


class Tracker:
  """Finds one face and follows it; the largest one if there are several.

  BlazeFace finds it; FaceMesh then follows it from its own last landmarks.
  """

  def __init__(self, models: str | os.PathLike | None = None):
    """Loads the models from a folder, by default `models_dir()`.

    Raises:
      MissingModelError: says how to fetch them.
    """
    folder = models_dir() if models is None else Path(models)
    detector, mesh = (checked(folder / name) for name in MODEL_FILES)
    self._detector = BlazeFace(detector)
    self._mesh = FaceMesh(mesh)

  def track(self, frames: Iterable[UInt8[np.ndarray, "h w 3"]]) -> Track:
    """Follows the largest face of the first frame that shows one.

    A lost face is taken up again near where it was; after a second without
    it the largest face in sight is taken, wherever it is.
    """
    meshes: list[np.ndarray | None] = []
    last, missing, most = None, 0, 0
    for index, frame in enumerate(frames):
      mesh = None
      if last is not None and missing == 0:
        mesh = self._mesh(frame, mesh_roi(last))
        if mesh is not None and index % _CHECK == 0:
          faces = self._detector.detect(frame, thorough=False)
          most = max(most, len(faces))
          if faces and not any(_near(face, mesh) for face in faces):
            mesh = None  # it sits on something that is no face
      if mesh is None:
        faces = self._detector.detect(frame, thorough=missing % _SEARCH == 0)
        most = max(most, len(faces))
        if last is not None and missing < _LOYAL:
          faces = [face for face in faces if _near(face, last)]
        mesh = self._settle(frame, faces)
      meshes.append(mesh)
      missing = missing + 1 if mesh is None else 0
      last = last if mesh is None else mesh
    lost = np.full((468, 3), np.nan, np.float32)
    stacked = np.stack([lost, *(lost if m is None else m for m in meshes)])[1:]
    return Track(
      landmarks=np.ascontiguousarray(stacked[:, IBUG, :2]),
      pose=head_pose(stacked),
      found=np.array([m is not None for m in meshes], bool),
      faces=most,
    )

  def _settle(self, frame: UInt8[np.ndarray, "h w 3"], faces: list[Face]):
    """The mesh of the first face that FaceMesh believes in, or None."""
    for face in faces:
      mesh = self._mesh(frame, face_roi(face))
      if mesh is not None:  # once more, in the better square of its own
        mesh = self._mesh(frame, mesh_roi(mesh))
      if mesh is not None:
        return mesh
    return None


def bridge(track: Track, longest: int | None = None) -> Track:
  """Fills gaps of up to `longest` frames by interpolation in time.

  Frames before the first and after the last found one count as gaps too and
  repeat their neighbour. `found` then says which rows hold numbers.

  Args:
    track: From `Tracker.track`.
    longest: Frames; None fills every gap.
  """
  known = np.flatnonzero(track.found)
  if not len(known):
    return track
  fill = np.zeros_like(track.found)
  for start, stop in runs(~track.found):
    fill[start:stop] = longest is None or stop - start <= longest
  times = np.flatnonzero(fill)
  landmarks, pose = track.landmarks.copy(), track.pose.copy()
  for values in (landmarks.reshape(len(landmarks), -1), pose):
    for column in values.T:
      column[times] = np.interp(times, known, column[known])
  return track._replace(
    landmarks=landmarks, pose=pose, found=track.found | fill
  )


def runs(flags: Bool[np.ndarray, "n"]) -> list[tuple[int, int]]:
  """Stretches of true flags as (start, stop)."""
  edges = np.flatnonzero(np.diff(np.concatenate([[0], flags, [0]])))
  return [(int(a), int(b)) for a, b in edges.reshape(-1, 2)]


def _near(face: Face, mesh: Float[np.ndarray, "468 3"]) -> bool:
  """Whether a detected face can be the one of these landmarks."""
  box = box_of(mesh)
  far = np.abs(face.box[:2] + face.box[2:] - box[:2] - box[2:]).max() / 2
  return bool(far < 0.6 * (box[2:] - box[:2]).max())
