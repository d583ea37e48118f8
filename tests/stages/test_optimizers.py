"""The learning rate's curve."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ml_collections import ConfigDict

from speak_jax.stages import optimizers


@pytest.mark.parametrize(
  ("steps", "warmup", "floor"),
  [(1, 500, 0.1), (40, 0, 1.0), (40, 500, 0.1), (300, 20, 0.0)],
)
def test_rate_rises_then_falls_along_a_cosine(steps, warmup, floor):
  settings = ConfigDict(dict(lr=2e-4, warmup=warmup, floor=floor))
  count = np.arange(steps + 5)
  warmup = min(warmup, steps // 10)
  rise = np.minimum((count + 1) / (warmup + 1), 1)
  share = np.clip((count - warmup) / (steps - warmup), 0, 1)
  fall = floor + (1 - floor) * 0.5 * (1 + np.cos(np.pi * share))
  rate = jax.jit(optimizers.learning_rate(settings, steps))
  got = jax.jit(jax.vmap(rate))(jnp.asarray(count))
  np.testing.assert_allclose(got, 2e-4 * rise * fall, rtol=1e-5, atol=1e-10)
