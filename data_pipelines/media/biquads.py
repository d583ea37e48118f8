"""Second-order filters, one behind the other, over a sound in pieces.

What `scipy.signal.sosfilt` does, bit for bit; importing that takes half a
second, which is a quarter of the time to a video's first frame.
"""

from typing import no_type_check

import numpy as np
from jaxtyping import Float64
from numba import njit


def filtered(
  sections: Float64[np.ndarray, "k 6"],
  sound: Float64[np.ndarray, "s"],
  state: Float64[np.ndarray, "k 2"],
) -> tuple[Float64[np.ndarray, "s"], Float64[np.ndarray, "k 2"]]:
  """Filters a piece of sound.

  Args:
    sections: b0, b1, b2, 1, a1, a2 of each filter.
    sound: The piece.
    state: What the piece before it left; zeros before the first.

  Returns:
    The filtered piece, and the state behind it.
  """
  out, state = np.array(sound), np.array(state)
  _filter(np.ascontiguousarray(sections), out, state)
  return out, state


@njit(cache=True, nogil=True)
@no_type_check
def _filter(
  sections: Float64[np.ndarray, "k 6"],
  sound: Float64[np.ndarray, "s"],
  state: Float64[np.ndarray, "k 2"],
):
  """Filters in place (direct form II, transposed)."""
  for i in range(sound.shape[0]):
    x = sound[i]
    for k in range(sections.shape[0]):
      b0, b1, b2, _, a1, a2 = sections[k]
      y = b0 * x + state[k, 0]
      state[k, 0] = b1 * x - a1 * y + state[k, 1]
      state[k, 1] = b2 * x - a2 * y
      x = y
    sound[i] = x
