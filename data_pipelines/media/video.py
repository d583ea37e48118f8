"""Pictures of a video on a fixed frame grid."""

import contextlib
import functools
import os
from collections.abc import (
  Callable,
  Generator,
  Iterator,
  Sequence,
)
from typing import NamedTuple

import av
import av.error
import numpy as np
from av.container import InputContainer
from jaxtyping import UInt8

from data_pipelines.media import image
from data_pipelines.media.container import KINDS as CONTAINERS
from data_pipelines.media.container import check_picture, opened
from data_pipelines.media.display import Display
from data_pipelines.media.error import MediaError, warn
from data_pipelines.media.limits import LIMITS
from speak_jax import spec

# That can be read, for people.
KINDS = f"{CONTAINERS}; {image.KINDS}"


class VideoInfo(NamedTuple):
  """What a file says of itself; the decoder has the last word."""

  width: int  # after rotation
  height: int
  frames: int  # pictures in the file, 0 unknown
  seconds: float  # 0 unknown
  fps: float  # average
  has_audio: bool


class _Picture(NamedTuple):
  """One picture of a file, not converted before it is wanted."""

  time: float | None  # s; None: no timestamp
  seconds: float  # how long it is shown; 0 unknown
  pixels: Callable[[], UInt8[np.ndarray, "h w 3"]]


def probe(path: str | os.PathLike) -> VideoInfo:
  """Reads the header and the first picture, for its size as it is shown."""
  still = image.pictures(path)
  if still is not None:
    seconds, first = 0.0, None
    frames = 0
    for pixels, lasts in still:
      first = pixels if first is None else first
      seconds, frames = seconds + lasts, frames + 1
    if first is None:
      raise MediaError(path, "no picture can be decoded")
    height, width = first.shape[:2]
    fps = frames / seconds if seconds else 0.0
    return VideoInfo(width, height, frames, seconds, fps, False)
  with opened(path, kinds=KINDS) as container:
    first = next(_decoded(path, container), None)
    if first is None:
      raise MediaError(path, "no picture can be decoded")
    stream = container.streams.video[0]
    height, width = Display(path, stream).size(first)
    seconds = 0.0
    if stream.duration is not None and stream.time_base is not None:
      seconds = float(stream.duration * stream.time_base)
    elif container.duration is not None:
      seconds = container.duration / av.time_base
    return VideoInfo(
      width=width,
      height=height,
      frames=stream.frames,
      seconds=seconds,
      fps=float(stream.average_rate or 0),
      has_audio=bool(container.streams.audio),
    )


def read_frames(
  path: str | os.PathLike,
  fps: float = float(spec.FPS),
  span: Sequence[float] | None = None,
  turns: int = 0,
) -> Iterator[UInt8[np.ndarray, "h w 3"]]:
  """Yields RGB pictures on the grid t = k / fps, as they are meant to be seen.

  Each grid time takes the picture with the nearest timestamp, counted from
  the first picture; the last one lasts as long as the file says. So any rate
  and any uneven timing come out right. A file that breaks off gives what
  could be decoded. A picture is a video of one frame, a GIF one of many.

  Pictures are turned and mirrored as the file says, have square pixels, are
  in sRGB, HLG and PQ being tone-mapped, and all have the first one's size.

  Args:
    path: The video, or picture.
    fps: The grid.
    span: Only from and to these seconds after the first picture, on a grid
      that starts there.
    turns: Quarter turns, anticlockwise, that are wanted beyond what the file
      says.

  Raises:
    MediaError: unreadable, without pictures, or beyond `limits.LIMITS`.
  """
  begin, end = span or (0.0, LIMITS.seconds)
  for picture in _on_grid(path, fps, begin, end):
    yield np.ascontiguousarray(np.rot90(picture, turns)) if turns else picture


