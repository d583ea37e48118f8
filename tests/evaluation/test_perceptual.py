"""Perceptual metrics: pairs, and whole sets against SciPy's root."""

import numpy as np
import pytest
from scipy import linalg

from speak_jax.evaluation.readers.perceptual import (
  FeatureMetric,
  FeatureStats,
  PairedMetric,
  paired_sums,
)
from speak_jax.metrics import image, sums


def test_paired_metrics_are_means_over_frames_and_pair_them():
  rng = np.random.default_rng(0)
  made, true = rng.integers(0, 256, (2, 7, 16, 16, 3)).astype(np.uint8)
  seen = []

  def far(a, b):
    seen.append((a, b))
    return np.abs(a.astype(float) - b).mean((1, 2, 3))

  metrics = {
    "far": PairedMetric(far, every=3),
    "gaussian_ssim": PairedMetric(image.gaussian_ssim),
    "fid": FeatureMetric(lambda frames: frames[:, 0, 0]),
  }
  found = paired_sums(metrics, made, true)
  assert set(found) == {"far", "gaussian_ssim"}
  np.testing.assert_array_equal(seen[0][0], made[[0, 3, 6]])
  np.testing.assert_array_equal(seen[0][1], true[[0, 3, 6]])
  want = np.mean([np.abs(made[i] - true[i].astype(float)) for i in (0, 3, 6)])
  assert sums.mean(found["far"].row[None]) == pytest.approx(want)
  want = image.gaussian_ssim(made, true).mean()
  assert sums.mean(found["gaussian_ssim"].row[None]) == pytest.approx(want)


def test_features_of_many_clips_are_one_distribution():
  rng = np.random.default_rng(1)
  made, true = (
    rng.normal(size=(40, 3)) * [1, 2, 3] + 1,
    rng.normal(size=(30, 3)),
  )
  stats = FeatureStats()
  for part in np.split(made, [7, 20]):
    stats.add("a/fid", part)
  for part in np.split(true, [11]):
    stats.add("true/fid", part)
  pairs = {"a/fid": "true/fid", "true/fid": "true/fid", "b/fid": "true/fid"}
  found = stats.frechet(pairs)
  c, d = np.cov(made, rowvar=False), np.cov(true, rowvar=False)
  want = ((made.mean(0) - true.mean(0)) ** 2).sum()
  want += np.trace(c + d - 2 * np.real(np.asarray(linalg.sqrtm(c @ d))))
  assert found["a/fid"].value == pytest.approx(want, abs=1e-6)
  assert found["a/fid"].clips == 3
  assert np.isnan(found["a/fid"].low)
  assert found["true/fid"].value == pytest.approx(0, abs=1e-9)
  assert "b/fid" not in found
