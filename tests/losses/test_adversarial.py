"""Adversarial losses against hand-written values."""

import jax.numpy as jnp
import numpy as np
import pytest

from speak_jax.losses import adversarial


def softplus(x):
  return np.log1p(np.exp(x))


@pytest.fixture
def maps():
  rng = np.random.default_rng(0)
  shapes = (2, 4, 4), (2, 2, 2)
  return [jnp.asarray(rng.normal(size=s), jnp.float32) for s in shapes]


def test_pair_matches_numpy(maps):
  fake = [m + 1 for m in maps]
  want = [
    np.mean([softplus(-m[i]).mean() for m in maps])
    + np.mean([softplus(m[i]).mean() for m in fake])
    for i in range(2)
  ]
  np.testing.assert_allclose(
    adversarial.discriminator(maps, fake), want, rtol=1e-5
  )
  want = [np.mean([softplus(-m[i]).mean() for m in fake]) for i in range(2)]
  np.testing.assert_allclose(adversarial.generator(fake), want, rtol=1e-5)


def test_players_pull_apart(maps):
  higher = [m + 1 for m in maps]
  assert np.all(adversarial.generator(higher) < adversarial.generator(maps))
  assert np.all(
    adversarial.discriminator(maps, higher)
    > adversarial.discriminator(maps, maps)
  )


def test_r1_of_a_linear_critic_is_its_squared_norm():
  weight = np.random.default_rng(1).normal(size=(4, 4, 3)).astype("f4")
  frames = np.random.default_rng(2).normal(size=(2, 4, 4, 3))
  frames = jnp.asarray(frames, jnp.float32)
  got = adversarial.r1(
    lambda x: [jnp.einsum("bhwc,hwc->b", x, weight)[:, None]], frames
  )
  np.testing.assert_allclose(got, (weight**2).sum(), rtol=1e-5)
  # Two scales that agree count once, not twice.
  twice = adversarial.r1(
    lambda x: [jnp.einsum("bhwc,hwc->b", x, weight)[:, None]] * 2, frames
  )
  np.testing.assert_allclose(twice, got, rtol=1e-5)


def test_feature_matching(maps):
  assert np.all(np.asarray(adversarial.feature_matching(maps, maps)) == 0)
  shifted = [m + 0.5 for m in maps]
  np.testing.assert_allclose(
    adversarial.feature_matching(maps, shifted), 0.5, rtol=1e-5
  )
  with pytest.raises(ValueError, match="zip"):
    adversarial.feature_matching(maps, maps[:1])
