"""Channels of sound to one, without losing a voice.

Silent channels do not count, a centre channel counts most, and a channel that
would wipe out the others is turned round.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Float32

# A channel this much below the loudest, or below full scale, is silent.
SILENT_CHANNEL = 1e-4  # of the power: 40 dB
BESIDE_CENTRE = 0.5  # weight of the others where the centre speaks
OPPOSITE = -0.5  # correlation from which on a turned channel is said


class Channels(NamedTuple):
  """What the channels of a track are like."""

  power: Float[np.ndarray, "c c"]  # mean products, full scale 1
  peaks: Float[np.ndarray, "c"]  # largest magnitudes, full scale 1


def measure(chunks: Iterable[Float32[np.ndarray, "c n"]]) -> Channels:
  """Measures power and peaks of sound that comes piece by piece.

  Args:
    chunks: Samples by channel, full scale 1.
  """
  power, peaks, count = np.zeros((1, 1)), np.zeros(1), 0
  for chunk in chunks:
    x = chunk.astype(np.float64)
    power = power + x @ x.T
    peaks = np.maximum(peaks, np.abs(x).max(1, initial=0))
    count += x.shape[1]
  return Channels(power / max(count, 1), peaks)


def mix(
  power: Float[np.ndarray, "c c"], names: Sequence[str]
) -> tuple[Float[np.ndarray, "c"], bool]:
  """Chooses weights of channels in a mono mix that loses none of the sound.

  Args:
    power: Mean products of the channels, full scale 1.
    names: "FL", "FC" and so on, as ffmpeg has them.

  Returns:
    The weights, whose magnitudes sum to one: what all channels have in common
    keeps its level, as does what only one of them has. And whether a channel
    had to be turned round that is mostly the opposite of the others.
  """
  own = np.diag(power)
  audible = own > SILENT_CHANNEL * own.max()
  full = np.array([not name.startswith("LFE") for name in names])
  if (audible & full).any():
    audible &= full
  wanted = audible.astype(float)
  centre = np.array([name == "FC" for name in names]) & audible
  if centre.any():
    wanted[~centre] *= BESIDE_CENTRE
  weights, turned = np.zeros(len(own)), False
  for i in np.argsort(-own * wanted**2, kind="stable"):
    alike = power[i] @ weights
    both = np.sqrt(own[i] * (weights @ power @ weights))
    turned |= bool(wanted[i] and alike < OPPOSITE * both)
    weights[i] = wanted[i] if alike >= 0 else -wanted[i]
  if not wanted.any():
    return np.full(len(own), 1 / len(own)), False
  first = weights[np.flatnonzero(weights)[0]]
  return weights * np.sign(first) / wanted.sum(), turned
