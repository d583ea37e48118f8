"""Head pose: errors in degrees, and how far a swap moved it."""

import numpy as np
from jaxtyping import Float


def error(
  pred: Float[np.ndarray, "n 3"], true: Float[np.ndarray, "n 3"]
) -> Float[np.ndarray, "n"]:
  """Mean absolute error of yaw, pitch and roll, in degrees."""
  return np.abs(pred - true).mean(-1)


def moved_row(
  output: Float[np.ndarray, "n 3"],
  source: Float[np.ndarray, "n 3"],
  donor: Float[np.ndarray, "n 3"],
) -> Float[np.ndarray, "2"]:
  """How far the output went from source to donor; read with `sums.ratio`.

  The projection of output - source on donor - source: 0 stayed, 1 arrived.
  Pairs count by their squared distance, since near twins tell nothing. A
  static mean face scores about 0.4, so compare with the row without a swap.
  """
  way = np.asarray(donor, np.float64) - source
  gone = np.asarray(output, np.float64) - source
  return np.array([(gone * way).sum(), (way * way).sum()])
