"""The First Order Motion Model's networks: sizes, and what moves what."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from speak_jax.models import fomm
from speak_jax.models.fomm import Keypoints
from speak_jax.nn import resize
from speak_jax.supervision import flops
from tests import jitted

DETECTOR = dict(keypoints=10, width=32, widest=1024, blocks=5, shrink=4)
GENERATOR = dict(
  width=64,
  halvings=2,
  residuals=6,
  motion_width=64,
  widest=1024,
  blocks=5,
  shrink=4,
)
SMALL_DETECTOR = dict(keypoints=5, width=8, widest=64, blocks=3, shrink=2)
SMALL_GENERATOR = dict(
  width=16,
  halvings=1,
  residuals=2,
  motion_width=16,
  widest=64,
  blocks=3,
  shrink=2,
)


def _shape(*sides):
  return jax.ShapeDtypeStruct(sides, jnp.float32)


def _points(count, keypoints):
  return Keypoints(_shape(count, keypoints, 2), _shape(count, keypoints, 2, 2))


def _sizes(detector, generator, size):
  """{part: (millions of parameters, thousand million products a frame)}."""
  picture = _shape(1, size, size, 3)
  k = detector["keypoints"]
  nets = {
    "detector": (fomm.KeypointDetector(**detector), (picture,)),
    "all": (
      fomm.Generator(**generator),
      (picture, _points(1, k), _points(1, k)),
    ),
  }
  found = {}
  for name, (net, inputs) in nets.items():
    variables = jax.eval_shape(net.init, jax.random.key(0), *inputs)
    jaxpr = jax.make_jaxpr(net.apply)(variables, *inputs).jaxpr
    count = sum(x.size for x in jax.tree.leaves(variables["params"]))
    found[name] = count / 1e6, flops.count(jaxpr) / 1e9
    if name == "all":
      motion = sum(
        x.size for x in jax.tree.leaves(variables["params"]["motion"])
      )
      found["motion"] = motion / 1e6, 0.0
      encode = functools.partial(net.apply, method="encode")
      jaxpr = jax.make_jaxpr(encode)(variables, picture).jaxpr
      found["encode"] = 0.0, flops.count(jaxpr) / 1e9
  return found


def test_sizes_are_those_published(unfolded):
  found = _sizes(DETECTOR, GENERATOR, 256)
  # The published count has no products that make a picture small.
  small = 3 * 64 * 256 * (256 + 64) / 1e9
  assert found["detector"] == pytest.approx((14.22, 1.28 + small), rel=0.005)
  assert found["motion"][0] == pytest.approx(37.73, rel=0.001)
  assert found["all"] == pytest.approx((37.73 + 7.85, 4.09 + 49.6), rel=0.01)
  assert found["encode"][1] == pytest.approx(10.3, rel=0.01)


def test_sizes_of_small64(unfolded):
  found = _sizes(SMALL_DETECTOR, SMALL_GENERATOR, 64)
  motion = found["motion"][0]
  parts = found["detector"][0], motion, found["all"][0] - motion
  assert parts == pytest.approx((0.07, 0.16, 0.05), abs=0.01)


def _world(size=32):
  """Tiny networks with drawn weights, and two pictures."""
  rng = np.random.default_rng(0)
  detector = fomm.KeypointDetector(3, 4, 8, 2, 2)
  generator = fomm.Generator(4, 2, 1, 4, 8, 2, 2)
  pictures = rng.uniform(0, 1, (2, size, size, 3)).astype(np.float32)
  points = Keypoints(
    rng.uniform(-0.6, 0.6, (2, 3, 2)).astype(np.float32),
    (np.eye(2) + rng.normal(0, 0.2, (2, 3, 2, 2))).astype(np.float32),
  )
  made = []
  for net, inputs in (
    (detector, (pictures,)),
    (generator, (pictures, points, points)),
  ):
    variables = jax.eval_shape(net.init, jax.random.key(0), *inputs)
    made.append(
      jax.tree.map(
        lambda x: (0.5 * rng.normal(size=x.shape) ** 2).astype(np.float32),
        variables,
      )
    )
  arrays = jax.tree.map(jnp.asarray, (*made, pictures, points))
  return detector, generator, *arrays


@pytest.fixture(scope="module")
def world():
  return _world()


def test_keypoints_are_middles_of_their_maps(world):
  detector, _, variables, _, pictures, _ = world
  found = jitted.compiled(detector.apply)(variables, pictures)
  points, jacobians = found.keypoints
  assert points.shape == (2, 3, 2) and jacobians.shape == (2, 3, 2, 2)
  heat = np.asarray(found.heat)
  assert heat.shape == (2, 3, 10, 10)
  np.testing.assert_allclose(heat.sum((2, 3)), 1, rtol=1e-5)
  line = np.linspace(-1, 1, 10)
  np.testing.assert_allclose(points[..., 0], heat.sum(2) @ line, atol=1e-5)
  np.testing.assert_allclose(points[..., 1], heat.sum(3) @ line, atol=1e-5)


def test_at_first_parts_are_upright():
  detector = fomm.KeypointDetector(3, 4, 8, 2, 2)
  picture = jax.random.uniform(jax.random.key(1), (1, 32, 32, 3))
  found = jitted.compiled(
    lambda x: detector.init_with_output(jax.random.key(0), x)[0]
  )(picture)
  np.testing.assert_allclose(
    found.keypoints.jacobians,
    np.broadcast_to(np.eye(2), (1, 3, 2, 2)),
    atol=1e-5,
  )


def test_what_does_not_move_stays(world):
  """No flow; of the source's maps every one is where it was."""
  _, generator, _, variables, pictures, points = world
  painted = jitted.compiled(generator.apply)(
    variables, pictures, points, points
  )
  np.testing.assert_allclose(painted.motion.flow, 0, atol=1e-5)
  np.testing.assert_allclose(painted.motion.masks.sum(-1), 1, rtol=1e-5)
  maps = jax.random.normal(jax.random.key(0), (2, 8, 8, 5))
  still = jitted.compiled(fomm.moved)(maps, painted.motion.flow)
  np.testing.assert_allclose(still, maps, atol=1e-4)


