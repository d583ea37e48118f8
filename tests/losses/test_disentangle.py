"""IRFD's losses: the equations by hand, masks, and where gradients go."""

import jax
import jax.numpy as jnp
import numpy as np

from speak_jax.losses import disentangle
from tests import jitted

# Each function one program.
disentangle = jitted.functions(disentangle)


def codes(seed, *shape):
  rng = np.random.default_rng(seed)
  return jnp.asarray(rng.normal(size=shape), jnp.float32)


def test_cycle_moves_the_reencoded_code_alone():
  a, b = codes(0, 3, 4), codes(1, 3, 4)
  np.testing.assert_allclose(
    disentangle.cycle(a, b), ((a - b) ** 2).sum(-1), rtol=1e-5
  )
  da, db = jitted.grad(lambda x, y: disentangle.cycle(x, y).sum(), (0, 1))(a, b)
  assert np.all(np.asarray(da) != 0)
  assert np.all(np.asarray(db) == 0)


def test_identity_triplet_by_hand():
  s, t = jnp.array([[1.0, 0.0]]), jnp.array([[0.0, 1.0]])
  apart = jnp.array([False])
  # Perfect swap: own distance 0, other sqrt 2; hinge at margin 3 leaves 1 each.
  got = disentangle.identity_triplet(s, t, s, t, apart, margin=3.0)
  np.testing.assert_allclose(got, 2.0, rtol=1e-6)
  assert disentangle.identity_triplet(s, t, s, t, apart, margin=0.5)[0] == 0
  # Exchanged identities are the worst case.
  got = disentangle.identity_triplet(s, t, t, s, apart, margin=0.5)
  np.testing.assert_allclose(got, 2 * (2 + 0.5), rtol=1e-6)
  # One person: the pull alone.
  got = disentangle.identity_triplet(s, s, s, t, jnp.array([True]), margin=0.5)
  np.testing.assert_allclose(got, 2.0, rtol=1e-6)


def test_printed_identity_rewards_distance():
  s, t = jnp.array([[1.0, 0.0]]), jnp.array([[0.0, 1.0]])
  good = disentangle.identity_printed(s, t, s, t, margin=0.5)
  np.testing.assert_allclose(good, 0.5)
  # The erratum: spoiling the target's identity lowers the loss.
  spoilt = disentangle.identity_printed(s, t, s, -t, margin=0.5)
  assert spoilt[0] < good[0]


def test_identity_distances_are_sums_at_any_width():
  apart = jnp.array([False])
  for width in (2, 512):
    s = jnp.full((1, width), width**-0.5)  # unit vectors, opposite: 4 apart
    got = disentangle.identity_triplet(s, -s, -s, s, apart, margin=0.5)
    np.testing.assert_allclose(got, 2 * (4 + 0.5), rtol=1e-5)
    got = disentangle.identity_printed(s, s, -s, s, margin=0.5)
    np.testing.assert_allclose(got, 4 + 0.5, rtol=1e-5)


def test_classification_masks_unknown_labels():
  logits = codes(2, 3, 8)
  label = jnp.array([5, -1, 0])
  got = disentangle.classification(logits, label, smoothing=0.0)
  p = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
  np.testing.assert_allclose(
    got, [-np.log(p[0, 5]), 0, -np.log(p[2, 0])], rtol=1e-4
  )
  sure = 20 * jax.nn.one_hot(label, 8)
  assert disentangle.classification(sure, label, 0.1)[0] > 1
  slope = jitted.grad(lambda x: disentangle.classification(x, label).sum())(
    logits
  )
  np.testing.assert_array_equal(np.asarray(slope)[1], 0)


def test_angles_are_in_units_of_thirty_degrees():
  degrees = jnp.array([[30.0, -15.0, 0.0]])
  assert disentangle.angles(jnp.array([[1.0, -0.5, 0.0]]), degrees)[0] == 0
  np.testing.assert_allclose(
    disentangle.angles(jnp.zeros((1, 3)), degrees), 1.25 / 3, rtol=1e-6
  )


