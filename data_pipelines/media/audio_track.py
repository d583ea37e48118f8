"""One audio track of a file: what its header says, and its samples."""

import collections
import os
from collections.abc import Iterator
from typing import NamedTuple

import av
import av.error
import av.stream
import numpy as np
from av.audio.stream import AudioStream
from av.container import InputContainer
from jaxtyping import Float32

from data_pipelines.media.container import check_picture, has_picture, opened
from data_pipelines.media.error import MediaError, warn
from data_pipelines.media.limits import LIMITS
from speak_jax import spec

HOLE_S = 0.02  # in the timestamps, longer than any format's rounding
LOUDEST = 100.0  # a sample in floating point: 40 dB above full scale


class Header(NamedTuple):
  """What a file says of one of its audio tracks."""

  rate: int  # Hz
  layout: str  # "mono", "stereo", "5.1" ...
  channels: int
  names: list[str]  # of the channels: "FL", "FC" and so on, as ffmpeg has them
  floating: bool  # samples may be above full scale, and whole
  seconds: float  # claimed length; 0 unknown


def read_header(path: str | os.PathLike, index: int) -> Header:
  """Reads what a file says of a track.

  Args:
    path: Any file.
    index: Of the track, from 0.

  Raises:
    MediaError: No such track, or it is in an unknown format.
  """
  with opened(path) as container:
    stream = _stream(path, container, index)
    return Header(
      rate=stream.rate,
      layout=stream.layout.name,
      channels=stream.layout.nb_channels,
      names=[channel.name for channel in stream.layout.channels],
      floating=stream.codec_context.name.startswith("pcm_f"),
      seconds=_claimed(stream),
    )


def is_known(stream: AudioStream) -> bool:
  """Whether there is a decoder; phones add tracks that ffmpeg cannot read."""
  return stream.codec_context is not None


def picture_start(path: str | os.PathLike, start: float) -> float:
  """Finds the time of the first picture, which sound is in step with.

  Args:
    path: Any file.
    start: When its sound starts, s; the answer where it has no pictures.

  Raises:
    MediaError: Picture and sound are hours apart.
  """
  with opened(path) as container:
    if not has_picture(container):
      return start
    stream = check_picture(path, container)
    frame = next(iter(container.decode(stream)), None)
  zero = 0.0 if frame is None or frame.time is None else frame.time
  if abs(start - zero) > LIMITS.seconds:
    raise MediaError(path, "picture and sound are hours apart")
  return zero


class AudioTrackReader:
  """Decodes a track, piece by piece."""

  def __init__(
    self,
    path: str | os.PathLike,
    index: int,
    rate: int = spec.SAMPLE_RATE_HZ,
    layout: str | None = None,
  ):
    """Names the track and the form of its samples.

    Args:
      path: Any file.
      index: Of the track, from 0.
      rate: Of the samples that are wanted, Hz.
      layout: Their channels; None: those of the track's beginning.
    """
    self._path, self._index = path, index
    self._rate, self._layout = rate, layout
    self._begin: float | None = None  # s, of the first sample
    self._end = self._last = 0.0  # of what was decoded, and of the last frame
    self._claimed = 0.0  # s, by the header

  def __iter__(
    self,
  ) -> Iterator[tuple[float | None, Float32[np.ndarray, "c n"]]]:
    """Yields (time, samples), full scale 1; s of the first after a hole."""
    with opened(self._path) as container:
      stream = _stream(self._path, container, self._index)
      self._claimed = _claimed(stream)
      waiting: collections.deque[tuple[float | None, np.ndarray]] = (
        collections.deque()
      )
      samples = 0  # in there
      for piece in self._resampled(container, stream):
        waiting.append(piece)
        samples += piece[1].shape[1]
        # The last frame's end may be padding.
        while samples - waiting[0][1].shape[1] > self._last * self._rate:
          samples -= waiting[0][1].shape[1]
          yield waiting.popleft()
      samples -= round(self._padding(container, stream) * self._rate)
      for start, chunk in waiting:
        yield start, chunk[:, : max(samples, 0)]
        samples -= chunk.shape[1]

  def check_end(self) -> None:
    """Warns if there was less than the header says; after all was read."""
    seconds = self._end - (self._begin or 0.0)
    if seconds < 0.9 * self._claimed:
      warn(
        self._path,
        f"the sound breaks off after {seconds:.2f} of {self._claimed:.2f} s",
      )

  def _resampled(
    self, container: InputContainer, stream: AudioStream
  ) -> Iterator[tuple[float | None, np.ndarray]]:
    resampler = kind = start = None
    for frame in self._frames(container, stream):
      pieces = []
      if frame is None:
        pieces = resampler.resample(None) if resampler else []
      else:
        now = frame.format.name, frame.layout.name, frame.sample_rate
        time = self._end if frame.time is None else frame.time
        hole = resampler is None or time > self._end + HOLE_S
        if resampler is None or hole or now != kind:
          pieces = resampler.resample(None) if resampler else []
          for piece in pieces:
            yield start, _rows(piece)
            start = None
          self._layout, kind = self._layout or frame.layout.name, now
          resampler = av.AudioResampler("flt", self._layout, self._rate)
        if hole:
          start = self._end = time
          self._begin = time if self._begin is None else self._begin
        self._last = frame.samples / frame.sample_rate
        self._end += self._last
        self._check_length()
        pieces = resampler.resample(frame)
      for piece in pieces:
        yield start, _rows(piece)
        start = None

  def _frames(
    self, container: InputContainer, stream: AudioStream
  ) -> Iterator[av.AudioFrame | None]:
    """Yields all until the end or the first break, and None."""
    try:
      yield from container.decode(stream)
    except av.error.FFmpegError:
      if self._begin is None:
        raise
    yield None

  def _check_length(self) -> None:
    if self._end - (self._begin or 0.0) > LIMITS.seconds:
      hours = LIMITS.seconds / 3600
      raise MediaError(self._path, f"sound of over {hours:g} hours")

  def _padding(self, container: InputContainer, stream: AudioStream) -> float:
    """Measures a coder's padding at the end, s, which is no sound."""
    claimed, seconds = _claimed(stream), self._end - (self._begin or 0.0)
    # In the last frame of an mp4, which ffmpeg 9 takes away itself.
    padded = claimed < seconds < claimed + self._last
    is_mp4 = "mp4" in container.format.name
    return seconds - claimed if padded and is_mp4 else 0.0


def _stream(
  path: str | os.PathLike, container: InputContainer, index: int
) -> AudioStream:
  if index >= len(container.streams.audio):
    raise MediaError(path, "no audio track")
  stream = container.streams.audio[index]
  if not is_known(stream):
    raise MediaError(path, "the sound's format is unknown")
  return stream


def _claimed(stream: AudioStream) -> float:
  """How long a track claims to be, s; 0 unknown."""
  if not stream.duration or not stream.time_base:
    return 0.0
  return float(stream.duration * stream.time_base)


def _rows(frame: av.AudioFrame) -> Float32[np.ndarray, "c n"]:
  """Returns samples by channel, of a frame that has them interleaved.

  PyAV knows eight planes at most. Floating point can hold anything: what is no
  sound is silent, or cut.
  """
  rows = frame.to_ndarray().reshape(-1, frame.layout.nb_channels).T
  rows = np.nan_to_num(rows, nan=0.0, posinf=0.0, neginf=0.0)
  return rows.clip(-LOUDEST, LOUDEST)
