"""Distances of features against SciPy's matrix root and plain loops."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import linalg

from speak_jax.metrics import features


def _one(pred, true):
  return features.frechet(features.frechet_row(pred, true)[None])


@given(st.integers(0, 2**20), st.integers(1, 6))
@settings(max_examples=20, deadline=None)
def test_frechet_is_the_textbooks(seed, width):
  rng = np.random.default_rng(seed)
  mix = rng.normal(size=(width, width))
  pred = rng.normal(size=(30, width)) @ mix + 1
  true = rng.normal(size=(25, width))
  c = np.cov(pred, rowvar=False).reshape(width, width)
  d = np.cov(true, rowvar=False).reshape(width, width)
  root = np.real(np.asarray(linalg.sqrtm(c @ d)))
  want = ((pred.mean(0) - true.mean(0)) ** 2).sum()
  want += np.trace(c + d - 2 * root)
  assert _one(pred, true) == pytest.approx(want, abs=1e-5)
  assert _one(true, pred) == pytest.approx(want, abs=1e-5)
  # Rows of clips merge into the figure of all features together.
  rows = [
    features.frechet_row(pred[:11], true[:3]),
    features.frechet_row(pred[11:], true[3:]),
  ]
  assert features.frechet(np.stack(rows)) == pytest.approx(want, abs=1e-5)
  # Turning both sides' features together changes nothing.
  turn = np.linalg.qr(mix)[0]
  assert _one(pred @ turn, true @ turn) == pytest.approx(want, abs=1e-5)


def test_frechet_is_zero_iff_equal_and_grows_with_the_distance():
  rng = np.random.default_rng(0)
  x = rng.normal(size=(40, 4))
  assert _one(x, x) == pytest.approx(0, abs=1e-9)
  shift = np.array([1.0, 0, 0, 0])
  assert _one(x + 2 * shift, x) == pytest.approx(4)
  noise = rng.normal(size=x.shape)
  rows = [_one(x + s * noise, x) for s in (0.3, 1, 3)]
  assert 0 < rows[0] < rows[1] < rows[2]
  assert np.isnan(_one(x[:1], x))


@given(st.integers(0, 2**20))
@settings(max_examples=10, deadline=None)
def test_unit_distance_by_loops(seed):
  rng = np.random.default_rng(seed)
  shapes = [(2, 4, 3, 5), (2, 2, 2, 7)]
  pred = [rng.normal(size=shape) for shape in shapes]
  true = [rng.normal(size=shape) for shape in shapes]
  found = features.unit_distance(pred, true)
  for i in range(2):
    want = 0.0
    for x, y in zip(pred, true, strict=True):
      x, y = x[i].reshape(-1, x.shape[-1]), y[i].reshape(-1, y.shape[-1])
      pixels = [
        2 - 2 * (u @ v) / np.sqrt((u @ u) * (v @ v))
        for u, v in zip(x, y, strict=True)
      ]
      want += np.mean(pixels)
    assert found[i] == pytest.approx(want)
  np.testing.assert_allclose(features.unit_distance(pred, pred), 0)
  bright = [3 * x for x in pred]
  np.testing.assert_allclose(features.unit_distance(bright, true), found)
  near = [x + 0.1 * (y - x) for x, y in zip(true, pred, strict=True)]
  assert np.all(features.unit_distance(near, true) < found)
  with pytest.raises(ValueError, match="feature maps"):
    features.unit_distance(pred[:1], true)