def _on_grid(
  path: str | os.PathLike, fps: float, begin: float, end: float
) -> Iterator[UInt8[np.ndarray, "h w 3"]]:
  """The pictures as the file says that they are shown."""
  most = round((end - begin) * fps)
  index = 0  # next grid time
  start = held_time = length = 0.0
  held = None
  with contextlib.closing(_pictures(path, begin)) as pictures:
    for picture in pictures:
      if held is None:
        start, time = (picture.time or 0.0) + begin, -begin
      else:
        time = (start if picture.time is None else picture.time) - start
        if time <= held_time:  # no or repeated timestamp: one grid step on
          time = held_time + 1 / fps
        _check_hold(path, time - max(held_time, 0.0))
        # Grid times nearer to the held picture than to this one.
        count = _count((held_time + time) / 2, fps, index)
        count = min(count, most - index)
        if count:
          pixels = held.pixels()
          for _ in range(count):
            yield pixels
          index += count
        if index == most:
          return
      length = time + (picture.seconds or 1 / fps)
      held, held_time = picture, time
    if held is None:
      raise MediaError(path, "no picture can be decoded")
    if begin and length <= 0:
      raise MediaError(path, f"ends before {begin:g} s")
    _check_hold(path, length - max(held_time, 0.0))
    # A picture lasts until its end: n = round(length * fps), at least one.
    last = min(max(round(length * fps), 1), most) - index
    if last > 0:
      pixels = held.pixels()
      for _ in range(last):
        yield pixels


def _pictures(
  path: str | os.PathLike, begin: float
) -> Generator[_Picture, None, None]:
  """The pictures of a file of any kind, one after another."""
  still = image.pictures(path)
  if still is not None:
    time = 0.0
    for pixels, seconds in still:
      yield _Picture(time, seconds, functools.partial(_same, pixels))
      time += seconds
      if time > LIMITS.seconds:
        raise MediaError(path, f"over {LIMITS.seconds / 3600:g} hours")
    return
  with opened(path, kinds=KINDS) as container:
    display = None
    for frame in _decoded(path, container, begin):
      if display is None:
        display = Display(path, container.streams.video[0])
      yield _Picture(
        frame.time, _seconds(frame), functools.partial(display, frame)
      )


def _same(pixels: UInt8[np.ndarray, "h w 3"]) -> np.ndarray:
  return pixels


def _decoded(
  path: str | os.PathLike, container: InputContainer, begin: float = 0.0
) -> Iterator[av.VideoFrame]:
  """Decodes until the end or the first break after at least one picture.

  With `begin` the first picture is followed by those from the last keyframe
  before that time on.
  """
  stream = check_picture(path, container)
  count = 0
  try:
    first = next(container.decode(stream), None) if begin else None
    if first is not None and stream.time_base is not None:
      count = 1
      yield first
      time = (first.time or 0.0) + begin
      container.seek(int(time / stream.time_base), stream=stream)
    for frame in container.decode(stream):
      again = first is not None and (frame.time or 0.0) <= (first.time or 0.0)
      if not frame.is_corrupt and not again:
        count += 1
        yield frame
  except av.error.FFmpegError as error:
    if count == 0:
      reason = f"no picture can be decoded ({error.strerror})"
      raise MediaError(path, reason) from None
  if not begin and count < 0.9 * stream.frames:
    warn(path, f"breaks off after {count} of {stream.frames} pictures")


def _check_hold(path: str | os.PathLike, seconds: float) -> None:
  """Refuses a forged timestamp, which would repeat a picture for hours."""
  if seconds > LIMITS.hold_s:
    raise MediaError(path, f"a picture that lasts {seconds:.0f} s")


def _count(time: float, fps: float, index: int) -> int:
  """Grid times k / fps, from index on, that lie before `time`."""
  return max(int(np.ceil(time * fps - 1e-6)) - index, 0)


def _seconds(frame: av.VideoFrame) -> float:
  if frame.duration and frame.time_base:
    return float(frame.duration * frame.time_base)
  return 0.0
