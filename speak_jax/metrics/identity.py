"""Identity: cosines of embeddings, and how well they tell people apart."""

import numpy as np
from jaxtyping import Float, Int


def cosine(
  a: Float[np.ndarray, "*n d"], b: Float[np.ndarray, "*m d"]
) -> Float[np.ndarray, "*n"]:
  """Cosine of the angle between embeddings, in [-1, 1]; `b` may broadcast."""
  norms = np.linalg.norm(a, axis=-1) * np.linalg.norm(b, axis=-1)
  return (a * b).sum(-1) / norms.clip(1e-12)


def auc(
  embeddings: Float[np.ndarray, "n d"], labels: Int[np.ndarray, "n"]
) -> float:
  """Chance that two pictures of one person are closer than of two people.

  0.5 is guessing. Every pair counts, ties by half.

  Raises:
    ValueError: no pair of one person, or none of two.
  """
  first, second = np.triu_indices(len(labels), 1)
  values = cosine(embeddings[first], embeddings[second])
  same = labels[first] == labels[second]
  near, far = values[same], np.sort(values[~same])
  if not len(near) or not len(far):
    raise ValueError("identity AUC needs pairs of one and of two people")
  below = np.searchsorted(far, near, "left")
  upto = np.searchsorted(far, near, "right")
  return float((below + upto).mean() / (2 * len(far)))
