"""Sound of any file: 16 kHz mono for the networks, or as it is for people.

Both are in step with the picture; how channels become one is in `mixing`.
"""

import os
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import av
import av.stream
import numpy as np
from jaxtyping import Float32, Int16

from data_pipelines.media import mixing
from data_pipelines.media.audio_track import (
  AudioTrackReader,
  Header,
  is_known,
  picture_start,
  read_header,
)
from data_pipelines.media.container import opened
from data_pipelines.media.error import MediaError, warn
from data_pipelines.media.loudness import loudness, parts
from speak_jax import spec

# What AAC in an mp4 can hold; other sound becomes the next of these.
RATES_HZ = (
  *(8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000),
  *(64000, 88200, 96000),
)
LAYOUTS = {"mono": 1, "stereo": 2, "3.0": 3, "5.0": 5, "5.1": 6, "7.1": 8}
MOST_CHANNELS = max(LAYOUTS.values())
_PIECE = 4 * spec.SAMPLE_RATE_HZ  # samples that are read at a time


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
    fps: Rate of the frame grid that `frames` counts.
    track: Index from 0; None: as `audio_track` chooses.

  Raises:
    MediaError: Unreadable, "no audio track", or a track without sound.
  """
  index = audio_track(path) if track is None else track
  pieces: list[_Piece] = []
  for item in read_pieces(path, index):
    if isinstance(item, list):
      pieces.append(_Piece(item[0], []))
    else:
      pieces[-1].chunks.append(item)
  audio = _placed(pieces)
  if frames is not None:
    audio = fit(audio, round(frames * spec.samples_per_frame(fps)))
  return audio


def read_pieces(
  path: str | os.PathLike, track: int
) -> Iterator[list[int] | Int16[np.ndarray, "n"]]:
  """Reads the same sound, some seconds at a time.

  Args:
    path: Any file with sound.
    track: Index from 0.

  Yields:
    [sample] at which what follows begins, and what follows. There is one at
    the start, which can lie before 0, and one after each hole. What lies
    between is silent.

  Raises:
    MediaError: As `read_audio`.
  """
  weights = _weights(path, track, read_header(path, track))
  reader = AudioTrackReader(path, track)
  zero, kept = None, []
  for start, chunk in reader:
    mono = np.rint(weights @ chunk * 32768).clip(-32768, 32767)
    if start is not None:
      if kept:
        yield np.concatenate(kept)
      kept = []
      zero = picture_start(path, start) if zero is None else zero
      yield [round((start - zero) * spec.SAMPLE_RATE_HZ)]
    kept.append(mono.astype(np.int16))
    if sum(map(len, kept)) >= _PIECE:
      yield np.concatenate(kept)
      kept = []
  if zero is None:
    raise MediaError(path, "the audio track holds no sound")
  if kept:
    yield np.concatenate(kept)
  reader.check_end()


def read_sound(
  path: str | os.PathLike, track: int, rate: int | None = None
) -> Iterator[list[int | str] | Float32[np.ndarray, "c n"]]:
  """Reads the same sound with its own rate and channels, piece by piece.

  Args:
    path: Any file with sound.
    track: Index from 0.
    rate: Hz that is wanted in place of the file's own.

  Yields:
    First [rate, layout]: the file's own, or the next that `RATES_HZ` and
    `LAYOUTS` know; of more channels than those have it is their mix. Then
    (channels, n) each, full scale 1, without a hole and from the time of the
    first picture on.

  Raises:
    MediaError: As `read_audio`.
  """
  header = read_header(path, track)
  own, layout, wanted = _form(header)
  rate = own if rate is None else rate
  yield [rate, layout]
  weights, scale = None, np.float32(1)
  if header.channels > MOST_CHANNELS:
    count = header.channels
    warn(path, f"{count} channels are more than an mp4 holds; mixed to one")
    weights = _weights(path, track, header)
  elif header.floating:
    scale /= np.float32(max(_channels(path, track).peaks.max(), 1.0))
  zero, done, early = None, 0, 0
  for start, chunk in AudioTrackReader(path, track, rate, wanted):
    if weights is not None:
      chunk = (weights @ chunk)[None]
    if zero is None and start is not None:
      zero = picture_start(path, start)
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


def audio_track(path: str | os.PathLike, number: int | None = None) -> int:
  """Chooses which of a file's audio tracks is heard; warns if it has several.

  Args:
    path: Any file.
    number: The wanted one, counted from 1; None: the file's default one, or
      the loudest if that is silent.

  Returns:
    Its index, counted from 0.

  Raises:
    MediaError: No audio track, not this one, or none that can be decoded.
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
    known = [i for i, x in enumerate(streams) if is_known(x)]
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


