import numpy as np
import pytest

from data_pipelines.faces import headpose


def mesh(yaw=0.0, pitch=0.0, roll=0.0):
  """The mean head, turned by degrees; x right, y down, z away."""
  a, b, r = np.radians([yaw, pitch, roll])
  turn_x = [[1, 0, 0], [0, np.cos(b), np.sin(b)], [0, -np.sin(b), np.cos(b)]]
  turn_y = [[np.cos(a), 0, -np.sin(a)], [0, 1, 0], [np.sin(a), 0, np.cos(a)]]
  turn_z = [[np.cos(r), -np.sin(r), 0], [np.sin(r), np.cos(r), 0], [0, 0, 1]]
  rotation = np.array(turn_z) @ np.array(turn_y) @ np.array(turn_x)
  points = np.zeros((1, 468, 3), np.float32)
  points[0, headpose.RIGID] = headpose.HEAD @ rotation.T * 80 + [120, 90, 5]
  return points


@pytest.mark.parametrize(
  "angles", [(0, 0, 0), (30, 0, 0), (0, 20, 0), (0, 0, 15), (-25, 10, -12)]
)
def test_angles_are_read_back(angles):
  pose = headpose.head_pose(mesh(*angles))
  np.testing.assert_allclose(pose[0], angles, atol=0.01)


def test_signs():
  tip = list(headpose.RIGID).index(4)
  rest = mesh()[0, headpose.RIGID]
  right = mesh(yaw=20)[0, headpose.RIGID] - rest
  up = mesh(pitch=20)[0, headpose.RIGID] - rest
  clockwise = mesh(roll=20)[0, headpose.RIGID] - rest
  assert right[tip, 0] > 5  # the nose goes to the picture's right
  assert up[tip, 1] < -5  # and up
  assert clockwise[list(headpose.RIGID).index(10), 0] > 5  # as does the brow


def test_unknown_stays_unknown():
  points = np.concatenate([mesh(10), np.full((1, 468, 3), np.nan, np.float32)])
  pose = headpose.head_pose(points)
  assert pose[0, 0] == pytest.approx(10, abs=0.01)
  assert np.isnan(pose[1]).all()
