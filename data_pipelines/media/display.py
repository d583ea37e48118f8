"""Decoded pictures as a good player shows them: upright, square, sRGB."""

import os
from typing import Any

import av
import cv2
import numpy as np
from av.video.reformatter import Interpolation, VideoReformatter
from av.video.stream import VideoStream
from jaxtyping import UInt8

from data_pipelines.media import colour
from data_pipelines.media.error import warn
from data_pipelines.media.limits import LIMITS

# Exact where there are more than 8 bits: swscale's fast way is a level darker.
_EXACT = (
  Interpolation.BILINEAR
  | Interpolation.ACCURATE_RND
  | Interpolation.FULL_CHR_H_INT
)
_MOST_ASPECT = 4.0  # of a pixel; anamorphic films have up to 2


class Display:
  """Makes the pictures of one video what a good player shows."""

  def __init__(self, path: str | os.PathLike, stream: VideoStream):
    """Takes what the stream says of all of its pictures."""
    self._path = path
    self._wide = _pixel_aspect(path, stream)
    self._first: tuple[int, int] | None = None
    self._said: set[str] = set()
    # One for all pictures: a picture's own has a thread, and a thousand of
    # them are more than a process may have.
    self._reformatter = VideoReformatter()

  def size(self, frame: av.VideoFrame) -> tuple[int, int]:
    """Height and width of a picture as it is shown."""
    height, width = frame.height, max(round(frame.width * self._wide), 1)
    return (width, height) if _display(frame)[0] else (height, width)

  def __call__(self, frame: av.VideoFrame) -> UInt8[np.ndarray, "h w 3"]:
    """RGB pixels of a decoded picture."""
    space = colour.Space(frame.color_trc, frame.color_primaries)
    wide = {}
    if self._wide != 1:
      wide["width"] = max(round(frame.width * self._wide), 1)
    if space.is_srgb:
      pixels = self._rgb(frame, **wide)
    else:
      if space.is_hdr:
        self._say(f"{space.name}, tone-mapped to standard range")
      pixels = self._rgb(frame, interpolation=_EXACT, **wide)
      pixels = colour.to_srgb(pixels, space)
    crossed, left, up = _display(frame)
    pixels = pixels.swapaxes(0, 1) if crossed else pixels
    pixels = pixels[:: -1 if up else 1, :: -1 if left else 1]
    pixels = np.ascontiguousarray(pixels)
    if self._first is None:
      self._first = pixels.shape[:2]
    elif pixels.shape[:2] != self._first:
      pixels = self._fit(pixels)
    return pixels

  def _rgb(self, frame: av.VideoFrame, **how: Any) -> np.ndarray:
    return self._reformatter.reformat(frame, format="rgb24", **how).to_ndarray()

  def _fit(self, pixels: UInt8[np.ndarray, "h w 3"]) -> np.ndarray:
    """As large as the first picture, on black, where the size has changed."""
    assert self._first is not None
    (height, width), (old, across) = self._first, pixels.shape[:2]
    self._say(
      f"changes its size from {width}x{height} to {across}x{old}; all is "
      f"shown at {width}x{height}"
    )
    scale = min(height / old, width / across)
    small = (max(round(across * scale), 1), max(round(old * scale), 1))
    way = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    inner = cv2.resize(pixels, small, interpolation=way)
    top, side = (height - small[1]) // 2, (width - small[0]) // 2
    shown = np.zeros((height, width, 3), np.uint8)
    shown[top : top + small[1], side : side + small[0]] = inner
    return shown

  def _say(self, note: str) -> None:
    """Once a file, for a picture says it each time."""
    if note not in self._said:
      self._said.add(note)
      warn(self._path, note)


def _pixel_aspect(path: str | os.PathLike, stream: VideoStream) -> float:
  """How many times as wide as high a pixel is shown."""
  aspect = float(stream.sample_aspect_ratio or 1) or 1.0
  width = (stream.width or 0) * aspect
  if (
    not 1 / _MOST_ASPECT <= aspect <= _MOST_ASPECT
    or width > LIMITS.side_px
    or width * (stream.height or 0) > LIMITS.pixels
  ):
    warn(path, f"pixels {aspect:g} times as wide as high; taken as square")
    return 1.0
  return aspect


def _display(frame: av.VideoFrame) -> tuple[bool, bool, bool]:
  """Whether a picture is transposed, then mirrored sideways, and upside down.

  By its display matrix, whose first two rows take a pixel's x and y to where
  it is shown; a free angle goes to the nearest quarter turn.
  """
  matrix = frame.side_data.get("DISPLAYMATRIX")
  if matrix is None:
    return False, False, False
  a, b, _, c, d, *_ = np.frombuffer(bytes(matrix), np.int32).tolist()
  if abs(a) + abs(d) >= abs(b) + abs(c):
    return False, a < 0, d < 0
  return True, c < 0, b < 0
