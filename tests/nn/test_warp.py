import jax
import jax.numpy as jnp
import numpy as np

from speak_jax.nn.warp import resize_flow, warp


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
  assert np.isfinite(jax.grad(loss)(flow)).all()


def test_gradient_reaches_flow_and_picture():
  flow = jnp.full((2, 8, 8, 2), 0.07)
  weight = jax.random.normal(jax.random.key(3), (2, 8, 8, 5))
  by_picture, by_flow = jax.grad(
    lambda x, f: (warp(x, f) * weight).sum(), (0, 1)
  )(picture(), flow)
  step = 1e-3
  push = jax.random.normal(jax.random.key(4), flow.shape)
  ends = [
    (warp(picture(), flow + s * step * push) * weight).sum() for s in (1, -1)
  ]
  slope = (ends[0] - ends[1]) / (2 * step)
  np.testing.assert_allclose((by_flow * push).sum(), slope, rtol=1e-2)
  assert float(jnp.abs(by_picture).min()) >= 0
  assert float(jnp.abs(by_picture).sum()) > 1


def test_flow_keeps_its_units_on_another_grid():
  flow = jnp.broadcast_to(jnp.array([0.3, -0.1]), (1, 4, 4, 2))
  for size in (2, 4, 16):
    got = resize_flow(flow, size)
    assert got.shape == (1, size, size, 2)
    np.testing.assert_allclose(got[0, 0, 0], [0.3, -0.1], atol=1e-6)
