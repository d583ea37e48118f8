"""Adversarial losses against hand-written values."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from speak_jax.losses import adversarial
from speak_jax.models.discriminator import Discriminator


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


def patches(maps):
  """A linear critic: maps of logits, each patch with weights of its own."""
  return lambda x: [jnp.einsum("bhwc,ijhwc->bij", x, w) for w in maps]


def test_r1_of_one_logit_is_its_squared_gradient():
  weight = np.random.default_rng(1).normal(size=(1, 1, 4, 4, 3)).astype("f4")
  frames = jnp.ones((2, 4, 4, 3))
  got = adversarial.r1(patches([weight]), frames, jax.random.key(0))
  np.testing.assert_allclose(got, (weight**2).sum(), rtol=1e-5)


def test_r1_is_the_mean_over_patches_of_each_ones_squared_gradient():
  """Not the squared gradient of the mean: that one falls with the patches."""
  rng = np.random.default_rng(2)
  fine, coarse = (rng.normal(size=(n, n, 4, 4, 3)).astype("f4") for n in (3, 1))
  want = np.mean([(w**2).sum((2, 3, 4)).mean() for w in (fine, coarse)])
  frames = jnp.ones((2, 4, 4, 3))
  draw = jax.jit(
    jax.vmap(lambda key: adversarial.r1(patches([fine, coarse]), frames, key))
  )
  drawn = np.asarray(draw(jax.random.split(jax.random.key(0), 4_000)))
  np.testing.assert_allclose(drawn.mean(0), want, rtol=0.02)
  mean = np.mean([w.mean((0, 1)) for w in (fine, coarse)], 0)
  assert (mean**2).sum() < want / 2


def test_r1_of_a_patch_discriminator_is_exact_on_average():
  """Against every patch's own gradient, two scales, one by one."""
  net = Discriminator(width=4, scales=2, layers=1)
  frames = jax.random.normal(jax.random.key(1), (1, 8, 8, 3))
  variables = net.init(jax.random.key(0), frames, frames)

  def logits(x):
    return net.apply(variables, x, frames).logits

  slopes = jax.jit(jax.jacrev(logits))(frames)
  want = np.mean(
    [np.square(s[0, :, :, 0]).sum((2, 3, 4)).mean() for s in slopes]
  )
  draw = jax.jit(jax.vmap(lambda key: adversarial.r1(logits, frames, key)[0]))
  drawn = np.asarray(draw(jax.random.split(jax.random.key(2), 2_000)))
  error = drawn.std() / len(drawn) ** 0.5
  assert abs(drawn.mean() - want) < 4 * error
  assert error < 0.02 * want


def test_feature_matching(maps):
  assert np.all(np.asarray(adversarial.feature_matching(maps, maps)) == 0)
  shifted = [m + 0.5 for m in maps]
  np.testing.assert_allclose(
    adversarial.feature_matching(maps, shifted), 0.5, rtol=1e-5
  )
  with pytest.raises(ValueError, match="zip"):
    adversarial.feature_matching(maps, maps[:1])
