"""Reads media in processes of their own, so that a file can do little harm.

`probe`, `read_frames`, `read_audio`, `read_sound`, `audio_track`, `read_image`,
`read_alpha`, `read_tags` and `read_manifest` are those of `video`, `audio`,
`image`, `tags` and `manifest`, run by `sandbox`; `read_recording` is
`read_audio` for sound of any length.
Whatever becomes of the process is a MediaError of one line. Pictures come
through a pipe.
"""

import itertools
import os
from collections.abc import Generator, Iterator, Sequence
from typing import Any

import numpy as np
from jaxtyping import Int16, UInt8

from data_pipelines.media import audio, video
from data_pipelines.media.recording import Recording, recorded
from data_pipelines.media.sandbox import call
from speak_jax import spec

_KEEP_BYTES = 512 << 20  # 27 s of 512 px
_FPS = float(spec.FPS)


def probe(path: str | os.PathLike) -> video.VideoInfo:
  """`video.probe`."""
  return video.VideoInfo(*_only(path, "probe"))


def read_frames(
  path: str | os.PathLike,
  fps: float = _FPS,
  span: Sequence[float] | None = None,
  turns: int = 0,
) -> Generator[UInt8[np.ndarray, "h w 3"], None, None]:
  """`video.read_frames`; the child works ahead by a picture or so."""
  return call(path, "read_frames", fps=fps, span=span, turns=turns)


def read_audio(
  path: str | os.PathLike,
  frames: int | None = None,
  fps: float = _FPS,
  track: int | None = None,
) -> Int16[np.ndarray, "s"]:
  """`audio.read_audio`."""
  return _only(path, "read_audio", frames=frames, fps=fps, track=track)


def read_recording(path: str | os.PathLike, track: int) -> Recording:
  """Reads the same sound onto the disk, where hours of it take no memory.

  Args:
    path: Any file with sound.
    track: Index from 0.

  Raises:
    MediaError: As `read_audio`.
    FileError: There is no room for it on the disk.
  """
  return recorded(path, call(path, "read_pieces", track=track))


def audio_track(path: str | os.PathLike, number: int | None = None) -> int:
  """`audio.audio_track`."""
  return _only(path, "audio_track", number=number)


def read_sound(
  path: str | os.PathLike, track: int, rate: int | None = None
) -> audio.Sound:
  """`audio.read_sound`; the child works ahead by a chunk or so."""
  chunks = call(path, "read_sound", track=track, rate=rate)
  hertz, layout = next(chunks)
  return audio.Sound(hertz, layout, chunks)


def read_image(path: str | os.PathLike) -> UInt8[np.ndarray, "h w 3"]:
  """`image.read_image`."""
  return _only(path, "read_image")


def read_tags(path: str | os.PathLike) -> dict[str, str]:
  """`tags.read_tags`."""
  return _only(path, "read_tags")


def read_manifest(
  path: str | os.PathLike, anchors: str = ""
) -> dict[str, Any] | None:
  """`manifest.read_manifest`."""
  return _only(path, "read_manifest", anchors=anchors)


def read_alpha(path: str | os.PathLike) -> UInt8[np.ndarray, "h w"] | None:
  """`image.read_alpha`."""
  return _only(path, "read_alpha")


class Frames:
  """The pictures of a video, as often as they are wanted.

  The first pass decodes; while the pictures fit into memory they are kept,
  otherwise each pass decodes anew.
  """

  def __init__(
    self,
    path: str | os.PathLike,
    fps: float = _FPS,
    limit: int | None = None,
    span: Sequence[float] | None = None,
    turns: int = 0,
  ):
    """Names the video, as `video.read_frames`, and the most pictures of it."""
    self._path, self._fps, self._limit = path, fps, limit
    self._span, self._turns = span, turns
    self._kept: list[np.ndarray] | None = None
    self._begun: Iterator[np.ndarray] | None = None

  def again(
    self, span: Sequence[float] | None = None, turns: int = 0
  ) -> "Frames":
    """The same file, read in another way; itself, if it is no other."""
    if not span and not turns:
      return self
    span = span or self._span
    return Frames(self._path, self._fps, self._limit, span, turns)

  def first(self) -> UInt8[np.ndarray, "h w 3"]:
    """The first picture; a pass that follows goes on from there."""
    frames = self._read()
    picture = next(frames)
    self._begun = itertools.chain([picture], frames)
    return picture

  def _read(self) -> Iterator[np.ndarray]:
    if self._begun is not None:
      frames, self._begun = self._begun, None
      return frames
    return read_frames(self._path, self._fps, self._span, self._turns)

  def __iter__(self) -> Iterator[UInt8[np.ndarray, "h w 3"]]:
    """One pass."""
    if self._kept is not None:
      yield from self._kept
      return
    kept, room = [], _KEEP_BYTES
    for frame in itertools.islice(self._read(), self._limit):
      room -= frame.nbytes
      if room >= 0:
        kept.append(frame)
      yield frame
    if room >= 0:
      self._kept = kept


def _only(path: str | os.PathLike, name: str, **args: Any) -> Any:
  """The one value of a call."""
  (value,) = call(path, name, **args)
  return value
