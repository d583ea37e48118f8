"""Sound of any file: 16 kHz mono for the networks, or as it is for people.

Both are in step with the picture. The mix loses no voice: channels that are
silent do not count, a centre channel counts most, and a channel that would
wipe out the others is turned round.
"""

import collections
import os
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import av
import av.error
import av.stream
import numpy as np
from av.audio.stream import AudioStream
from av.container import InputContainer
from jaxtyping import Float, Float32, Int16

from data_pipelines.media.container import (
  check_picture,
  has_picture,
  opened,
)
from data_pipelines.media.error import MediaError, warn
from data_pipelines.media.limits import LIMITS
from data_pipelines.media.loudness import loudness
from speak_jax import spec

HOLE_S = 0.02  # in the timestamps, longer than any format's rounding
# What AAC in an mp4 can hold; other sound becomes the next of these.
RATES_HZ = (
  *(8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000),
  *(64000, 88200, 96000),
)
LAYOUTS = {"mono": 1, "stereo": 2, "3.0": 3, "5.0": 5, "5.1": 6, "7.1": 8}
MOST_CHANNELS = max(LAYOUTS.values())
# A channel this much below the loudest, or below full scale, is silent.
SILENT_CHANNEL = 1e-4  # of the power: 40 dB
BESIDE_CENTRE = 0.5  # weight of the others where the centre speaks
LOUDEST = 100.0  # a sample in floating point: 40 dB above full scale
OPPOSITE = -0.5  # correlation from which on a turned channel is said


class Sound(NamedTuple):
  """A file's own sound, as it goes into an mp4."""

  rate: int  # Hz
  layout: str  # "mono", "stereo", "5.1" ...
  chunks: Iterable[Float32[np.ndarray, "c n"]]  # full scale 1


def read_audio(
  path: str | os.PathLike,
  frames: int | None = None,
  fps: float = float(spec.FPS),
  track: int | None = None,
) -> Int16[np.ndarray, "s"]:
  """Reads the sound of any audio or video file as 16 kHz mono.

  Sample 0 is the time of the first picture, if the file has pictures: sound
  that starts later is preceded by silence, earlier sound is cut, holes in its
  timestamps are silent. Levels above full scale are clipped, but samples in
  floating point are scaled.

  Args:
    path: wav, mp3, flac, m4a, mp4 and the like.
    frames: Pad with silence or cut to round(frames * 16000 / fps) samples.
    fps: The frame grid that `frames` counts.
    track: As `audio_track` has it, which chooses where it is None.

  Raises:
    MediaError: unreadable, "no audio track", or a track without sound.
  """
  index = audio_track(path) if track is None else track
  weights = _weights(path, index)
  pieces: list[_Piece] = []
  reader = _Reader(path, index)
  for start, chunk in reader:
    mono = np.rint(weights @ chunk * 32768).clip(-32768, 32767)
    if start is not None:
      pieces.append(_Piece(start, []))
    pieces[-1].chunks.append(mono.astype(np.int16))
  if not pieces:
    raise MediaError(path, "the audio track holds no sound")
  reader.check_end()
  audio = _placed(pieces, _zero(path, pieces[0].start))
  if frames is not None:
    audio = fit(audio, round(frames * spec.samples_per_frame(fps)))
  return audio


def read_sound(
  path: str | os.PathLike, track: int
) -> Iterator[list[int | str] | Float32[np.ndarray, "c n"]]:
  """The same sound with its own rate and channels, piece by piece.

  Yields:
    First [rate, layout]: the file's own, or the next that `RATES_HZ` and
    `LAYOUTS` know; of more channels than those have it is their mix. Then
    (channels, n) each, full scale 1, without a hole and from the time of the
    first picture on.

  Raises:
    MediaError: as `read_audio`.
  """
  with opened(path) as container:
    stream = _stream(path, container, track)
    rate, layout, wanted = _form(stream)
    channels = stream.layout.nb_channels
  yield [rate, layout]
  weights, scale = None, np.float32(1)
  if channels > MOST_CHANNELS:
    warn(path, f"{channels} channels are more than an mp4 holds; mixed to one")
    weights = _weights(path, track)
  elif _exceeds(path, track)[1]:
    scale /= np.float32(max(_channels(path, track).peaks.max(), 1.0))
  zero, done, early = None, 0, 0
  for start, chunk in _Reader(path, track, rate, wanted):
    if weights is not None:
      chunk = (weights @ chunk)[None]
    if zero is None and start is not None:
      zero = _zero(path, start)
    if start is not None and zero is not None:
      missing = round((start - zero) * rate) - done
      done += max(missing, 0)
      while missing > 0:
        piece = min(missing, rate)
        yield np.zeros((len(chunk), piece), np.float32)
        missing -= piece
      early = -missing  # what is before zero is cut
    part = chunk[:, max(early, 0) :]
    early -= chunk.shape[1]
    if part.shape[1]:
      done += part.shape[1]
      yield np.ascontiguousarray(part * scale)


