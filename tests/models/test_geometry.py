"""Landmarks of the new frame, the flow that follows them, the open mouth."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from speak_jax.models import geometry
from speak_jax.models.geometry import Flow, Geometry
from speak_jax.nn.face import plain_face, spanned
from tests.models import tiny


def test_flow_starts_near_the_identity_and_moves_with_the_pose():
  flow = Flow(size=4, width=12)
  inputs = [tiny.normal(i, 2, 4) for i in range(2)]
  variables = flow.init(jax.random.key(3), *inputs)
  out = flow.apply(variables, *inputs)
  assert out.shape == (2, 4, 4, 2)
  # Far less than a pixel of 16, which is .125.
  assert 0 < float(jnp.abs(out).max()) < 0.4
  assert float(out.std()) < 0.1


def test_landmarks_start_near_those_of_the_identity_picture(world):
  model = Geometry(image=tiny.IMAGE, width=12)
  given = world.portrait, *world.codes
  variables = model.init(jax.random.key(0), *given)
  shape = model.apply(variables, *given)
  assert shape.flow.shape == (2, 8, 8, 2)
  away = jnp.abs(shape.landmarks - world.portrait.landmarks)
  assert 0 < float(away.max()) < 0.5
  # Without them the coarse flow is all, and nothing asks for the points.
  bare = world.portrait._replace(landmarks=(), emotion=())
  model = Geometry(image=tiny.IMAGE, width=12, landmarks=False)
  variables = model.init(jax.random.key(0), bare, *given[1:])
  shape = model.apply(variables, bare, *given[1:])
  assert shape.flow.shape == (2, 4, 4, 2)
  assert shape.landmarks == ()


def moved_by(world, field):
  """How far each landmark goes, x and y apart, for one other code."""
  model = Geometry(image=tiny.IMAGE, width=12)
  variables = model.init(jax.random.key(0), world.portrait, *world.codes)

  def landmarks(codes):
    return model.apply(variables, world.portrait, *codes).landmarks

  other = world.codes._replace(**{field: getattr(world.codes, field) + 1})
  return landmarks(other) - landmarks(world.codes)


@pytest.mark.parametrize("field", ["pose", "emotion", "mouth"])
def test_every_code_moves_the_landmarks(world, field):
  assert float(jnp.abs(moved_by(world, field)).max()) > 1e-3


def test_a_pose_moves_closed_lips_together(world):
  """Points in one place stay so, whatever the pose, not so the mouth code."""
  pairs = (geometry.UPPER_EDGE[1:-1], geometry.LOWER_EDGE[1:-1])
  points = plain_face()
  points = points.at[jnp.array(pairs[1])].set(points[jnp.array(pairs[0])])
  portrait = world.portrait._replace(landmarks=jnp.stack([points] * 2))
  closed = world._replace(portrait=portrait)

  def parted(field):
    moved = moved_by(closed, field)
    return float(jnp.abs(moved[:, pairs[0]] - moved[:, pairs[1]]).max())

  # What the expression's start parts is carried by the field, and no more.
  assert parted("pose") < 0.1 * parted("mouth")


def test_an_expression_is_the_same_anywhere(world):
  """The expression sees the shape of a face, not where it lies."""
  model = geometry.Expression(12)
  codes = world.codes.emotion, world.codes.mouth
  variables = model.init(jax.random.key(0), world.portrait, *codes)
  here = model.apply(variables, world.portrait, *codes)
  away = world.portrait._replace(landmarks=world.portrait.landmarks + 0.3)
  np.testing.assert_allclose(
    model.apply(variables, away, *codes), here + 0.3, atol=1e-5
  )


def test_blobs_lie_on_their_landmarks():
  size = 32
  points = plain_face()[None] * 0.9 + 0.01
  maps = geometry.drawn(points, size)
  assert maps.shape == (1, size, size, 51)
  for k in range(51):
    y, x = np.unravel_index(int(maps[0, :, :, k].argmax()), (size, size))
    want = (points[0, 17 + k] + 1) * size / 2 - 0.5
    np.testing.assert_allclose((x, y), want, atol=0.51)
  assert float(maps.max()) <= 1


def test_only_an_open_mouth_is_blank():
  size = 64
  shut = plain_face()
  gap = geometry.between_lips(shut[None], size)
  assert gap.shape == (1, size, size, 1)
  assert float(gap.max()) < 0.01
  wide = shut.at[jnp.array([61, 62, 63]), 1].add(-0.1)
  wide = wide.at[jnp.array([65, 66, 67]), 1].add(0.1)
  gap = geometry.between_lips(wide[None], size)[0, :, :, 0]
  x, y = ((wide[60:68].mean(0) + 1) * size / 2).astype(int)
  assert float(gap[y, x]) == 1
  above, below = (wide[jnp.array([51, 57]), 1] + 1) * size / 2
  rows = jnp.arange(size)
  assert float(gap[(rows < above - 3) | (rows > below + 3)].max()) == 0


def test_spanned_landmarks_are_where_the_flow_counts_from():
  found = spanned(jnp.array([[-0.5, -0.5], [15.5, 15.5], [7.5, 7.5]]), 16)
  np.testing.assert_allclose(found, [[-1, -1], [1, 1], [0, 0]])
