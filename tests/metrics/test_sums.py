"""Rows of sums: merging changes nothing, and each statistic is NumPy's own."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from speak_jax.metrics import sums


@given(st.integers(0, 2**20), st.integers(2, 5))
@settings(max_examples=20, deadline=None)
def test_merged_clips_equal_one_pass(seed, clips):
  rng = np.random.default_rng(seed)
  sizes = rng.integers(3, 9, clips)
  pred = [rng.normal(size=(n, 2)) for n in sizes]
  true = [rng.normal(size=(n, 2)) for n in sizes]
  rows = np.stack([sums.r2_row(p, t) for p, t in zip(pred, true, strict=True)])
  p, t = np.concatenate(pred), np.concatenate(true)
  want = 1 - ((p - t) ** 2).sum() / ((t - t.mean(0)) ** 2).sum()
  assert sums.r2(rows) == pytest.approx(want)
  rows = np.stack([sums.mean_row(p) for p in pred])
  assert sums.mean(rows) == pytest.approx(p.mean())
  centred = [
    np.concatenate([x[:, i] - x[:, i].mean() for x in pred]) for i in (0, 1)
  ]
  rows = np.stack([sums.pearson_row(x[:, 0], x[:, 1]) for x in pred])
  assert sums.pearson(rows) == pytest.approx(np.corrcoef(*centred)[0, 1])


def test_pearson_limits():
  x = np.random.default_rng(0).normal(size=30)
  assert sums.pearson(sums.pearson_row(x, 3 * x + 2)[None]) == pytest.approx(1)
  assert sums.pearson(sums.pearson_row(x, -x)[None]) == pytest.approx(-1)
  assert sums.pearson(sums.pearson_row(x, np.ones(30))[None]) == 0


def test_interval_holds_the_value_and_narrows_with_clips():
  rng = np.random.default_rng(1)
  widths = []
  for clips in (8, 128):
    rows = np.stack([sums.mean_row(rng.normal(size=9)) for _ in range(clips)])
    found = sums.interval(rows, sums.mean, seed=0, draws=300)
    assert found.low <= found.value <= found.high
    assert found == sums.interval(rows, sums.mean, seed=0, draws=300)
    widths.append(found.high - found.low)
  assert widths[1] < widths[0] / 2


@pytest.mark.parametrize("clips", [1, 3, 9])
def test_interval_is_that_of_every_draw(clips):
  rng = np.random.default_rng(2)
  rows = rng.random((clips, 2)) + 1
  found = sums.interval(rows, sums.ratio, seed=5, draws=200)
  picks = np.random.default_rng(5).integers(0, clips, (200, clips))
  values = [rows[x, 0].sum() / rows[x, 1].sum() for x in picks]
  want = np.quantile(values, (0.025, 0.975))
  np.testing.assert_allclose([found.low, found.high], want)


def test_r2_of_the_mean_is_zero():
  true = np.random.default_rng(2).normal(size=(40, 3))
  mean = np.broadcast_to(true.mean(0), true.shape)
  assert sums.r2(sums.r2_row(mean, true)[None]) == pytest.approx(0)
  assert sums.r2(sums.r2_row(true, true)[None]) == 1


def test_nothing_measured_is_nan_without_a_warning():
  none = np.zeros((3, 2))
  assert np.isnan(sums.mean(none))
  assert np.isnan(sums.interval(none, sums.mean, seed=0, draws=10).low)
  assert np.isnan(sums.r2(np.zeros((3, 10))))
