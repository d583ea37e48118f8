"""Pictures of a video on a fixed frame grid, and mp4 files out of pictures."""

import contextlib
import functools
import math
import os
from collections.abc import (
  Callable,
  Generator,
  Iterable,
  Iterator,
  Sequence,
)
from fractions import Fraction
from typing import NamedTuple

import av
import av.error
import cv2
import numpy as np
from av.container import InputContainer
from av.video.reformatter import Colorspace, Interpolation
from av.video.stream import VideoStream
from jaxtyping import Int16, UInt8

from data_pipelines.media import colour, image
from data_pipelines.media.audio import Sound, whole
from data_pipelines.media.container import KINDS as CONTAINERS
from data_pipelines.media.container import check_picture, opened
from data_pipelines.media.error import MediaError, warn
from data_pipelines.media.limits import LIMITS
from speak_jax import spec
from speak_jax.common import files

_BT709, _BT601, _LIMITED = 1, 6, 1  # H.273's matrices; ffmpeg's range
AAC_BITS = 96_000  # a second, of a channel
AAC_MOST = 6  # bits of a sample, which AAC can spend at most
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
    height, width = _Shower(path, stream).size(first)
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
    shower = None
    for frame in _decoded(path, container, begin):
      if shower is None:
        shower = _Shower(path, container.streams.video[0])
      yield _Picture(
        frame.time, _seconds(frame), functools.partial(shower, frame)
      )


def _same(pixels: UInt8[np.ndarray, "h w 3"]) -> np.ndarray:
  return pixels


class _Shower:
  """Makes the pictures of one video what a good player shows."""

  def __init__(self, path: str | os.PathLike, stream: VideoStream):
    """Takes what the stream says of all of its pictures."""
    self._path = path
    self._wide = _pixel_aspect(path, stream)
    self._first: tuple[int, int] | None = None
    self._said: set[str] = set()

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
      pixels = frame.to_ndarray(format="rgb24", **wide)
    else:
      if space.is_hdr:
        self._say(f"{space.name}, tone-mapped to standard range")
      pixels = frame.to_ndarray(format="rgb24", interpolation=_EXACT, **wide)
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


# Exact where there are more than 8 bits: swscale's fast way is a level darker.
_EXACT = (
  Interpolation.BILINEAR
  | Interpolation.ACCURATE_RND
  | Interpolation.FULL_CHR_H_INT
)
_MOST_ASPECT = 4.0  # of a pixel; anamorphic films have up to 2


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


def write_video(
  path: str | os.PathLike,
  frames: Iterable[UInt8[np.ndarray, "h w 3"]],
  fps: float = float(spec.FPS),
  audio: Int16[np.ndarray, "s"] | Sound | None = None,
) -> int:
  """Writes an mp4 (H.264 yuv420p, AAC, index at the front), all or nothing.

  Its colours are BT.601's from RGB, or BT.709's where players expect them of
  what does not say: from 720 lines or 1280 columns on. The file says so.

  Args:
    path: Where to; the folder must exist.
    frames: RGB pictures of one even size, an array or an iterable.
    fps: Pictures per second.
    audio: 16 kHz mono, or sound of any rate and channels that goes on as long
      as it likes; None: a silent file.

  Returns:
    The number of pictures written.

  Raises:
    MediaError: no frames, or odd sizes, which yuv420p cannot hold.
  """
  sound = whole(audio) if isinstance(audio, np.ndarray) else audio
  try:
    with files.replacing(path) as partial:
      return _write(path, partial, frames, fps, sound)
  except (av.error.FFmpegError, OSError) as error:
    raise MediaError(path, f"cannot be written ({error})") from None


def _write(path, partial, frames, fps, audio: Sound | None) -> int:
  options = {"movflags": "+faststart"}
  # As a URL of the whole path, for folders such as "12:30".
  url = f"file:{os.path.abspath(partial)}"
  with av.open(url, "w", format="mp4", options=options) as out:
    rate = Fraction(fps).limit_denominator(1001)
    video = out.add_stream("libx264", rate=rate)
    video.pix_fmt = "yuv420p"
    # One thread: the bytes must not depend on the machine.
    video.options = {"crf": "18", "preset": "veryfast", "threads": "1"}
    sound = None
    if audio is not None:
      sound = out.add_stream("aac", rate=audio.rate, layout=audio.layout)
      each = min(AAC_BITS, AAC_MOST * audio.rate)
      sound.bit_rate = round(each * sound.layout.nb_channels)
    chunks = iter(audio.chunks if audio is not None else ())
    count = said = 0
    matrix = _BT601

    def say(until: float) -> None:
      """Sound up to a second: an hour of it is never encoded at once."""
      nonlocal said
      while audio is not None and sound and said < until * audio.rate:
        part = next(chunks, None)
        if part is None:
          return
        chunk = av.AudioFrame.from_ndarray(
          np.ascontiguousarray(part.T).reshape(1, -1),
          format="flt",
          layout=audio.layout,
        )
        chunk.sample_rate, chunk.pts = audio.rate, said
        chunk.time_base = Fraction(1, audio.rate)
        out.mux(sound.encode(chunk))
        said += part.shape[1]

    for frame in frames:
      if count == 0:
        video.height, video.width = frame.shape[:2]
        if video.height % 2 or video.width % 2:
          raise MediaError(path, "yuv420p needs an even width and height")
        matrix = (
          _BT709 if video.width >= 1280 or video.height >= 720 else _BT601
        )
        coder = video.codec_context
        coder.colorspace, coder.color_range = matrix, _LIMITED
        coder.color_primaries = coder.color_trc = _BT709
      picture = av.VideoFrame.from_ndarray(
        np.ascontiguousarray(frame), format="rgb24"
      )
      if matrix == _BT709:
        picture = picture.reformat(
          format="yuv420p", dst_colorspace=Colorspace.ITU709
        )
      picture.colorspace = matrix
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


def _seconds(frame: av.VideoFrame) -> float:
  if frame.duration and frame.time_base:
    return float(frame.duration * frame.time_base)
  return 0.0
