"""Pose and identity figures on cases whose answer is known."""

import numpy as np
import pytest

from speak_jax.metrics import identity, pose, sums


def test_pose_error_is_in_degrees():
  true = np.array([[10.0, 0, -5], [0, 0, 0]])
  assert np.all(pose.error(true, true) == 0)
  np.testing.assert_allclose(pose.error(true + np.array([3, -3, 0]), true), 2)


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
