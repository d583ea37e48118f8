"""Which phone of a known sentence is heard when, in recorded speech."""

import importlib
import re
from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Int16

from speak_jax import spec

INSTALL = "pip install 'speak_jax[align]'"
_STEPS_A_SECOND = 100  # of PocketSphinx's English model


class Phone(NamedTuple):
  """A sound of speech; `symbol` is ARPAbet without stress, "SIL" a pause."""

  symbol: str
  start: float  # s
  end: float  # s


class AlignmentError(ValueError):
  """A sentence that cannot be aligned with its sound; the text is a reason."""


class MissingAlignerError(ValueError):
  """PocketSphinx is not installed; the text says how to install it."""


@runtime_checkable
class Aligner(Protocol):
  """Finds the phones of a sentence in its recording."""

  def align(
    self, audio: Int16[np.ndarray, "s"], words: Sequence[str]
  ) -> list[Phone]:
    """Finds the phones, in the order of time.

    Args:
      audio: 16 kHz.
      words: What is said, as `words_of` gives it.

    Raises:
      AlignmentError: it cannot be.
    """
    ...


class PocketSphinx:
  """PocketSphinx with the English model that its wheel brings (BSD licence).

  Each call has a decoder of its own (0.1 s): what one has heard before would
  change what it finds, and records may not depend on their order.
  """

  def __init__(self):
    """Finds the library.

    Raises:
      MissingAlignerError: it is not installed.
    """
    try:
      self._library: Any = importlib.import_module("pocketsphinx")
    except ImportError as error:
      raise MissingAlignerError(
        f"recorded speech needs PocketSphinx: {INSTALL}"
      ) from error

  def align(
    self, audio: Int16[np.ndarray, "s"], words: Sequence[str]
  ) -> list[Phone]:
    """See `Aligner.align`."""
    if not words or not len(audio):
      raise AlignmentError("there are no words" if len(audio) else "no sound")
    decoder = self._library.Decoder(lm=None, loglevel="FATAL", bestpath=False)
    for word in words:
      if decoder.lookup_word(word) is None:
        raise AlignmentError(f"{word!r} is not in PocketSphinx's dictionary")
    decoder.set_align_text(" ".join(words))
    _hear(decoder, audio)
    if decoder.hyp() is None:
      raise AlignmentError("the sentence is not heard in the recording")
    decoder.set_alignment()  # from words to phones
    _hear(decoder, audio)
    found = decoder.get_alignment()
    if found is None:
      raise AlignmentError("the sentence is not heard in the recording")
    return [
      Phone(
        phone.name,
        phone.start / _STEPS_A_SECOND,
        (phone.start + phone.duration) / _STEPS_A_SECOND,
      )
      for word in found.words()
      for phone in word
    ]


def words_of(sentence: str) -> tuple[str, ...]:
  """Splits a sentence into words in lower case, without punctuation."""
  plain = sentence.lower().replace("\N{RIGHT SINGLE QUOTATION MARK}", "'")
  words = (word.strip("'") for word in re.findall(r"[\w']+", plain))
  return tuple(filter(None, words))


def _hear(decoder: Any, audio: Int16[np.ndarray, "s"]) -> None:
  """Lets a decoder hear an utterance."""
  assert spec.SAMPLE_RATE_HZ == 16_000  # what the model was trained on
  try:
    decoder.start_utt()
    decoder.process_raw(audio.astype("<i2").tobytes(), full_utt=True)
    decoder.end_utt()
  except RuntimeError as error:
    raise AlignmentError(f"PocketSphinx refuses it: {error}") from error
