"""What sticks to a picture's parts costs nothing."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from speak_jax.losses import keypoints
from speak_jax.nn import matrices, thin_plate
from tests import jitted

points_astray = jitted.compiled(keypoints.points_astray)
jacobians_astray = jitted.compiled(keypoints.jacobians_astray)


@pytest.fixture(scope="module", params=[0.0, 0.1])
def found(request):
  """What sticks: in a warped picture, and in the one before; bent or not."""

  @jax.jit
  def draw():
    keys = jax.random.split(jax.random.key(0), 3)
    warp = thin_plate.draw(keys[0], 2, 0.3, request.param, 5)
    points = jax.random.uniform(keys[1], (2, 4, 2), minval=-0.9, maxval=0.9)
    turned = jnp.eye(2) + 0.2 * jax.random.normal(keys[2], (2, 4, 2, 2))
    there = thin_plate.moved(warp, points)
    turns = matrices.product(thin_plate.jacobian(warp, points), turned)
    return warp, points, turned, there, turns

  return draw()


def test_what_sticks_costs_nothing(found):
  warp, points, turned, there, turns = found
  np.testing.assert_allclose(points_astray(there, points, warp), 0, atol=1e-5)
  np.testing.assert_allclose(
    jacobians_astray(turns, turned, points, warp), 0, atol=1e-5
  )


def test_what_does_not_costs_as_much_as_it_is_off(found):
  warp, points, turned, there, turns = found
  away = there + jnp.array([0.3, 0.0])
  np.testing.assert_allclose(points_astray(away, points, warp), 0.15, rtol=1e-4)
  # Twice as large: J^-1 T' J' is a half of 1.
  np.testing.assert_allclose(
    jacobians_astray(2 * turns, turned, points, warp), 0.25, rtol=1e-4
  )


def test_it_moves_both_pictures_keypoints(found):
  warp, points, turned, there, turns = found
  slopes = jitted.grad(
    lambda *x: (
      keypoints.points_astray(x[0], x[1], warp).sum()
      + keypoints.jacobians_astray(x[2], x[3], x[1], warp).sum()
    ),
    (0, 1, 2, 3),
  )(there + 0.1, points, 2 * turns, turned)
  assert all(np.isfinite(x).all() and np.asarray(x).any() for x in slopes)
