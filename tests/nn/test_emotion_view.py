import jax
import jax.numpy as jnp
import numpy as np

from speak_jax.nn import emotion_view
from tests.plain_face import plain_face

SIZE = 32


def _world(turn=0.0):
  """White pictures of one person, and landmarks turned about the middle."""
  away = (plain_face() - 0.5) * SIZE
  spin = np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]])
  points = away @ spin + SIZE / 2
  landmarks = np.broadcast_to(points, (2, 3, 68, 2)).astype(np.float32)
  return jnp.ones((2, 3, SIZE, SIZE, 3)), jnp.asarray(landmarks)


def test_noise_covers_the_mouth_and_no_more():
  pictures, landmarks = _world()
  got = np.asarray(jax.jit(emotion_view.still)(pictures[0], landmarks[0]))
  inside = (got != 1).any((0, -1))
  # Eyes are .4 apart, the corners of the mouth are at .7.
  apart = 0.4 * SIZE
  rows, columns = np.nonzero(inside)
  assert abs(np.ptp(columns) + 1 - 1.22 * apart) < 1
  assert abs(np.ptp(rows) + 1 - 0.73 * apart) < 1
  middle = 0.7 * SIZE + 0.12 * apart
  assert abs(rows.mean() - middle) < 1 and abs(columns.mean() - SIZE / 2) < 1
  assert inside.sum() == (np.ptp(rows) + 1) * (np.ptp(columns) + 1)
  # The same in every frame, and in every run.
  np.testing.assert_array_equal(got[0], got[2])


def test_the_box_turns_with_the_face():
  pictures, landmarks = _world(0.5)
  noise = jnp.zeros((1, SIZE, SIZE, 3))
  got = np.asarray(
    jax.jit(emotion_view.covered)(pictures[0], landmarks[0], noise)
  )[0, ..., 0]
  points = np.asarray(landmarks[0, 0])
  for corner in points[[48, 54]]:
    x, y = np.rint(corner).astype(int)
    assert got[y, x] == 0
  eye = np.rint(points[36]).astype(int)
  assert got[eye[1], eye[0]] == 1


def test_training_moves_clips_as_a_whole_and_never_twice_alike():
  pictures, landmarks = _world()
  ramp = jnp.broadcast_to(jnp.linspace(0, 1, SIZE)[:, None], (SIZE, SIZE))
  pictures = jnp.broadcast_to(ramp[..., None], pictures.shape)
  run = jax.jit(emotion_view.shaken)
  got = np.asarray(run(pictures, landmarks, jax.random.key(0)))
  again = np.asarray(run(pictures, landmarks, jax.random.key(0)))
  other = np.asarray(run(pictures, landmarks, jax.random.key(1)))
  np.testing.assert_array_equal(got, again)
  assert (got != other).any()
  assert got.min() >= 0 and got.max() <= 1

  # How the light falls sideways in the upper part, where there is no noise.
  turns = np.stack(
    [np.diff(x[..., :12, :, 0].mean(-2)).mean(-1) for x in (got, other)]
  )
  # Frames of a clip are turned alike, but for perspective.
  assert np.abs(turns - turns.mean(2, keepdims=True)).max() < 0.002
  assert np.ptp(turns.mean(2)) > 0.01


def test_perspective_draws_the_lower_edge_in_or_out(monkeypatch):
  size = 64
  columns = jnp.broadcast_to(jnp.linspace(0, 1, size), (size, size))
  pictures = jnp.broadcast_to(columns[..., None], (1, 40, size, size, 3))
  # No mouth in the picture.
  landmarks = jnp.broadcast_to(
    jnp.asarray(plain_face() * size - 900), (1, 40, 68, 2)
  )
  monkeypatch.setattr(emotion_view, "TURN_DEG", 0.0)
  run = jax.jit(lambda *x: emotion_view.shaken(*x))
  got = np.asarray(run(pictures, landmarks, jax.random.key(2)))[0, ..., 0]
  steep = np.abs(np.diff(got, axis=-1))[:, :, size // 2]
  # As much as 20 to 30 px of 256 at either end are, of a side of 176 to 336.
  ratio = np.abs(np.log(steep[:, -1] / steep[:, 0]))
  assert (ratio > 0.07).all() and (ratio < 0.7).all()
  assert np.ptp(np.sign(np.log(steep[:, -1] / steep[:, 0]))) == 2
