"""Inputs that come with the package, or are drawn: sounds, people, films."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import soundfile
from jaxtyping import Int16, UInt8

from data_pipelines.dataset.pictures import decode_frame
from data_pipelines.media import decoder, mp4
from data_pipelines.synthetic import render
from speak_jax import spec
from speak_jax.common import packaged

NOISE = 9_000  # loudest sample of noise that stands for sound


def speech(seconds: float) -> Int16[np.ndarray, "s"]:
  """The example sentence, over and over, 16 kHz."""
  sentence = decoder.read_audio(packaged.SENTENCE)
  return np.resize(sentence, round(seconds * spec.SAMPLE_RATE_HZ))


def voice(path: Path, seconds: float, extra: int = 0) -> int:
  """Writes it to a file, however long it is.

  Args:
    path: A WAV file.
    seconds: How long.
    extra: Samples more.

  Returns:
    The number of samples.
  """
  sentence = decoder.read_audio(packaged.SENTENCE)
  wanted = round(seconds * spec.SAMPLE_RATE_HZ) + extra
  rate = spec.SAMPLE_RATE_HZ
  with soundfile.SoundFile(path, "w", rate, 1, "PCM_16") as out:
    left = wanted
    while left:
      piece = sentence[:left]
      out.write(piece)
      left -= len(piece)
  return wanted


def people(
  count: int, seconds: float, size: int, framing: str = "medium"
) -> list[render.Recipe]:
  """One clip each of so many drawn people."""
  return render.recipes(
    seed=0,
    identities=count,
    held_out=0,
    clips_per_identity=1,
    seconds=seconds,
    size=size,
    framing=framing,
  )


def film(path: Path, record: spec.Record) -> Path:
  """Writes a drawn clip with its sound."""
  mp4.write_video(path, pictures(record), float(record.fps), record.audio)
  return path


def pictures(record: spec.Record) -> Iterator[UInt8[np.ndarray, "h w 3"]]:
  """The frames of a clip."""
  return (decode_frame(jpeg) for jpeg in record.frames)
