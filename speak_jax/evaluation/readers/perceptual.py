"""Looks: frames seen through a network, for figures such as LPIPS and FID.

Whoever has the weights passes a look in, under the name of its figure: "lpips"
and "fid" are kept for the real weights, any other network's figure is named
after the network. Gaussian SSIM is a look as well, without a network.
"""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, UInt8

from speak_jax.evaluation.ledger import Figure, Figures
from speak_jax.evaluation.reenactment.comparison import Sum, Sums
from speak_jax.metrics import features, sums

Frames = UInt8[np.ndarray, "n h w 3"]


class Paired(NamedTuple):
  """A distance of each made frame from the true frame of the same time."""

  run: Callable[[Frames, Frames], Float[np.ndarray, "n"]]
  every: int = 1  # of so many frames one is looked at


class Features(NamedTuple):
  """Features of each frame, whose distributions are compared (Frechet)."""

  run: Callable[[Frames], Float[np.ndarray, "n d"]]
  every: int = 1


Look = Paired | Features


def distances(looks: Mapping[str, Look], frames: Frames, true: Frames) -> Sums:
  """Rows of every paired look, by name."""
  return {
    name: Sum(
      sums.mean_row(look.run(frames[:: look.every], true[:: look.every]))
    )
    for name, look in looks.items()
    if isinstance(look, Paired)
  }


class Crowd:
  """Features of many clips under a name, merged into their moments.

  Their Frechet distance has no interval: it falls with the number of frames,
  and clips drawn twice are no new frames.
  """

  def __init__(self):
    """Empty."""
    self._moments: dict[str, np.ndarray] = {}
    self._clips: dict[str, int] = {}

  def add(self, name: str, values: Float[np.ndarray, "n d"]) -> None:
    """Puts one clip's features in."""
    moments = features.moments(values)
    if name in self._moments:
      moments += self._moments[name]
    self._moments[name] = moments
    self._clips[name] = self._clips.get(name, 0) + 1

  def figures(self, pairs: Mapping[str, str]) -> Figures:
    """Frechet distances between features put in under two names.

    Args:
      pairs: {name, also that of the figure: name of the truth}; names without
        a clip are left out.
    """
    nan = float("nan")
    out = {}
    for name, true in pairs.items():
      if name in self._moments and true in self._moments:
        row = np.concatenate([self._moments[name], self._moments[true]])
        value = features.frechet(row[None])
        out[name] = Figure(value, nan, nan, self._clips[name])
    return out