def test_with_skips_what_is_not_hidden_is_the_picture_itself(world):
  """Moved as its maps are; the weights are the same."""
  _, generator, _, variables, pictures, points = world
  driving = points._replace(points=points.points * 0.8)
  whole, skipping = (
    jitted.compiled(net.apply)(variables, pictures, points, driving)
    for net in (generator, generator.clone(skips=True))
  )
  flow = whole.motion.flow
  assert np.abs(flow).max() > 1e-3
  picture = jitted.compiled(fomm.moved)(pictures, flow)
  side = pictures.shape[1]
  shown = jitted.compiled(lambda x: resize.linear(x, side, side))(
    whole.motion.occlusion
  )
  wanted = shown * picture + (1 - shown) * whole.frames
  np.testing.assert_allclose(skipping.frames, wanted, atol=1e-5)


def test_parts_move_as_their_keypoints_say():
  """A turned and shifted part is read where it was."""
  rng = np.random.default_rng(2)
  grid = fomm.corner_grid(5, 7)
  source, driving = (
    Keypoints(
      *(
        jnp.asarray(rng.normal(size=s), jnp.float32)
        for s in ((1, 1, 2), (1, 1, 2, 2))
      )
    )
    for _ in range(2)
  )
  shifts = jitted.compiled(fomm.part_shifts)(grid, source, driving)
  assert shifts.shape == (1, 2, 5, 7, 2)
  np.testing.assert_array_equal(shifts[:, 0], 0)
  turn = source.jacobians[0, 0] @ np.linalg.inv(driving.jacobians[0, 0])
  place = np.asarray(grid[3, 2])
  read = turn @ (place - driving.points[0, 0]) + source.points[0, 0]
  np.testing.assert_allclose(shifts[0, 1, 3, 2], read - place, rtol=1e-4)


def test_places_are_float32_whatever_networks_compute_in(world):
  detector, generator, *variables, pictures, points = world
  half = jnp.bfloat16
  found, painted = (
    jax.eval_shape(net.clone(dtype=half).apply, weights, *inputs)
    for net, weights, *inputs in (
      (detector, variables[0], pictures),
      (generator, variables[1], pictures, points, points),
    )
  )
  assert {x.dtype for x in jax.tree.leaves((found, painted))} == {
    jnp.dtype("float32")
  }
  encoded = jax.eval_shape(
    functools.partial(generator.clone(dtype=half).apply, method="encode"),
    variables[1],
    pictures,
  )
  assert encoded.maps.dtype == half


def test_one_source_serves_many_frames(world):
  _, generator, _, variables, pictures, points = world
  first = jax.tree.map(lambda x: x[:1], points)

  def several(variables, picture):
    encoded = generator.apply(variables, picture, method="encode")
    return generator.apply(variables, encoded, first, points, method="move")

  def alone(variables, picture):
    last = jax.tree.map(lambda x: x[1:], points)
    return generator.apply(variables, picture, first, last)

  many = jitted.compiled(several)(variables, pictures[:1])
  one = jitted.compiled(alone)(variables, pictures[:1])
  assert many.frames.shape == (2, 32, 32, 3)
  np.testing.assert_allclose(many.frames[1:], one.frames, atol=1e-4)


def test_every_weight_learns(world):
  detector, generator, *_, pictures, _ = world

  def run(params):
    first, second = (
      detector.apply(
        {**variables[0], "params": params[0]},
        x,
        train=True,
        mutable=["batch_stats"],
      )[0].keypoints
      for x in (pictures, pictures[::-1])
    )
    painted, _ = generator.apply(
      {**variables[1], "params": params[1]},
      pictures,
      first,
      second,
      train=True,
      mutable=["batch_stats"],
    )
    return (painted.frames * weight).sum() + (second.jacobians**2).sum()

  points = Keypoints(jnp.zeros((2, 3, 2)), jnp.zeros((2, 3, 2, 2)) + jnp.eye(2))
  variables = [
    jitted.compiled(net.init)(jax.random.key(i), *inputs)
    for i, (net, inputs) in enumerate(
      ((detector, (pictures,)), (generator, (pictures, points, points)))
    )
  ]
  weight = jax.random.normal(jax.random.key(9), pictures.shape)
  slopes = jitted.grad(run)([x["params"] for x in variables])
  still = [
    jax.tree_util.keystr(path)
    for path, x in jax.tree_util.tree_leaves_with_path(slopes)
    if not np.asarray(x).any()
  ]
  assert not still


def test_the_gaussian_is_the_published_kernel():
  """13 taps of deviation 1.5 for a fourth, every 4th place from the first."""
  picture = np.zeros((1, 32, 32, 1), np.float32)
  picture[0, 8, 12] = 1
  small = np.asarray(jitted.compiled(lambda x: resize.gaussian(x, 4))(picture))
  assert small.shape == (1, 8, 8, 1)
  taps = np.exp(-(np.arange(-6, 7) ** 2) / (2 * 1.5**2))
  taps /= taps.sum()
  np.testing.assert_allclose(small[0, 2, 3], taps[6] ** 2, rtol=1e-5)
  np.testing.assert_allclose(small[0, 1, 3], taps[2] * taps[6], rtol=1e-5)
  assert not small[0, 4:].any()
  same = jitted.compiled(lambda x: resize.gaussian(x, 1))(picture)
  np.testing.assert_array_equal(same, picture)
