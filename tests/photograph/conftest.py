"""A drawn person as a photograph, with the points that FaceMesh sees."""

import numpy as np
import pytest

from data_pipelines.faces.nets import (
  DETECTOR,
  MESH,
  BlazeFace,
  FaceMesh,
  face_roi,
  mesh_roi,
)
from data_pipelines.synthetic import render


@pytest.fixture(scope="session")
def face_mesh(face_models):
  """Finds the points of the one face of a picture."""
  detector, mesh = (
    net(next(face_models.rglob(name)))
    for net, name in ((BlazeFace, DETECTOR), (FaceMesh, MESH))
  )

  def find(frame):
    (face, *_) = detector.detect(frame)
    points, _ = mesh(frame, face_roi(face))
    points, _ = mesh(frame, mesh_roi(points))
    return points

  return find


@pytest.fixture(scope="session")
def photograph(face_mesh):
  """(picture, FaceMesh's points) of a drawn person who looks ahead."""
  drawn = render.random_frames(3, 48, 256, "tight")
  ahead = np.abs(drawn.pose).max(1) + 100 * drawn.mouth_open
  frame = drawn.frames[int(ahead.argmin())]
  return frame, face_mesh(frame)
