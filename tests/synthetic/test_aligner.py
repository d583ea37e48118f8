"""PocketSphinx finds phones; what it cannot align is an error of one line."""

import contextlib
import sys

import numpy as np
import pytest

from data_pipelines.media import decoder
from data_pipelines.synthetic import aligner, identity, speech

SENTENCE = ("bin", "blue", "at", "f", "two", "now")
SILENCE = np.zeros(32_000, np.int16)


@pytest.fixture(scope="module")
def sphinx():
  try:
    return aligner.PocketSphinx()
  except aligner.MissingAlignerError:
    pytest.skip("no PocketSphinx here")


def test_words_are_plain():
  said = "  \"It\N{RIGHT SINGLE QUOTATION MARK}s 'so', she said: OK!\n"
  assert aligner.words_of(said) == ("it's", "so", "she", "said", "ok")
  assert aligner.words_of(" -- ") == ()


def test_a_machine_without_it_is_told_what_to_install(monkeypatch):
  monkeypatch.setitem(sys.modules, "pocketsphinx", None)
  with pytest.raises(aligner.MissingAlignerError, match="pip install") as found:
    aligner.PocketSphinx()
  assert "\n" not in str(found.value)


@pytest.mark.parametrize(
  ("audio", "words", "reason"),
  [
    (SILENCE, SENTENCE, "is not heard"),
    (SILENCE, ("blorfle",), "'blorfle' is not in"),
    (SILENCE, (), "no words"),
    (SILENCE[:0], SENTENCE, "no sound"),
    (SILENCE[:200], SENTENCE, "is not heard"),
  ],
)
def test_what_cannot_be_aligned_has_a_reason(sphinx, audio, words, reason):
  with pytest.raises(aligner.AlignmentError, match=reason) as found:
    sphinx.align(audio, words)
  assert "\n" not in str(found.value)


def test_a_recorded_sentence_has_its_phones_in_time(sphinx, shared):
  (path, *_) = sorted((shared / "data/faces/grid_s1").glob("bbaf2n.mp4"))
  audio = decoder.read_audio(path)
  phones = sphinx.align(audio, SENTENCE)
  said = [x.symbol for x in phones if x.symbol != "SIL"]
  assert " ".join(said) == "B IH N B L UW AE T EH F T UW N AW"
  starts = [x.start for x in phones]
  assert starts == sorted(starts)
  # Vowels are loud, pauses are not.

  def level(phone):
    span = slice(round(phone.start * 16_000), round(phone.end * 16_000))
    return audio[span].std()

  quiet = [level(x) for x in phones if x.symbol == "SIL"]
  loud = [level(x) for x in phones if x.symbol in ("UW", "EH", "AW", "IH")]
  assert np.mean(loud) > 4 * np.mean(quiet)
  # What it has heard before changes nothing.
  drawn = speech.speak(identity.sample(0, "train", 3), 0, 75, 25.0, (1,)).audio
  with contextlib.suppress(aligner.AlignmentError):
    sphinx.align(drawn, SENTENCE)
  assert sphinx.align(audio, SENTENCE) == phones
