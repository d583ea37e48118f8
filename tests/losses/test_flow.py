"""The landmark loss of the flow against flows whose effect is known."""

import jax.numpy as jnp
import numpy as np
import pytest

from speak_jax import spec
from speak_jax.losses import flow
from speak_jax.nn import warp
from tests import jitted

# Each function one program.
flow = jitted.functions(flow)

SIZE = 64


@pytest.fixture
def points():
  return jnp.asarray(
    np.random.default_rng(0).uniform(8, 56, (2, 68, 2)), jnp.float32
  )


def test_a_flow_that_is_right_costs_nothing(points):
  move = jnp.array([3.0, -5.0])
  field = jnp.broadcast_to(move * 2 / SIZE, (2, 16, 16, 2))
  loss = flow.landmark_flow(field, points + move, points, SIZE)
  np.testing.assert_allclose(loss, 0, atol=1e-6)


def test_no_flow_costs_the_distance(points):
  move = jnp.array([3.0, -5.0])
  loss = flow.landmark_flow(
    jnp.zeros((2, 16, 16, 2)), points + move, points, SIZE
  )
  np.testing.assert_allclose(loss, 8 * 2 / SIZE, rtol=1e-5)


def test_it_reads_the_flow_where_the_warp_does(points):
  """A flow that varies: compared with the flow resized to the picture."""
  field = jnp.asarray(
    np.random.default_rng(1).normal(0, 0.1, (2, 16, 16, 2)), jnp.float32
  )
  whole = warp.resize_flow(field, SIZE)
  at = jnp.round(points).astype(int)
  moved = jnp.stack([whole[b, at[b, :, 1], at[b, :, 0]] for b in range(2)]) * (
    SIZE / 2
  )
  points = at.astype(jnp.float32)
  loss = flow.landmark_flow(field, points + moved, points, SIZE)
  np.testing.assert_allclose(loss, 0, atol=1e-5)


def _spanned(points):
  return (points + 0.5) * (2 / SIZE) - 1


def test_landmarks_that_are_right_cost_nothing(points):
  loss = flow.landmark_error(_spanned(points), points, SIZE)
  np.testing.assert_allclose(loss, 0, atol=1e-6)


def test_landmarks_that_are_off_cost_their_distance(points):
  move = jnp.array([3.0, -5.0])
  loss = flow.landmark_error(_spanned(points + move), points, SIZE)
  np.testing.assert_allclose(loss, 8 * 2 / SIZE, rtol=1e-4)


def test_a_face_in_the_wrong_place_has_the_right_expression(points):
  away = _spanned(points + jnp.array([3.0, -5.0]))
  loss = flow.expression_error(away, points, SIZE)
  np.testing.assert_allclose(loss, 0, atol=1e-5)


@pytest.mark.parametrize(
  ("part", "count"), [(spec.MOUTH, 20), (spec.BROWS, 22)]
)
def test_half_a_part_out_of_shape_costs_its_share(points, part, count):
  """Ten landmarks go 4 px; the part's middle follows by their share."""
  moved = points.at[:, part.start : part.start + 10, 1].add(4.0)
  loss = flow.expression_error(_spanned(moved), points, SIZE)
  middle = 4 * 10 / count
  mean = (10 * (4 - middle) + (count - 10) * middle) / count
  np.testing.assert_allclose(loss, mean * 2 / SIZE, rtol=1e-3)
