"""The cut on the device is the cut that the data has."""

import jax.numpy as jnp
import numpy as np
import pytest

from data_pipelines.faces import align, lips
from speak_jax import spec
from speak_jax.nn.align import TEMPLATE, align_face, align_lips
from tests import jitted
from tests.stages import small

# Each function one program.
align_face, align_lips = map(jitted.compiled, (align_face, align_lips))


def test_equals_the_cut_of_the_data():
  rng = np.random.default_rng(0)
  small_picture = rng.uniform(0, 255, (8, 8, 3)).astype(np.uint8)
  picture = np.kron(small_picture, np.ones((8, 8, 1), np.uint8))
  turn = np.array([[0.9, -0.3], [0.3, 0.9]])
  points = (small.face() * 4 - 32) @ turn.T + 32
  points = points.astype(np.float32)
  want = align.align_face(picture, points, 40).astype(np.float32)
  got = align_face(
    jnp.asarray(picture[None], jnp.float32), jnp.asarray(points[None]), 40
  )[0]
  # OpenCV rounds positions to 1/32 of a pixel.
  assert np.abs(want - np.asarray(got)).mean() < 1.5
  np.testing.assert_allclose(TEMPLATE, align.FACE_TEMPLATE)


def turned(degrees, scale=1.0, shift=(0.0, 0.0)):
  """A face in a picture of 256 px, and its landmarks."""
  angle = np.deg2rad(degrees)
  turn = scale * np.array(
    [[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]]
  )
  points = small.face() / small.IMAGE
  points[[36, 39], 0], points[[42, 45], 0] = (0.26, 0.34), (0.66, 0.74)
  points[31:36] = np.linspace([0.45, 0.62], [0.55, 0.62], 5)
  points = (points * 256 - 128) @ turn + 128 + shift
  return points.astype(np.float32)


@pytest.mark.parametrize("size", [96, 48, 33])  # as it is, averaged, odd
@pytest.mark.parametrize("points", [turned(0), turned(25, 0.7, (40, 60))])
@pytest.mark.parametrize("square", [spec.LIPS_SQUARE, (1.4, 0.45)])
def test_lips_equal_those_of_the_data(size, points, square):
  """Also where the square leaves the picture."""
  rng = np.random.default_rng(0)
  picture = rng.uniform(0, 255, (32, 32, 3)).astype(np.uint8)
  picture = np.kron(picture, np.ones((8, 8, 1), np.uint8))
  want = lips.cut_lips(picture, points, size, square).astype(np.float32)
  got = align_lips(
    jnp.asarray(picture[None], jnp.float32),
    jnp.asarray(points[None]),
    size,
    square,
  )[0]
  assert want.shape == (size, size) and got.shape == (size, size, 1)
  assert np.abs(want - np.asarray(got)[..., 0]).mean() < 1


def test_grey_is_the_same_grey_in_the_data_and_on_the_device():
  """BT.601's weights: a red, a green and a blue lip keep their order."""
  for colour in np.eye(3, dtype=np.uint8)[:, None, None] * 255:
    picture = np.broadcast_to(colour, (64, 64, 3)).copy()
    points = turned(0) / 4
    want = lips.cut_lips(picture, points, 16)
    assert want.min() == want.max() == round(colour[0, 0] @ spec.LUMA)
    got = align_lips(
      jnp.asarray(picture[None], jnp.float32), jnp.asarray(points[None]), 16
    )
    np.testing.assert_allclose(got[0, ..., 0], want, atol=0.5)


def test_the_square_of_the_lips_follows_the_head_and_not_the_jaw():
  middle, side = spec.lips_square(turned(0))
  wide, down = spec.LIPS_SQUARE
  nose = turned(0)[31:36].mean(0)
  other, edge = spec.lips_square(turned(0), (wide / 2, down / 2))
  np.testing.assert_allclose(edge, side / 2, rtol=1e-5)
  np.testing.assert_allclose(other - nose, (middle - nose) / 2, rtol=1e-4)
  points = turned(0)
  points[spec.MOUTH] += [3, 20]
  points[spec.JAW] += [0, 30]
  for still, open_wide in zip(
    (middle, side), spec.lips_square(points), strict=True
  ):
    np.testing.assert_array_equal(still, open_wide)
  # Turned by 25 degrees clockwise in the picture, and smaller.
  after, turned_side = spec.lips_square(turned(25, 0.5))
  angle = np.deg2rad(25)
  turn = 0.5 * np.array(
    [[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]]
  )
  np.testing.assert_allclose(turned_side, side @ turn, atol=1e-3)
  np.testing.assert_allclose(after, (middle - 128) @ turn + 128, atol=1e-3)
  # It holds the lips, and the chin of an open mouth.
  half = np.abs(side[0]) / 2
  for point in (points[8], *points[spec.MOUTH]):
    assert (np.abs(point - middle) < half).all()


def test_lips_give_their_gradient_to_the_picture_alone():
  frames = jnp.full((1, 256, 256, 3), 0.5)

  def total(frames, points):
    return align_lips(frames, points, 48).sum()

  points = jnp.asarray(turned(0)[None])
  to_frames, to_points = jitted.grad(total, (0, 1))(frames, points)
  assert not np.asarray(to_points).any()
  # Every pixel of the cut is a mean of the picture's.
  np.testing.assert_allclose(
    to_frames.sum((0, 1, 2)), 48 * 48 * np.array(spec.LUMA), rtol=1e-4
  )
