"""Opens a media file safely: local files of known kinds, within limits."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

import av
import av.error
from av.container import InputContainer

from data_pipelines.media.error import MediaError

MAX_SIDE_PX = 4096
# A playlist or concat script that is named .mp4 must not reach ffmpeg's
# network or script demuxers.
OPTIONS = {
  "protocol_whitelist": "file",
  "format_whitelist": (
    "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mpegts,mpeg,wav,mp3,flac,ogg,aac"
  ),
}


@contextmanager
def opened(path: str | os.PathLike) -> Iterator[InputContainer]:
  """Opens a file for reading; every failure inside is a MediaError."""
  name = os.fspath(path)
  if not os.path.isfile(name):
    raise MediaError(name, "no such file")
  if os.path.getsize(name) == 0:
    raise MediaError(name, "empty file")
  try:
    url = f"file:{os.path.abspath(name)}"
    with av.open(url, options=OPTIONS) as container:
      yield container
  except (av.error.FFmpegError, ValueError, OverflowError) as error:
    if isinstance(error, MediaError):
      raise
    raise MediaError(name, f"cannot be read ({_reason(error)})") from None


def check_picture(path: str | os.PathLike, container: InputContainer):
  """Returns the video stream, or raises: none there, or too large."""
  if not container.streams.video:
    raise MediaError(path, "no picture track")
  stream = container.streams.video[0]
  if max(stream.width or 0, stream.height or 0) > MAX_SIDE_PX:
    size = f"{stream.width}x{stream.height}"
    raise MediaError(path, f"{size} is over {MAX_SIDE_PX} px")
  return stream


def _reason(error: Exception) -> str:
  return getattr(error, "strerror", None) or str(error) or type(error).__name__
