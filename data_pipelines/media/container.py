"""Opens a media file safely: local files of known kinds, within limits."""

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import av
import av.error
import av.stream
from av.container import InputContainer
from av.video.stream import VideoStream
from packaging.version import Version

from data_pipelines.media.error import MediaError
from data_pipelines.media.limits import LIMITS

# A playlist or concat script that is named .mp4 must not reach ffmpeg's
# network or script demuxers.
OPTIONS = {
  "protocol_whitelist": "file",
  "format_whitelist": (
    "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,flv,mpegts,mpeg,asf,mxf,dv,"
    "ogg,wav,w64,mp3,flac,aac,loas,aiff,caf,au,amr,ac3,eac3,wv,ape,tta"
  ),
}
# The same for people.
KINDS = (
  "mp4, mov, mkv, webm, avi, flv, ts, mpg, wmv, mxf, dv, ogg, wav, mp3, flac, "
  "aac, aiff, caf, au, amr, ac3, wv, ape, tta"
)
# Titles and names of artists are in any encoding, and nobody reads them. From
# PyAV 19 on every file is opened so, and there is no such argument.
_ANY_TITLES: Any = (
  {"metadata_errors": "replace"} if Version(av.__version__).major < 19 else {}
)


@contextmanager
def opened(
  path: str | os.PathLike, kinds: str = KINDS
) -> Iterator[InputContainer]:
  """Opens a file for reading; every failure inside is a MediaError.

  What is of no kind that can be read is told the `kinds` that can.
  """
  check_file(path)
  try:
    # As a URL of the whole path, for names such as "-i" or "concat:a".
    url = f"file:{os.path.abspath(path)}"
    try:
      opening = av.open(url, options=OPTIONS, **_ANY_TITLES)
    except av.error.InvalidDataError as error:
      reason = f"cannot be read ({_reason(error)}); kinds that are: {kinds}"
      raise MediaError(path, reason) from None
    except av.error.ArgumentError:  # ffmpeg's word for what is not on the list
      reason = f"cannot be read (of another kind); kinds that are: {kinds}"
      raise MediaError(path, reason) from None
    with opening as container:
      _check(path, container)
      yield container
  # Before ValueError, which it is too.
  except MediaError:
    raise
  except MemoryError:
    raise  # not the file's reason, but the limits'
  except (av.error.FFmpegError, ValueError, OverflowError) as error:
    raise MediaError(path, f"cannot be read ({_reason(error)})") from None


def check_file(path: str | os.PathLike) -> None:
  """Refuses what is no regular file, or an empty or a huge one.

  A link counts as what it points to; opening a pipe or device could block.

  Raises:
    MediaError: one line.
  """
  if not os.fspath(path):
    raise MediaError(path, "a file without a name")
  try:
    status = os.stat(path)
  except (FileNotFoundError, NotADirectoryError):
    raise MediaError(path, "no such file") from None
  except (OSError, ValueError) as error:  # loops, forbidden, NUL in the name
    raise MediaError(path, f"cannot be read ({_reason(error)})") from None
  if stat.S_ISDIR(status.st_mode):
    raise MediaError(path, "is a folder")
  if not stat.S_ISREG(status.st_mode):
    raise MediaError(path, "is not a regular file")
  if status.st_size == 0:
    raise MediaError(path, "empty file")
  if status.st_size > LIMITS.file_bytes:
    raise MediaError(path, f"over {LIMITS.file_bytes >> 30} GiB")


def check_picture(
  path: str | os.PathLike, container: InputContainer
) -> VideoStream:
  """Returns the video stream, set up to decode within limits.

  Raises:
    MediaError: there is none, or its pictures are too large or too many.
  """
  if not has_picture(container):
    raise MediaError(path, "no picture track")
  stream = container.streams.video[0]
  width, height = stream.width or 0, stream.height or 0
  if max(width, height) > LIMITS.side_px or width * height > LIMITS.pixels:
    megapixels = LIMITS.pixels / 1e6
    raise MediaError(
      path,
      f"{width}x{height} is over {LIMITS.side_px} px or {megapixels:.0f} MP",
    )
  if (stream.average_rate or 0) > LIMITS.fps:
    raise MediaError(path, f"over {LIMITS.fps:g} pictures a second")
  # The codec's own header can claim more than the file's.
  stream.codec_context.options = {"max_pixels": str(LIMITS.pixels)}
  # More threads cost more in all, and workers have a core each.
  stream.codec_context.thread_count = 1
  return stream


def has_picture(container: InputContainer) -> bool:
  """Whether there is a video; a song's cover is none."""
  if not container.streams.video:
    return False
  stream = container.streams.video[0]
  return not stream.disposition & av.stream.Disposition.attached_pic


def _check(path: str | os.PathLike, container: InputContainer) -> None:
  """Refuses what a file says of itself, before it is believed."""
  if len(container.streams) > LIMITS.streams:
    raise MediaError(path, f"over {LIMITS.streams} streams")
  if (container.duration or 0) / av.time_base > LIMITS.seconds:
    raise MediaError(path, f"over {LIMITS.seconds / 3600:g} hours")
  for stream in container.streams.audio:
    if (stream.rate or 0) > LIMITS.audio_rate_hz:
      raise MediaError(path, f"sound of over {LIMITS.audio_rate_hz} Hz")


def _reason(error: Exception) -> str:
  return getattr(error, "strerror", None) or str(error) or type(error).__name__
