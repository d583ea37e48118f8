"""Distance between two crowds of pictures in the features of a network.

It is FID with the published Inception's pool3 (`models.inception`) alone. With
any other network it is named after what is looked through, e.g. "Frechet
distance (judge identity)".
"""

import numpy as np
from jaxtyping import Float

from speak_jax.metrics import sums


def moments(x: Float[np.ndarray, "n d"]) -> Float[np.ndarray, "k"]:
  """Count, sums and sums of products, flat: 1 + d + d^2 numbers, to add up."""
  x = np.asarray(x, np.float64)
  return np.concatenate([[len(x)], x.sum(0), (x.T @ x).ravel()])


def frechet_row(
  pred: Float[np.ndarray, "n d"], true: Float[np.ndarray, "m d"]
) -> Float[np.ndarray, "k"]:
  """Moments of both sides' features; read the rows with `frechet`."""
  return np.concatenate([moments(pred), moments(true)])


def frechet(rows: sums.Rows) -> float:
  """Squared Frechet distance of two Gaussians fitted to all features.

  |m - m'|^2 + tr(C + C' - 2 (C C')^1/2), sample covariances, as Heusel et
  al. 2017 have it for Inception. NaN with fewer than two features on a
  side. It falls with more features: compare equal numbers only.
  """
  pred, true = np.split(rows.sum(0), 2)
  if min(pred[0], true[0]) < 2:
    return float("nan")
  (m, c), (n, d) = _fitted(pred), _fitted(true)
  # tr (C C')^1/2 is the sum of roots of the eigenvalues of the symmetric
  # C^1/2 C' C^1/2: no complex numbers, no general matrix root.
  values, vectors = np.linalg.eigh(c)
  root = (vectors * np.sqrt(values.clip(0))) @ vectors.T
  cross = np.sqrt(np.linalg.eigvalsh(root @ d @ root).clip(0)).sum()
  distance = ((m - n) ** 2).sum() + np.trace(c) + np.trace(d) - 2 * cross
  return float(max(distance, 0.0))


def _fitted(total: Float[np.ndarray, "k"]) -> tuple[np.ndarray, np.ndarray]:
  """Mean (d,) and sample covariance (d, d), of added up moments."""
  count = total[0]
  width = round((len(total) - 0.75) ** 0.5 - 0.5)
  mean = total[1 : 1 + width] / count
  products = total[1 + width :].reshape(width, width)
  return mean, (products - count * np.outer(mean, mean)) / (count - 1)
