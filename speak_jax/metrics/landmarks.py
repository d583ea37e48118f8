"""Landmark distances F-LMD and M-LMD in pixels, one value per frame."""

import numpy as np
from jaxtyping import Float

from speak_jax import spec


def f_lmd(
  pred: Float[np.ndarray, "n 68 2"], true: Float[np.ndarray, "n 68 2"]
) -> Float[np.ndarray, "n"]:
  """Mean distance over all 68 points, each set about its own mean."""
  return _distance(pred, true)


def m_lmd(
  pred: Float[np.ndarray, "n 68 2"], true: Float[np.ndarray, "n 68 2"]
) -> Float[np.ndarray, "n"]:
  """Mean distance over the 20 mouth points, each set about its own mean."""
  return _distance(pred[:, spec.MOUTH], true[:, spec.MOUTH])


def _distance(pred, true):
  pred = pred - pred.mean(1, keepdims=True)
  true = true - true.mean(1, keepdims=True)
  return np.sqrt(((pred - true) ** 2).sum(-1)).mean(-1)
