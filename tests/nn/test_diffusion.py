"""Diffusion: what is known stays, what is drawn depends on its noise alone."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from speak_jax.nn import diffusion
from speak_jax.nn.diffusion import Given
from tests import jitted

STEPS = 100
SCHEDULE = diffusion.cosine_schedule(STEPS)
SHAPE = 2, 5, 3


noised = jitted.compiled(diffusion.noised)


def _drawn(shape, seed):
  return jnp.asarray(np.random.default_rng(seed).normal(size=shape), "float32")


def _given(known=None):
  mask = np.zeros(SHAPE[:2], bool) if known is None else known
  return Given(_drawn(SHAPE, 7), jnp.asarray(mask))


def test_the_schedule_falls_from_all_signal_to_none():
  assert SCHEDULE.dtype == np.float32
  assert (np.diff(SCHEDULE) < 0).all()
  assert SCHEDULE[0] > 0.99 and 0 < SCHEDULE[-1] < 1e-4
  # By hand, half way: cos^2(pi/2 (.5 + s) / (1 + s)) / cos^2(pi/2 s / (1 + s)).
  half = np.cos(np.pi / 2 * 0.508 / 1.008) ** 2
  half /= np.cos(np.pi / 2 * 0.008 / 1.008) ** 2
  assert SCHEDULE[STEPS // 2 - 1] == pytest.approx(half, rel=1e-5)


def test_noise_and_signal_share_the_power():
  clean, noise = _drawn(SHAPE, 0), _drawn(SHAPE, 1)
  x = noised(clean, noise, jnp.array([0.25, 1.0]))
  np.testing.assert_allclose(
    x[0], 0.5 * clean[0] + np.sqrt(0.75) * noise[0], rtol=1e-5
  )
  np.testing.assert_array_equal(x[1], clean[1])


def test_steps_lead_from_noise_to_the_first():
  np.testing.assert_array_equal(diffusion.sampler_steps(9, 5), [8, 6, 4, 2, 0])
  assert len(set(diffusion.sampler_steps(1000, 50))) == 50
  with pytest.raises(ValueError, match="10 of 9"):
    diffusion.sampler_steps(9, 10)


def _sample(noise, given, predict=lambda x, step: 0.5 * x, count=10):
  return diffusion.ddim(predict, noise, given, SCHEDULE, count)


def test_a_network_that_knows_is_believed():
  truth = _drawn(SHAPE, 3)
  drawn = _sample(_drawn(SHAPE, 4), _given(), lambda x, step: truth)
  np.testing.assert_allclose(drawn, truth, atol=1e-5)


def test_known_frames_come_out_as_they_are():
  known = np.zeros(SHAPE[:2], bool)
  known[0, :2], known[1, 4] = True, True
  given, seen = _given(known), []

  def predict(x, step):
    seen.append(x)
    return x - 1

  # Unrolled, so that what the network sees can be looked at.
  with jax.disable_jit():
    drawn = _sample(_drawn(SHAPE, 5), given, predict, count=3)
  for x in (drawn, *seen):
    np.testing.assert_array_equal(x[known], given.frames[known])
  assert len(seen) == 3 and (drawn[~known] != given.frames[~known]).all()


def test_noise_is_all_that_is_random():
  one = _sample(_drawn(SHAPE, 5), _given())
  np.testing.assert_array_equal(one, _sample(_drawn(SHAPE, 5), _given()))
  assert (one != _sample(_drawn(SHAPE, 6), _given())).all()


def test_it_draws_from_what_the_network_has_learned():
  """A network that knows the distribution gives samples of it."""
  mean, spread = 2.0, 0.5

  def predict(x, step):
    share = jnp.asarray(SCHEDULE)[step]
    gain = jnp.sqrt(share) * spread**2
    gain /= share * spread**2 + 1 - share
    return mean + gain * (x - jnp.sqrt(share) * mean)

  shape = 4, 500, 2
  unknown = Given(jnp.zeros(shape), jnp.zeros(shape[:2], bool))
  drawn = _sample(_drawn(shape, 8), unknown, predict, 50)
  assert float(drawn.mean()) == pytest.approx(mean, abs=0.03)
  assert float(drawn.std()) == pytest.approx(spread, rel=0.05)


def test_guidance_of_1_is_the_condition_alone():
  told, untold = _drawn(SHAPE, 0), _drawn(SHAPE, 1)
  np.testing.assert_allclose(
    diffusion.guided(told, untold, 1.0), told, rtol=1e-4, atol=1e-6
  )
  np.testing.assert_array_equal(diffusion.guided(told, untold, 0.0), untold)
  np.testing.assert_allclose(
    diffusion.guided(told, untold, 3.0), 3 * told - 2 * untold, rtol=1e-3,
    atol=1e-5,
  )  # fmt: skip