def whole(audio: Int16[np.ndarray, "s"]) -> Sound:
  """Wraps 16 kHz mono as a file's sound, a second at a time."""
  rate = spec.SAMPLE_RATE_HZ
  starts = range(0, len(audio), rate)
  chunks = (
    audio[None, i : i + rate].astype(np.float32) / 32768 for i in starts
  )
  return Sound(rate, "mono", chunks)


def is_silent(audio: spec.Samples) -> bool:
  """Whether nothing in it is above -60 dB of full scale."""
  return all(x.max() < 33 and x.min() > -33 for x in parts(audio))


def clipped(audio: spec.Samples) -> float:
  """Share of the samples at full scale, 0 to 1; of clean speech, none."""
  count = 0
  for part in parts(audio):
    above, below = part > 32440, part < -32440  # |-32768| has no 16 bits
    count += np.count_nonzero(above) + np.count_nonzero(below)
  return count / len(audio)


def fit(audio: Int16[np.ndarray, "s"], samples: int) -> Int16[np.ndarray, "n"]:
  """Cuts, or pads with silence, to exactly `samples`."""
  audio = audio[:samples]
  return np.pad(audio, (0, samples - len(audio)))


class _Piece(NamedTuple):
  """Sound without a hole."""

  start: int  # sample
  chunks: list[Int16[np.ndarray, "n"]]


def _placed(pieces: Sequence[_Piece]) -> Int16[np.ndarray, "s"]:
  """One array that starts at sample 0, silent where there is nothing."""
  sounds = [np.concatenate(piece.chunks) for piece in pieces]
  places = [piece.start for piece in pieces]
  length = max(
    at + len(sound) for at, sound in zip(places, sounds, strict=True)
  )
  audio = np.zeros(max(length, 0), np.int16)
  for at, sound in zip(places, sounds, strict=True):
    sound = sound[max(-at, 0) :]  # what is before zero is cut
    at = max(at, 0)
    audio[at : at + len(sound)] = sound
  return audio


def _form(header: Header) -> tuple[int, str, str | None]:
  """The rate and layout that an mp4 gets, and the layout to be decoded.

  None: the channels as they are, for ffmpeg drops those that it has no place
  for: the third of three, say, which it takes for a woofer's.
  """
  rate = next((x for x in RATES_HZ if x >= header.rate), RATES_HZ[-1])
  if header.rate > RATES_HZ[-1]:  # by a whole factor, if there is one
    rate = 44100 if header.rate % 44100 == 0 else 48000
  layout, channels = header.layout, header.channels
  if channels > MOST_CHANNELS:
    return rate, "mono", None
  if layout in (*LAYOUTS, "4.0"):
    return rate, layout, layout
  known = next((x for x, n in LAYOUTS.items() if n == channels), None)
  if known is None:
    return rate, "stereo", "stereo"
  # A file may know their number alone.
  return rate, known, None if layout == f"{channels} channels" else known


def _channels(path: str | os.PathLike, index: int) -> mixing.Channels:
  """Measures the channels of a track, which is read once for that."""
  return mixing.measure(chunk for _, chunk in AudioTrackReader(path, index))


def _weights(
  path: str | os.PathLike, index: int, header: Header
) -> Float32[np.ndarray, "c"]:
  """Chooses what each channel counts in the mix, by what it sounds like."""
  if header.channels == 1 and not header.floating:
    return np.ones(1, np.float32)
  power, peaks = _channels(path, index)
  names = header.names
  if len(names) != len(peaks):  # the header knows less than the sound
    names = [""] * len(peaks)
  weights, turned = mixing.mix(power, names)
  if turned:
    warn(
      path, "channels in opposite phase; they are mixed so that none is lost"
    )
  if header.floating:
    weights /= max(float(np.abs(weights) @ peaks), 1.0)
  return weights.astype(np.float32)


def _is_mute(path: str | os.PathLike, index: int) -> bool:
  """Whether a track has nothing above -60 dB; stops at the first sound."""
  chunks = (chunk for _, chunk in AudioTrackReader(path, index))
  return all(np.abs(chunk).max(initial=0) < 1e-3 for chunk in chunks)
