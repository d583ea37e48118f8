"""Emotions recognised, as a confusion matrix that merges."""

import numpy as np
from jaxtyping import Float

from speak_jax import spec
from speak_jax.metrics import sums

CLASSES = len(spec.EMOTIONS)


def confusion_row(
  logits: Float[np.ndarray, "n 8"], label: int
) -> Float[np.ndarray, "64"]:
  """Counts of what one clip's frames were taken for: 8 true x 8 guessed.

  Args:
    logits: The classifier's, over spec.EMOTIONS; frames without a face left
      out.
    label: The clip's emotion.

  Raises:
    ValueError: the clip has no known emotion.
  """
  if not 0 <= label < CLASSES:
    raise ValueError(f"emotion {label} is not one of 0 to {CLASSES - 1}")
  counts = np.zeros((CLASSES, CLASSES))
  counts[label] = np.bincount(logits.argmax(-1), minlength=CLASSES)
  return counts.ravel()


def accuracy(rows: sums.Rows) -> float:
  """Share of frames recognised, NaN if there are none."""
  counts = _matrix(rows)
  total = counts.sum()
  return float(np.trace(counts) / total) if total else float("nan")


def balanced_accuracy(rows: sums.Rows) -> float:
  """Mean over the emotions present of the share of each recognised.

  0.125 is guessing among eight, however often each of them occurs.
  """
  counts = _matrix(rows)
  each = counts.sum(1)
  present = each > 0
  if not present.any():
    return float("nan")
  return float((np.diag(counts)[present] / each[present]).mean())


def _matrix(rows: sums.Rows) -> Float[np.ndarray, "8 8"]:
  return rows.sum(0).reshape(CLASSES, CLASSES)
