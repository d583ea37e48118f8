"""Writes video files out of pictures and sound: mp4, mov and webm.

Sound ends where it should to a sample, and the last picture lasts until then,
as far as the container can say it: an mp4's edit lists count in the samples of
its sound, and a webm says how much of its last packet is none.
"""

import math
import os
from collections.abc import Callable, Iterable, Mapping
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

import av
import av.error
import numpy as np
from av.audio.stream import AudioStream
from av.container import OutputContainer
from av.packet import Packet
from av.video.reformatter import Colorspace
from av.video.stream import VideoStream
from jaxtyping import Int16, UInt8

from data_pipelines.media.audio import Sound, whole
from data_pipelines.media.error import MediaError
from data_pipelines.media.image import over_ground
from speak_jax import spec
from speak_jax.common import files

_BT709, _BT601, _LIMITED = 1, 6, 1  # H.273's matrices; ffmpeg's range
AAC_BITS = 96_000  # a second, of a channel
AAC_MOST = 6  # bits of a sample, which AAC can spend at most
OPUS_HZ, OPUS_BITS = 48_000, 64_000  # a second, of a channel
NTSC = 1e-4  # by which a rate may miss one of those over 1.001, to be meant


class Kind(NamedTuple):
  """What a file holds, by the end of its name."""

  video: str  # ffmpeg's coder
  options: Mapping[str, str]
  audio: str
  alpha: bool  # whether its pictures may be transparent


# One thread each: the bytes must not depend on the machine.
_H264 = {"crf": "18", "preset": "veryfast", "threads": "1"}
_VP9 = {"crf": "22", "b": "0", "deadline": "good", "cpu-used": "5"}
# Alpha's own coder fails on pictures that are never shown.
_VP9 |= {"auto-alt-ref": "0", "threads": "1"}
KINDS = {
  ".mp4": Kind("libx264", _H264, "aac", False),
  ".mov": Kind("libx264", _H264, "aac", False),
  ".webm": Kind("libvpx-vp9", _VP9, "libopus", True),
}


def write_video(
  path: str | os.PathLike,
  frames: Iterable[UInt8[np.ndarray, "h w c"]],
  fps: float = float(spec.FPS),
  audio: Int16[np.ndarray, "s"] | Sound | None = None,
  tags: Mapping[str, str] | None = None,
  finish: Callable[[Path], None] | None = None,
) -> int:
  """Writes a video file, all or nothing.

  H.264 and AAC in an mp4 or mov, with the index at the front; VP9 and Opus in
  a webm. Its colours are BT.601's from RGB, or BT.709's where players expect
  them of what does not say: from 720 lines or 1280 columns on. The file says
  so.

  Args:
    path: Where to, ending as one of `KINDS`; the folder must exist.
    frames: RGB or RGBA pictures of one even size, an array or an iterable.
      Where the file can hold no alpha they lie over mid-grey.
    fps: Pictures per second; see `frame_rate`.
    audio: 16 kHz mono, or sound of any rate and channels that goes on as long
      as it likes; None: a silent file.
    tags: Texts of the container, such as comment.
    finish: Called with the whole file before it takes its place, to change
      it; what it raises leaves nothing behind, and a FileError becomes one
      of `path`.

  Returns:
    The number of pictures written.

  Raises:
    MediaError: no frames, or odd sizes, which yuv420p cannot hold.
  """
  sound = whole(audio) if isinstance(audio, np.ndarray) else audio
  try:
    with files.replacing(path) as partial:
      rate = frame_rate(fps)
      count = _write(path, partial, frames, rate, sound, tags or {})
      if finish is not None:
        _finish(path, partial, finish)
      return count
  except (av.error.FFmpegError, OSError) as error:
    raise MediaError(path, f"cannot be written ({error})") from None


def frame_rate(fps: float) -> Fraction:
  """The rate that is meant: 23.976 and 29.97 are 24000/1001 and 30000/1001."""
  ntsc = Fraction(round(fps * 1.001) * 1000, 1001)
  if abs(fps - float(ntsc)) < NTSC:
    return ntsc
  return Fraction(fps).limit_denominator(1001)


def kind_of(path: str | os.PathLike) -> Kind:
  """What a file of this name is to hold.

  Raises:
    MediaError: it ends as none of `KINDS`.
  """
  suffix = Path(path).suffix.lower()
  if suffix not in KINDS:
    raise MediaError(path, f"ends as none of {', '.join(KINDS)}")
  return KINDS[suffix]


def _finish(path, partial: Path, finish: Callable[[Path], None]) -> None:
  """Lets a caller change a finished file; its errors name the output."""
  try:
    finish(partial)
  except files.FileError as error:
    raise MediaError(path, error.reason) from None


def _write(
  path: str | os.PathLike,
  partial: Path,
  frames: Iterable[UInt8[np.ndarray, "h w c"]],
  rate: Fraction,
  audio: Sound | None,
  tags: Mapping[str, str],
) -> int:
  kind = kind_of(path)
  options = {}
  if kind.audio == "aac":
    options = {"movflags": "+faststart"}
    if audio is not None:  # or ends would be cut to a millisecond
      options["movie_timescale"] = str(audio.rate)
  # As a URL of the whole path, for folders such as "12:30".
  url = f"file:{os.path.abspath(partial)}"
  with av.open(url, "w", options=options) as out:
    out.metadata.update(tags)
    pictures = _Pictures(path, out, kind, rate)
    sound = None if audio is None else _SoundTrack(out, kind, audio)
    for frame in frames:
      pictures.add(frame)
      if sound is not None:
        sound.add(float(pictures.count / rate))
    if not pictures.count:
      raise MediaError(path, "no frames to write")
    if sound is not None:
      sound.add(math.inf)
    pictures.end(None if sound is None else sound.seconds)
    if sound is not None:
      sound.end()
    return pictures.count


