"""The spectra that Wav2Lip and methods after it hear: 80 steps a second.

Of 800 samples about every 200: magnitudes, not power, after pre-emphasis, in
decibels brought to -4..4. Source: the settings of Wav2Lip's public models; its
`rescale` is never applied. What we train ourselves hears `mel.log_mel`.
"""

import functools

import jax.numpy as jnp
import numpy as np
from einops import rearrange
from jax import Array, lax
from jaxtyping import Float

from speak_jax import spec
from speak_jax.nn.mel import windowed_waves

BANDS = 80
WINDOW = 800  # samples, 50 ms
HOP = 200  # samples, 12.5 ms: 3.2 steps a video frame at 25 fps
EMPHASIS = 0.97
LOWEST_HZ, HIGHEST_HZ = 55, 7600
FLOOR = 1e-5  # of the magnitude
REFERENCE_DB, RANGE_DB = 20, 100
LIMIT = 4.0


@functools.cache
def _bases() -> tuple[np.ndarray, np.ndarray]:
  """Windowed Fourier basis (800, 2 * 401), and mel filters (401, 80)."""
  import librosa  # costs a second; nets without sound need not pay it

  filters = librosa.filters.mel(
    sr=spec.SAMPLE_RATE_HZ,
    n_fft=WINDOW,
    n_mels=BANDS,
    fmin=LOWEST_HZ,
    fmax=HIGHEST_HZ,
  )
  basis = windowed_waves(WINDOW).astype(np.float32)
  return basis, np.ascontiguousarray(filters.T, np.float32)


def lip_mel(audio: Float[Array, "b s"]) -> Float[Array, "b n 80"]:
  """Spectra in -4..4, step i about sample 200 i; n = s / 200.

  Zeros beyond the ends. The transform is a matrix product, as in `mel`.

  Args:
    audio: 16 kHz in [-1, 1], a whole number of hops.

  Raises:
    ValueError: the length is no multiple of 200.
  """
  samples = audio.shape[1]
  if samples % HOP:
    raise ValueError(f"audio of {samples} samples is no multiple of {HOP}")
  basis, filters = _bases()
  x = audio.astype(jnp.float32)
  x -= EMPHASIS * jnp.pad(x, ((0, 0), (1, 0)))[:, :-1]
  hops = rearrange(
    jnp.pad(x, ((0, 0), (WINDOW // 2, WINDOW // 2))), "b (n h) -> b n h", h=HOP
  )
  steps = samples // HOP
  parts = WINDOW // HOP
  frames = jnp.concatenate([hops[:, i : i + steps] for i in range(parts)], -1)
  waves = jnp.matmul(frames, basis, precision=lax.Precision.HIGHEST)
  cosine, sine = jnp.split(waves, 2, -1)
  # No gradient flows into sound, so that the root's slope at 0 is no matter.
  magnitude = jnp.sqrt(cosine**2 + sine**2)
  mel = jnp.matmul(magnitude, filters, precision=lax.Precision.HIGHEST)
  decibels = 20 * jnp.log10(jnp.maximum(mel, FLOOR)) - REFERENCE_DB
  return jnp.clip(
    2 * LIMIT * (decibels + RANGE_DB) / RANGE_DB - LIMIT, -LIMIT, LIMIT
  )
