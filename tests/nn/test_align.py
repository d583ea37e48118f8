"""The cut on the device is the cut that the data has."""

import jax.numpy as jnp
import numpy as np

from data_pipelines.media import face
from speak_jax.nn.align import TEMPLATE, align_face
from tests.stages import small


def test_equals_the_cut_of_the_data():
  rng = np.random.default_rng(0)
  small_picture = rng.uniform(0, 255, (8, 8, 3)).astype(np.uint8)
  picture = np.kron(small_picture, np.ones((8, 8, 1), np.uint8))
  turn = np.array([[0.9, -0.3], [0.3, 0.9]])
  points = (small.face() * 4 - 32) @ turn.T + 32
  points = points.astype(np.float32)
  want = face.align_face(picture, points, 40).astype(np.float32)
  got = align_face(
    jnp.asarray(picture[None], jnp.float32), jnp.asarray(points[None]), 40
  )[0]
  # OpenCV rounds positions to 1/32 of a pixel.
  assert np.abs(want - np.asarray(got)).mean() < 1.5
  np.testing.assert_allclose(TEMPLATE, face.FACE_TEMPLATE)
