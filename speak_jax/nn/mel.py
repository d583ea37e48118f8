"""Log-mel spectra on the device, one step every 10 ms."""

import functools

import jax.numpy as jnp
import numpy as np
from einops import rearrange
from jax import Array, lax
from jaxtyping import Float

from speak_jax import spec

BINS = 80
WINDOW = 400  # samples, 25 ms
HOP = 160  # samples, 10 ms: four steps a video frame at 25 fps
FLOOR = 1e-5  # of the power


def windowed_waves(window: int) -> Float[np.ndarray, "n k"]:
  """Fourier basis of so many samples under a Hann window: cosines, then sines.

  Args:
    window: n; k = 2 (n / 2 + 1).
  """
  turn = 2 * np.pi * np.outer(np.arange(window), np.arange(window // 2 + 1))
  hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(window) / window)
  waves = np.concatenate([np.cos(turn / window), np.sin(turn / window)], 1)
  return hann[:, None] * waves


@functools.cache
def _bases() -> tuple[np.ndarray, np.ndarray]:
  """Windowed Fourier basis (3 hops, 2 * 201), and mel filters (201, 80)."""
  import librosa  # costs a second; nets without sound need not pay it

  waves = windowed_waves(WINDOW)
  basis = np.zeros((3 * HOP, waves.shape[1]), np.float32)
  basis[:WINDOW] = waves
  filters = librosa.filters.mel(
    sr=spec.SAMPLE_RATE_HZ, n_fft=WINDOW, n_mels=BINS
  )
  return basis, np.ascontiguousarray(filters.T, np.float32)


def log_mel(audio: Float[Array, "b s"]) -> Float[Array, "b n 80"]:
  """Natural logarithm of the mel power spectrum, floored at 1e-5.

  Hann window of 25 ms centred on each 10 ms; n = s / 160. The transform is a
  matrix product: 400 points are too few for an FFT to win, and it exports to
  every platform.

  Args:
    audio: 16 kHz in [-1, 1], a whole number of hops.

  Raises:
    ValueError: the length is no multiple of 160.
  """
  samples = audio.shape[1]
  if samples % HOP:
    raise ValueError(f"audio of {samples} samples is no multiple of {HOP}")
  basis, filters = _bases()
  before = (WINDOW - HOP) // 2
  steps = samples // HOP
  padded = jnp.pad(
    audio.astype(jnp.float32), ((0, 0), (before, 3 * HOP - before))
  )
  hops = rearrange(padded, "b (n h) -> b n h", h=HOP)
  frames = jnp.concatenate([hops[:, i : i + steps] for i in range(3)], -1)
  waves = jnp.matmul(frames, basis, precision=lax.Precision.HIGHEST)
  cosine, sine = jnp.split(waves, 2, -1)
  power = cosine**2 + sine**2
  mel = jnp.matmul(power, filters, precision=lax.Precision.HIGHEST)
  return jnp.log(jnp.maximum(mel, FLOOR))


def normalized_log_mel(audio: Float[Array, "b s"]) -> Float[Array, "b n 80"]:
  """`log_mel` brought to about unit range: silence near -1.5, speech near 1."""
  return log_mel(audio) / 4 + 1.4
