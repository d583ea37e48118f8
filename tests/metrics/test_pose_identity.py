"""Pose and identity figures on cases whose answer is known."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial import distance
from scipy.stats import pearsonr

from speak_jax.metrics import identity, pose, sums


def test_pose_error_is_in_degrees():
  true = np.array([[10.0, 0, -5], [0, 0, 0]])
  assert np.all(pose.error(true, true) == 0)
  np.testing.assert_allclose(pose.error(true + np.array([3, -3, 0]), true), 2)


def test_pose_error_goes_the_short_way_round():
  true = np.array([[0.0, 0, 179]])
  pred = np.array([[0.0, 0, -179]])
  assert pose.error(pred, true)[0] == pytest.approx(2 / 3)


@given(st.integers(0, 2**20))
@settings(max_examples=20, deadline=None)
def test_pose_correlation_is_scipys_within_clips(seed):
  rng = np.random.default_rng(seed)
  true = rng.normal(size=(12, 3)) * 9
  pred = true + rng.normal(size=(12, 3)) * 5
  want = np.mean(
    [pearsonr(p, t)[0] for p, t in zip(pred.T, true.T, strict=True)]
  )
  row = pose.correlation_row(pred, true)
  assert pose.correlation(row[None]) == pytest.approx(want, abs=1e-9)
  # Another scale and another resting pose of a clip change nothing.
  moved = pose.correlation_row(pred + np.array([9.0, -4, 1]), true)
  for rows in (
    np.stack([row, moved]),
    pose.correlation_row(3 * pred, true)[None],
  ):
    assert pose.correlation(rows) == pytest.approx(want, abs=1e-9)


def test_moved_is_the_share_of_the_way():
  rng = np.random.default_rng(0)
  source, donor = rng.normal(size=(2, 20, 3)) * 15

  def share(output):
    return sums.ratio(pose.moved_row(output, source, donor)[None])

  assert share(source) == 0
  assert share(donor) == pytest.approx(1)
  assert share(source + 0.3 * (donor - source)) == pytest.approx(0.3)
  # What happens across the way does not count.
  across = np.cross(donor - source, [1.0, 0, 0])
  assert share(donor + across) == pytest.approx(1)


def test_cosine():
  a = np.array([[1.0, 0], [1, 1], [2, 0]])
  b = np.array([[0.0, 3], [2, 2], [-1, 0]])
  np.testing.assert_allclose(identity.cosine(a, b), [0, 1, -1], atol=1e-12)


@given(st.integers(0, 2**20))
@settings(max_examples=20, deadline=None)
def test_cosine_is_scipys_and_blind_to_length(seed):
  rng = np.random.default_rng(seed)
  a, b = rng.normal(size=(2, 5, 8))
  want = [1 - distance.cosine(x, y) for x, y in zip(a, b, strict=True)]
  np.testing.assert_allclose(identity.cosine(a, b), want, atol=1e-9)
  np.testing.assert_allclose(identity.cosine(3 * a, b), want, atol=1e-9)
  noise = rng.normal(size=8)
  noise -= a[0] * (noise @ a[0]) / (a[0] @ a[0])
  rows = [identity.cosine(a[:1] + s * noise, a[:1])[0] for s in (0, 1, 3)]
  assert rows[0] == pytest.approx(1)
  assert rows[0] > rows[1] > rows[2]


def test_auc_by_loops():
  rng = np.random.default_rng(1)
  labels = np.repeat(np.arange(4), 3)
  centres = rng.normal(size=(4, 5))
  codes = centres[labels] + rng.normal(size=(12, 5))
  near, far = [], []
  for i in range(12):
    for j in range(i):
      value = codes[i] @ codes[j]
      value /= np.linalg.norm(codes[i]) * np.linalg.norm(codes[j])
      (near if labels[i] == labels[j] else far).append(value)
  want = np.mean([[(n > f) + 0.5 * (n == f) for f in far] for n in near])
  assert identity.auc(codes, labels) == pytest.approx(want)
  assert identity.auc(centres[labels], labels) == pytest.approx(1)
  assert identity.auc(np.ones((12, 5)), labels) == pytest.approx(0.5)
  with pytest.raises(ValueError, match="two people"):
    identity.auc(codes[:3], labels[:3])
