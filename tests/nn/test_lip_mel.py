"""Wav2Lip's spectra are what the settings of its public models say."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import signal

from speak_jax.nn import lip_mel


def _by_hand(audio):
  """Step by step in float64, as librosa and SciPy do it; pads with zeros."""
  from librosa import filters  # compiles nothing; the rest of it does

  x = np.pad(signal.lfilter([1, -0.97], [1], audio), 400)
  pieces = [x[i : i + 800] for i in range(0, len(audio), 200)]
  waves = np.fft.rfft(signal.get_window("hann", 800) * np.stack(pieces))
  bands = filters.mel(sr=16_000, n_fft=800, n_mels=80, fmin=55, fmax=7600)
  decibels = 20 * np.log10(np.maximum(1e-5, np.abs(waves) @ bands.T)) - 20
  return np.clip(8 * (decibels + 100) / 100 - 4, -4, 4)


def test_it_is_as_the_settings_say():
  rng = np.random.default_rng(0)
  time = np.arange(4_000) / 16_000
  audio = 0.3 * np.sin(2 * np.pi * 220 * time) + 0.01 * rng.normal(size=4_000)
  made = jax.jit(lip_mel.lip_mel)(jnp.asarray(audio[None], jnp.float32))[0]
  wanted = _by_hand(audio)
  assert made.shape == wanted.shape == (20, 80)
  assert -4 < wanted.min() < 0 < wanted.max() < 4  # nothing is cut off
  np.testing.assert_allclose(made, wanted, atol=2e-3)


def test_silence_is_the_least_there_is():
  quiet = lip_mel.lip_mel(jnp.zeros((1, 400), jnp.float32))
  np.testing.assert_array_equal(quiet, np.full((1, 2, 80), -4, np.float32))


def test_a_broken_hop_is_refused():
  with pytest.raises(ValueError, match="no multiple of 200"):
    lip_mel.lip_mel(jnp.zeros((1, 401), jnp.float32))
