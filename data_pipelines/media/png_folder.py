"""Writes a folder of PNG pictures with the sound beside them, for editors.

The pictures are 000000.png, 000001.png and so on, the sound is sound.wav, of
24 bit. Nothing is lost, and transparency is kept.
"""

import os
import re
from collections.abc import Callable, Iterable, Mapping
from fractions import Fraction
from pathlib import Path

import av
import av.error
import numpy as np
from av.audio.stream import AudioStream
from jaxtyping import UInt8
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from data_pipelines.media.audio import Sound
from data_pipelines.media.error import MediaError
from data_pipelines.media.mp4 import frame_rate
from speak_jax.common import files

SOUND = "sound.wav"
NAMES = re.compile(rf"\d{{6,}}\.png|{re.escape(SOUND)}")  # of its files
FAST = 1  # zlib's level: later ones take thrice as long for a tenth


def is_folder(path: str | os.PathLike) -> bool:
  """Whether a name is a folder's: it ends with a slash, or there is one."""
  return os.fspath(path).endswith(("/", os.sep)) or os.path.isdir(path)


def write_pictures(
  path: str | os.PathLike,
  frames: Iterable[UInt8[np.ndarray, "h w c"]],
  fps: float,
  audio: Sound | None,
  tags: Mapping[str, str] | None = None,
  finish: Callable[[Path], None] | None = None,
) -> int:
  """Writes a folder, all or nothing; one that is there is replaced.

  Args:
    path: The folder.
    frames: RGB or RGBA pictures, RGBA ones with colours as they are.
    fps: Pictures per second, which every picture says of itself.
    audio: What is heard; None: there is no sound.wav.
    tags: Texts that every file bears.
    finish: Called with each whole file before the folder takes its place, to
      change it; what it raises leaves nothing behind.

  Returns:
    The number of pictures written.

  Raises:
    MediaError: no frames, or it cannot be written.
  """
  texts = {**(tags or {}), "fps": str(frame_rate(fps))}
  facts = PngInfo()
  for name, text in texts.items():
    facts.add_itxt(name, text)
  count = 0
  try:
    with files.replacing_folder(path) as folder:
      for frame in frames:
        Image.fromarray(np.ascontiguousarray(frame)).save(
          folder / f"{count:06d}.png", pnginfo=facts, compress_level=FAST
        )
        count += 1
      if not count:
        raise MediaError(path, "no frames to write")
      if audio is not None:
        _write_sound(folder / SOUND, audio, tags or {})
      if finish is not None:
        for name in sorted(folder.iterdir()):
          finish(name)
  except (av.error.FFmpegError, OSError) as error:
    raise MediaError(path, f"cannot be written ({error})") from None
  return count


def _write_sound(path: Path, audio: Sound, tags: Mapping[str, str]) -> None:
  """Writes a wav, of RF64 where it is over 4 GiB."""
  url = f"file:{os.path.abspath(path)}"
  with av.open(url, "w", format="wav", options={"rf64": "auto"}) as out:
    out.metadata.update(tags)
    stream = out.add_stream("pcm_s24le", rate=audio.rate, layout=audio.layout)
    assert isinstance(stream, AudioStream)
    said = 0
    for part in audio.chunks:
      chunk = av.AudioFrame.from_ndarray(
        np.ascontiguousarray(part.T).reshape(1, -1),
        format="flt",
        layout=audio.layout,
      )
      chunk.sample_rate, chunk.pts = audio.rate, said
      chunk.time_base = Fraction(1, audio.rate)
      out.mux(stream.encode(chunk))
      said += part.shape[1]
    out.mux(stream.encode(None))
