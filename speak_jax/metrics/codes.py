"""What codes hold: how many directions they use, and what a line reads off.

A linear probe is ridge regression in closed form, on codes brought to unit
variance; for labels it regresses on their one-hot vectors. Everything that
it is scored by comes from folds that it did not learn from.
"""

import numpy as np
from jaxtyping import Float, Int

STRENGTHS = (0.01, 0.1, 1.0, 10.0, 100.0)  # of ridge, in variances of a column
_PLAIN = 2  # the strength where there are too few folds to choose one
_STILL = 1e-8  # a column that moves less is constant


def variances(codes: Float[np.ndarray, "n d"]) -> Float[np.ndarray, "d"]:
  """Variance of every dimension over the rows."""
  return np.asarray(codes, np.float64).var(0)


def effective_rank(codes: Float[np.ndarray, "n d"]) -> float:
  """How many directions the codes use, from 0 (constant) to min(n - 1, d).

  The exponential of the entropy of the covariance's singular values as shares
  of their sum: d if all directions vary alike, 1 if one varies alone. Source:
  Roy and Vetterli 2007, of the covariance instead of the data matrix.
  """
  centred = np.asarray(codes, np.float64) - np.mean(codes, 0, np.float64)
  power = np.linalg.svd(centred, compute_uv=False) ** 2
  if power.sum() <= _STILL**2 * centred.size:
    return 0.0
  share = power / power.sum()
  share = share[share > 0]
  return float(np.exp(-(share * np.log(share)).sum()))


def agreement_row(
  codes: Float[np.ndarray, "n d"],
  twins: Float[np.ndarray, "n d"],
  mean: Float[np.ndarray, "d"],
) -> Float[np.ndarray, "2"]:
  """Sums behind `agreement`, of rows that ought to have one code.

  Args:
    codes: Codes of some frames.
    twins: Codes of other frames that share what the code is for, and nothing
      else.
    mean: Mean of all codes.
  """
  apart = ((np.asarray(codes, np.float64) - twins) ** 2).sum() / 2
  spread = sum(
    ((np.asarray(x, np.float64) - mean) ** 2).sum() / 2 for x in (codes, twins)
  )
  return np.array([apart, spread])


def agreement(rows: Float[np.ndarray, "n 2"]) -> float:
  """Share of the codes' variance that twins have in common.

  1 if twins have the same code, 0 if they are as unlike as any two frames;
  NaN if the codes are constant.
  """
  apart, spread = rows.sum(0)
  return float(1 - apart / spread) if spread > _STILL else float("nan")


def folds(groups: Int[np.ndarray, "n"], count: int) -> Int[np.ndarray, "n"]:
  """Deals whole groups out to at most so many folds, in turn."""
  names, numbers = np.unique(groups, return_inverse=True)
  return numbers % max(min(count, len(names)), 1)


def probe(
  codes: Float[np.ndarray, "n d"],
  targets: Float[np.ndarray, "c n k"],
  fold: Int[np.ndarray, "n"],
) -> Float[np.ndarray, "c n k"]:
  """What linear probes say of rows that they did not learn from.

  Args:
    codes: One row each.
    targets: c sets of what is to be read off them, each with probes of its
      own: the truth, and controls.
    fold: The fold of each row; its rows are predicted by a probe that learned
      from all others, at the strength that does best among those.

  Raises:
    ValueError: a single fold.
  """
  names = np.unique(fold)
  if len(names) < 2:
    raise ValueError("a probe needs two folds")
  codes = np.asarray(codes, np.float64)
  targets = np.asarray(targets, np.float64)
  out = np.zeros_like(targets)
  for held in names:
    learn, test = fold != held, fold == held
    best = _choose(codes[learn], targets[:, learn], fold[learn])
    said = _ridge(codes[learn], targets[:, learn], codes[test])
    out[:, test] = said[best, np.arange(len(targets))]
  return out


def _choose(
  codes: Float[np.ndarray, "n d"],
  targets: Float[np.ndarray, "c n k"],
  fold: Int[np.ndarray, "n"],
) -> Int[np.ndarray, "c"]:
  """Index of the strength with the least squared error over the folds."""
  names = np.unique(fold)
  if len(names) < 2:
    return np.full(len(targets), _PLAIN)
  errors = np.zeros((len(STRENGTHS), len(targets)))
  for held in names:
    learn, test = fold != held, fold == held
    said = _ridge(codes[learn], targets[:, learn], codes[test])
    errors += ((said - targets[:, test]) ** 2).sum((2, 3))
  return errors.argmin(0)


def _ridge(
  codes: Float[np.ndarray, "n d"],
  targets: Float[np.ndarray, "c n k"],
  fresh: Float[np.ndarray, "m d"],
) -> Float[np.ndarray, "s c m k"]:
  """Predictions for fresh codes at every strength."""
  centre, scale = codes.mean(0), codes.std(0)
  scale = np.where(scale > _STILL, scale, np.inf)
  x, z = (codes - centre) / scale, (fresh - centre) / scale
  mean = targets.mean(1, keepdims=True)
  power, axes = np.linalg.eigh(x.T @ x / len(x))
  slope = axes.T @ (x.T @ (targets - mean)) / len(x)
  shrunk = [
    mean + (z @ axes / (power.clip(0) + strength)) @ slope
    for strength in STRENGTHS
  ]
  return np.stack(shrunk)
