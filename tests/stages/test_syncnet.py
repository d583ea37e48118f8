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


def test_sound_is_changed_only_where_it_is_asked_for():
  def loss(**changes):
    stage = syncnet.make(small.config(**changes))
    params, collections = small.parameters(stage)
    given = jax.tree.map(jnp.asarray, small.batch(stage))
    run = jax.jit(stage.phases[0].loss)
    out = run(params, collections, given, jnp.array(0), jax.random.key(0))
    return float(out.loss)

  plain = loss()
  # Without a change the level of a noise that nobody hears is nothing.
  assert loss(syncnet__hearing__noise_level=(0.0, 1.0)) == plain
  assert loss(syncnet__hearing__tilt=1.0) != plain


def test_a_clips_windows_are_changed_alike():
  config = small.config()
  losses = syncnet.SyncNetLosses.of(config)
  stage = syncnet.make(config)
  params, collections = small.parameters(stage)
  rng = np.random.default_rng(0)
  mouth, audio = stage.batch.mouth, stage.batch.audio
  pictures = jnp.zeros(mouth.shape, jnp.float32)
  one = rng.normal(0, 0.1, (audio.shape[0], 1, audio.shape[2]))
  same = jnp.asarray(np.repeat(one, audio.shape[1], 1), jnp.float32)

  def change(spectra):
    clips = jnp.arange(len(spectra))[:, None, None]
    return spectra + clips * jnp.ones_like(spectra)

  codes = jax.jit(losses.codes, static_argnums=4)
  _, plain = codes(params, collections, pictures, same, None)
  _, changed = codes(params, collections, pictures, same, change)
  np.testing.assert_allclose(changed[0], plain[0], atol=1e-5)
  assert np.abs(changed[1] - plain[1]).max() > 1e-3
  np.testing.assert_allclose(
    changed[1], np.tile(changed[1][:1], (3, 1)), atol=1e-5
  )
