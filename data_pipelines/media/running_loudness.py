"""The loudness of a sound that is still coming, as far as it has come.

What `loudness` says of a whole file, of the sound so far: blocks are weighted
and gated alike. They are kept as a histogram, so that hours of sound take no
more memory than seconds, and those below FLOOR_LUFS do not count: a room's
noise, before anybody speaks, must not be made as loud as a voice.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int16

from data_pipelines.media import loudness

FLOOR_LUFS = -50.0  # of a block that may be somebody who speaks
_TOP_LUFS, _PER_LU = 10.0, 10  # of the histogram's last class; classes a LU
_CLASSES = round((_TOP_LUFS - FLOOR_LUFS) * _PER_LU)


class Level(NamedTuple):
  """What is known of a sound so far; grows by `heard`."""

  filtering: Float[np.ndarray, "2 2"]  # state of the weighting's filters
  rest: Float[np.ndarray, "r"]  # weighted samples short of a step
  steps: Float[np.ndarray, "k"]  # power of the last steps, three at most
  counts: Float[np.ndarray, "c"]  # blocks of each class of loudness
  powers: Float[np.ndarray, "c"]  # their power, summed up
  total: float = 0.0  # of the samples
  square: float = 0.0  # of the samples' squares
  samples: int = 0

  @property
  def lufs(self) -> float:
    """Integrated loudness; -inf as long as nobody has spoken."""
    if not self.counts.any():
      return -np.inf
    mean = self.powers.sum() / self.counts.sum()
    gate = float(loudness.lufs_of(mean)) + loudness.PAUSE_LU
    first = max(int(np.floor((gate - FLOOR_LUFS) * _PER_LU)), 0)
    powers, counts = self.powers[first:].sum(), self.counts[first:].sum()
    return float(loudness.lufs_of(powers / counts))

  @property
  def offset(self) -> int:
    """The constant that a faulty input adds, if it is most of the sound."""
    if not self.samples:
      return 0
    return loudness.constant(self.total, self.square, self.samples)


def unheard() -> Level:
  """What is known before the first sample."""
  nothing = np.zeros(0)
  classes = np.zeros(_CLASSES)
  return Level(np.zeros((2, 2)), nothing, nothing, classes, classes)


def heard(level: Level, audio: Int16[np.ndarray, "s"]) -> Level:
  """What is known after more sound.

  Args:
    level: What was known before.
    audio: 16 kHz, what comes next; may be empty.
  """
  if not len(audio):
    return level
  from data_pipelines.media import biquads

  exact = audio.astype(np.float64)
  part, filtering = biquads.filtered(
    loudness.weighting(), exact / 32768, level.filtering
  )
  part = np.concatenate([level.rest, part])
  whole = len(part) // loudness.STEP * loudness.STEP
  steps = (part[:whole].reshape(-1, loudness.STEP) ** 2).sum(1)
  steps = np.concatenate([level.steps, steps])
  counts, powers = level.counts, level.powers
  if len(steps) >= 4:
    blocks = np.convolve(steps, np.ones(4), "valid") / (4 * loudness.STEP)
    lufs = loudness.lufs_of(blocks)
    blocks, lufs = blocks[lufs > FLOOR_LUFS], lufs[lufs > FLOOR_LUFS]
    classes = ((lufs - FLOOR_LUFS) * _PER_LU).astype(int)
    classes = classes.clip(0, _CLASSES - 1)
    counts = counts + np.bincount(classes, minlength=_CLASSES)
    powers = powers + np.bincount(classes, blocks, _CLASSES)
  return Level(
    filtering,
    part[whole:],
    steps[-3:],
    counts,
    powers,
    level.total + float(exact.sum()),
    level.square + float(np.dot(exact, exact)),
    level.samples + len(audio),
  )
