"""Perceptual metrics: frames through a network, such as LPIPS and FID.

Each has the name of its metric: "lpips" and "fid" are kept for the public
weights, any other network's metric is named after the network. Gaussian SSIM
takes the same way, without a network.
"""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, UInt8

from speak_jax.evaluation.metric_table import MetricValue, MetricValues
from speak_jax.evaluation.reenactment.comparison import ClipSum, ClipSums
from speak_jax.metrics import features, sums

Frames = UInt8[np.ndarray, "n h w 3"]


class PairedMetric(NamedTuple):
  """Compares each generated frame with the true frame of the same time."""

  run: Callable[[Frames, Frames], Float[np.ndarray, "n"]]
  every: int = 1  # of so many frames one is looked at


class FeatureMetric(NamedTuple):
  """Features of each frame, whose distributions are compared (Frechet)."""

  run: Callable[[Frames], Float[np.ndarray, "n d"]]
  every: int = 1


PerceptualMetric = PairedMetric | FeatureMetric


def paired_sums(
  metrics: Mapping[str, PerceptualMetric], frames: Frames, true: Frames
) -> ClipSums:
  """One clip's row of every paired metric, by name.

  Args:
    metrics: By name; those of features are passed over.
    frames: Generated.
    true: True frames of the same times.
  """
  return {
    name: ClipSum(
      sums.mean_row(metric.run(frames[:: metric.every], true[:: metric.every]))
    )
    for name, metric in metrics.items()
    if isinstance(metric, PairedMetric)
  }


class FeatureStats:
  """Moments of the features of many clips, by name.

  Their Frechet distance has no interval: it falls with the number of frames,
  and clips drawn twice are no new frames.
  """

  def __init__(self):
    """Starts without features."""
    self._moments: dict[str, np.ndarray] = {}
    self._clips: dict[str, int] = {}

  def add(self, name: str, values: Float[np.ndarray, "n d"]) -> None:
    """Merges one clip's features into the moments of a name."""
    moments = features.moments(values)
    if name in self._moments:
      moments += self._moments[name]
    self._moments[name] = moments
    self._clips[name] = self._clips.get(name, 0) + 1

  def frechet(self, pairs: Mapping[str, str]) -> MetricValues:
    """Frechet distances between the features of two names.

    Args:
      pairs: {name, also that of the metric: name of the truth}; names without
        a clip are left out.
    """
    nan = float("nan")
    values = {}
    for name, true in pairs.items():
      if name in self._moments and true in self._moments:
        row = np.concatenate([self._moments[name], self._moments[true]])
        distance = features.frechet(row[None])
        values[name] = MetricValue(distance, nan, nan, self._clips[name])
    return values
