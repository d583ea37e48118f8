"""Rank, variance and linear probes on codes whose content is known."""

import numpy as np
import pytest
from sklearn.linear_model import Ridge

from speak_jax.metrics import codes


@pytest.fixture
def rng():
  return np.random.default_rng(0)


def test_rank_counts_the_directions_that_vary(rng):
  square = np.linalg.qr(rng.normal(size=(64, 8)))[0]
  square -= square.mean(0)
  whole = np.linalg.qr(square)[0]
  assert codes.effective_rank(whole) == pytest.approx(8)
  assert codes.effective_rank(whole[:, :3]) == pytest.approx(3)
  line = whole[:, :1] * rng.normal(size=5)
  assert codes.effective_rank(line) == pytest.approx(1, abs=1e-6)
  assert codes.effective_rank(np.full((9, 4), 3.1)) == 0
  assert codes.effective_rank(whole * 1e3 + 7) == pytest.approx(8)


def test_variance_of_every_dimension(rng):
  x = rng.normal(size=(50, 3)) * [0, 1, 4]
  np.testing.assert_allclose(codes.variances(x), np.var(x, 0))


def test_agreement_of_twins(rng):
  x, noise = rng.normal(size=(2, 4000, 6))
  mean = np.zeros(6)

  def value(a, b):
    return codes.agreement(codes.agreement_row(a, b, mean)[None])

  assert value(x, x) == 1
  assert value(x, noise) == pytest.approx(0, abs=0.05)
  # Half of the variance is common.
  one, other = (x + rng.normal(size=x.shape) for _ in range(2))
  assert value(one, other) == pytest.approx(0.5, abs=0.05)
  assert np.isnan(value(0 * x, 0 * x))


def test_ridge_is_scikit_learns(rng):
  x, fresh = rng.normal(size=(40, 5)), rng.normal(size=(7, 5))
  y = rng.normal(size=(2, 40, 3))
  got = codes._ridge(x, y, fresh)
  scale = x.std(0)
  for s, strength in enumerate(codes.STRENGTHS):
    for c in range(2):
      # Its alpha belongs to the sum of squares, ours to the mean.
      peer = Ridge(alpha=strength * len(x)).fit(x / scale, y[c])
      np.testing.assert_allclose(got[s, c], peer.predict(fresh / scale))


def test_groups_stay_together():
  groups = np.repeat([5, 9, 2, 7, 1], 3)
  dealt = codes.folds(groups, 3)
  assert sorted(np.unique(dealt)) == [0, 1, 2]
  for group in np.unique(groups):
    assert len(np.unique(dealt[groups == group])) == 1
  assert len(np.unique(codes.folds(groups, 99))) == 5


def test_a_probe_finds_what_is_there_and_nothing_else(rng):
  x = rng.normal(size=(120, 4))
  y = np.stack([x[:, :1] * 2 + 1, rng.normal(size=(120, 1))])
  fold = codes.folds(np.arange(120) // 10, 4)
  said = codes.probe(x, y, fold)
  assert np.corrcoef(said[0, :, 0], y[0, :, 0])[0, 1] > 0.99
  assert np.mean((said[1] - y[1]) ** 2) > 0.8 * y[1].var()


def test_a_probe_never_learns_from_what_it_is_asked(rng):
  """A code that names its group tells nothing of another group."""
  group = np.arange(12).repeat(5)
  value = rng.normal(size=12)[group]
  said = codes.probe(
    np.eye(12)[group], value[None, :, None], codes.folds(group, 6)
  )[0, :, 0]
  assert np.mean((said - value) ** 2) >= 0.95 * value.var()
  with pytest.raises(ValueError, match="two folds"):
    codes.probe(np.eye(12)[group], value[None, :, None], 0 * group)


def test_a_constant_code_says_the_mean(rng):
  y = rng.normal(size=(1, 20, 2))
  fold = np.arange(20) % 2
  said = codes.probe(np.full((20, 3), 4.0), y, fold)
  np.testing.assert_allclose(said[0, 0], y[0, 1::2].mean(0))
