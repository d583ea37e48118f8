"""Sound as 16 kHz mono int16, in step with the picture."""

import os
from typing import NamedTuple

import av
import av.error
import numpy as np
from av.container import InputContainer
from jaxtyping import Int16

from data_pipelines.media.container import (
  check_picture,
  has_picture,
  opened,
)
from data_pipelines.media.error import MediaError, warn
from data_pipelines.media.limits import LIMITS
from speak_jax import spec

HOLE_S = 0.02  # in the timestamps, longer than any format's rounding


def read_audio(
  path: str | os.PathLike,
  frames: int | None = None,
  fps: float = float(spec.FPS),
) -> Int16[np.ndarray, "s"]:
  """Reads the sound of any audio or video file.

  Sample 0 is the time of the first picture, if the file has pictures: sound
  that starts later is preceded by silence, earlier sound is cut, holes in its
  timestamps are silent. Channels are mixed by ffmpeg; levels above full scale
  are clipped.

  Args:
    path: wav, mp3, flac, m4a, mp4 and the like.
    frames: Pad with silence or cut to round(frames * 16000 / fps) samples.
    fps: The frame grid that `frames` counts.

  Raises:
    MediaError: unreadable, "no audio track", or a track without sound.
  """
  with opened(path) as container:
    if not container.streams.audio:
      raise MediaError(path, "no audio track")
    pieces = _pieces(path, container)
  if not pieces:
    raise MediaError(path, "the audio track holds no sound")
  zero = _picture_start(path)
  if abs(pieces[0].start - zero) > LIMITS.seconds:
    raise MediaError(path, "picture and sound are hours apart")
  audio = _placed(pieces, zero)
  if frames is not None:
    audio = fit(audio, round(frames * spec.samples_per_frame(fps)))
  return audio


class _Piece(NamedTuple):
  """Sound without a hole."""

  start: float  # seconds
  sound: Int16[np.ndarray, "s"]


def _pieces(path: str | os.PathLike, container: InputContainer) -> list[_Piece]:
  """Decodes the sound to 16 kHz mono, a new piece after each hole."""
  pieces: list[_Piece] = []
  chunks: list[np.ndarray] = []
  resampler = None
  start = end = 0.0  # of the piece that is being decoded
  last = 0.0  # s, of the last frame

  def finish() -> None:
    if resampler is not None and end > start:
      chunks.extend(x.to_ndarray()[0] for x in resampler.resample(None))
      pieces.append(_Piece(start, np.concatenate(chunks)))
      chunks.clear()

  try:
    for frame in container.decode(container.streams.audio[0]):
      time = end if frame.time is None else frame.time
      if resampler is None or time > end + HOLE_S:
        finish()
        start = end = time
        resampler = av.AudioResampler(
          format="s16", layout="mono", rate=spec.SAMPLE_RATE_HZ
        )
      last = frame.samples / frame.sample_rate
      end += last
      if end - (pieces[0].start if pieces else start) > LIMITS.seconds:
        raise MediaError(path, f"sound of over {LIMITS.seconds / 3600:g} hours")
      chunks.extend(x.to_ndarray()[0] for x in resampler.resample(frame))
  except av.error.FFmpegError:
    if not pieces and not chunks:
      raise
  finish()
  stream = container.streams.audio[0]
  if pieces and stream.duration and stream.time_base:
    there = end - pieces[0].start
    said = float(stream.duration * stream.time_base)
    if there < 0.9 * said:
      warn(path, f"the sound breaks off after {there:.2f} of {said:.2f} s")
    if said < there < said + last and "mp4" in container.format.name:
      # The coder's padding of its last frame, which ffmpeg 9 takes away.
      sound = pieces[-1].sound
      padding = round((there - said) * spec.SAMPLE_RATE_HZ)
      pieces[-1] = pieces[-1]._replace(sound=sound[: len(sound) - padding])
  return pieces


def _placed(pieces: list[_Piece], zero: float) -> Int16[np.ndarray, "s"]:
  """One array that starts at time `zero`, silent where there is nothing."""
  places = [round((x.start - zero) * spec.SAMPLE_RATE_HZ) for x in pieces]
  length = max(
    at + len(piece.sound) for at, piece in zip(places, pieces, strict=True)
  )
  audio = np.zeros(max(length, 0), np.int16)
  for at, piece in zip(places, pieces, strict=True):
    sound = piece.sound[max(-at, 0) :]  # what is before zero is cut
    at = max(at, 0)
    audio[at : at + len(sound)] = sound
  return audio


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


def _picture_start(path: str | os.PathLike) -> float:
  """Time of the first picture; for pure sound the sound's own start."""
  with opened(path) as container:
    if not has_picture(container):
      return _first_time(container, container.streams.audio[0])
    return _first_time(container, check_picture(path, container))


def _first_time(container, stream) -> float:
  frame = next(iter(container.decode(stream)), None)
  return 0.0 if frame is None or frame.time is None else frame.time
