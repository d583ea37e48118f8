import jax.numpy as jnp
import numpy as np
import pytest
import scipy.fft

from speak_jax.nn import mfcc
from tests import jitted


def _by_loops(audio):
  """python_speech_features' mfcc(audio, 16000), one number at a time."""
  signal = [float(audio[0])]
  for i in range(1, len(audio)):
    signal.append(float(audio[i]) - 0.97 * float(audio[i - 1]))
  rows = 1
  while len(signal) > 400 + 160 * (rows - 1):
    rows += 1
  signal += [0.0] * (400 + 160 * (rows - 1) - len(signal))
  mels = [2595 * np.log10(1 + 8000 / 700) * i / 27 for i in range(28)]
  edges = [int(513 * 700 * (10 ** (m / 2595) - 1) / 16000) for m in mels]
  made = np.zeros((rows, 13))
  for row in range(rows):
    spectrum = np.fft.fft(signal[160 * row : 160 * row + 400], 512)[:257]
    power = (spectrum.real**2 + spectrum.imag**2) / 512
    bands = []
    for j in range(26):
      total = 0.0
      for i in range(edges[j], edges[j + 1]):
        total += power[i] * (i - edges[j]) / (edges[j + 1] - edges[j])
      for i in range(edges[j + 1], edges[j + 2]):
        total += power[i] * (edges[j + 2] - i) / (edges[j + 2] - edges[j + 1])
      bands.append(np.log(total if total else np.finfo(float).eps))
    cepstra = scipy.fft.dct(bands, type=2, norm="ortho")[:13]
    made[row] = [
      c * (1 + 11 * np.sin(np.pi * n / 22)) for n, c in enumerate(cepstra)
    ]
    energy = power.sum()
    made[row, 0] = np.log(energy if energy else np.finfo(float).eps)
  return made


def _noise(samples):
  rng = np.random.default_rng(samples)
  sound = rng.normal(0, 2000, samples) * np.linspace(0.01, 1, samples)
  return sound.astype(np.int16)


@pytest.mark.parametrize("samples", [1, 399, 400, 401, 560, 561, 3200, 4007])
def test_equals_the_definition(samples):
  audio = _noise(samples)
  want = _by_loops(audio)
  got = mfcc.mfcc(audio)
  assert got.shape == want.shape
  np.testing.assert_allclose(got, want, rtol=1e-9, atol=1e-9)


def test_silence_has_the_logarithm_of_epsilon():
  got = mfcc.mfcc(np.zeros(800, np.int16))
  assert got.shape == (4, 13)
  np.testing.assert_allclose(got[:, 0], np.log(np.finfo(float).eps))
  np.testing.assert_allclose(got[:, 1:], 0, atol=1e-12)


def test_a_video_frame_has_four_rows_but_the_last():
  for frames in (6, 7, 25):
    assert len(mfcc.mfcc(_noise(640 * frames))) == 4 * frames - 1


@pytest.mark.campaign
def test_filters_are_htks_on_whole_bins():
  """librosa's HTK filters, whose corners are not rounded, are close."""
  import librosa

  ours = mfcc.mel_filters()
  theirs = librosa.filters.mel(
    sr=16000, n_fft=512, n_mels=26, htk=True, norm=None
  )
  assert ours.shape == theirs.shape
  assert ours.max() == 1
  wide = ours.sum(1) > 8  # of some bins, so that rounding matters little
  for one, other in zip(ours[wide], theirs[wide], strict=True):
    assert np.dot(one, other) > 0.97 * np.linalg.norm(one) * np.linalg.norm(
      other
    )


@pytest.mark.campaign
def test_cepstra_are_librosas():
  import librosa

  audio = _noise(4000)
  signal = audio.astype(float)
  signal[1:] -= 0.97 * audio[:-1].astype(float)
  frames = librosa.util.frame(signal, frame_length=400, hop_length=160)
  power = np.abs(np.fft.rfft(frames, 512, axis=0)) ** 2 / 512
  bands = np.log(mfcc.mel_filters() @ power)
  want = librosa.feature.mfcc(
    S=bands, n_mfcc=13, dct_type=2, norm="ortho", lifter=0
  )
  lifter = 1 + 11 * np.sin(np.pi * np.arange(13) / 22)
  got = mfcc.mfcc(audio)[: want.shape[1]]
  np.testing.assert_allclose(got[:, 1:], (want.T * lifter)[:, 1:], rtol=1e-6)


def test_on_the_device_it_is_the_same():
  audio = np.stack([_noise(3200), _noise(3200)[::-1]])
  want = np.stack([mfcc.mfcc(x) for x in audio])
  np.testing.assert_allclose(mfcc.mfcc(audio), want, rtol=1e-12)
  got = jitted.compiled(mfcc.mfcc)(jnp.asarray(audio))
  assert got.dtype == jnp.float32
  np.testing.assert_allclose(got, want, atol=2e-3)


def test_windows_are_rows_round_their_frames():
  """The third frame before to the third after, and silence at the ends."""
  audio = _noise(10 * 640)
  found = mfcc.windows(audio, 10)
  assert found.shape == (10, 28, 12)
  rows = mfcc.mfcc(audio)
  # The first row of frame i is row 4 i, and the thirteenth of its window.
  np.testing.assert_allclose(found[4], rows[4:32, 1:])
  np.testing.assert_allclose(found[2, 4:], rows[:24, 1:])
  np.testing.assert_allclose(found[0, :10], 0, atol=1e-12)
  np.testing.assert_allclose(found[9, 17:], 0, atol=1e-12)
  # As published: 1,920 zeros at both ends, of which the last row is left out.
  longer = mfcc.mfcc(np.pad(audio, 1920))
  for i in range(9):
    np.testing.assert_allclose(found[i], longer[4 * i : 4 * i + 28, 1:])


def test_windows_of_a_stretch_are_those_of_its_clip():
  audio = _noise(20 * 640)
  whole = mfcc.windows(audio, 20)
  stretch = audio[5 * 640 : 17 * 640]
  np.testing.assert_allclose(mfcc.windows(stretch, 4, 4), whole[9:13])
  several = mfcc.windows(np.stack([stretch, stretch]), 4, 4)
  np.testing.assert_array_equal(several[1], mfcc.windows(stretch, 4, 4))