def _form(stream: AudioStream) -> tuple[int, str, str | None]:
  """The rate and layout that an mp4 gets, and the layout to be decoded.

  None: the channels as they are, for ffmpeg drops those that it has no place
  for: the third of three, say, which it takes for a woofer's.
  """
  rate = next((x for x in RATES_HZ if x >= stream.rate), RATES_HZ[-1])
  if stream.rate > RATES_HZ[-1]:  # by a whole factor, if there is one
    rate = 44100 if stream.rate % 44100 == 0 else 48000
  layout, channels = stream.layout.name, stream.layout.nb_channels
  if channels > MOST_CHANNELS:
    return rate, "mono", None
  if layout in (*LAYOUTS, "4.0"):
    return rate, layout, layout
  known = next((x for x, n in LAYOUTS.items() if n == channels), None)
  if known is None:
    return rate, "stereo", "stereo"
  # A file may know their number alone.
  return rate, known, None if layout == f"{channels} channels" else known


def whole(audio: Int16[np.ndarray, "s"]) -> Sound:
  """16 kHz mono as a file's sound, a second at a time."""
  rate = spec.SAMPLE_RATE_HZ
  starts = range(0, len(audio), rate)
  chunks = (
    audio[None, i : i + rate].astype(np.float32) / 32768 for i in starts
  )
  return Sound(rate, "mono", chunks)


def shortened(sound: Sound, seconds: float) -> Sound:
  """What of it lies before a time."""

  def chunks() -> Iterator[Float32[np.ndarray, "c n"]]:
    left = round(seconds * sound.rate)
    for chunk in sound.chunks:
      yield chunk[:, :left]
      left -= chunk.shape[1]
      if left <= 0:
        return

  return sound._replace(chunks=chunks())


def audio_track(path: str | os.PathLike, number: int | None = None) -> int:
  """Which of a file's audio tracks is heard; says so if there are several.

  Args:
    path: Any file.
    number: The wanted one, counted from 1; None: the file's default one, or
      the loudest if that is silent.

  Returns:
    Its index, counted from 0.

  Raises:
    MediaError: no audio track, not this one, or none that can be decoded.
  """
  with opened(path) as container:
    streams = container.streams.audio
    if not streams:
      raise MediaError(path, "no audio track")
    if number is not None:
      if not 1 <= number <= len(streams):
        raise MediaError(
          path, f"no audio track {number} of 1 to {len(streams)}"
        )
      return number - 1
    known = [i for i, x in enumerate(streams) if _is_known(x)]
    if not known:
      raise MediaError(path, "the sound's format is unknown")
    usual = av.stream.Disposition.default
    chosen = next((i for i in known if streams[i].disposition & usual), None)
    names = [x.language or "" for x in streams]
  if len(streams) == 1:
    return 0
  which = "the default one"
  if chosen is None:
    chosen, which = known[0], "the first one"
  if _is_mute(path, chosen):
    levels = [
      -np.inf if i == chosen else loudness(read_audio(path, track=i))
      for i in known
    ]
    if max(levels) > -np.inf:
      chosen, which = known[int(np.argmax(levels))], "the loudest one"
  language = f", {names[chosen]}" if names[chosen] else ""
  warn(
    path,
    f"{len(streams)} audio tracks; {which} is heard"
    f" (track {chosen + 1}{language})",
  )
  return chosen


def is_silent(audio: Int16[np.ndarray, "s"]) -> bool:
  """Whether nothing in it is above -60 dB of full scale."""
  return bool(not len(audio) or (audio.max() < 33 and audio.min() > -33))


def clipped(audio: Int16[np.ndarray, "s"]) -> float:
  """Share of the samples at full scale, 0 to 1; of clean speech, none."""
  above, below = audio > 32440, audio < -32440  # |-32768| has no 16 bits
  return (np.count_nonzero(above) + np.count_nonzero(below)) / len(audio)


