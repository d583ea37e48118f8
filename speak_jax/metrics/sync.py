"""Lip synchronisation from SyncNet codes of one clip's 0.2 s windows.

Window t of the picture starts at frame t, and so does window t of the sound.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float

REACH = 15  # frames either way: 31 offsets
APART = 3  # frames; closer windows are no fair negatives


class Score(NamedTuple):
  """Lip sync of one clip, after Chung and Zisserman's released evaluation."""

  confidence: float  # median - minimum over offsets
  distance: float  # the minimum
  offset: int  # frames by which the picture lags the sound; 0 is in sync


def distances(
  mouth: Float[np.ndarray, "t d"],
  speech: Float[np.ndarray, "t d"],
  reach: int = REACH,
) -> Float[np.ndarray, "t o"]:
  """D[t, o] = ||mouth[t] - speech[t + o - reach]||, NaN outside the clip.

  Ours: the released code pads with zeros, which favours short clips; see
  `padded_distances`.
  """
  full = np.linalg.norm(mouth[:, None] - speech[None], axis=-1)
  t = np.arange(len(mouth))[:, None]
  partner = t + np.arange(-reach, reach + 1)
  outside = (partner < 0) | (partner >= len(speech))
  picked = full[t, partner.clip(0, len(speech) - 1)]
  return np.where(outside, np.nan, picked)


def padded_distances(
  mouth: Float[np.ndarray, "t d"],
  speech: Float[np.ndarray, "t d"],
  reach: int = REACH,
) -> Float[np.ndarray, "t o"]:
  """`distances` as the released evaluation has them: codes of 0 outside.

  For the public SyncNet alone, so that its score is the field's number; the
  shorter the clip, the more the zeros weigh. Source: joonson/syncnet_python,
  calc_pdist, whose 1e-6 comes from PyTorch's pairwise_distance.
  """
  padded = np.pad(speech, ((reach, reach), (0, 0)))
  offsets = range(2 * reach + 1)
  columns = [mouth - padded[o : o + len(mouth)] + 1e-6 for o in offsets]
  return np.stack([np.linalg.norm(x, axis=-1) for x in columns], -1)


def score(matrix: Float[np.ndarray, "t o"]) -> Score:
  """Confidence, distance and offset from the distances of one clip.

  Offsets that fewer than a third of the windows reach are left out.

  Raises:
    ValueError: the clip is too short for any offset.
  """
  reached = (~np.isnan(matrix)).mean(0) >= 1 / 3
  if not reached.any():
    raise ValueError(f"{len(matrix)} windows are too few for a sync score")
  curve = np.full(matrix.shape[1], np.nan)
  curve[reached] = np.nanmean(matrix[:, reached], 0)
  best = int(np.nanargmin(curve))
  low = float(curve[best])
  return Score(
    float(np.nanmedian(curve)) - low, low, matrix.shape[1] // 2 - best
  )


def two_way(
  mouth: Float[np.ndarray, "t d"], speech: Float[np.ndarray, "t d"]
) -> Float[np.ndarray, "t"]:
  """Chance that a window's own sound is nearer than another of its clip.

  Every sound at least 3 frames away is tried, ties count half; 0.5 is
  guessing. Windows with no such sound are left out.
  """
  full = np.linalg.norm(mouth[:, None] - speech[None], axis=-1)
  fair = _apart(len(mouth))
  own = np.diagonal(full)[:, None]
  wins = (own < full) + 0.5 * (own == full)
  some = fair.any(1)
  return (wins * fair).sum(1)[some] / fair.sum(1)[some]


def _apart(n: int) -> Bool[np.ndarray, "n n"]:
  t = np.arange(n)
  return np.abs(t[:, None] - t[None]) >= APART
