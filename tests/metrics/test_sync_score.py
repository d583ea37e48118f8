"""Sync scores: a planted lag is found, and silence scores nothing."""

import numpy as np
import pytest

from speak_jax.metrics import sync


@pytest.fixture
def codes():
  x = np.random.default_rng(0).normal(size=(60, 16))
  return x / np.linalg.norm(x, axis=-1, keepdims=True)


def test_distances_by_loops(codes):
  mouth, speech = codes[:20], codes[30:50]
  matrix = sync.distances(mouth, speech, reach=4)
  assert matrix.shape == (20, 9)
  for t in range(20):
    for o in range(-4, 5):
      if 0 <= t + o < 20:
        want = np.sqrt(sum((mouth[t] - speech[t + o]) ** 2))
        assert matrix[t, o + 4] == pytest.approx(want)
      else:
        assert np.isnan(matrix[t, o + 4])


def test_padded_distances_by_loops(codes):
  mouth, speech = codes[:20], codes[30:50]
  matrix = sync.padded_distances(mouth, speech, reach=4)
  assert matrix.shape == (20, 9)
  for t in range(20):
    for o in range(-4, 5):
      heard = speech[t + o] if 0 <= t + o < 20 else np.zeros(16)
      want = np.sqrt(sum((mouth[t] - heard + 1e-6) ** 2))
      assert matrix[t, o + 4] == pytest.approx(want, rel=1e-12)


@pytest.mark.parametrize("lag", [-6, 0, 3])
def test_a_planted_lag_is_the_offset(codes, lag):
  # The picture shows at t + lag what is heard at t.
  mouth = np.roll(codes, lag, axis=0)
  found = sync.score(sync.distances(mouth, codes))
  assert found.offset == lag
  assert found.distance < 0.3
  assert found.confidence > 1


def test_confidence_falls_with_noise_and_is_nil_for_a_still_face(codes):
  noise = np.random.default_rng(1).normal(size=codes.shape)
  rows = [
    sync.score(sync.distances(codes + s * noise, codes)).confidence
    for s in (0, 0.2, 0.5)
  ]
  assert rows[0] > rows[1] > rows[2]
  still = np.broadcast_to(codes[0], codes.shape)
  assert sync.score(sync.distances(still, still)).confidence == 0


def test_two_way(codes):
  np.testing.assert_array_equal(sync.two_way(codes, codes), 1)
  still = np.broadcast_to(codes[0], codes.shape)
  np.testing.assert_array_equal(sync.two_way(still, codes * 0), 0.5)
  other = codes[::-1]
  t = 10
  own = np.linalg.norm(codes[t] - other[t])
  rivals = [
    np.linalg.norm(codes[t] - other[s]) for s in range(60) if abs(s - t) >= 3
  ]
  assert sync.two_way(codes, other)[t] == pytest.approx(
    np.mean([own < r for r in rivals])
  )


def test_too_short():
  with pytest.raises(ValueError, match="too few"):
    sync.score(np.full((2, 31), np.nan))
