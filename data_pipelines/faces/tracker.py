"""One face through a clip: mesh, 68 landmarks and the head's pose, by frame.

Coordinates are x, y in pixels with integers at pixel centres, as OpenCV has
them. The mesh has depth too, z in the same pixels: smaller is nearer to the
camera, and 0 is within the head (FaceMesh sees without perspective). Angles are
degrees: yaw > 0 turns the head to the picture's right, pitch > 0 looks up,
roll > 0 tilts the head clockwise in the picture.
"""

import array
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int, UInt8

from data_pipelines.faces.face_rule import Box, corners, is_number, ranked
from data_pipelines.faces.headpose import head_pose
from data_pipelines.faces.nets import (
  DETECTOR,
  FINEST,
  MESH,
  BlazeFace,
  Face,
  FaceMesh,
  box_of,
  checked,
  face_roi,
  mesh_roi,
  models_dir,
)
from data_pipelines.faces.shots import NEW_SHOT, difference, thumbnail
from data_pipelines.media.warp import warp

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
# How finely a lost face is searched for, on every 25th, 5th ... frame only.
_SEARCHES = ((FINEST, 25), (2, 5))
_LOYAL = 25  # frames during which a lost face may not become another one

# Which side of a face is up. At once where both networks are sure of an upright
# face: no picture on its head or side gets near these, 300 tried.
_SURE_SCORE, _SURE_MESH, _SURE_ROLL = 0.9, 0.99, 30.0
_VOTE_PX = 256  # side of the crop that is turned
_ASKED = 3  # faces of a picture at most
_VOTED = 0.5  # by which a face is one
_DOUBT = 0.7  # share of the votes for another side, from which it is doubtful


class Step(NamedTuple):
  """What a tracker says of one frame."""

  landmarks: Float[np.ndarray, "68 2"]  # source pixels; NaN where not found
  mesh: Float[np.ndarray, "468 3"]  # x, y, z in source pixels; likewise
  pose: Float[np.ndarray, "3"]  # yaw, pitch, roll in degrees; likewise
  found: bool
  faces: int  # most faces seen at once so far
  shot: bool  # another shot begins


class Track(NamedTuple):
  """One face through a clip; rows of missing frames are NaN."""

  landmarks: Float[np.ndarray, "n 68 2"]  # source pixels
  mesh: Float[np.ndarray, "n 468 3"]  # x, y, z in source pixels
  pose: Float[np.ndarray, "n 3"]  # yaw, pitch, roll in degrees
  found: Bool[np.ndarray, "n"]
  faces: int  # most faces seen at once
  shots: tuple[int, ...] = ()  # frames that start another shot

  def shot(self, start: int, stop: int) -> "Track":
    """The frames of one shot alone."""
    return self._replace(
      landmarks=self.landmarks[start:stop],
      mesh=self.mesh[start:stop],
      pose=self.pose[start:stop],
      found=self.found[start:stop],
      shots=(),
    )


