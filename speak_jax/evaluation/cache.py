"""Generated frames on disk, bit for bit, so that a new metric costs none.

  CACHE/<digest>.mkv    FFV1, eight bits of RGB; titled by the pixels' SHA-256

A file is whole or not there; one that does not give back the frames that were
put in is made anew.
"""

import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import av
import av.error
import numpy as np
from jaxtyping import UInt8

from speak_jax.common import files

_PIXELS = "bgr0"  # the one form of eight-bit RGB that FFV1 takes
Frames = UInt8[np.ndarray, "n h w 3"]


class Cache(NamedTuple):
  """A folder of clips of bounded size."""

  folder: Path
  max_bytes: int  # the least recently used files go when there are more

  def frames(self, name: str, make: Callable[[], Frames]) -> Frames:
    """The frames stored under a name; else they are made and stored.

    Args:
      name: Name of the file; names everything that the frames depend on.
      make: Makes the frames where there is no such file, or a damaged one.
    """
    path = self.folder / f"{name}.mkv"
    cached = read(path)
    if cached is not None:
      os.utime(path)
      return cached
    frames = make()
    write(path, frames)
    self._bound(path)
    return frames

  def _bound(self, newest: Path) -> None:
    """Deletes the oldest files over the bound, the newest never."""
    files = [(x.stat(), x) for x in self.folder.glob("*.mkv")]
    files.sort(key=lambda pair: pair[0].st_mtime_ns)
    total = sum(stat.st_size for stat, _ in files)
    for stat, path in files:
      if total <= self.max_bytes:
        return
      if path != newest:
        path.unlink(missing_ok=True)
        total -= stat.st_size


def write(path: Path, frames: Frames) -> None:
  """Stores frames losslessly, in one go."""
  path.parent.mkdir(parents=True, exist_ok=True)
  with (
    files.replacing(path) as partial,
    av.open(str(partial), "w", format="matroska") as out,
  ):
    out.metadata["title"] = _digest(frames)
    stream = out.add_stream("ffv1", rate=25)
    stream.height, stream.width = frames.shape[1:3]
    stream.pix_fmt = _PIXELS
    for frame in frames:
      picture = av.VideoFrame.from_ndarray(
        np.ascontiguousarray(frame), format="rgb24"
      )
      out.mux(stream.encode(picture.reformat(format=_PIXELS)))
    out.mux(stream.encode(None))


def read(path: Path) -> Frames | None:
  """The frames of a file; None where there is none, or they are not whole."""
  try:
    with av.open(str(path)) as video:
      title = video.metadata["title"]
      frames = [x.to_ndarray(format="rgb24") for x in video.decode(video=0)]
    stored = np.stack(frames)
  except (av.error.FFmpegError, OSError, KeyError, IndexError, ValueError):
    return None
  return stored if _digest(stored) == title else None


def _digest(frames: Frames) -> str:
  """SHA-256 of the pixels and of the frames' shape."""
  digest = hashlib.sha256(str(frames.shape).encode())
  digest.update(np.ascontiguousarray(frames).tobytes())
  return digest.hexdigest()
