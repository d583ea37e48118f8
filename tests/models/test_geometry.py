"""Landmarks of the new frame, the flow that follows them, the open mouth."""

import cv2
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from speak_jax.models import geometry
from speak_jax.models.geometry import CoarseFlow, Geometry
from speak_jax.nn.face import mean_face, normalize_landmarks
from tests import jitted
from tests.models import tiny


def test_flow_starts_near_the_identity_and_moves_with_the_pose():
  flow = CoarseFlow(size=4, width=12)
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
  bare = world.portrait._replace(landmarks=None, emotion=None)
  model = Geometry(image=tiny.IMAGE, width=12, landmarks=False)
  variables = model.init(jax.random.key(0), bare, *given[1:])
  shape = model.apply(variables, bare, *given[1:])
  assert shape.flow.shape == (2, 4, 4, 2)
  assert shape.landmarks is None


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
  points = mean_face()
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
  model = geometry.ExpressionTransform(12)
  codes = world.codes.emotion, world.codes.mouth
  variables = model.init(jax.random.key(0), world.portrait, *codes)
  here = model.apply(variables, world.portrait, *codes)
  away = world.portrait._replace(landmarks=world.portrait.landmarks + 0.3)
  np.testing.assert_allclose(
    model.apply(variables, away, *codes), here + 0.3, atol=1e-5
  )


def test_blobs_lie_on_their_landmarks():
  size = 32
  points = mean_face()[None] * 0.9 + 0.01
  maps = geometry.landmark_heatmaps(points, size)
  assert maps.shape == (1, size, size, 51)
  for k in range(51):
    y, x = np.unravel_index(int(maps[0, :, :, k].argmax()), (size, size))
    want = (points[0, 17 + k] + 1) * size / 2 - 0.5
    np.testing.assert_allclose((x, y), want, atol=0.51)
  assert float(maps.max()) <= 1


def test_only_an_open_mouth_is_blank():
  size = 64
  shut = mean_face()
  gap = geometry.mouth_interior_mask(shut[None], size)
  assert gap.shape == (1, size, size, 1)
  assert float(gap.max()) < 0.01
  wide = shut.at[jnp.array([61, 62, 63]), 1].add(-0.1)
  wide = wide.at[jnp.array([65, 66, 67]), 1].add(0.1)
  gap = geometry.mouth_interior_mask(wide[None], size)[0, :, :, 0]
  x, y = ((wide[60:68].mean(0) + 1) * size / 2).astype(int)
  assert float(gap[y, x]) == 1
  above, below = (wide[jnp.array([51, 57]), 1] + 1) * size / 2
  rows = jnp.arange(size)
  assert float(gap[(rows < above - 3) | (rows > below + 3)].max()) == 0


def test_an_outline_is_interpolation_where_its_points_rise():
  rng = np.random.default_rng(0)
  at = np.sort(rng.uniform(-0.8, 0.8, (20, 5)), 1)
  edge = np.stack([at, rng.uniform(-1, 1, (20, 5))], -1)
  x = np.linspace(-1, 1, 64)
  want = [np.interp(x, *points.T) for points in edge]
  # Parts narrower than an eighth of a pixel of 256 are upright already.
  assert np.diff(at).min() > geometry.SHEER
  got = geometry.outline(jnp.asarray(edge), jnp.asarray(x))
  np.testing.assert_allclose(got, want, atol=1e-5)


def opened(turn: float, narrow: float = 1.0, behind: float = 0.0) -> np.ndarray:
  """An open mouth, narrow as in profile and rolled by `turn` degrees.

  Its right corner lies `behind` the middle of the lips' right half.
  """
  points = np.array(mean_face())
  points[60:65, 0] = np.linspace(-0.2, 0.2, 5) * narrow
  points[[60, 67, 66, 65, 64], 0] = points[60:65, 0]
  points[60:68, 1] = 0.0
  points[61:64, 1], points[65:68, 1] = -0.15, 0.15
  points[64, 0] -= behind
  angle = np.radians(turn)
  rotation = [[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]]
  return points @ np.array(rotation)


@pytest.mark.parametrize("turn", [-90.0, -60.0, -30.0, 0.0, 30.0, 60.0, 90.0])
def test_an_open_mouth_is_blank_however_the_head_rolls(turn):
  size = 128
  points = opened(turn)
  gap = geometry.mouth_interior_mask(jnp.asarray(points[None]), size)[
    0, :, :, 0
  ]
  assert np.isfinite(gap).all()
  area = cv2.contourArea(points[60:68].astype(np.float32)) * size**2 / 4
  assert 0.6 * area < float(gap.sum()) < 1.2 * area
  assert float(gap[size // 2, size // 2]) == 1
  y, x = np.nonzero(np.asarray(gap))
  low, high = (points[60:68] + 1).min(0), (points[60:68] + 1).max(0)
  assert x.min() > low[0] * size / 2 - 2 and x.max() < high[0] * size / 2 + 2
  assert y.min() > low[1] * size / 2 - 2 and y.max() < high[1] * size / 2 + 2


@pytest.mark.parametrize("mirrored", [False, True])
def test_a_corner_behind_the_lip_shuts_the_mouth_there(mirrored):
  """In profile the far corner lies further in than the lip before it."""
  size = 128
  points = opened(0.0, narrow=0.4, behind=0.06)
  if mirrored:
    points[:, 0] *= -1
    order = [64, 63, 62, 61, 60, 67, 66, 65]
    points[60:68] = points[order]
  gap = geometry.mouth_interior_mask(jnp.asarray(points[None]), size)[
    0, :, :, 0
  ]
  x = (np.nonzero(np.asarray(gap).max(0))[0] + 0.5) * 2 / size - 1
  low, high = points[60:68, 0].min(), points[60:68, 0].max()
  assert x.min() > low - 2 / size and x.max() < high + 2 / size
  assert float(gap[size // 2, size // 2]) == 1


def test_slopes_of_lips_upon_each_other_are_finite():
  slope = jitted.grad(lambda x: geometry.mouth_interior_mask(x, 16).sum())
  assert np.isfinite(slope(jnp.zeros((1, 68, 2)))).all()
  assert np.isfinite(slope(jnp.asarray(opened(90.0)[None]))).all()


def test_spanned_landmarks_are_where_the_flow_counts_from():
  found = normalize_landmarks(
    jnp.array([[-0.5, -0.5], [15.5, 15.5], [7.5, 7.5]]), 16
  )
  np.testing.assert_allclose(found, [[-1, -1], [1, 1], [0, 0]])