class Tracker:
  """Finds one face and follows it.

  BlazeFace finds it; FaceMesh then follows it from its own last landmarks.
  """

  def __init__(self, models: str | os.PathLike | None = None):
    """Loads the models from a folder, by default `models_dir()`.

    Raises:
      MissingModelError: says how to fetch them.
    """
    folder = models_dir() if models is None else Path(models)
    detector, mesh = (checked(folder / name) for name in (DETECTOR, MESH))
    self._detector = BlazeFace(detector)
    self._mesh = FaceMesh(mesh)

  def track(
    self,
    frames: Iterable[UInt8[np.ndarray, "h w 3"]],
    rule: str | Box = "largest",
  ) -> Track:
    """Follows one face of the first frame that shows any.

    A lost face is taken up again near where it was; after a second without
    it, or in another shot, the rule decides anew, wherever the face is.

    Args:
      frames: RGB.
      rule: Of several faces: "largest", "first" from the left, "2" and so on,
        or the one that overlaps a box most.
    """
    return gather(self.stream(frames, rule))

  def boxes(self, frame: UInt8[np.ndarray, "h w 3"]) -> list[Box]:
    """Where faces are seen, from the left: number 1, 2 and so on of a rule.

    Args:
      frame: RGB, upright.
    """
    found = next((x for x in self._detector.levels(frame) if x), [])
    return [
      (x0, y0, x1 - x0, y1 - y0)
      for x0, y0, x1, y1 in (
        face.box.tolist() for face in ranked(found, "first")
      )
    ]

  def stream(
    self,
    frames: Iterable[UInt8[np.ndarray, "h w 3"]],
    rule: str | Box = "largest",
  ) -> Iterator[Step]:
    """`track` frame by frame: each one's step before the next one is read."""
    last: _TrackedFace | None = None
    missing, most = 0, 0
    shown, anew = None, False  # picture before; whether all changed meanwhile
    for index, frame in enumerate(frames):
      tracked = None
      if last is not None and missing == 0:
        tracked = self._look_at(frame, mesh_roi(last.mesh))
        if tracked is not None and index % _CHECK == 0:
          faces = self._detector.detect(frame, finest=0)
          most = max(most, len(faces))
          if faces and not any(_near(x.box, tracked.mesh) for x in faces):
            tracked = None  # it sits on something that is no face
      if tracked is None:
        # Where all is new, so is the face's place.
        anew = anew or (
          shown is not None
          and difference(thumbnail(shown), thumbnail(frame)) > NEW_SHOT
        )
        finest = next((n for n, every in _SEARCHES if missing % every == 0), 0)
        if last is not None and missing < _LOYAL and not anew:
          faces = self._detector.detect(frame, min(finest, 2))
          most = max(most, len(faces))
          near = [face for face in faces if _near(face.box, last.mesh)]
          tracked = self._settle(frame, near)
        else:
          for faces in self._candidates(frame, rule, finest):
            most = max(most, len(faces))
            tracked = self._settle(frame, ranked(faces, rule))
            if tracked is not None:
              break
      shown = frame
      if tracked is None:
        missing += 1
        points = np.full((68, 2), np.nan, np.float32)
        mesh = np.full((468, 3), np.nan, np.float32)
        pose = np.full(3, np.nan, np.float32)
        yield Step(points, mesh, pose, False, most, False)
        continue
      cut = last is not None and self._is_cut(last, tracked, missing)
      last, missing, anew = tracked, 0, False
      mesh = tracked.mesh.astype(np.float32)
      points = mesh[IBUG, :2]
      pose = head_pose(tracked.mesh[None])[0].astype(np.float32)
      found = bool(np.isfinite(pose[0]))
      yield Step(points, mesh, pose, found, most, cut)

  def votes(
    self,
    frame: UInt8[np.ndarray, "h w 3"],
    rule: str | Box = "largest",
    thorough: bool = True,
  ) -> Float[np.ndarray, "4"]:
    """How much speaks for each number of quarter turns to set a face upright.

    The face that the rule chooses is looked at on all four sides. On each,
    its own roll says which side is up, as loudly as the networks are sure
    that there is a face. On the wrong side they are less so, or see it
    turned.

    Args:
      frame: RGB.
      rule: As in `track`.
      thorough: Search for small faces too, and on all sides; a face that
        lies is found nearly as well as an upright one.

    Returns:
      Votes for 0 to 3 turns, anticlockwise as `np.rot90` has them, of some
      0 to 3; all 0 where no face is found.
    """
    # A box is looked into at once, and faces on their side are seen anyway.
    sides = 4 if thorough and not isinstance(rule, tuple) else 1
    for turns in range(sides):
      side = np.ascontiguousarray(np.rot90(frame, turns))
      finest = FINEST if thorough and turns == 0 else 2
      for faces in self._candidates(side, rule, finest):
        for face in ranked(faces, rule)[:_ASKED]:
          votes = self._votes(side, face)
          if votes.max() >= _VOTED:
            return np.roll(votes, turns)
    return np.zeros(4)

  def _votes(
    self, frame: UInt8[np.ndarray, "h w 3"], face: Face
  ) -> Float[np.ndarray, "4"]:
    """`votes` of one face."""
    votes = np.zeros(4)
    if face.score >= _SURE_SCORE:
      mesh, sure = self._believe(frame, face)
      if sure >= _SURE_MESH and abs(head_pose(mesh[None])[0, 2]) < _SURE_ROLL:
        votes[0] = 3.0
        return votes
    centre = (face.box[:2] + face.box[2:]) / 2
    extent = float((face.box[2:] - face.box[:2]).max())
    for wide in (2.5, 1.8, 3.5):
      scale = _VOTE_PX / (wide * extent)
      shift = (_VOTE_PX - 1) / 2 - scale * centre
      matrix = np.array([[scale, 0, shift[0]], [0, scale, shift[1]]])
      crop = warp(frame, matrix, _VOTE_PX)
      for turns in range(4):
        side = np.ascontiguousarray(np.rot90(crop, turns))
        faces = self._detector.detect(side, finest=0)
        if not faces:
          continue
        middle = min(faces, key=_off_centre)
        mesh, sure = self._believe(side, middle)
        roll = head_pose(mesh[None])[0, 2]
        if np.isfinite(roll):
          votes[(turns + round(roll / 90)) % 4] += middle.score * sure
      if votes.max() >= _VOTED and is_sure(votes):
        break
    return votes

  def _believe(
    self, frame: UInt8[np.ndarray, "h w 3"], face: Face
  ) -> tuple[Float[np.ndarray, "468 3"], float]:
    """FaceMesh's points of a detected face, and how sure it is of two looks."""
    mesh, first = self._mesh.score(frame, face_roi(face))
    mesh, second = self._mesh.score(frame, mesh_roi(mesh))
    return mesh, min(first, second)

  def _candidates(
    self, frame: UInt8[np.ndarray, "h w 3"], rule: str | Box, finest: int
  ) -> Iterator[list[Face]]:
    """Detected faces at finer and finer steps; in a box at its own scale."""
    if isinstance(rule, tuple):
      yield self._detector.look_into(frame, corners(rule))
    for faces in self._detector.levels(frame, finest):
      yield faces
      if faces and is_number(rule):
        return  # smaller faces would have other numbers

  def _look_at(
    self, frame: UInt8[np.ndarray, "h w 3"], roi: Float[np.ndarray, "2 3"]
  ) -> "_TrackedFace | None":
    """The face that FaceMesh sees in a square, or None."""
    mesh, crop = self._mesh(frame, roi)
    return None if mesh is None else _TrackedFace(frame, mesh, thumbnail(crop))

  def _settle(
    self, frame: UInt8[np.ndarray, "h w 3"], faces: list[Face]
  ) -> "_TrackedFace | None":
    """The first face that FaceMesh believes in, or None."""
    for face in faces:
      tracked = self._look_at(frame, face_roi(face))
      if tracked is not None:  # once more, in the better square of its own
        tracked = self._look_at(frame, mesh_roi(tracked.mesh))
      if tracked is not None:
        return tracked
    return None

  def _is_cut(
    self, last: "_TrackedFace", now: "_TrackedFace", missing: int
  ) -> bool:
    """Whether another shot begins, `missing` frames after the last face."""
    if missing >= _LOYAL:
      return not _near(box_of(now.mesh), last.mesh)
    if difference(last.square, now.square) <= NEW_SHOT:
      return False
    # A fast head leaves its square too: compare the heads themselves.
    heads = [
      thumbnail(self._mesh(one.frame, mesh_roi(one.mesh))[1])
      for one in (last, now)
    ]
    return difference(*heads) > NEW_SHOT