class _Pictures:
  """The video track."""

  def __init__(
    self,
    path: str | os.PathLike,
    out: OutputContainer,
    kind: Kind,
    rate: Fraction,
  ):
    """Opens it; the first frame says its size."""
    self._path, self._out, self._kind, self._rate = path, out, kind, rate
    stream = out.add_stream(kind.video, rate=rate)
    assert isinstance(stream, VideoStream)
    self._stream = stream
    self._stream.options = dict(kind.options)
    self._matrix = _BT601
    self._keeps_alpha = False
    self.count = 0

  def add(self, frame: UInt8[np.ndarray, "h w c"]) -> None:
    """Encodes the next one."""
    if self.count == 0:
      self._begin(frame)
    if frame.shape[2] == 4 and not self._keeps_alpha:
      frame = over_ground(frame)
    layout = "rgba" if self._keeps_alpha else "rgb24"
    picture = av.VideoFrame.from_ndarray(
      np.ascontiguousarray(frame), format=layout
    )
    if self._matrix == _BT709 or self._keeps_alpha:
      picture = picture.reformat(
        format=self._stream.pix_fmt,
        dst_colorspace=Colorspace.ITU709
        if self._matrix == _BT709
        else Colorspace.ITU601,
      )
    picture.colorspace = self._matrix
    picture.pts, picture.time_base = self.count, 1 / self._rate
    self._out.mux(self._stream.encode(picture))
    self.count += 1

  def end(self, seconds: float | None) -> None:
    """Encodes what is left; the last picture is shown until the sound ends."""
    packets = [packet for packet in self._stream.encode(None) if packet.size]
    if seconds is not None:
      _stretch(packets, seconds, 1 / self._rate, self._stream.time_base)
    self._out.mux(packets)

  def _begin(self, frame: UInt8[np.ndarray, "h w c"]) -> None:
    height, width, channels = frame.shape
    if height % 2 or width % 2:
      raise MediaError(self._path, "yuv420p needs an even width and height")
    self._keeps_alpha = self._kind.alpha and channels == 4
    self._stream.height, self._stream.width = height, width
    self._stream.pix_fmt = "yuva420p" if self._keeps_alpha else "yuv420p"
    if self._keeps_alpha:
      self._stream.metadata["alpha_mode"] = "1"
    self._matrix = _BT709 if width >= 1280 or height >= 720 else _BT601
    coder = self._stream.codec_context
    coder.colorspace, coder.color_range = self._matrix, _LIMITED
    coder.color_primaries = coder.color_trc = _BT709


def _stretch(
  packets: list[Packet],
  seconds: float,
  picture: Fraction,
  ticks: Fraction | None,
) -> None:
  """Lets the last picture end with the sound, half a picture away at most.

  Args:
    packets: The last ones, in the order of decoding; changed in place.
    seconds: When the sound ends.
    picture: How long each is shown, s.
    ticks: In which the track counts, s; None: nobody knows.
  """
  if not packets or ticks is None:
    return
  for packet in packets:  # from pictures to ticks of the track
    step = packet.time_base / ticks
    packet.pts = round((packet.pts or 0) * step)
    packet.dts = round((packet.dts or 0) * step)
    packet.time_base = ticks
  last = max(packets, key=lambda packet: packet.pts or 0)
  # Down to a tick: pictures never outlast the sound.
  long = math.floor(seconds / ticks) - (last.pts or 0)
  if abs(long * ticks - picture) <= picture / 2 + ticks:
    # The muxer counts by the order of decoding, where it is not the last.
    last.duration = packets[-1].duration = long


class _SoundTrack:
  """The audio track."""

  def __init__(self, out: OutputContainer, kind: Kind, audio: Sound):
    """Opens it."""
    self._out, self._audio = out, audio
    self._chunks = iter(audio.chunks)
    self._said = 0  # samples
    opus = kind.audio == "libopus"
    hertz = OPUS_HZ if opus else audio.rate
    layout = "quad" if opus and audio.layout == "4.0" else audio.layout
    stream = out.add_stream(kind.audio, rate=hertz, layout=layout)
    assert isinstance(stream, AudioStream)
    each = OPUS_BITS if opus else min(AAC_BITS, AAC_MOST * audio.rate)
    stream.bit_rate = round(each * stream.layout.nb_channels)
    self._stream = stream

  @property
  def seconds(self) -> float:
    """How long it is so far."""
    return self._said / self._audio.rate

  def add(self, until: float) -> None:
    """Encodes up to a second: an hour of it is never encoded at once."""
    while self._said < until * self._audio.rate:
      part = next(self._chunks, None)
      if part is None:
        return
      chunk = av.AudioFrame.from_ndarray(
        np.ascontiguousarray(part.T).reshape(1, -1),
        format="flt",
        layout=self._audio.layout,
      )
      chunk.sample_rate, chunk.pts = self._audio.rate, self._said
      chunk.time_base = Fraction(1, self._audio.rate)
      self._out.mux(self._stream.encode(chunk))
      self._said += part.shape[1]

  def end(self) -> None:
    """Encodes what is left."""
    self._out.mux(self._stream.encode(None))