def test_one_reading_of_a_norm_for_codes_and_pictures():
  code, picture = codes(6, 2, 5), codes(7, 2, 4, 4, 3)
  for x in (code, picture):
    error = np.square(np.asarray(x) - 0.5).reshape(2, -1)
    np.testing.assert_allclose(
      disentangle.squared_distance(x, 0 * x + 0.5), error.sum(1), rtol=1e-5
    )
    np.testing.assert_allclose(
      disentangle.squared_distance(x, 0 * x + 0.5, "mean"),
      error.mean(1),
      rtol=1e-5,
    )


def test_cross_correlation_of_strangers_is_zero_at_any_width():
  """Sampling noise has a mean of 0, whatever the widths and the batch."""
  for n, d, e in ((64, 512, 64), (64, 6, 16), (256, 64, 12)):
    drawn = [
      disentangle.cross_correlation(codes(2 * i, n, d), codes(2 * i + 1, n, e))
      for i in range(100, 120)
    ]
    assert abs(np.mean(drawn)) < 0.03, (n, d, e)
  # The sum of squared covariances of base256's codes, four at a time, is
  # thousands, and none of it is a leak.
  a, b = codes(8, 4, 512), codes(9, 4, 64)
  covariance = np.einsum("bd,be->de", a - a.mean(0), b - b.mean(0)) / 4
  assert 0.5 * np.square(covariance).sum() > 2_000


def test_cross_correlation_is_that_of_numbers_whatever_the_widths():
  a, own = codes(10, 400, 3), codes(11, 400, 2)
  b = own.at[:, :1].set(3 * a[:, :1] - 7)
  squared = np.corrcoef(np.concatenate([a, b], 1).T)[:3, 3:] ** 2
  got = disentangle.cross_correlation(a, b)
  np.testing.assert_allclose(got, squared.mean(), atol=0.01)
  wide = disentangle.cross_correlation(jnp.tile(a, 20), jnp.tile(b, 7))
  np.testing.assert_allclose(wide, got, rtol=1e-4)
  np.testing.assert_allclose(
    disentangle.cross_correlation(a[:, :1], b[:, :1]), 1, rtol=1e-4
  )


def test_codes_gain_nothing_from_shrinking():
  a = codes(12, 64, 20)
  b = a[:, :5] + codes(13, 64, 5)
  whole = disentangle.cross_correlation(a, b)
  np.testing.assert_allclose(
    disentangle.cross_correlation(0.1 * a + 5, 0.1 * b), whole, rtol=1e-2
  )
  slope = jitted.grad(
    lambda scale: disentangle.cross_correlation(a, b * scale)
  )(1.0)
  assert abs(slope) < 1e-4 * whole
  flat = jitted.grad(lambda b: disentangle.cross_correlation(a, b))(0 * b)
  assert np.isfinite(flat).all()


def test_variance_floor():
  a = codes(5, 200, 6)
  a = (a - a.mean(0)) / a.std(0)
  assert disentangle.variance_floor(a * 1.01, floor=1.0) == 0
  np.testing.assert_allclose(
    disentangle.variance_floor(0.25 * a, floor=1.0), 0.75, rtol=1e-3
  )
  flat = jnp.zeros((8, 3))
  slope = jitted.grad(lambda x: disentangle.variance_floor(x))(flat)
  assert np.isfinite(slope).all()


def test_codes_at_right_angles_cost_nothing():
  code = jnp.array([[1.0, 0.0], [2.0, 2.0], [-3.0, 0.0]])
  other = jnp.array([[0.0, 5.0], [1.0, 0.0], [7.0, 0.0]])
  np.testing.assert_allclose(
    disentangle.squared_cosine(code, other), [0, 0.5, 1], atol=1e-6
  )
  slopes = jax.grad(
    lambda x, y: disentangle.squared_cosine(x, y).sum(), argnums=(0, 1)
  )(code, other)
  assert slopes[0].any() and not slopes[1].any()
