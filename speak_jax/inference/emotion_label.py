"""An emotion by name and strength, as a command line has it."""

import numpy as np
from jaxtyping import Float

from speak_jax import spec


def strengths(text: str) -> Float[np.ndarray, "8"]:
  """Reads NAME or NAME:STRENGTH, as in "happy:0.7".

  Args:
    text: A name of `spec.EMOTIONS`; the strength is from 0 to 1, 1 if it is
      not said.

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
  if not 0 <= strength <= 1:
    raise ValueError(f"emotion {text!r}: the strength is not from 0 to 1")
  found = np.zeros(len(spec.EMOTIONS), np.float32)
  if name != spec.EMOTIONS[0]:
    found[spec.EMOTIONS.index(name)] = strength
  return found
