"""Stage 1: what a window is compared with."""

import jax
import jax.numpy as jnp
import numpy as np

from speak_jax.losses import sync
from speak_jax.stages import syncnet
from tests.stages import small


def codes(seed, *shape):
  rng = np.random.default_rng(seed)
  return jnp.asarray(rng.normal(size=shape), jnp.float32)


def test_eq_11_shifts_sound_by_any_number_of_windows():
  """Not by one alone: a neighbour's sound is all but the same."""
  speech, mouth = codes(0, 1, 5, 4), codes(1, 1, 5, 4)
  true = jnp.ones((1, 5), bool)
  near = sync.contrastive(speech, mouth, true, 3.0)
  want = {
    round(
      float(
        0.5
        * (
          near + sync.contrastive(jnp.roll(speech, -k, 1), mouth, ~true, 3.0)
        ).mean()
      ),
      4,
    )
    for k in range(1, 5)
  }
  keys = jax.random.split(jax.random.key(0), 64)
  got = jax.vmap(
    lambda key: syncnet.shifted_contrastive(speech, mouth, 3.0, key)
  )(keys)
  assert {round(float(x), 4) for x in got[:, 0]} == want


def test_mouths_are_grey_and_lower_halves_in_colour():
  shape = syncnet.make(small.config()).batch.mouth.shape
  assert shape == (2, 3, 5, 8, 8, 1)
  shape = syncnet.make(small.config(model__lips=0)).batch.mouth.shape
  assert shape == (2, 3, 5, 8, 16, 3)


def test_two_way_goes_by_distance():
  """A long code is not near because it is long."""
  mouth = jnp.array([[[1.0, 0.0], [4.0, 0.0]]])
  assert syncnet.two_way(mouth, mouth) == 1.0
  assert syncnet.two_way(mouth[:, ::-1], mouth) == 0.0