def fit(audio: Int16[np.ndarray, "s"], samples: int) -> Int16[np.ndarray, "n"]:
  """Cuts, or pads with silence, to exactly `samples`."""
  audio = audio[:samples]
  return np.pad(audio, (0, samples - len(audio)))


class _Piece(NamedTuple):
  """Sound without a hole."""

  start: float  # seconds
  chunks: list[Int16[np.ndarray, "n"]]


def _placed(pieces: Sequence[_Piece], zero: float) -> Int16[np.ndarray, "s"]:
  """One array that starts at time `zero`, silent where there is nothing."""
  sounds = [np.concatenate(piece.chunks) for piece in pieces]
  places = [round((x.start - zero) * spec.SAMPLE_RATE_HZ) for x in pieces]
  length = max(
    at + len(sound) for at, sound in zip(places, sounds, strict=True)
  )
  audio = np.zeros(max(length, 0), np.int16)
  for at, sound in zip(places, sounds, strict=True):
    sound = sound[max(-at, 0) :]  # what is before zero is cut
    at = max(at, 0)
    audio[at : at + len(sound)] = sound
  return audio


class _Reader:
  """Decodes a track, piece by piece."""

  def __init__(
    self,
    path: str | os.PathLike,
    index: int,
    rate: int = spec.SAMPLE_RATE_HZ,
    layout: str | None = None,
  ):
    """Names the track, and the rate in Hz and the channels of what it gives.

    Without a layout these are the channels of the track's beginning.
    """
    self._path, self._index = path, index
    self._rate, self._layout = rate, layout
    self._begin: float | None = None  # s, of the first sample
    self._end = self._last = 0.0  # of what was decoded, and of the last frame

  def __iter__(
    self,
  ) -> Iterator[tuple[float | None, Float32[np.ndarray, "c n"]]]:
    """Samples, full scale 1; the time stands with the first after a hole."""
    with opened(self._path) as container:
      stream = _stream(self._path, container, self._index)
      held: collections.deque[tuple[float | None, np.ndarray]] = (
        collections.deque()
      )
      waiting = 0  # samples in there
      for piece in self._resampled(container, stream):
        held.append(piece)
        waiting += piece[1].shape[1]
        # The last frame's end may be padding.
        while waiting - held[0][1].shape[1] > self._last * self._rate:
          waiting -= held[0][1].shape[1]
          yield held.popleft()
      waiting -= round(self._surplus(container, stream) * self._rate)
      for start, chunk in held:
        yield start, chunk[:, : max(waiting, 0)]
        waiting -= chunk.shape[1]

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
    """All until the end or the first break, and None."""
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

  def _surplus(self, container: InputContainer, stream: AudioStream) -> float:
    """Seconds of a coder's padding, which is no sound."""
    said, there = _said(stream), self._end - (self._begin or 0.0)
    # In the last frame of an mp4, which ffmpeg 9 takes away itself.
    padded = said < there < said + self._last
    return there - said if padded and "mp4" in container.format.name else 0.0

  def check_end(self) -> None:
    """Says if there was less than the file says; after all has been read."""
    with opened(self._path) as container:
      said = _said(_stream(self._path, container, self._index))
    there = self._end - (self._begin or 0.0)
    if there < 0.9 * said:
      warn(
        self._path, f"the sound breaks off after {there:.2f} of {said:.2f} s"
      )


def _said(stream: AudioStream) -> float:
  """How long a track claims to be, s; 0 unknown."""
  if not stream.duration or not stream.time_base:
    return 0.0
  return float(stream.duration * stream.time_base)


def _rows(frame: av.AudioFrame) -> Float32[np.ndarray, "c n"]:
  """Samples by channel; interleaved, for PyAV knows eight planes at most.

  Floating point can hold anything: what is no sound is silent, or cut.
  """
  rows = frame.to_ndarray().reshape(-1, frame.layout.nb_channels).T
  rows = np.nan_to_num(rows, nan=0.0, posinf=0.0, neginf=0.0)
  return rows.clip(-LOUDEST, LOUDEST)


class _Channels(NamedTuple):
  """What a track's channels are like."""

  names: list[str]  # "FL", "FC" and so on, as ffmpeg has them
  power: Float[np.ndarray, "c c"]  # mean products, full scale 1
  peaks: Float[np.ndarray, "c"]


