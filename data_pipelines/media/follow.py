"""Which face of a file is followed, and what its gaps and neighbours mean.

The rules that `prepare` and `generate` share.
"""

import os
from collections.abc import Iterable, Iterator
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Bool, UInt8

from data_pipelines.media import face
from data_pipelines.media.error import MediaError, warn

ON_MISSING_FACE = ("fail", "hold", "skip")
MIN_SEEN = 0.5  # share of the frames that must show the face


class NoFaceError(MediaError):
  """The face is not there, or not always."""


@runtime_checkable
class Tracker(Protocol):
  """What `media.face.Tracker` does."""

  def track(
    self, frames: Iterable[np.ndarray], which: str | face.Box = "largest"
  ) -> face.Track:
    """Follows one face through RGB frames."""
    ...

  def stream(
    self, frames: Iterable[np.ndarray], which: str | face.Box = "largest"
  ) -> Iterator[face.Step]:
    """The same frame by frame, each before the next one is read."""
    ...

  def votes(
    self,
    frame: np.ndarray,
    which: str | face.Box = "largest",
    thorough: bool = True,
  ) -> np.ndarray:
    """What speaks for 0 to 3 quarter turns; all 0 where no face is."""
    ...


def follow(
  path: str | os.PathLike,
  frames: Iterable[UInt8[np.ndarray, "h w 3"]],
  fps: float,
  *,
  tracker: Tracker,
  which: str | face.Box,
  on_missing_face: str = "skip",
) -> face.Track:
  """Tracks one face; says so if there are more.

  Raises:
    NoFaceError: no frame shows one; or some do not and `on_missing_face` is
      "fail", then the time is named.
  """
  track = tracker.track(frames, which)
  check(path, track, fps, which=which, on_missing_face=on_missing_face)
  return track


def check(
  path: str | os.PathLike,
  track: face.Track,
  fps: float,
  *,
  which: str | face.Box,
  on_missing_face: str,
) -> None:
  """What `follow` refuses and says, of a track that is there."""
  boxed = isinstance(which, tuple)
  if not track.found.any():
    place = " in the box" if boxed else ""
    raise NoFaceError(path, f"no face found{place}")
  if track.faces > 1:
    one = "the one in the box" if boxed else f"the {_NAMES[which]} one"
    warn(path, f"{track.faces} faces; {one} is followed")
  if on_missing_face == "fail" and not track.found.all():
    raise NoFaceError(path, f"no face from {gaps(track.found, fps)}")


def gaps(found: Bool[np.ndarray, "n"], fps: float) -> str:
  """Where the face is not seen: "1.20 to 2.00 s, 3.00 to 3.04 s"."""
  return ", ".join(span(start, stop, fps) for start, stop in face.runs(~found))


def span(start: int, stop: int, fps: float) -> str:
  """Frames as seconds: "1.20 to 2.00 s"."""
  return f"{start / fps:.2f} to {stop / fps:.2f} s"


_NAMES = {"largest": "largest", "first": "leftmost"}
