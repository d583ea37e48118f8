import jax.numpy as jnp
import numpy as np

from data_pipelines.faces import align
from speak_jax import spec
from speak_jax.nn import face
from tests import jitted

# Each function one program.
face = jitted.functions(face)


def landmarks() -> np.ndarray:
  """A plain face in a unit square."""
  points = np.zeros((68, 2))
  turn = np.linspace(0, np.pi, 17)
  points[spec.JAW] = np.c_[0.5 - 0.38 * np.cos(turn), 0.4 + 0.5 * np.sin(turn)]
  points[spec.BROWS] = np.c_[np.linspace(0.2, 0.8, 10), np.full(10, 0.25)]
  points[spec.NOSE] = np.c_[np.full(9, 0.5), np.linspace(0.35, 0.6, 9)]
  ring = np.linspace(0, 2 * np.pi, 7)[:6]
  for where, x in ((spec.LEFT_EYE, 0.33), (spec.RIGHT_EYE, 0.67)):
    points[where] = np.c_[x + 0.07 * np.cos(ring), 0.35 + 0.03 * np.sin(ring)]
  ring = np.linspace(np.pi, 3 * np.pi, 13)[:12]
  points[48:60] = np.c_[0.5 + 0.15 * np.cos(ring), 0.72 + 0.06 * np.sin(ring)]
  ring = np.linspace(np.pi, 3 * np.pi, 9)[:8]
  points[60:68] = np.c_[0.5 + 0.1 * np.cos(ring), 0.72 + 0.02 * np.sin(ring)]
  return points.astype(np.float32)


def move(points, angle=0.4, scale=1.7, shift=(3.0, -2.0)):
  turn = np.array(
    [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
  )
  return (points @ turn.T * scale + np.array(shift)).astype(np.float32)


def test_coordinates_do_not_see_rotation_scale_and_shift():
  points = jnp.asarray(landmarks()[None])
  moved = jnp.asarray(move(landmarks())[None])
  here = face.aligned_coordinates(points, points)
  np.testing.assert_allclose(
    here, face.aligned_coordinates(moved, moved), atol=1e-4
  )
  # Eyes left and right at the same height, mouth below.
  np.testing.assert_allclose(here[0, spec.LEFT_EYE].mean(0)[1], -0.5375, 0.05)
  assert here[0, spec.RIGHT_EYE].mean(0)[0] > 0.45
  assert here[0, spec.MOUTH].mean(0)[1] > 0.45


def test_coordinates_equal_the_data_side():
  points = landmarks() * 60 + 2
  points[:, 0] += 0.1 * points[:, 1]  # no exact similarity any more
  size = 100
  matrix = align.face_matrix(points, size)
  aligned = points @ matrix[:, :2].T + matrix[:, 2]
  template = align.FACE_TEMPLATE * size - 0.5
  eyes, mouth = template[:2].mean(0), template[2]
  unit = template[1, 0] - template[0, 0]
  want = (aligned - (eyes + mouth) / 2) / unit
  got = face.aligned_coordinates(*[jnp.asarray(points[None])] * 2)
  np.testing.assert_allclose(got[0], want, atol=1e-4)


def test_a_grid_has_the_coordinates_of_its_cells():
  size = 64
  points = jnp.asarray(np.stack([landmarks()] * 2)) * size
  for resolution in (8, 64):
    grid = face.position_map(points, size, resolution)
    assert grid.shape == (2, resolution, resolution, 2)
    side = (np.arange(resolution) + 0.5) * (size / resolution) - 0.5
    cells = np.stack(np.meshgrid(side, side), -1).reshape(1, -1, 2)
    want = face.aligned_coordinates(jnp.asarray(cells, jnp.float32), points)
    np.testing.assert_allclose(grid.reshape(2, -1, 2), want, atol=1e-5)


def test_plain_face_is_a_face():
  plain = face.mean_face()
  points = np.asarray(plain)
  assert np.abs(points).max() < 1
  np.testing.assert_allclose(points[:, 0].mean(), 0, atol=1e-6)
  brows, eyes, nose, mouth, chin = (
    points[where, 1].mean()
    for where in (spec.BROWS, slice(36, 48), spec.NOSE, spec.MOUTH, [8])
  )
  assert brows < eyes < nose < mouth < chin
  assert spec.mouth_opening(points[None])[0] < 0.01
  # As the data side aligns it: eyes and mouth in the template's proportions.
  own = face.aligned_coordinates(plain[None], plain[None])[0]
  np.testing.assert_allclose(own[spec.LEFT_EYE].mean(0)[0], -0.5, atol=0.1)


def test_shape_free_pictures_of_a_face_are_alike():
  """A picture that moves with its landmarks comes to lie on the plain face."""
  size = 32
  plain = (np.asarray(face.mean_face()) + 1) * size / 2 - 0.5

  def picture(points):
    """A dark picture whose left brow is red and whose chin is green."""
    frame = np.full((size, size, 3), -1.0, np.float32)
    for where, channel in ((19, 0), (8, 1)):
      x, y = np.round(points[where]).astype(int)
      frame[y - 1 : y + 2, x - 1 : x + 2, channel] = 1
    return frame

  moves = plain, plain * 0.7 + 5, plain + np.array([3, -2])
  frames = jnp.asarray(np.stack([picture(points) for points in moves]))
  landmarks = jnp.asarray(np.stack(moves), jnp.float32)
  looks = np.asarray(face.warp_to_mean_face(frames, landmarks, size))
  assert looks.shape == frames.shape
  np.testing.assert_allclose(looks[0], frames[0], atol=1e-4)
  for look in looks:
    for where, channel in ((19, 0), (8, 1)):
      x, y = np.round(plain[where]).astype(int)
      assert look[y, x, channel] > 0, (where, look[y, x])
  half = face.warp_to_mean_face(frames, landmarks, size // 2)
  assert half.shape == (3, 16, 16, 3)
