"""Writes mp4 files out of pictures and sound."""

import math
import os
from collections.abc import Callable, Iterable, Mapping
from fractions import Fraction
from pathlib import Path

import av
import av.error
import numpy as np
from av.video.reformatter import Colorspace
from jaxtyping import Int16, UInt8

from data_pipelines.media.audio import Sound, whole
from data_pipelines.media.error import MediaError
from speak_jax import spec
from speak_jax.common import files

_BT709, _BT601, _LIMITED = 1, 6, 1  # H.273's matrices; ffmpeg's range
AAC_BITS = 96_000  # a second, of a channel
AAC_MOST = 6  # bits of a sample, which AAC can spend at most


def write_video(
  path: str | os.PathLike,
  frames: Iterable[UInt8[np.ndarray, "h w 3"]],
  fps: float = float(spec.FPS),
  audio: Int16[np.ndarray, "s"] | Sound | None = None,
  tags: Mapping[str, str] | None = None,
  finish: Callable[[Path], None] | None = None,
) -> int:
  """Writes an mp4 (H.264 yuv420p, AAC, index at the front), all or nothing.

  Its colours are BT.601's from RGB, or BT.709's where players expect them of
  what does not say: from 720 lines or 1280 columns on. The file says so.

  Args:
    path: Where to; the folder must exist.
    frames: RGB pictures of one even size, an array or an iterable.
    fps: Pictures per second.
    audio: 16 kHz mono, or sound of any rate and channels that goes on as long
      as it likes; None: a silent file.
    tags: Texts of the container, such as comment.
    finish: Called with the whole file before it takes its place, to change
      it; what it raises leaves nothing behind.

  Returns:
    The number of pictures written.

  Raises:
    MediaError: no frames, or odd sizes, which yuv420p cannot hold.
  """
  sound = whole(audio) if isinstance(audio, np.ndarray) else audio
  try:
    with files.replacing(path) as partial:
      count = _write(path, partial, frames, fps, sound, tags or {})
      if finish is not None:
        finish(partial)
      return count
  except (av.error.FFmpegError, OSError) as error:
    raise MediaError(path, f"cannot be written ({error})") from None


def _write(
  path, partial, frames, fps, audio: Sound | None, tags: Mapping[str, str]
) -> int:
  options = {"movflags": "+faststart"}
  # As a URL of the whole path, for folders such as "12:30".
  url = f"file:{os.path.abspath(partial)}"
  with av.open(url, "w", format="mp4", options=options) as out:
    out.metadata.update(tags)
    rate = Fraction(fps).limit_denominator(1001)
    video = out.add_stream("libx264", rate=rate)
    video.pix_fmt = "yuv420p"
    # One thread: the bytes must not depend on the machine.
    video.options = {"crf": "18", "preset": "veryfast", "threads": "1"}
    sound = None
    if audio is not None:
      sound = out.add_stream("aac", rate=audio.rate, layout=audio.layout)
      each = min(AAC_BITS, AAC_MOST * audio.rate)
      sound.bit_rate = round(each * sound.layout.nb_channels)
    chunks = iter(audio.chunks if audio is not None else ())
    count = said = 0
    matrix = _BT601

    def say(until: float) -> None:
      """Sound up to a second: an hour of it is never encoded at once."""
      nonlocal said
      while audio is not None and sound and said < until * audio.rate:
        part = next(chunks, None)
        if part is None:
          return
        chunk = av.AudioFrame.from_ndarray(
          np.ascontiguousarray(part.T).reshape(1, -1),
          format="flt",
          layout=audio.layout,
        )
        chunk.sample_rate, chunk.pts = audio.rate, said
        chunk.time_base = Fraction(1, audio.rate)
        out.mux(sound.encode(chunk))
        said += part.shape[1]

    for frame in frames:
      if count == 0:
        video.height, video.width = frame.shape[:2]
        if video.height % 2 or video.width % 2:
          raise MediaError(path, "yuv420p needs an even width and height")
        matrix = (
          _BT709 if video.width >= 1280 or video.height >= 720 else _BT601
        )
        coder = video.codec_context
        coder.colorspace, coder.color_range = matrix, _LIMITED
        coder.color_primaries = coder.color_trc = _BT709
      picture = av.VideoFrame.from_ndarray(
        np.ascontiguousarray(frame), format="rgb24"
      )
      if matrix == _BT709:
        picture = picture.reformat(
          format="yuv420p", dst_colorspace=Colorspace.ITU709
        )
      picture.colorspace = matrix
      picture.pts, picture.time_base = count, 1 / rate
      out.mux(video.encode(picture))
      count += 1
      say(float(count / rate))
    if count == 0:
      raise MediaError(path, "no frames to write")
    say(math.inf)
    out.mux(video.encode(None))
    if sound is not None:
      out.mux(sound.encode(None))
  return count
