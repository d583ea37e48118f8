"""Pictures of a video on a fixed frame grid, and mp4 files out of pictures."""

import math
import os
from collections.abc import Iterable, Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

import av
import av.error
import numpy as np
from av.container import InputContainer
from jaxtyping import Int16, UInt8

from data_pipelines.media.container import check_picture, opened
from data_pipelines.media.error import MediaError, warn
from data_pipelines.media.limits import LIMITS
from speak_jax import spec

_RATE = spec.SAMPLE_RATE_HZ


class VideoInfo(NamedTuple):
  """What a file says of itself; the decoder has the last word."""

  width: int  # after rotation
  height: int
  frames: int  # pictures in the file, 0 unknown
  seconds: float  # 0 unknown
  fps: float  # average
  has_audio: bool


def probe(path: str | os.PathLike) -> VideoInfo:
  """Reads the header and the first picture, for size and rotation."""
  with opened(path) as container:
    first = next(_decoded(path, container), None)
    if first is None:
      raise MediaError(path, "no picture can be decoded")
    height, width = upright(first).shape[:2]
    stream = container.streams.video[0]
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
) -> Iterator[UInt8[np.ndarray, "h w 3"]]:
  """Yields RGB pictures on the grid t = k / fps, upright.

  Each grid time takes the picture with the nearest timestamp, counted from
  the first picture; the last one lasts as long as the file says. So any rate
  and any uneven timing come out right. A file that breaks off gives what
  could be decoded.

  Args:
    path: The video.
    fps: The grid.
    span: Only from and to these seconds after the first picture, on a grid
      that starts there.

  Raises:
    MediaError: unreadable, without pictures, or beyond `limits.LIMITS`.
  """
  begin, end = span or (0.0, LIMITS.seconds)
  most = round((end - begin) * fps)
  with opened(path) as container:
    index = 0  # next grid time
    start = held_time = length = 0.0
    held = None
    for frame in _decoded(path, container, begin):
      if held is None:
        start, time = (frame.time or 0.0) + begin, -begin
      else:
        time = (start if frame.time is None else frame.time) - start
        if time <= held_time:  # no or repeated timestamp: one grid step on
          time = held_time + 1 / fps
        _check_hold(path, time - max(held_time, 0.0))
        # Grid times nearer to the held picture than to this one.
        count = _count((held_time + time) / 2, fps, index)
        count = min(count, most - index)
        if count:
          picture = upright(held)
          for _ in range(count):
            yield picture
          index += count
        if index == most:
          return
      length = time + _seconds(frame, 1 / fps)
      held, held_time = frame, time
    if held is None:
      raise MediaError(path, "no picture can be decoded")
    if begin and length <= 0:
      raise MediaError(path, f"ends before {begin:g} s")
    _check_hold(path, length - max(held_time, 0.0))
    # A picture lasts until its end: n = round(length * fps), at least one.
    last = min(max(round(length * fps), 1), most) - index
    if last > 0:
      picture = upright(held)
      for _ in range(last):
        yield picture


def upright(frame: av.VideoFrame) -> UInt8[np.ndarray, "h w 3"]:
  """RGB pixels of a decoded picture, turned as its display matrix says."""
  pixels = frame.to_ndarray(format="rgb24")
  turns = round(frame.rotation / 90)  # anticlockwise, as np.rot90
  return np.ascontiguousarray(np.rot90(pixels, turns))


def write_video(
  path: str | os.PathLike,
  frames: Iterable[UInt8[np.ndarray, "h w 3"]],
  fps: float = float(spec.FPS),
  audio: Int16[np.ndarray, "s"] | None = None,
) -> int:
  """Writes an mp4 (H.264 yuv420p, AAC, index at the front), all or nothing.

  Args:
    path: Where to; the folder must exist.
    frames: RGB pictures of one even size, an array or an iterable.
    fps: Pictures per second.
    audio: 16 kHz mono, or None for a silent file.

  Returns:
    The number of pictures written.

  Raises:
    MediaError: no frames, or odd sizes, which yuv420p cannot hold.
  """
  path = Path(path)
  partial = path.with_name(f".{path.name}.{os.getpid()}.partial.mp4")
  try:
    count = _write(path, partial, frames, fps, audio)
    os.replace(partial, path)
  except (av.error.FFmpegError, OSError) as error:
    raise MediaError(path, f"cannot be written ({error})") from None
  finally:
    partial.unlink(missing_ok=True)
  return count


def _write(path, partial, frames, fps, audio) -> int:
  options = {"movflags": "+faststart"}
  with av.open(str(partial), "w", format="mp4", options=options) as out:
    rate = Fraction(fps).limit_denominator(1001)
    video = out.add_stream("libx264", rate=rate)
    video.pix_fmt = "yuv420p"
    # One thread: the bytes must not depend on the machine.
    video.options = {"crf": "18", "preset": "veryfast", "threads": "1"}
    sound = None
    if audio is not None:
      sound = out.add_stream("aac", rate=_RATE, layout="mono")
      sound.bit_rate = 96_000
    count = said = 0

    def say(until: float) -> None:
      """Sound up to a second: an hour of it is never encoded at once."""
      nonlocal said
      while (
        sound and audio is not None and said < min(until * _RATE, len(audio))
      ):
        part = np.ascontiguousarray(audio[said : said + _RATE])
        chunk = av.AudioFrame.from_ndarray(
          part[None], format="s16", layout="mono"
        )
        chunk.sample_rate, chunk.pts = _RATE, said
        chunk.time_base = Fraction(1, _RATE)
        out.mux(sound.encode(chunk))
        said += len(part)

    for frame in frames:
      if count == 0:
        video.height, video.width = frame.shape[:2]
        if video.height % 2 or video.width % 2:
          raise MediaError(path, "yuv420p needs an even width and height")
      picture = av.VideoFrame.from_ndarray(
        np.ascontiguousarray(frame), format="rgb24"
      )
      picture.pts, picture.time_base = count, 1 / rate
      out.mux(video.encode(picture))
      count += 1
      say(float(count / rate))
    if count == 0:
      raise MediaError(path, "no frames to write")
    say(math.inf)
    out.mux(video.encode(None))
    if sound is not None:
      out.mux(sound.encode(None))
  return count


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


def _seconds(frame: av.VideoFrame, default: float) -> float:
  if frame.duration and frame.time_base:
    return float(frame.duration * frame.time_base)
  return default
