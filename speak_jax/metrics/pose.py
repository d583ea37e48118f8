"""Head pose: errors in degrees, and how far a swap moved it."""

import numpy as np
from jaxtyping import Float

from speak_jax.metrics import sums


def error(
  pred: Float[np.ndarray, "n 3"], true: Float[np.ndarray, "n 3"]
) -> Float[np.ndarray, "n"]:
  """Mean absolute error of yaw, pitch and roll, in degrees.

  The short way round: 179 and -179 degrees are 2 apart. Both sides must come
  from one estimator, because estimators differ in scale.
  """
  return np.abs((pred - true + 180) % 360 - 180).mean(-1)


def correlation_row(
  pred: Float[np.ndarray, "n 3"], true: Float[np.ndarray, "n 3"]
) -> Float[np.ndarray, "9"]:
  """`sums.pearson_row` of yaw, of pitch and of roll; read by `correlation`."""
  pairs = zip(pred.T, true.T, strict=True)
  return np.concatenate([sums.pearson_row(p, t) for p, t in pairs])


def correlation(rows: sums.Rows) -> float:
  """Mean over the angles of their correlation within clips."""
  angles = np.split(rows, 3, axis=1)
  return float(np.mean([sums.pearson(angle) for angle in angles]))


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
