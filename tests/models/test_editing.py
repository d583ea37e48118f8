import jax
import jax.numpy as jnp
import numpy as np

from speak_jax.models.editing import EditingModule
from tests import jitted
from tests.models import tiny


def setup():
  module = EditingModule(levels=3, width=12)
  inputs = [
    tiny.normal(0, 2, 4, 8),
    tiny.normal(1, 2, 5),
    tiny.normal(2, 2, 4, 12),
  ]
  return module, module.init(jax.random.key(3), *inputs), inputs


def test_every_level_hears_speech_emotion_and_face():
  module, variables, inputs = setup()
  latent = module.apply(variables, *inputs)
  assert latent.shape == (2, 4, 3, 12)
  for level in range(3):
    slopes = jitted.grad(
      lambda x, level=level: (
        module.apply(variables, *x)[:, :, level] * tiny.normal(5, 2, 4, 12)
      ).sum()
    )(inputs)
    # Every frame's own speech: normalising over time would erase it.
    assert float(jnp.abs(slopes[0]).max(-1).min()) > 1e-4
    assert float(jnp.abs(slopes[1]).max(-1).min()) > 1e-4
    assert float(jnp.abs(slopes[2]).max(-1).min()) > 1e-4


def test_one_frame_alone_keeps_its_speech():
  module, variables, (speech, emotion, face) = setup()
  whole = module.apply(variables, speech, emotion, face)
  alone = module.apply(variables, speech[:, 2:3], emotion, face[:, 2:3])
  np.testing.assert_allclose(whole[:, 2:3], alone, atol=1e-5)


def test_noise_starts_silent_and_is_heard_in_training_alone():
  module, variables, inputs = setup()
  calm = module.apply(variables, *inputs)
  rngs = {"noise": jax.random.key(0)}
  still = module.apply(variables, *inputs, True, rngs=rngs)
  np.testing.assert_allclose(calm, still, atol=1e-6)
  loud = {"params": {**variables["params"], "noise": jnp.ones(3)}}
  stirred = module.apply(loud, *inputs, True, rngs=rngs)
  assert float(jnp.abs(stirred - calm).max()) > 0.1
  np.testing.assert_allclose(module.apply(loud, *inputs), calm, atol=1e-6)