def gather(steps: Iterable[Step]) -> Track:
  """The track of all steps of a clip."""
  landmarks, poses, found, shots, faces = [], [], [], [], 0
  meshes = array.array("f")  # an hour has 0.5 GB, which a list would double
  for i, step in enumerate(steps):
    landmarks.append(step.landmarks)
    meshes.frombytes(step.mesh.astype(np.float32).tobytes())
    poses.append(step.pose)
    found.append(step.found)
    shots += [i] if step.shot else []
    faces = step.faces
  return Track(
    landmarks=np.array(landmarks, np.float32).reshape(-1, 68, 2),
    mesh=np.frombuffer(meshes, np.float32).reshape(-1, 468, 3),
    pose=np.array(poses, np.float32).reshape(-1, 3),
    found=np.array(found, bool),
    faces=faces,
    shots=tuple(shots),
  )


class _TrackedFace(NamedTuple):
  """A tracked face in a picture."""

  frame: UInt8[np.ndarray, "h w 3"]
  mesh: Float[np.ndarray, "468 3"]
  square: Float[np.ndarray, "l l 3"]  # thumbnail of the square it was found in


def _off_centre(face: Face) -> float:
  """How far the middle of a face is from that of the votes' crop, px."""
  middle = (face.box[:2] + face.box[2:]) / 2
  return float(np.abs(middle - (_VOTE_PX - 1) / 2).max())


