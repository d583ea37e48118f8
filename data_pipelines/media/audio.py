"""Sound as 16 kHz mono int16, in step with the picture."""

import os

import av
import av.error
import av.stream
import numpy as np
from jaxtyping import Int16

from data_pipelines.media.container import opened
from data_pipelines.media.error import MediaError
from speak_jax import spec


def read_audio(
  path: str | os.PathLike,
  frames: int | None = None,
  fps: float = float(spec.FPS),
) -> Int16[np.ndarray, "s"]:
  """Reads the sound of any audio or video file.

  Sample 0 is the time of the first picture, if the file has pictures: sound
  that starts later is preceded by silence, earlier sound is cut. Channels are
  mixed by ffmpeg; levels above full scale are clipped.

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
    stream = container.streams.audio[0]
    resampler = av.AudioResampler(
      format="s16", layout="mono", rate=spec.SAMPLE_RATE_HZ
    )
    start = None
    chunks = []
    try:
      for frame in container.decode(stream):
        if start is None:
          start = frame.time or 0.0
        for part in resampler.resample(frame):
          chunks.append(part.to_ndarray()[0])
    except av.error.FFmpegError:
      if not chunks:
        raise
    if chunks:
      chunks += [part.to_ndarray()[0] for part in resampler.resample(None)]
  if not chunks or start is None:
    raise MediaError(path, "the audio track holds no sound")
  audio = np.concatenate(chunks)
  audio = _shift(audio, start - _picture_start(path))
  if frames is not None:
    audio = fit(audio, round(frames * spec.samples_per_frame(fps)))
  return audio


def fit(audio: Int16[np.ndarray, "s"], samples: int) -> Int16[np.ndarray, "n"]:
  """Cuts, or pads with silence, to exactly `samples`."""
  audio = audio[:samples]
  return np.pad(audio, (0, samples - len(audio)))


def _shift(audio: Int16[np.ndarray, "s"], seconds: float):
  """Moves sound to `seconds` after the first picture (before if < 0)."""
  samples = round(seconds * spec.SAMPLE_RATE_HZ)
  return np.pad(audio, (samples, 0)) if samples > 0 else audio[-samples:]


def _picture_start(path: str | os.PathLike) -> float:
  """Time of the first picture; for pure sound the sound's own start."""
  with opened(path) as container:
    streams = container.streams
    if not streams.video or streams.video[0].width == 0:
      return _first_time(container, streams.audio[0])
    if streams.video[0].disposition & av.stream.Disposition.attached_pic:
      return _first_time(container, streams.audio[0])  # a cover picture
    return _first_time(container, streams.video[0])


def _first_time(container, stream) -> float:
  frame = next(iter(container.decode(stream)), None)
  return 0.0 if frame is None or frame.time is None else frame.time
