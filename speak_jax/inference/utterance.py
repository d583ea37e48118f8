"""What somebody says, while it is said: sound that comes in pieces.

Pure functions: a state and a piece of sound in, a new state out; a state in,
the sound of the next frames out. A frame is the same as that of the whole
recording, bit for bit, if `context` frames of sound behind it are known and
the recording has the same level: the network is given the very windows that
`MotionModel.stream` gives it, of which only those frames are taken that nothing
unknown can change.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Int16

from data_pipelines.media import running_loudness
from data_pipelines.media.loudness import VOICE_LUFS, Gain
from data_pipelines.media.running_loudness import Level
from speak_jax import spec
from speak_jax.inference.windows import Heard, cut_sound

MIRROR_S = 2.0  # of sound that is mirrored where what comes is not known


class Hearing(NamedTuple):
  """How an utterance is heard."""

  settings: Heard  # of the network
  look_ahead: int  # frames of sound that must be known behind a frame
  lufs: float | None  # loudness of the voice; None: as far as it is known


class Utterance(NamedTuple):
  """The state."""

  sound: Int16[np.ndarray, "s"]  # 16 kHz, as it came; the latest of it
  first: int = 0  # sample that `sound` begins with
  ended: bool = False
  made: int = 0  # frames that were taken
  level: Level = running_loudness.unheard()

  @property
  def samples(self) -> int:
    """Number of samples that have come."""
    return self.first + len(self.sound)


class Stretch(NamedTuple):
  """What the network is given for the next frames."""

  sound: Int16[np.ndarray, "1 a"]  # of a window, as `cut_sound` cuts it
  start: int  # the frames' place in the window
  stop: int


def silence() -> Utterance:
  """Nobody has said anything yet."""
  return Utterance(np.zeros(0, np.int16))


def heard(
  said: Utterance, audio: Int16[np.ndarray, "s"], hearing: Hearing
) -> Utterance:
  """The utterance with what comes next; of what is behind no more is kept.

  Raises:
    ValueError: it has ended.
  """
  if said.ended:
    raise ValueError("the utterance has ended")
  settings = hearing.settings
  per_frame = spec.samples_per_frame(settings.fps)
  window = said.made // settings.heard * settings.heard
  # What a window needs, and what may have to be mirrored.
  kept = min(
    round(window * per_frame) - round(settings.context * per_frame),
    said.samples + len(audio) - round(MIRROR_S * spec.SAMPLE_RATE_HZ),
  )
  drop = max(kept - said.first, 0)
  sound = np.concatenate([said.sound, audio])
  return said._replace(
    sound=sound[drop:],
    first=said.first + drop,
    level=running_loudness.heard(said.level, audio),
  )


def ended(said: Utterance) -> Utterance:
  """Behind what has come there is silence."""
  return said._replace(ended=True)


def ready(said: Utterance, hearing: Hearing) -> int:
  """How many frames could be made by now, those that were taken included."""
  fps = hearing.settings.fps
  if said.ended:
    return round(said.samples * fps / spec.SAMPLE_RATE_HZ)
  known = int(said.samples / spec.samples_per_frame(fps))
  return max(known - hearing.look_ahead, 0)


def stretch(said: Utterance, hearing: Hearing, most: int) -> Stretch | None:
  """What is needed for the next frames; None if there are none yet.

  Args:
    said: The utterance.
    hearing: How it is heard.
    most: Frames.
  """
  settings = hearing.settings
  number, start = divmod(said.made, settings.heard)
  left = ready(said, hearing) - said.made
  stop = min(start + min(left, most), settings.heard)
  if stop <= start:
    return None
  sound = said.sound
  if not said.ended and hearing.look_ahead < settings.context:
    back = round(MIRROR_S * spec.SAMPLE_RATE_HZ)
    sound = np.concatenate([sound, sound[: -back - 1 : -1]])
  (window,) = cut_sound(sound, number, 1, settings, said.first)
  lufs = said.level.lufs if hearing.lufs is None else hearing.lufs
  decibels = VOICE_LUFS - lufs if np.isfinite(lufs) else None
  window = Gain(said.level.offset, decibels).of(window)
  return Stretch(window[None], start, stop)


def taken(said: Utterance, frames: int) -> Utterance:
  """The utterance after so many more frames were shown."""
  return said._replace(made=said.made + frames)