def is_sure(votes: Float[np.ndarray, "4"]) -> bool:
  """Whether the votes for one side are far more than for the next."""
  second, first = np.sort(votes)[-2:]
  return bool(first > 0 and second <= _DOUBT * first)


def bridge(track: Track, longest: int | None = None) -> Track:
  """Fills gaps of up to `longest` frames by interpolation in time.

  Frames before the first and after the last found one count as gaps too and
  repeat their neighbour; a gap that ends in another shot is none to fill.
  `found` then says which rows hold numbers.

  Args:
    track: From `Tracker.track`.
    longest: Frames; None fills every gap.
  """
  known = np.flatnonzero(track.found)
  if not len(known):
    return track
  fill = np.zeros_like(track.found)
  for start, stop in runs(~track.found):
    fill[start:stop] = (
      longest is None or stop - start <= longest
    ) and stop not in track.shots
  times = np.flatnonzero(fill)
  return track._replace(
    landmarks=interpolated(track.landmarks, known, times),
    mesh=interpolated(track.mesh, known, times),
    pose=interpolated(track.pose, known, times),
    found=track.found | fill,
  )


def interpolated(
  values: Float[np.ndarray, "n *d"],
  known: Int[np.ndarray, "k"],
  times: Int[np.ndarray, "m"],
) -> Float[np.ndarray, "n *d"]:
  """Values whose rows `times` are interpolated between the rows `known`.

  Args:
    values: A row a frame; they are not changed.
    known: Rows that hold numbers, rising; at least one.
    times: Rows to fill; before the first and after the last known one they
      repeat it.
  """
  if not len(times):
    return values
  filled = values.copy()
  for column in filled.reshape(len(filled), -1).T:
    column[times] = np.interp(times, known, column[known])
  return filled


def runs(flags: Bool[np.ndarray, "n"]) -> list[tuple[int, int]]:
  """Stretches of true flags as (start, stop)."""
  edges = np.flatnonzero(np.diff(np.concatenate([[0], flags, [0]])))
  return [(int(a), int(b)) for a, b in edges.reshape(-1, 2)]


def _near(
  box: Float[np.ndarray, "4"], mesh: Float[np.ndarray, "468 3"]
) -> bool:
  """Whether a detected face can be the one of these landmarks."""
  old = box_of(mesh)
  far = np.abs(box[:2] + box[2:] - old[:2] - old[2:]).max() / 2
  return bool(far < 0.6 * (old[2:] - old[:2]).max())
