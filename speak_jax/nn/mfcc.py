"""The 13 mel-frequency cepstra that the public SyncNet listens to.

In float64 on the host: silence has logarithms of machine epsilon, and the
figures made from these must be comparable to the digit. Source: the defaults
of python_speech_features (base.py, sigproc.py) at 16 kHz.
"""

import functools

import numpy as np
from jaxtyping import Float, Int16

from speak_jax import spec

WINDOW = 400  # samples, 25 ms
HOP = 160  # samples, 10 ms: four rows a video frame at 25 fps
POINTS = 512  # of the Fourier transform
FILTERS = 26
COEFFICIENTS = 13
EMPHASIS = 0.97
LIFTER = 22
_EPSILON = np.finfo(np.float64).eps  # stands for zero under a logarithm


def mfcc(audio: Int16[np.ndarray, "s"]) -> Float[np.ndarray, "n 13"]:
  """Log energy and 12 liftered cepstra every 10 ms, n = 1 + ceil((s-400)/160).

  Row i is of the 400 samples from 160 i on, under no window function; the last
  one is filled up with zeros. Less than a window makes one row.

  Args:
    audio: 16 kHz, not scaled.
  """
  signal = audio.astype(np.float64)
  signal[1:] -= EMPHASIS * signal[:-1]
  count = 1 + max(0, -(-(len(signal) - WINDOW) // HOP))
  lack = (count - 1) * HOP + WINDOW - len(signal)
  windows = np.lib.stride_tricks.sliding_window_view(
    np.pad(signal, (0, lack)), WINDOW
  )[::HOP]
  power = np.abs(np.fft.rfft(windows, POINTS)) ** 2 / POINTS
  bands = power @ mel_filters().T
  cepstra = np.log(np.where(bands == 0, _EPSILON, bands)) @ _cosines()
  energy = power.sum(1)
  cepstra[:, 0] = np.log(np.where(energy == 0, _EPSILON, energy))
  return cepstra


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