def _channels(path: str | os.PathLike, index: int) -> _Channels:
  """Reads a track once for them."""
  with opened(path) as container:
    names = [x.name for x in _stream(path, container, index).layout.channels]
  power, peaks, count = np.zeros((1, 1)), np.zeros(1), 0
  for _, chunk in _Reader(path, index):
    x = chunk.astype(np.float64)
    power = power + x @ x.T
    peaks = np.maximum(peaks, np.abs(x).max(1, initial=0))
    count += x.shape[1]
  if len(names) != len(peaks):  # the header knows less than the sound
    names = [""] * len(peaks)
  return _Channels(names, power / max(count, 1), peaks)


def _exceeds(path: str | os.PathLike, index: int) -> tuple[int, bool]:
  """Channels, and whether samples may be above full scale and whole."""
  with opened(path) as container:
    stream = _stream(path, container, index)
    floating = stream.codec_context.name.startswith("pcm_f")
    return stream.layout.nb_channels, floating


def _weights(path: str | os.PathLike, index: int) -> Float32[np.ndarray, "c"]:
  """What each channel counts in the mix, by what it sounds like."""
  count, floating = _exceeds(path, index)
  if count == 1 and not floating:
    return np.ones(1, np.float32)
  names, power, peaks = _channels(path, index)
  weights, turned = mix(power, names)
  if turned:
    warn(
      path, "channels in opposite phase; they are mixed so that none is lost"
    )
  if floating:
    weights /= max(float(np.abs(weights) @ peaks), 1.0)
  return weights.astype(np.float32)


def mix(
  power: Float[np.ndarray, "c c"], names: Sequence[str]
) -> tuple[Float[np.ndarray, "c"], bool]:
  """Weights of channels in a mono mix that loses none of the sound.

  Args:
    power: Mean products of the channels, full scale 1.
    names: "FL", "FC" and so on, as ffmpeg has them.

  Returns:
    The weights, whose magnitudes sum to one: what all channels have in common
    keeps its level, as does what only one of them has. And whether a channel
    had to be turned round that is mostly the opposite of the others.
  """
  own = np.diag(power)
  audible = own > SILENT_CHANNEL * own.max()
  full = np.array([not name.startswith("LFE") for name in names])
  if (audible & full).any():
    audible &= full
  wanted = audible.astype(float)
  centre = np.array([name == "FC" for name in names]) & audible
  if centre.any():
    wanted[~centre] *= BESIDE_CENTRE
  weights, turned = np.zeros(len(own)), False
  for i in np.argsort(-own * wanted**2, kind="stable"):
    alike = power[i] @ weights
    both = np.sqrt(own[i] * (weights @ power @ weights))
    turned |= bool(wanted[i] and alike < OPPOSITE * both)
    weights[i] = wanted[i] if alike >= 0 else -wanted[i]
  if not wanted.any():
    return np.full(len(own), 1 / len(own)), False
  first = weights[np.flatnonzero(weights)[0]]
  return weights * np.sign(first) / wanted.sum(), turned


def _is_mute(path: str | os.PathLike, index: int) -> bool:
  """Whether a track has nothing above -60 dB; stops at the first sound."""
  chunks = (chunk for _, chunk in _Reader(path, index))
  return all(np.abs(chunk).max(initial=0) < 1e-3 for chunk in chunks)


def _stream(
  path: str | os.PathLike, container: InputContainer, index: int
) -> AudioStream:
  if index >= len(container.streams.audio):
    raise MediaError(path, "no audio track")
  stream = container.streams.audio[index]
  if not _is_known(stream):
    raise MediaError(path, "the sound's format is unknown")
  return stream


def _is_known(stream: AudioStream) -> bool:
  """Whether there is a decoder; phones add tracks that ffmpeg cannot read."""
  return stream.codec_context is not None


def _zero(path: str | os.PathLike, start: float) -> float:
  """Time of the first picture; for pure sound its own start."""
  with opened(path) as container:
    if not has_picture(container):
      return start
    stream = check_picture(path, container)
    frame = next(iter(container.decode(stream)), None)
  zero = 0.0 if frame is None or frame.time is None else frame.time
  if abs(start - zero) > LIMITS.seconds:
    raise MediaError(path, "picture and sound are hours apart")
  return zero
