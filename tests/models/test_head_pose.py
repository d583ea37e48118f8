"""Six numbers of a head, from landmarks of heads that are held as told."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from speak_jax.models import head_pose
from tests.plain_face import plain_face


def _held(angles, scale=60.0, middle=(100.0, 140.0)):
  """Landmarks of a rigid head, R = Rz(roll) Ry(-yaw) Rx(-pitch)."""
  yaw, pitch, roll = angles
  turn = lambda a: (np.cos(a), np.sin(a))  # noqa: E731
  (c, s), (d, e), (f, g) = turn(roll), turn(-yaw), turn(-pitch)
  rotation = (
    np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]])
    @ np.array([[d, 0, e], [0, 1, 0], [-e, 0, d]])
    @ np.array([[1, 0, 0], [0, f, -g], [0, g, f]])
  )
  head = np.array(list(head_pose._RIGID.values()))
  points = np.full((68, 2), 7.0)
  points[list(head_pose._RIGID)] = (head - head.mean(0)) @ rotation[
    :2
  ].T * scale + middle
  return points


HELD = [(0.0, 0.0, 0.0), (0.5, 0.0, 0.0), (0.0, -0.3, 0.0), (0.2, 0.3, -0.4)]


@pytest.mark.parametrize("angles", HELD)
def test_it_reads_how_a_head_is_held(angles):
  found = head_pose.head_pose(_held(angles), 256)
  np.testing.assert_allclose(found[:3], angles, atol=1e-5)
  np.testing.assert_allclose(found[3], 60 / 256, rtol=1e-5)
  np.testing.assert_allclose(found[4:], [100.5 / 256, 140.5 / 256], rtol=1e-5)


def test_a_mouth_says_nothing_and_the_device_reckons_alike():
  points = np.stack([_held(x) for x in HELD])
  found = head_pose.head_pose(points, 256)
  points[:, 48:] += 9
  points[:, :17] -= 5
  np.testing.assert_array_equal(head_pose.head_pose(points, 256), found)
  there = jax.jit(lambda x: head_pose.head_pose(x, 256))(
    jnp.asarray(points, jnp.float32)
  )
  np.testing.assert_allclose(there, found, atol=1e-4)
  # In sides of the picture, whatever its pixels are.
  half = head_pose.head_pose((points + 0.5) / 2 - 0.5, 128)
  np.testing.assert_allclose(half, found, atol=1e-9)


def test_numbers_are_standardised_over_people():
  clips = [
    np.stack([_held((a, b, 0.0)) for a in (0.1, 0.3)]) / 256 - 0.5
    for b in (-0.2, 0.4)
  ]
  scale = head_pose.fit([*clips, np.zeros((0, 68, 2), np.float32)])
  numbers = head_pose.head_pose(np.concatenate(clips), 1)
  normal = head_pose.standardised(numbers, scale)
  np.testing.assert_allclose(normal.mean(0), 0, atol=2e-3)
  np.testing.assert_allclose(normal.std(0)[:2], 1, rtol=1e-3)
  assert np.abs(normal).max() < 2  # what never changes is not divided by 0
  with pytest.raises(ValueError, match="no landmarks"):
    head_pose.fit([np.zeros((0, 68, 2))])
  flat = head_pose.head_pose(plain_face()[None], 1)
  assert np.isfinite(flat).all()
