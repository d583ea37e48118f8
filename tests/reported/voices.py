"""One drawn voice in files of many kinds."""

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

import av
import numpy as np
from jaxtyping import Float, Int16
from scipy.signal import resample_poly

from data_pipelines.synthetic import head, speech
from speak_jax import spec

RATE = spec.SAMPLE_RATE_HZ
SECONDS = 1.6


def voice() -> Int16[np.ndarray, "s"]:
  """Speech of a drawn person that no training has seen."""
  person = head.model(0, "test", 1).person
  return speech.speak(person, 0, round(25 * SECONDS), 25, (0, 3)).audio


def db(gain: float) -> float:
  return 10 ** (gain / 20)


class Sound(NamedTuple):
  """A track of a file: its codec, rate and channels, given the voice."""

  codec: str
  rate: int = RATE
  layout: str = "mono"
  channels: Callable[[Float[np.ndarray, "n"]], list] = lambda x: [x]
  default: bool = True


def write(
  path: Path,
  *sounds: Sound,
  form: str | None = None,
  picture: bool = False,
) -> Path:
  """A file with these tracks, and a grey picture if wished."""
  with av.open(str(path), "w", format=form) as out:
    video = None
    if picture:
      video = out.add_stream("libx264", rate=25)
      video.width = video.height = 32
      video.pix_fmt = "yuv420p"
    tracks = []
    for sound in sounds:
      track = out.add_stream(sound.codec, rate=sound.rate, layout=sound.layout)
      track.bit_rate = 64_000 * len(sound.channels(np.zeros(1)))
      track.disposition = av.stream.Disposition(int(sound.default))
      tracks.append(track)
    if video is not None:
      grey = np.full((32, 32, 3), 90, np.uint8)
      for i in range(round(25 * SECONDS)):
        frame = av.VideoFrame.from_ndarray(grey, format="rgb24")
        frame.pts, frame.time_base = i, Fraction(1, 25)
        out.mux(video.encode(frame))
      out.mux(video.encode(None))
    for sound, track in zip(sounds, tracks, strict=True):
      common = np.gcd(sound.rate, RATE)
      up, down = sound.rate // common, RATE // common
      plain = voice() / 32768
      there = resample_poly(plain, up, down) if up != down else plain
      rows = np.stack(sound.channels(there)).astype(np.float32)
      whole = av.AudioFrame.from_ndarray(
        np.ascontiguousarray(rows.T).reshape(1, -1),
        format="flt",
        layout=sound.layout,
      )
      whole.sample_rate, whole.pts = sound.rate, 0
      whole.time_base = Fraction(1, sound.rate)
      pieces = av.AudioResampler(
        format=track.codec_context.format,
        layout=sound.layout,
        rate=sound.rate,
        frame_size=track.codec_context.frame_size or 1024,
      )
      for frame in (*pieces.resample(whole), *pieces.resample(None)):
        out.mux(track.encode(frame))
      out.mux(track.encode(None))
  return path
