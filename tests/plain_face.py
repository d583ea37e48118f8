"""A face of 68 points, and a mesh, for what needs one in its place."""

import numpy as np

from data_pipelines.faces.tracker import IBUG
from speak_jax import spec


def plain_face() -> np.ndarray:
  """Eyes, mouth and chin, upright, in a picture of side 1: float64 (68, 2)."""
  points = np.full((68, 2), 0.5)
  points[8] = 0.5, 0.95
  points[spec.LEFT_EYE] = 0.3, 0.35
  points[spec.RIGHT_EYE] = 0.7, 0.35
  turn = np.linspace(np.pi, 3 * np.pi, 21)[:20]
  points[spec.MOUTH] = np.c_[
    0.5 + 0.12 * np.cos(turn), 0.7 + 0.05 * np.sin(turn)
  ]
  points[48], points[54] = (0.38, 0.7), (0.62, 0.7)
  return points


def mesh_of(landmarks: np.ndarray) -> np.ndarray:
  """A flat mesh that has landmarks (*n, 68, 2) where they belong: float32."""
  mesh = np.zeros((*landmarks.shape[:-2], 468, 3), np.float32)
  mesh[..., :2] = landmarks.mean(-2, keepdims=True)
  mesh[..., IBUG, :2] = landmarks
  return mesh
