"""Sound, phonemes and mouth of the made-up speech belong together."""

from itertools import pairwise

import numpy as np

from data_pipelines.synthetic import identity, speech

PERSON = identity.sample(0, "train", 3)


def utter(emotion=0, frames=100, seed=(1,)):
  return speech.speak(PERSON, emotion, frames, 25.0, seed)


def test_repeats_and_differs_by_seed():
  np.testing.assert_array_equal(utter().audio, utter().audio)
  assert (utter(seed=(2,)).audio != utter().audio).any()


def test_phonemes_tile_the_time():
  phones = utter().phonemes
  assert phones[0][1] == 0 and phones[-1][2] == 4.0
  for (_, _, end), (_, start, _) in pairwise(phones):
    assert abs(end - start) < 1e-6


def test_mouth_opens_with_the_sound_and_not_later():
  loud, opening = [], []
  for seed in range(4):
    said = utter(seed=(seed,))
    power = said.audio.astype(float).reshape(100, 640) ** 2
    loud.append(np.log(power.mean(1) + 1e3))
    opening.append(speech.at_frames(said.mouth_open, 100, 25.0))

  def match(lag):
    pairs = [
      np.corrcoef(a[8:-8], np.roll(b, lag)[8:-8])[0, 1]
      for a, b in zip(loud, opening, strict=True)
    ]
    return np.mean(pairs)

  assert match(0) > 0.5
  assert match(0) > max(match(lag) for lag in (-4, -3, -2, 2, 3, 4)) + 0.1


def test_lips_are_shut_on_the_grid():
  said = utter(emotion=7)
  for symbol, start, end in said.phonemes:
    inside = slice(int(start * 1000) + 1, int(end * 1000))
    if symbol in speech.SHUT and end - start > 0.02:
      assert said.mouth_open[inside].max() == 0


def test_vowels_ring_at_their_formants():
  """An open vowel has its first formant far above a close one's."""

  def first_formant(symbol):
    said = [utter(seed=(k,)) for k in range(6)]
    spectra = []
    for one in said:
      for name, start, end in one.phonemes:
        if name == symbol and end - start > 0.08:
          at = int((start + end) / 2 * 16000)
          piece = one.audio[at - 512 : at + 512]
          if len(piece) == 1024:
            spectra.append(np.abs(np.fft.rfft(piece * np.hanning(1024))) ** 2)
    power = np.mean(spectra, 0)
    hz = np.fft.rfftfreq(1024, 1 / 16000)
    low = (hz > 180) & (hz < 1300)
    return (hz[low] * power[low]).sum() / power[low].sum()

  assert first_formant("a") > first_formant("i") + 150
