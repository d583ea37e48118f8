"""How loud a voice is, and sound brought to the loudness of the training data.

Networks hear how loud sound is: a voice recorded 20 dB too low would barely
move the lips. So all sound that comes out of a file, at preparation and at
generation, gets one gain, for the whole recording, by its loudness as EBU R128
has it (ITU-R BS.1770-4): frequencies weighted as ears do, pauses left out.
Peaks would not do: one knock on the table would make the voice quiet.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int16

from speak_jax import spec

VOICE_LUFS = -19.0  # of the drawn voices: -19.06, 1.4 from one to the next
# Gates of BS.1770: blocks below are no sound at all, or are pauses.
SILENCE_LUFS, PAUSE_LU = -70.0, -10.0
STEP = spec.SAMPLE_RATE_HZ // 10  # 0.1 s; a block is four of them
_CHUNK = 50 * STEP  # filtered at a time: 5 s


class Gain(NamedTuple):
  """What brings a recording to a loudness; the same for all of it."""

  offset: int = 0  # a constant, which is taken away
  decibels: float | None = None  # None: silent, stays as it is

  def of(self, audio: Int16[np.ndarray, "s"]) -> Int16[np.ndarray, "s"]:
    """A piece of the recording, changed."""
    audio = without(audio, self.offset)
    return audio if self.decibels is None else amplified(audio, self.decibels)


def loudness(audio: spec.Samples, offset: int = 0) -> float:
  """Integrated loudness of a 16 kHz sound in LUFS; -inf if it is silent.

  A sound of less than 0.4 s is one block.

  Args:
    audio: The sound.
    offset: A constant in it, which does not count.
  """
  blocks = _blocks(audio, offset)
  blocks = blocks[lufs_of(blocks) > SILENCE_LUFS]
  if len(blocks):
    blocks = blocks[lufs_of(blocks) > lufs_of(blocks.mean()) + PAUSE_LU]
  return float(lufs_of(blocks.mean())) if len(blocks) else -np.inf


def gain(audio: spec.Samples, lufs: float = VOICE_LUFS) -> Gain:
  """What brings a sound to this loudness; what is silent stays as it is.

  A constant is taken away, which is no sound: amplified with a quiet voice it
  would be all that is left.
  """
  total = square = 0.0
  for part in parts(audio):
    exact = part.astype(np.float64)
    total += float(exact.sum())
    square += float(np.dot(exact, exact))
  offset = constant(total, square, max(len(audio), 1))
  now = loudness(audio, offset)
  return Gain(offset, lufs - now if np.isfinite(now) else None)


def levelled(
  audio: Int16[np.ndarray, "s"], lufs: float = VOICE_LUFS
) -> Int16[np.ndarray, "s"]:
  """The sound at this loudness, see `gain`; peaks above are clipped."""
  return gain(audio, lufs).of(audio)


def parts(audio: spec.Samples) -> Iterator[Int16[np.ndarray, "n"]]:
  """Yields a sound a few seconds at a time."""
  for start in range(0, len(audio), _CHUNK):
    yield audio[start : start + _CHUNK]


def amplified(
  audio: Int16[np.ndarray, "s"], decibels: float
) -> Int16[np.ndarray, "s"]:
  """The sound so much louder; peaks above full scale are clipped."""
  gain = np.float32(10 ** (decibels / 20))
  out = np.empty_like(audio)
  for start in range(0, len(audio), _CHUNK):  # hours are not held as floats
    part = audio[start : start + _CHUNK] * gain
    out[start : start + _CHUNK] = np.rint(part).clip(-32768, 32767)
  return out


def constant(total: float, square: float, samples: int) -> int:
  """The constant in a sound, if it is most of all; else 0.

  Args:
    total: Of its samples.
    square: Of their squares.
    samples: Their number.
  """
  offset = round(total / samples)
  return 0 if 2 * offset**2 * samples <= square else offset


def without(
  audio: Int16[np.ndarray, "s"], offset: int
) -> Int16[np.ndarray, "s"]:
  """The sound without a constant."""
  if not offset:
    return audio
  out = np.empty_like(audio)
  for start in range(0, len(audio), _CHUNK):
    part = audio[start : start + _CHUNK].astype(np.int32) - offset
    out[start : start + _CHUNK] = part.clip(-32768, 32767)
  return out


def _blocks(audio: spec.Samples, offset: int) -> Float[np.ndarray, "n"]:
  """Weighted power of blocks of 0.4 s that begin every 0.1 s; full scale 1."""
  # Here alone: a decoder hardly ever needs it, and numba takes a while.
  from data_pipelines.media import biquads

  filters, state = weighting(), np.zeros((2, 2))
  sums = []
  for heard in parts(audio):
    part = without(heard, offset) / 32768
    part, state = biquads.filtered(filters, part, state)
    whole = len(part) // STEP * STEP
    if len(audio) < 4 * STEP:
      return np.array([np.mean(part**2)]) if len(part) else np.zeros(0)
    sums.append((part[:whole].reshape(-1, STEP) ** 2).sum(1))
  if not sums:
    return np.zeros(0)
  steps = np.concatenate(sums)
  return np.convolve(steps, np.ones(4), "valid") / (4 * STEP)


def weighting() -> Float[np.ndarray, "2 6"]:
  """The K weighting of BS.1770 at 16 kHz: a head's shelf, then a high pass.

  The analogue filters behind the standard's numbers for 48 kHz, as libebur128
  has them, by the bilinear transform.
  """
  out = []
  for hz, q, gain_db in (
    (1681.974450955533, 0.7071752369554196, 3.999843853973347),
    (38.13547087602444, 0.5003270373238773, None),
  ):
    k = np.tan(np.pi * hz / spec.SAMPLE_RATE_HZ)
    a0 = 1 + k / q + k * k
    below = [1.0, 2 * (k * k - 1) / a0, (1 - k / q + k * k) / a0]
    if gain_db is None:
      above = [1.0, -2.0, 1.0]
    else:
      high = 10 ** (gain_db / 20)
      middle = high**0.4996667741545416
      above = [
        (high + middle * k / q + k * k) / a0,
        2 * (k * k - high) / a0,
        (high - middle * k / q + k * k) / a0,
      ]
    out.append([*above, *below])
  return np.array(out)


def lufs_of(power: Float[np.ndarray, "*n"] | float) -> Float[np.ndarray, "*n"]:
  """Loudness of weighted power, full scale 1; -inf of none."""
  with np.errstate(divide="ignore"):
    return np.asarray(-0.691 + 10 * np.log10(power))
