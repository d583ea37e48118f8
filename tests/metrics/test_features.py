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
