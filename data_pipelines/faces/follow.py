"""Which face of a file is followed, and what its gaps and neighbours mean.

The rules that `prepare` and `generate` share.
"""

import itertools
import os
from collections.abc import Callable, Iterable, Iterator
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Bool, Float, UInt8

from data_pipelines.faces import align
from data_pipelines.faces.face_rule import Box, named, where
from data_pipelines.faces.tracker import Step, Track, runs
from data_pipelines.media.error import MediaError, warn

ON_MISSING_FACE = ("fail", "hold", "skip")
MIN_SEEN = 0.5  # share of the frames that must show the face
# A square follows where the landmarks of all frames fill more than so many
# times those of one; a stretch of training data fills some 1.6 at most.
STILL = 1.6
CENTRE_S, SIDE_S = 0.4, 1.0  # over which centre and side are smoothed
SHAKE = 0.2  # of the face, by which a centre leaves its mean where it shakes


class NoFaceError(MediaError):
  """The face is not there, or not always."""


@runtime_checkable
class FaceTracker(Protocol):
  """What `faces.tracker.Tracker` does; tests have simpler ones."""

  def track(
    self, frames: Iterable[np.ndarray], rule: str | Box = "largest"
  ) -> Track:
    """Follows one face through RGB frames."""
    ...

  def stream(
    self, frames: Iterable[np.ndarray], rule: str | Box = "largest"
  ) -> Iterator[Step]:
    """The same frame by frame, each before the next one is read."""
    ...

  def votes(
    self,
    frame: np.ndarray,
    rule: str | Box = "largest",
    thorough: bool = True,
  ) -> np.ndarray:
    """What speaks for 0 to 3 quarter turns; all 0 where no face is."""
    ...

  def boxes(self, frame: np.ndarray) -> list[Box]:
    """Where faces are seen, from the left; x, y, width and height, px."""
    ...


def follow(
  path: str | os.PathLike,
  frames: Iterable[UInt8[np.ndarray, "h w 3"]],
  fps: float,
  *,
  tracker: FaceTracker,
  rule: str | Box,
  on_missing_face: str = "skip",
) -> Track:
  """Tracks one face; says so if there are more.

  Raises:
    NoFaceError: no frame shows one; or some do not and `on_missing_face` is
      "fail", then the time is named.
  """
  track = tracker.track(frames, rule)
  check(path, track, fps, rule=rule, on_missing_face=on_missing_face)
  return track


def check(
  path: str | os.PathLike,
  track: Track,
  fps: float,
  *,
  rule: str | Box,
  on_missing_face: str,
) -> None:
  """What `follow` refuses and says, of a track that is there."""
  if not track.found.any():
    raise NoFaceError(path, f"no face found{where(rule)}")
  if track.faces > 1:
    warn(path, f"{track.faces} faces; {named(rule)} is followed")
  if on_missing_face == "fail" and not track.found.all():
    raise NoFaceError(path, f"no face from {gaps(track.found, fps)}")


def check_share(path: str | os.PathLike, found: Bool[np.ndarray, "n"]) -> None:
  """Refuses a file that shows the face in too few of its frames.

  Args:
    path: The file, for the message.
    found: Whether each frame shows the face.

  Raises:
    MediaError: in less than MIN_SEEN of them.
  """
  share = found.mean()
  if share < MIN_SEEN:
    raise MediaError(path, f"a face in only {share:.0%} of the frames")


def longest_shot(track: Track) -> tuple[int, int]:
  """Frames (start, stop) of the shot that shows the face in most of them."""
  edges = [0, *track.shots, len(track.found)]
  return max(
    itertools.pairwise(edges),
    key=lambda shot: track.found[shot[0] : shot[1]].sum(),
  )


def squares(
  landmarks: Float[np.ndarray, "n 68 2"],
  fps: float,
  square: Callable[[np.ndarray], np.ndarray],
) -> Float[np.ndarray, "n 2 3"]:
  """The crop of every frame of one shot: still, or following the face.

  A head that stays where it is has a still square, as the training data have
  it. Where the camera moves, or the person walks, the square goes along: its
  centre and side are those of the face, smoothed, so that turning and nodding
  stay. A camera that shakes is followed without smoothing.

  Args:
    landmarks: Source pixels, of every frame.
    fps: Frames a second.
    square: Makes a still crop of landmarks, source to crop pixels.
  """
  low, high = landmarks.min(1), landmarks.max(1)
  extent = (high - low).max(1)
  typical = max(float(np.median(extent)), 1.0)
  union = float((high.max(0) - low.min(0)).max())
  if union <= STILL * typical:
    return np.repeat(square(landmarks)[None], len(landmarks), 0)
  # Eyes and mouth's corners, which an open mouth does not move.
  middle = np.stack([align.anchors(points).mean(0) for points in landmarks])
  smooth = _smoothed(middle, CENTRE_S * fps)
  shake = np.abs(middle - smooth).max(1)
  if np.percentile(shake, 95) <= SHAKE * typical:
    middle = smooth
  scale = typical / _smoothed(extent[:, None], SIDE_S * fps)
  centre = np.median(middle, 0)
  steady = (landmarks - middle[:, None]) * scale[:, None] + centre
  still = square(steady)
  # The still square is cut of steady = scale (x - middle) + centre.
  matrices = np.repeat(still[None], len(landmarks), 0)
  matrices[:, :, :2] = still[:, :2] * scale[:, None]
  shift = centre - scale * middle
  matrices[:, :, 2] = shift @ still[:, :2].T + still[:, 2]
  return matrices


def _smoothed(
  values: Float[np.ndarray, "n d"], sigma: float
) -> Float[np.ndarray, "n d"]:
  """A Gaussian mean over frames."""
  reach = int(3 * sigma) + 1
  weights = np.exp(-0.5 * (np.arange(-reach, reach + 1) / sigma) ** 2)
  padded = np.pad(values, ((reach, reach), (0, 0)), "edge")
  columns = [
    np.convolve(column, weights / weights.sum(), "valid") for column in padded.T
  ]
  return np.stack(columns, 1)


def gaps(found: Bool[np.ndarray, "n"], fps: float) -> str:
  """Where the face is not seen: "1.20 to 2.00 s, 3.00 to 3.04 s"."""
  return ", ".join(span(start, stop, fps) for start, stop in runs(~found))


def span(start: int, stop: int, fps: float, begin: float = 0.0) -> str:
  """Frames as seconds after `begin`: "1.20 to 2.00 s"."""
  return f"{start / fps + begin:.2f} to {stop / fps + begin:.2f} s"
