"""Where a file first shows the face that is asked for, and which way up.

`prepare` and `generate` ask this of every picture and video before they read
it: what is on its head or side is then read turned.
"""

import contextlib
import os
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, UInt8

from data_pipelines.faces.face_rule import Box, turned_rule, where
from data_pipelines.faces.follow import FaceTracker, NoFaceError
from data_pipelines.faces.tracker import is_sure
from data_pipelines.media import decoder
from data_pipelines.media.error import MediaError, warn
from data_pipelines.media.limits import LIMITS

LOOKS_FPS = 5.0  # pictures a second that are looked at
THOROUGH = 5  # every so many are searched for small faces, on all sides
MOST_VOTES = 10  # of these, that vote on which way is up
ENOUGH = 1.0  # votes for one side, from which no more are asked for
LEAD_S = 1.0  # without a face at the start that is read like any gap

_LIES = {1: "lies on its side", 2: "is upside down", 3: "lies on its side"}


class Footage(NamedTuple):
  """How a file is to be read."""

  path: str | os.PathLike
  start: float  # s after the first picture: where the face is first seen
  turns: int  # quarter turns, anticlockwise, that set it upright
  rule: str | Box  # the rule, for the turned pictures

  def frames(self, fps: float) -> Iterator[UInt8[np.ndarray, "h w 3"]]:
    """The pictures, upright, from where the face is first seen."""
    return decoder.read_frames(self.path, fps, self.span, self.turns)

  @property
  def span(self) -> tuple[float, float] | None:
    """Seconds that are read; None: all."""
    return (self.start, LIMITS.seconds) if self.start else None

  def with_lead(self, always: bool = False) -> "Footage":
    """The same with what is before the face, if that is short, or always.

    It is said where a longer one is left out.
    """
    if always or self.start < LEAD_S:
      return self._replace(start=0.0)
    warn(self.path, f"no face in the first {self.start:.1f} s: left out")
    return self


def find(
  path: str | os.PathLike,
  tracker: FaceTracker,
  rule: str | Box = "largest",
  *,
  first: UInt8[np.ndarray, "h w 3"] | None = None,
  seconds: float = LIMITS.seconds,
  span: tuple[float, float] | None = None,
  progress: Callable[[float], None] = lambda seconds: None,
) -> Footage:
  """Looks for the face until it is found, and for which way is up.

  It is said where the pictures must be turned.

  Args:
    path: A picture or video.
    tracker: Finds faces.
    rule: Of several faces, as `parse_face_rule` reads it; a box is in pixels
      of the first picture as the file shows it.
    first: The first picture, if it has been read: where it surely shows the
      face upright, as most do, no more is read.
    seconds: How far to look.
    span: Seconds of the video that count, as if there were no others.
    progress: Told the seconds that have been looked at.

  Raises:
    NoFaceError: none is seen in all that was looked at.
    MediaError: unreadable, or which way is up cannot be told.
  """
  if first is not None and _is_upright(tracker.votes(first, rule, False)):
    return Footage(path, 0.0, 0, rule)
  begin, end = span or (0.0, LIMITS.seconds)
  end = min(end, begin + seconds)
  votes, start, asked = np.zeros(4), None, 0
  height = width = 0
  decoded = decoder.read_frames(path, LOOKS_FPS, (begin, end))
  with contextlib.closing(decoded) as frames:
    looked = 0
    for looked, frame in enumerate(frames, 1):
      progress(looked / LOOKS_FPS)
      height, width = frame.shape[:2]
      here = tracker.votes(frame, rule, looked % THOROUGH == 1)
      if here.max() > 0 and start is None:
        start = (looked - 1) / LOOKS_FPS
      votes += here
      asked += start is not None
      enough = _is_enough(votes)
      if enough or asked == MOST_VOTES:
        break
  if start is None:
    time = f" in {looked / LOOKS_FPS:.0f} s" if looked > 1 else ""
    raise NoFaceError(path, f"no face found{where(rule)}{time}")
  if not is_sure(votes):
    raise MediaError(
      path,
      "which way up the face is cannot be told; turn it upright before",
    )
  turns = int(votes.argmax())
  if turns:
    warn(path, f"the face {_LIES[turns]}; turned upright")
  turned = turned_rule(rule, turns, width, height)
  return Footage(path, start, turns, turned)


def _is_enough(votes: Float[np.ndarray, "4"]) -> bool:
  return bool(votes.max() >= ENOUGH) and is_sure(votes)


def _is_upright(votes: Float[np.ndarray, "4"]) -> bool:
  return bool(votes.argmax() == 0) and _is_enough(votes)
