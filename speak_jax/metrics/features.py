"""Distances between pictures in the features of a network.

Only with published weights is either a published figure: a Frechet distance
is FID if the features are pool3 of FID's own Inception (`models.inception`),
and LPIPS is what `models.lpips` gives. With any other network each is named
after what is looked through, e.g. "Frechet distance (judge identity)" and
"VGG-19 unit distance".
"""

from collections.abc import Sequence

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


def unit_distance(
  pred: Sequence[Float[np.ndarray, "n _ _ _"]],
  true: Sequence[Float[np.ndarray, "n _ _ _"]],
) -> Float[np.ndarray, "n"]:
  """Sum over layers of mean |u - v|^2, u and v of length 1 over channels.

  The form of LPIPS (Zhang et al. 2018) with every channel's weight 1. 0 for
  equal maps, at most 4 a layer, blind to a map's scale.

  Args:
    pred: Feature maps of n frames, layer by layer, channels last.
    true: Of the real frames.

  Raises:
    ValueError: maps that do not pair.
  """
  shapes = [x.shape for x in pred], [x.shape for x in true]
  if shapes[0] != shapes[1]:
    raise ValueError(f"feature maps {shapes[0]} against {shapes[1]}")
  pairs = zip(pred, true, strict=True)
  layers = [((_unit(x) - _unit(y)) ** 2).sum(-1).mean((1, 2)) for x, y in pairs]
  return np.sum(layers, axis=0)


def _fitted(total: Float[np.ndarray, "k"]) -> tuple[np.ndarray, np.ndarray]:
  """Mean (d,) and sample covariance (d, d), of added up moments."""
  count = total[0]
  width = round((len(total) - 0.75) ** 0.5 - 0.5)
  mean = total[1 : 1 + width] / count
  products = total[1 + width :].reshape(width, width)
  return mean, (products - count * np.outer(mean, mean)) / (count - 1)


def _unit(x: Float[np.ndarray, "n h w c"]) -> Float[np.ndarray, "n h w c"]:
  x = np.asarray(x, np.float64)
  return x / np.linalg.norm(x, axis=-1, keepdims=True).clip(1e-10)
