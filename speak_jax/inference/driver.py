"""The head motion that drives a talking head: crops of a video, one by one."""

import itertools
import os
from collections.abc import Generator, Iterable, Iterator

import numpy as np
from jaxtyping import Float, Int, UInt8

from data_pipelines.faces.face_rule import Box
from data_pipelines.faces.follow import (
  FaceTracker,
  NoFaceError,
  check,
  check_share,
  gaps,
  longest_shot,
)
from data_pipelines.faces.tracker import Step, Track, gather
from data_pipelines.media.error import warn
from data_pipelines.media.warp import transform, warp
from speak_jax.common.on_disk import Rows
from speak_jax.inference.crops import track_crops
from speak_jax.inference.inputs import Rules, find_face
from speak_jax.inference.settings import Settings
from speak_jax.inference.windows import ping_pong

LOOK_S = 30.0  # of a face in motion, from which its square is found
FOLLOWS = 0.3  # of the way that a face is beyond its square, each frame
KEEP_BYTES = 8 << 20  # of pictures that wait for the square


class StillDriver:
  """A head that does not move."""

  def __init__(self, crop: UInt8[np.ndarray, "h w 3"]):
    """Takes the identity's crop."""
    self._crop = crop

  def crops(self) -> Generator[UInt8[np.ndarray, "h w 3"] | None, None, None]:
    """Yields the one crop."""
    yield self._crop

  def shown(
    self, columns: Int[np.ndarray, "k"], n: int
  ) -> list[UInt8[np.ndarray, "h w 3"]]:
    """Returns the crop again, for each of the k frames."""
    del n
    return [self._crop] * len(columns)


