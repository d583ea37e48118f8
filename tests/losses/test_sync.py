"""SyncNet losses: Eq. 11 by hand, chance levels, gradients."""

import jax.numpy as jnp
import numpy as np
import pytest

from speak_jax import spec
from speak_jax.losses import sync
from tests import jitted

# Each function one program.
sync = jitted.functions(sync)


def unit(seed, *shape):
  x = np.random.default_rng(seed).normal(size=shape)
  return jnp.asarray(x / np.linalg.norm(x, axis=-1, keepdims=True), "f4")


def test_contrastive_by_hand():
  a = jnp.array([[1.0, 0.0], [1.0, 0.0], [1.0, 0.0], [0.6, 0.8]])
  b = jnp.array([[0.0, 1.0], [0.0, 1.0], [1.0, 0.0], [1.0, 0.0]])
  matching = jnp.array([True, False, False, False])
  # d = sqrt 2, sqrt 2, 0, sqrt .8
  want = [1.0, 0.0, 0.5, 0.5 * (1 - np.sqrt(0.8)) ** 2]
  np.testing.assert_allclose(
    sync.contrastive(a, b, matching, margin=1.0), want, atol=1e-5
  )


def test_contrastive_gradient_is_finite_for_equal_codes():
  code = unit(0, 2, 4)
  slope = jitted.grad(
    lambda a: sync.contrastive(a, code, jnp.array([True, False])).sum()
  )(code)
  assert np.isfinite(slope).all()


def test_info_nce_chance_and_perfect():
  same = jnp.broadcast_to(unit(0, 3, 1, 8), (3, 5, 8))
  np.testing.assert_allclose(sync.info_nce(same, same), np.log(5), rtol=1e-5)
  codes = jnp.broadcast_to(jnp.eye(5, 8), (3, 5, 8))
  assert np.all(np.asarray(sync.info_nce(codes, codes)) < 1e-4)


def test_info_nce_matches_plain_loops():
  a, b = unit(1, 2, 4, 8), unit(2, 2, 4, 8)
  want = []
  for x, y in zip(a, b, strict=True):
    logits = np.array([[u @ v / 0.2 for v in y] for u in x])
    rows = [np.log(np.exp(r).sum()) - r[i] for i, r in enumerate(logits)]
    cols = [np.log(np.exp(c).sum()) - c[i] for i, c in enumerate(logits.T)]
    want.append(0.5 * (np.mean(rows) + np.mean(cols)))
  np.testing.assert_allclose(
    sync.info_nce(a, b, temperature=0.2), want, rtol=1e-5
  )


def test_match_is_half_the_squared_distance():
  a, b = unit(3, 2, 3, 8), unit(4, 2, 3, 8)
  want = 0.5 * np.linalg.norm(a - b, axis=-1) ** 2
  np.testing.assert_allclose(sync.sync_distance(a, b), want, rtol=1e-5)
  np.testing.assert_allclose(
    sync.pair_distance(a, b), np.linalg.norm(a - b, axis=-1), rtol=1e-5
  )


def test_opening_is_zero_for_the_landmarks_own_opening():
  points = np.random.default_rng(0).uniform(0, 64, (2, 3, 68, 2))
  points = jnp.asarray(points, jnp.float32)
  truth = spec.mouth_opening(points)
  np.testing.assert_allclose(
    sync.mouth_opening_loss(truth, points), 0, atol=1e-10
  )
  np.testing.assert_allclose(
    sync.mouth_opening_loss(truth + 0.2, points), 0.04, rtol=1e-4
  )


@pytest.mark.parametrize("loss", [sync.sync_distance, sync.pair_distance])
def test_bfloat16_in_float32_out(loss):
  code = unit(5, 2, 8).astype(jnp.bfloat16)
  assert loss(code, code[::-1]).dtype == jnp.float32
