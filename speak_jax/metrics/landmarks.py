"""Landmark distances F-LMD and M-LMD, one value per frame.

Papers give them in pixels of crops they do not name. Ours are in pixels of a
256 px frame, and over the true eye distance, which needs no such agreement.
A made frame without a face is a failure, see `counted`.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from speak_jax import spec

REFERENCE = 256  # px, side of the frames in whose pixels figures are given


class Distances(NamedTuple):
  """All landmark distances of n frames; NaN where a side has no face."""

  f_lmd: Float[np.ndarray, "n"]  # pixels at 256
  m_lmd: Float[np.ndarray, "n"]
  f_lmd_eyes: Float[np.ndarray, "n"]  # over the true inter-ocular distance
  m_lmd_eyes: Float[np.ndarray, "n"]


def distances(
  pred: Float[np.ndarray, "n 68 2"],
  true: Float[np.ndarray, "n 68 2"],
  size: int,
) -> Distances:
  """F-LMD and M-LMD at 256 px, and divided by the true eye distance.

  Args:
    pred: Landmarks, in pixels of the frames.
    true: Landmarks of the real frames, by the same detector.
    size: Side of the frames in pixels.
  """
  face, lips = f_lmd(pred, true), m_lmd(pred, true)
  eyes, scale = spec.interocular(true).clip(1e-3), REFERENCE / size
  return Distances(face * scale, lips * scale, face / eyes, lips / eyes)


def counted(
  pred: Float[np.ndarray, "n 68 2"],
  true: Float[np.ndarray, "n 68 2"],
  size: int,
) -> Distances:
  """`distances`, where a face that is not found counts as a failure.

  All its points then count as lying in one place: it is as far from the truth
  as the true points are from their own mean, some 60 px for the face and 20
  for the mouth at 256. To leave such frames out would reward whoever draws no
  face. Frames whose true face is unknown are NaN: book by `sums.found_row`.
  """
  return distances(np.where(np.isnan(pred), 0.0, pred), true, size)


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
