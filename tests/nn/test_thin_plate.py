"""Thin plates: their derivatives, and pictures that they warp."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from speak_jax.nn import thin_plate
from speak_jax.nn.thin_plate import ThinPlate
from tests import jitted


@pytest.fixture(scope="module")
def plate():
  return jax.jit(lambda: thin_plate.draw(jax.random.key(3), 2, 0.2, 0.1, 4))()


def _points():
  rng = np.random.default_rng(0)
  return jnp.asarray(rng.uniform(-1, 1, (2, 7, 2)), jnp.float32)


def test_it_bends_as_its_equation_says(plate):
  points = _points()
  found = jitted.compiled(thin_plate.moved)(plate, points)
  line = np.linspace(-1, 1, 4)
  matrix, shift, weights = (np.asarray(x, float) for x in plate)
  for b, n in np.ndindex(2, 7):
    z = np.asarray(points[b, n], float)
    want = matrix[b] @ z + shift[b]
    for c in range(16):
      r = np.hypot(*(z - (line[c % 4], line[c // 4])))
      want = want + weights[b, c] * r**2 * np.log(r)
    np.testing.assert_allclose(found[b, n], want, atol=1e-5)


def test_its_jacobian_is_that_of_finite_differences(plate):
  points = _points()
  found = jitted.compiled(thin_plate.jacobian)(plate, points)
  run, step = jitted.compiled(thin_plate.moved), 1e-2
  for axis in range(2):
    away = step * jnp.eye(2)[axis]
    slope = (run(plate, points + away) - run(plate, points - away)) / step / 2
    np.testing.assert_allclose(found[..., axis], slope, atol=2e-3)
  by_jax = jax.jit(
    lambda plate, points: jax.vmap(
      jax.vmap(
        lambda plate, z: jax.jacfwd(
          lambda z: thin_plate.moved(
            jax.tree.map(lambda x: x[None], plate), z[None, None]
          )[0, 0]
        )(z),
        (None, 0),
      )
    )(plate, points)
  )(plate, points)
  np.testing.assert_allclose(found, by_jax, atol=1e-4)


def test_at_a_control_it_is_finite(plate):
  corner = jnp.full((2, 1, 2), -1.0)
  found = jitted.compiled(thin_plate.jacobian)(plate, corner)
  assert np.isfinite(found).all()
  slope = jitted.grad(lambda z: thin_plate.moved(plate, z).sum())(corner)
  assert np.isfinite(slope).all()


def test_a_warped_picture_shows_what_lies_at_t():
  """Half a picture to the left, mirrored where nothing is."""
  plate = ThinPlate(
    jnp.eye(2)[None], jnp.array([[1.0, 0.0]]), jnp.zeros((1, 25, 2))
  )
  picture = jnp.arange(9.0)[None, None, :, None] * jnp.ones((1, 9, 1, 1))
  found = jitted.compiled(thin_plate.warped)(plate, picture)
  want = [4, 5, 6, 7, 8, 7, 6, 5, 4]
  np.testing.assert_allclose(found[0, 3, :, 0], want, atol=1e-5)


def test_what_a_warped_picture_shows_lies_where_t_leads_back():
  """A spot at p' of the warped picture is that at T(p') of the other."""
  line = np.linspace(-1, 1, 65)
  spots = np.array([[-0.3, 0.2], [0.4, -0.1]])
  away = (line - spots[:, :1]) ** 2, (line - spots[:, 1:]) ** 2
  pictures = np.exp(-(away[1][:, :, None] + away[0][:, None]) / 0.02)
  plate = jax.jit(lambda: thin_plate.draw(jax.random.key(0), 2, 0.1, 0.01, 5))()
  warped = jitted.compiled(thin_plate.warped)(
    plate, jnp.asarray(pictures[..., None], jnp.float32)
  )
  mass = np.asarray(warped[..., 0], float)
  mass /= mass.sum((1, 2), keepdims=True)
  found = np.stack([mass.sum(1) @ line, mass.sum(2) @ line], -1)
  back = jitted.compiled(thin_plate.moved)(
    plate, jnp.asarray(found[:, None], jnp.float32)
  )
  np.testing.assert_allclose(back[:, 0], spots, atol=0.02)
  assert np.abs(found - spots).max() > 0.05
