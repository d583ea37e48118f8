"""Filters over a sound in pieces are those of SciPy."""

import numpy as np
from scipy import signal

from data_pipelines.media import biquads, loudness


def test_filters_as_scipy_does():
  sound = np.random.default_rng(0).normal(size=30_000)
  sections = loudness.weighting()
  wanted, left = signal.sosfilt(sections, sound, zi=np.zeros((2, 2)))
  state, pieces = np.zeros((2, 2)), []
  for piece in np.split(sound, [1, 7_000, 7_000, 29_000]):
    part, state = biquads.filtered(sections, piece, state)
    pieces.append(part)
  # Equal bit for bit where the compiler of SciPy does not fuse operations.
  np.testing.assert_allclose(np.concatenate(pieces), wanted, 1e-12, 1e-15)
  np.testing.assert_allclose(state, left, 1e-12, 1e-15)


def test_what_is_given_stays():
  sections, sound, state = loudness.weighting(), np.ones(9), np.ones((2, 2))
  biquads.filtered(sections, sound, state)
  assert (sound == 1).all() and (state == 1).all()
