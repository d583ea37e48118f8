"""Faces are cut upright, whatever head and mouth do."""

import cv2
import numpy as np
import pytest

from data_pipelines.faces import headpose
from data_pipelines.faces.upright import FACE, JAW, cut_upright, upright_matrix
from data_pipelines.media.warp import transform, transform_mesh

CORNERS = [33, 263]  # of the eyes


def mean_head():
  mesh = np.zeros((468, 3), np.float32)
  mesh[headpose.RIGID] = headpose.HEAD * 60 + [150, 140, 5]
  return mesh


MESH = mean_head()


def similarity(degrees, scale):
  turn = np.radians(degrees)
  cos, sin = scale * np.cos(turn), scale * np.sin(turn)
  return np.array([[cos, -sin, 40.0], [sin, cos, 25.0]])


@pytest.mark.parametrize("view", [FACE, JAW])
def test_where_things_lie(view):
  cut = transform(MESH[:, :2], upright_matrix(MESH, view, 112))
  left, right = cut[CORNERS]
  assert right[0] - left[0] == pytest.approx(112 / view.wide, rel=0.03)
  assert left[1] == pytest.approx(right[1], abs=0.1)
  assert (left + right)[0] / 2 == pytest.approx(55.5, abs=0.5)
  assert 112 * 0.1 < left[1] < 112 * 0.35


@pytest.mark.parametrize("degrees", [0, 35, -80])
def test_a_turned_picture_gives_the_same_cut(degrees):
  turned = transform_mesh(MESH, similarity(degrees, 1.7))
  there, here = (
    transform(mesh[:, :2], upright_matrix(mesh, FACE, 112))
    for mesh in (turned, MESH)
  )
  np.testing.assert_allclose(there, here, atol=0.1)


def test_an_opening_mouth_changes_nothing():
  wide_open = MESH.copy()
  wide_open[[14, 87, 317, 17, 84, 314, 152, 148, 377]] += 20
  np.testing.assert_array_equal(
    upright_matrix(wide_open, JAW, 112), upright_matrix(MESH, JAW, 112)
  )


def test_it_cuts_pixels():
  frame = np.zeros((300, 300, 3), np.uint8)
  for x, y in MESH[CORNERS, :2]:
    cv2.circle(frame, (round(float(x)), round(float(y))), 4, (255,) * 3, -1)
  cut = cut_upright(frame, MESH, FACE, 150)
  places = transform(MESH[CORNERS, :2], upright_matrix(MESH, FACE, 150))
  for x, y in places.round().astype(int):
    assert cut[y, x].min() > 250
