"""Networks over any number of rows, in batches of one shape."""

from collections.abc import Callable

import numpy as np

BATCH = 64  # rows


def in_batches(
  run: Callable, *arrays: np.ndarray, size: int = BATCH
) -> list[np.ndarray]:
  """Runs a function over rows in batches of one size, the last one padded.

  Args:
    run: Arrays of `size` rows in, a sequence of such arrays out.
    *arrays: Of equal length.
    size: Rows of a batch.

  Returns:
    The outputs, of the inputs' length.
  """
  batches, n = [], len(arrays[0])
  for start in range(0, n, size):
    rows = [array[start : start + size] for array in arrays]
    padding = size - len(rows[0])
    padded = [
      np.pad(r, [(0, padding)] + [(0, 0)] * (r.ndim - 1), mode="edge")
      for r in rows
    ]
    outputs = run(*padded)
    batches.append([np.asarray(x)[: size - padding] for x in outputs])
  return [np.concatenate(column) for column in zip(*batches, strict=True)]
