"""Mel-frequency cepstra, as the public SyncNet and ATVG listen to them.

NumPy arrays are worked off in float64 on the host: silence has logarithms of
machine epsilon, and figures made from these must be comparable to the digit.
JAX arrays are worked off in float32 where they are. Source: the defaults of
python_speech_features (base.py, sigproc.py) at 16 kHz.
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float, Shaped

from speak_jax import spec

WINDOW = 400  # samples, 25 ms
HOP = 160  # samples, 10 ms: four rows a video frame at 25 fps
POINTS = 512  # of the Fourier transform
FILTERS = 26
COEFFICIENTS = 13
EMPHASIS = 0.97
LIFTER = 22
_EPSILON = np.finfo(np.float64).eps  # stands for zero under a logarithm

# What a frame at 25 fps hears: its own rows, and those of frames round it.
FRAME = 640  # samples
FRAME_ROWS = FRAME // HOP
BEFORE, AFTER = 3, 3  # frames
ROWS = (BEFORE + 1 + AFTER) * FRAME_ROWS


def mfcc(audio: Shaped[Any, "*b s"]) -> Float[Any, "*b n 13"]:
  """Log energy and 12 liftered cepstra every 10 ms, n = 1 + ceil((s-400)/160).

  Row i is of the 400 samples from 160 i on, under no window function; the last
  one is filled up with zeros. Less than a window makes one row.

  Args:
    audio: 16 kHz, int16 or its numbers as floats, not scaled: a scale moves
      the energy alone.
  """
  xp = _library(audio)
  signal = audio.astype(np.float64 if xp is np else jnp.float32)
  emphasised = signal[..., 1:] - EMPHASIS * signal[..., :-1]
  signal = xp.concatenate([signal[..., :1], emphasised], -1)
  count = 1 + max(0, -(-(signal.shape[-1] - WINDOW) // HOP))
  signal = _padded(signal, 0, (count - 1) * HOP + WINDOW - signal.shape[-1])
  samples = HOP * np.arange(count)[:, None] + np.arange(WINDOW)
  with jax.default_matmul_precision("highest"):
    spectrum = xp.fft.rfft(signal[..., samples], POINTS)
    power = (spectrum.real**2 + spectrum.imag**2) / POINTS
    bands = power @ xp.asarray(mel_filters().T, power.dtype)
    logarithms = xp.log(xp.where(bands == 0, _EPSILON, bands))
    cepstra = logarithms @ xp.asarray(_cosines(), power.dtype)
  energy = power.sum(-1, keepdims=True)
  energy = xp.log(xp.where(energy == 0, _EPSILON, energy))
  return xp.concatenate([energy, cepstra[..., 1:]], -1)


def windows(
  audio: Shaped[Any, "*b s"], frames: int, context: int = 0
) -> Float[Any, "*b t 28 12"]:
  """What is heard about each frame at 25 fps, without its energy.

  Frame i hears the seven frames from the third before it to the third after.
  Beyond the sound there is silence.

  Args:
    audio: As in `mfcc`; 640 samples a frame.
    frames: How many are asked for.
    context: Frames of sound before the first one. With 4 on either side, the
      windows are those of the whole clip.
  """
  lead, lack = max(context - BEFORE, 0), max(BEFORE - context, 0)
  # The last row reaches beyond its frame.
  last = (lead + frames + ROWS // FRAME_ROWS - 1) * FRAME + WINDOW - HOP
  missing = last - audio.shape[-1] - lack * FRAME
  rows = mfcc(_padded(audio, lack * FRAME, max(missing, 0)))
  first = FRAME_ROWS * (lead + np.arange(frames))
  return rows[..., first[:, None] + np.arange(ROWS), 1:]


def _library(array: Any) -> Any:
  """The library that an array belongs to."""
  return jnp if isinstance(array, Array) else np


def _padded(x: Any, before: int, after: int) -> Any:
  """Zeros at the ends of the last axis."""
  widths = [(0, 0)] * (x.ndim - 1) + [(before, after)]
  return _library(x).pad(x, widths)


@functools.cache
def mel_filters() -> Float[np.ndarray, "26 257"]:
  """Triangles of height 1 with corners on whole Fourier bins.

  The corners are evenly spaced on HTK's mel scale from 0 to 8 kHz, then
  rounded down to bins of 16000 / 513 Hz (sic: one more than there are).
  """
  top = 2595 * np.log10(1 + spec.SAMPLE_RATE_HZ / 2 / 700)
  hertz = 700 * (10 ** (np.linspace(0, top, FILTERS + 2) / 2595) - 1)
  corners = np.floor((POINTS + 1) * hertz / spec.SAMPLE_RATE_HZ)
  low, middle, high = (corners[i : i + FILTERS, None] for i in range(3))
  bins = np.arange(POINTS // 2 + 1)
  rising = (bins - low) / (middle - low)
  falling = (high - bins) / (high - middle)
  return np.minimum(rising, falling).clip(0)


@functools.cache
def _cosines() -> Float[np.ndarray, "26 13"]:
  """Orthonormal DCT-II, each coefficient times its lifter.

  The column of coefficient 0 lacks its usual 1 / sqrt(2): energy replaces it.
  """
  k, band = np.arange(COEFFICIENTS), np.arange(FILTERS)
  waves = np.cos(np.pi / FILTERS * np.outer(band + 0.5, k))
  lifter = 1 + LIFTER / 2 * np.sin(np.pi * k / LIFTER)
  return np.sqrt(2 / FILTERS) * waves * lifter