class VideoDriver:
  """A driving video, as the encoder wants it: square crops, one by one.

  The square is still and holds the face of the first `LOOK_S` seconds that
  show it, or follows a face that wanders further; until it is known pictures
  wait, those beyond `KEEP_BYTES` being decoded once more. What lies behind is
  read as it is asked for; a face that leaves the square there is followed. Of
  several shots one is taken, so that the head does not jump.
  """

  def __init__(
    self,
    path: str | os.PathLike,
    n: int,
    settings: Settings,
    tracker: FaceTracker,
    rules: Rules,
  ):
    """Reads up to where the square is known.

    Args:
      path: A video, of which n frames are used at most, or a picture.
      n: Frames to make.
      settings: Frame rate, size and framing of the model.
      tracker: Finds faces.
      rules: Which face, and what if there is none.

    Raises:
      MediaError: The video cannot be used.
    """
    self.path, self._settings, self._rules = path, settings, rules
    self._n = n
    self._footage = find_face(path, tracker, rules.pose).with_lead(
      rules.on_missing_face == "fail"
    )
    self._has_face = bytearray()  # of each frame so far, 1 or 0
    self._outside = 0  # frames whose face leaves the square
    self._first = 0  # frame of the footage
    self._followed = Rows(np.float64, (2, 3))  # squares behind the first look
    self._pairs = _paired(self._pictures(), tracker, self._footage.rule)
    self._opening, track, self._at_end = self._look()
    track = self._longest_shot(track)
    check(
      path,
      track,
      settings.fps,
      rule=rules.pose,
      on_missing_face=rules.on_missing_face,
    )
    self._has_face = bytearray(track.found)
    self._meshes = Rows(np.float32, track.mesh.shape[1:])  # of the first look
    self._meshes.append(track.mesh)
    if self._at_end:
      self._finish()
    if self._at_end and len(self._has_face) == 1:
      warn(path, "a single picture; the head will keep still")
    first = next(iter(self._opening or self._pictures()))
    self._matrices = track_crops(
      path, track, settings.fps, first, settings.image, settings.framing
    )
    self._matrix = self._matrices[-1]

  def crops(self) -> Generator[UInt8[np.ndarray, "h w 3"] | None, None, None]:
    """Yields a crop for every frame, once; None where there is no face.

    Raises:
      MediaError: It turns out that the video cannot be used.
    """
    for frame, mesh, matrix in self._followed_frames():
      yield None if mesh is None else self._crop(frame, matrix)

  def faces(
    self,
  ) -> Generator[tuple[np.ndarray, np.ndarray] | None, None, None]:
    """Yields frames and FaceMesh's points, px of the video, instead of crops.

    Raises:
      MediaError: It turns out that the video cannot be used.
    """
    for frame, mesh, _ in self._followed_frames():
      yield None if mesh is None else (frame, mesh)

  def opening_meshes(self) -> Iterator[Float[np.ndarray, "468 3"]]:
    """Yields FaceMesh's points in the first look, where the face is seen."""
    for i in range(len(self._meshes)):
      if self._has_face[i]:
        yield self._meshes.row(i)

  def _followed_frames(
    self,
  ) -> Generator[tuple[np.ndarray, np.ndarray | None, np.ndarray], None, None]:
    """Yields every frame, once, with FaceMesh's points and its crop's matrix.

    Points are None where no face is seen.
    """
    opening = self._opening or self._pictures()
    self._opening = []
    for i, (frame, matrix) in enumerate(
      zip(opening, self._matrices, strict=False)
    ):
      mesh = self._meshes.row(i) if self._has_face[i] else None
      yield frame, mesh, matrix
    opening = []
    for frame, step in () if self._at_end else self._pairs:
      if step.shot:
        start = self._footage.start + (self._first + len(self._has_face)) / (
          self._settings.fps
        )
        warn(self.path, f"another shot from {start:.2f} s on: left out")
        break
      self._has_face.append(step.found)
      if not step.found and self._rules.on_missing_face == "fail":
        raise NoFaceError(self.path, f"no face from {self._gaps()}")
      if step.found:
        self._follow(step.landmarks)
      self._followed.append(self._matrix[None])
      yield frame, step.mesh if step.found else None, self._matrix
    if not self._at_end:
      self._finish()

  def shown(
    self, columns: Int[np.ndarray, "k"], n: int
  ) -> list[UInt8[np.ndarray, "h w 3"]]:
    """Returns the crops that drove k of the n frames; reads the video again.

    Args:
      columns: Indices of these frames.
      n: Frames that were made.
    """
    has_face = np.frombuffer(self._has_face, bool)
    if self._rules.on_missing_face == "hold":
      driver = np.maximum(np.cumsum(has_face) - 1, 0)
    else:
      driver = np.arange(has_face.sum())
    driver = np.flatnonzero(has_face)[driver]
    wanted = driver[ping_pong(len(driver), n)][columns]
    crops = {
      i: self._crop(frame, self._square(i))
      for i, frame in enumerate(self._pictures())
      if i in wanted
    }
    return [crops[i] for i in wanted]

  def _square(self, i: int) -> Float[np.ndarray, "2 3"]:
    """The matrix of a frame's crop."""
    looked = len(self._matrices)
    if i < looked:
      return self._matrices[i]
    return self._followed.row(i - looked)

  def _longest_shot(self, track: Track) -> Track:
    """Keeps the longest shot of the first look, drops what lies before it."""
    start, stop = longest_shot(track)
    if len(track.shots):
      fps = self._settings.fps
      begin = self._footage.start
      warn(
        self.path,
        f"{len(track.shots) + 1} shots; the motion is that of the longest,"
        f" {begin + start / fps:.2f} to {begin + stop / fps:.2f} s",
      )
      self._at_end = self._at_end or stop < len(track.found)
      self._first = start
      self._opening = self._opening[start:stop]
    return track.shot(start, stop)

  def _follow(self, landmarks: Float[np.ndarray, "68 2"]) -> None:
    """Moves the square where a face would leave it."""
    points = transform(landmarks, self._matrix)
    last = self._settings.image - 1
    if points.min() >= 0 and points.max() <= last:
      return
    self._outside += 1
    # In crop pixels; a part of the way each frame, so that nothing jumps.
    beyond = np.minimum(points.min(0), 0) + np.maximum(points.max(0) - last, 0)
    self._matrix = self._matrix.copy()
    self._matrix[:, 2] -= FOLLOWS * beyond

  def _pictures(self) -> Iterator[UInt8[np.ndarray, "h w 3"]]:
    """Yields the frames that are used, decoded anew."""
    frames = self._footage.frames(self._settings.fps)
    return itertools.islice(frames, self._first, self._n)

  def _look(self) -> tuple[list[np.ndarray], Track, bool]:
    """Reads frames until the square is known.

    Returns:
      The frames, none if they are too many to keep; the face in each; and
      whether the video has ended.
    """
    frames, room = [], KEEP_BYTES
    enough = round(LOOK_S * self._settings.fps)

    def steps() -> Iterator[Step]:
      nonlocal room, enough
      for frame, step in self._pairs:
        room -= frame.nbytes
        frames.append(frame)
        if room < 0:
          frames.clear()
        enough -= step.found
        yield step
        if not enough:
          return

    track = gather(steps())
    return frames, track, enough > 0

  def _finish(self) -> None:
    """Warns of what is odd about the whole video.

    Raises:
      MediaError: It hardly shows a face.
    """
    path, has_face = self.path, np.frombuffer(self._has_face, bool)
    check_share(path, has_face)
    if not has_face.all():
      hold = self._rules.on_missing_face == "hold"
      remedy = "the motion is interpolated" if hold else "left out"
      warn(path, f"no face from {self._gaps()}; {remedy}")
    if self._outside:
      warn(
        path,
        f"the face leaves the square of its first {LOOK_S:g} s in"
        f" {self._outside} frames; it is followed",
      )

  def _gaps(self) -> str:
    """Says where no face is seen, in the file's own time."""
    fps = self._settings.fps
    before = self._first + round(self._footage.start * fps)
    known = np.frombuffer(self._has_face, bool)
    return gaps(np.concatenate([np.ones(before, bool), known]), fps)

  def _crop(
    self, frame: UInt8[np.ndarray, "h w 3"], matrix: Float[np.ndarray, "2 3"]
  ) -> UInt8[np.ndarray, "s s 3"]:
    return warp(frame, matrix, self._settings.image)


def _paired(
  frames: Iterable[UInt8[np.ndarray, "h w 3"]],
  tracker: FaceTracker,
  rule: str | Box,
) -> Iterator[tuple[np.ndarray, Step]]:
  """Yields every frame with what the tracker says of it."""
  last = []

  def passing() -> Iterator[np.ndarray]:
    for frame in frames:
      last[:] = [frame]
      yield frame

  for step in tracker.stream(passing(), rule):
    yield last[0], step
