import jax
import jax.numpy as jnp
import numpy as np

from speak_jax.nn.face import mean_face
from speak_jax.nn.warp import (
  corner_grid,
  flow_from_landmarks,
  resize_flow,
  sample_grid,
  warp,
)
from tests import jitted

# Each function one program.
flow_from_landmarks, resize_flow, warp = map(
  jitted.compiled, (flow_from_landmarks, resize_flow, warp)
)


def picture():
  return jax.random.normal(jax.random.key(0), (2, 8, 8, 5))


def test_no_flow_is_the_identity_to_the_bit():
  np.testing.assert_array_equal(
    warp(picture(), jnp.zeros((2, 8, 8, 2))), picture()
  )


def test_flow_reads_from_where_it_points():
  # A quarter of a picture that is 2 wide: 1 pixel of 8 is .25.
  flow = jnp.broadcast_to(jnp.array([0.25, -0.5]), (2, 8, 8, 2))
  got = warp(picture(), flow)
  np.testing.assert_allclose(got[:, 2:, :-1], picture()[:, :-2, 1:], atol=1e-6)
  # Outside is the border.
  np.testing.assert_allclose(got[:, 0, 0], picture()[:, 0, 1], atol=1e-6)


def test_half_a_pixel_is_the_mean_of_two():
  flow = jnp.broadcast_to(jnp.array([0.125, 0.0]), (2, 8, 8, 2))
  want = (picture()[:, :, :-1] + picture()[:, :, 1:]) / 2
  np.testing.assert_allclose(warp(picture(), flow)[:, :, :-1], want, atol=1e-6)


def test_far_flow_stays_finite_and_its_gradient_too():
  def loss(flow):
    return warp(picture(), flow).sum()

  flow = jnp.full((2, 8, 8, 2), 100.0)
  assert np.isfinite(loss(flow))
  assert np.isfinite(jitted.grad(loss)(flow)).all()


def test_gradient_reaches_flow_and_picture():
  flow = jnp.full((2, 8, 8, 2), 0.07)
  weight = jax.random.normal(jax.random.key(3), (2, 8, 8, 5))
  by_picture, by_flow = jitted.grad(
    lambda x, f: (warp(x, f) * weight).sum(), (0, 1)
  )(picture(), flow)
  keys = jax.random.key(4), jax.random.key(5)
  push = jax.random.normal(keys[0], flow.shape)
  pull = jax.random.normal(keys[1], picture().shape)
  step = 1e-3

  def slope(along_picture, along_flow):
    ends = [
      warp(picture() + s * along_picture, flow + s * along_flow)
      for s in (step, -step)
    ]
    return ((ends[0] - ends[1]) * weight).sum() / (2 * step)

  np.testing.assert_allclose((by_flow * push).sum(), slope(0, push), rtol=1e-2)
  np.testing.assert_allclose(
    (by_picture * pull).sum(), slope(pull, 0), rtol=1e-2
  )


def test_flow_keeps_its_units_on_another_grid():
  flow = jnp.broadcast_to(jnp.array([0.3, -0.1]), (1, 4, 4, 2))
  for size in (2, 4, 16):
    got = resize_flow(flow, size)
    assert got.shape == (1, size, size, 2)
    np.testing.assert_allclose(got[0, 0, 0], [0.3, -0.1], atol=1e-6)


def test_a_picture_follows_its_landmarks():
  size = 32
  source = mean_face()[None]
  moved = source + jnp.array([2 / size, -4 / size])  # 1 right, 2 up
  flow = flow_from_landmarks(moved, source, size)
  along = (jnp.arange(size) + 0.5) / size
  slope = jnp.stack(jnp.meshgrid(along, along), -1)[None] * size  # of pixels
  read = warp(slope, flow) - slope
  x, y = ((moved[0, 27:48] + 1) * size / 2).astype(int).T  # nose and eyes
  np.testing.assert_allclose(read[0, y, x, 0], -1, atol=0.05)
  np.testing.assert_allclose(read[0, y, x, 1], 2, atol=0.1)


def test_what_is_behind_the_head_stays():
  size = 64
  source = mean_face()[None] * 0.7
  flow = flow_from_landmarks(source + jnp.array([0.2, 0.1]), source, size)[0]
  along = jnp.abs(flow).max(-1)
  for edge in (along[0], along[:32, 0], along[:32, -1]):
    assert float(edge.max()) < 0.02
  assert float(along[32, 32]) > 0.15  # the face moves
  assert float(along[-1, 32]) > 0.1  # and what it stands on


def test_each_landmark_moves_its_own_place():
  """Lips part: the upper lip's place reads above, the lower's below."""
  size = 64
  source = mean_face()
  lift = jnp.zeros((68, 2)).at[jnp.array([61, 62, 63]), 1].set(-0.05)
  drop = jnp.zeros((68, 2)).at[jnp.array([65, 66, 67]), 1].set(0.05)
  moved = source + lift + drop
  flow = flow_from_landmarks(moved[None], source[None], size)[0]

  def at(k):
    x, y = jnp.floor((moved[k] + 1) * size / 2).astype(int)
    return flow[y, x]

  # The flow is smooth: at the landmark's cell about half of its way or more.
  assert 0.02 < float(at(62)[1]) < 0.06
  assert -0.06 < float(at(66)[1]) < -0.02
  for k in (8, 37):  # chin and eye stay
    assert float(jnp.abs(at(k)).max()) < 0.01, k


def test_distances_are_no_products_which_accelerators_round():

  points = mean_face()[None]
  made = jax.make_jaxpr(lambda a, b: flow_from_landmarks(a, b, 16))(
    points, points
  )
  products = [x for x in made.eqns if x.primitive.name == "dot_general"]
  assert len(products) == 1
  highest = jax.lax.Precision.HIGHEST
  assert products[0].params["precision"] == (highest, highest)


def test_a_grid_reads_as_pytorch_does():
  """Both conventions, loop by loop; beyond the picture there are zeros."""
  rng = np.random.default_rng(0)
  maps = rng.normal(size=(1, 4, 6, 2)).astype(np.float32)
  grid = rng.uniform(-1.6, 1.6, (1, 5, 3, 2)).astype(np.float32)

  def at(row, column):
    inside = 0 <= row < 4 and 0 <= column < 6
    return maps[0, row, column] if inside else np.zeros(2)

  for aligned in (True, False):
    got = jitted.compiled(sample_grid)(maps, grid, aligned)
    for i, j in np.ndindex(5, 3):
      x, y = (float(v) for v in grid[0, i, j])
      if aligned:
        x, y = (x + 1) / 2 * 5, (y + 1) / 2 * 3
      else:
        x, y = ((x + 1) * 6 - 1) / 2, ((y + 1) * 4 - 1) / 2
      left, top = int(np.floor(x)), int(np.floor(y))
      want = sum(
        (1 - abs(x - c)) * (1 - abs(y - r)) * at(r, c)
        for r in (top, top + 1)
        for c in (left, left + 1)
      )
      np.testing.assert_allclose(got[0, i, j], want, atol=1e-5)


def test_the_grid_of_the_corners_reads_the_picture():
  same = jitted.compiled(
    lambda x: sample_grid(x, corner_grid(8, 8)[None].repeat(2, 0))
  )(picture())
  np.testing.assert_allclose(same, picture(), atol=1e-5)
