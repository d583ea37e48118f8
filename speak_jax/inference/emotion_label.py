"""An emotion as a command line has it: a name and a strength, or a file."""

import os
from pathlib import Path

import numpy as np
from jaxtyping import Float

from speak_jax import spec

# Of a name: 1 is a face as people show it. Beyond, lips are torn.
STRONGEST = 1.5


def is_file(text: str | os.PathLike) -> bool:
  """Whether a file is meant: one that is there counts more than a name."""
  return not isinstance(text, str) or Path(text).is_file()


def described(found: Float[np.ndarray, "8"]) -> str:
  """Strengths in words, the strongest first: "happy 0.82, surprised 0.05"."""
  order = np.argsort(-found, kind="stable")
  named = [f"{spec.EMOTIONS[i]} {found[i]:.2f}" for i in order]
  # What is 0.00 when it is written says nothing.
  shown = [text for text in named if not text.endswith(" 0.00")]
  return ", ".join(shown) or spec.EMOTIONS[0]


def strengths(text: str) -> Float[np.ndarray, "8"]:
  """Reads NAME or NAME:STRENGTH, as in "happy:0.7".

  Args:
    text: A name of `spec.EMOTIONS`; the strength is from 0 to STRONGEST, 1 if
      it is not said.

  Returns:
    Strength of each of `spec.EMOTIONS`; all 0 for "neutral".

  Raises:
    ValueError: an unknown name, or no such strength; one line.
  """
  name, colon, number = text.partition(":")
  if name not in spec.EMOTIONS:
    raise ValueError(
      f"emotion {name!r} is not one of {', '.join(spec.EMOTIONS)}"
    )
  try:
    strength = float(number) if colon else 1.0
  except ValueError:
    strength = np.nan
  if not 0 <= strength <= STRONGEST:
    raise ValueError(
      f"emotion {text!r}: the strength is not from 0 to {STRONGEST:g}"
    )
  found = np.zeros(len(spec.EMOTIONS), np.float32)
  if name != spec.EMOTIONS[0]:
    found[spec.EMOTIONS.index(name)] = strength
  return found
