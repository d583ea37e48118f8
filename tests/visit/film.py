"""A video that was made, looked at by no code of ours."""

import hashlib
from pathlib import Path
from typing import NamedTuple

import av
import numpy as np

FLAT = 2.0  # standard deviation, levels of 255: less is no picture
TRIFLE = 1e-3  # s, the clock of a container


class Film(NamedTuple):
  """What a player would show."""

  frames: int
  width: int
  height: int
  digest: str  # of all frames
  shown: list[np.ndarray]  # first, the one that differs most from it, last
  fault: str  # why it is no video of somebody who talks; "": it may be one


def look(path: Path) -> Film:
  """Decodes all of a video.

  Raises:
    av.error.FFmpegError: it cannot be.
  """
  digest, most = hashlib.sha256(), -1.0
  first = last = far = None
  count = 0
  with av.open(str(path)) as film:
    stream = film.streams.video[0]
    step = float(1 / stream.average_rate)
    for frame in film.decode(stream):
      last = np.ascontiguousarray(frame.to_ndarray(format="rgb24"))
      digest.update(last)
      first = last if first is None else first
      apart = float(np.abs(last[::4, ::4].astype(int) - first[::4, ::4]).mean())
      if apart > most:
        far, most = last, apart
      count += 1
  with av.open(str(path)) as film:
    (sound,) = film.streams.audio
    heard = sum(x.samples / x.sample_rate for x in film.decode(sound))
    # A coder's last packet is longer than what its track says is sound.
    if sound.duration is not None and sound.time_base is not None:
      heard = min(heard, float(sound.duration * sound.time_base))
  if first is None:
    return Film(0, 0, 0, "", [], "a video without frames")
  shown = [first, far, last]
  height, width = first.shape[:2]
  fault = ""
  if min(float(x.std()) for x in shown) < FLAT:
    fault = "frames of one colour"
  elif abs(heard - count * step) > step + TRIFLE:
    fault = f"{count * step:.2f} s of frames, {heard:.2f} s of sound"
  elif count > 1 and most == 0:
    fault = "nothing moves"
  return Film(count, width, height, digest.hexdigest(), shown, fault)
