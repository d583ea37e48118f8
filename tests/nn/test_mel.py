from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest

from speak_jax.nn import mel

# log_mel of `_noise`, by `_by_librosa`.
GOLDEN = Path(__file__).parent / "log_mel.npy"


def _noise():
  rng = np.random.default_rng(0)
  return rng.normal(size=3200).astype(np.float32) * np.linspace(0, 1, 3200)


def _by_librosa():
  import librosa  # compiles for a quarter of a minute on a new machine

  padded = np.pad(_noise(), 120)
  power = librosa.feature.melspectrogram(
    y=padded, sr=16000, n_fft=400, hop_length=160, n_mels=80, center=False
  )
  return np.log(np.maximum(power, 1e-5)).T


def test_equals_librosa():
  want = np.load(GOLDEN)
  got = mel.log_mel(jnp.asarray(_noise()[None], jnp.float32))[0]
  assert got.shape == want.shape == (20, 80)
  np.testing.assert_allclose(got, want, atol=1e-4)


@pytest.mark.campaign
def test_the_golden_is_librosas():
  np.testing.assert_allclose(np.load(GOLDEN), _by_librosa(), atol=1e-5)


def test_a_click_lies_in_its_own_step():
  audio = np.zeros((1, 3200), np.float32)
  audio[0, 7 * 160 + 80] = 1
  loud = mel.log_mel(jnp.asarray(audio))[0].sum(-1)
  assert int(loud.argmax()) == 7


def test_length_must_be_whole_hops():
  with pytest.raises(ValueError, match="3201 samples"):
    mel.log_mel(jnp.zeros((1, 3201)))
