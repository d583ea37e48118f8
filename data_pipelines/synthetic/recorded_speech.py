"""Drawn people who speak with a recorded voice: its phones move their mouths.

The shapes are those of the drawn speech's phonemes (`speech.PHONES`).
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Int16

from data_pipelines.synthetic import speech
from data_pipelines.synthetic.aligner import Phone
from data_pipelines.synthetic.identity import Identity
from speak_jax import spec

# ARPAbet to symbols of `speech.PHONES`, one after the other where a phone
# glides. "": no shape of its own, but that of the phone that follows.
SHAPES = {
  "AA": "a", "AE": "A", "AH": "@", "AO": "o", "AW": "au", "AY": "ai",
  "B": "b", "CH": "tS", "D": "d", "DH": "d", "EH": "e", "ER": "r",
  "EY": "Ai", "F": "f", "G": "k", "HH": "", "IH": "i", "IY": "i",
  "JH": "dS", "K": "k", "L": "l", "M": "m", "N": "n", "NG": "k",
  "OW": "ou", "OY": "oi", "P": "p", "R": "r", "S": "s", "SH": "S",
  "T": "t", "TH": "t", "UH": "u", "UW": "u", "V": "f", "W": "w",
  "Y": "i", "Z": "s", "ZH": "S",
}  # fmt: skip
# How far mouths go over the drawn speech's, from one person to the next. That
# parts the lips by .21 distances of the eyes' outer corners in the widest
# twentieth of the frames, people in four sets of recordings by .07 to .11.
ARTICULATION = (0.3, 0.6)


class Recorded(NamedTuple):
  """A recording as an utterance of a drawn person."""

  speech: speech.Speech
  recording: str  # its name, for the record's source
  sentence: str


def speech_of(
  audio: Int16[np.ndarray, "s"],
  phones: Sequence[Phone],
  start: int,
  samples: int,
  articulation: float,
) -> speech.Speech:
  """Makes an utterance of a stretch of a recording.

  Args:
    audio: The whole recording, 16 kHz.
    phones: All of its phones, in seconds from its beginning.
    start: First sample of the stretch.
    samples: Of the stretch; the mouth's tracks are as long.
    articulation: How far the mouth goes over the drawn speech's.

  Raises:
    ValueError: a phone that is not in `SHAPES`, or the stretch is not inside
      the recording.
  """
  if not 0 <= start <= len(audio) - samples:
    raise ValueError(
      f"samples {start} to {start + samples} of {len(audio)}: not inside"
    )
  seconds = samples / spec.SAMPLE_RATE_HZ
  phonemes = _within(shapes_of(phones), start / spec.SAMPLE_RATE_HZ, seconds)
  grid = int(np.ceil(seconds * speech.GRID_HZ)) + 1
  mouth = speech.mouth_tracks(phonemes, np.ones(len(phonemes)), grid)
  return speech.Speech(
    audio=audio[start : start + samples],
    phonemes=[(s, round(a, 4), round(b, 4)) for s, a, b in phonemes],
    mouth_open=(articulation * mouth.opening).clip(0, 1),
    mouth_wide=articulation * mouth.wide,
    mouth_round=(articulation * mouth.pursed).clip(0, 1),
    mouth_press=mouth.press.clip(0, 1),
  )


def stretch(
  length: int, seconds: float, fps: float, rng: np.random.Generator
) -> tuple[int, int]:
  """Chooses a stretch of a recording: its first sample, and its frames.

  Args:
    length: Samples of the recording.
    seconds: Of the stretch, at most.
    fps: Frames a second.
    rng: Draws where it begins, if the recording is longer.
  """
  most = int(length / spec.samples_per_frame(fps) + 1e-6)
  frames = min(round(seconds * fps), most)
  samples = round(frames * spec.samples_per_frame(fps))
  return int(rng.integers(length - samples + 1)), frames


def articulation_of(person: Identity) -> float:
  """How far a person's mouth goes, of `ARTICULATION`; always the same."""
  return float(np.random.default_rng((*person.seed, 1)).uniform(*ARTICULATION))


def shapes_of(phones: Sequence[Phone]) -> list[tuple[str, float, float]]:
  """Phonemes of `speech.PHONES` with start and end, from an aligner's phones.

  Raises:
    ValueError: a phone that is not in `SHAPES`.
  """
  named = [_shape(phone.symbol) for phone in phones]
  out = []
  for k, (symbols, phone) in enumerate(zip(named, phones, strict=True)):
    own = symbols or next((x[0] for x in named[k + 1 :] if x), "_")
    edges = np.linspace(phone.start, phone.end, len(own) + 1).tolist()
    out += zip(own, edges[:-1], edges[1:], strict=True)
  return out


def _shape(symbol: str) -> str:
  """Symbols of `speech.PHONES` of an aligner's phone; a pause for a noise."""
  if symbol == "SIL" or symbol.startswith("+"):
    return "_"
  bare = symbol.rstrip("012")  # stress
  if bare not in SHAPES:
    raise ValueError(f"phone {symbol!r} has no shape of the mouth")
  return SHAPES[bare]


def _within(
  phonemes: Sequence[tuple[str, float, float]], start: float, seconds: float
) -> list[tuple[str, float, float]]:
  """Those of a stretch, from 0 on, with pauses where there are none."""
  out, now = [], 0.0
  for symbol, a, b in phonemes:
    a, b = max(a - start, now), min(b - start, seconds)
    if b <= a:
      continue
    if a > now:
      out.append(("_", now, a))
    out.append((symbol, a, b))
    now = b
  if now < seconds:
    out.append(("_", now, seconds))
  return out
