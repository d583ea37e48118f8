import jax
import jax.numpy as jnp
import numpy as np

from speak_jax.models.syncnet import SyncNet
from tests.models import tiny


def test_towers_give_unit_vectors_of_each_example():
  net = SyncNet(4, 8)
  mouth, audio = tiny.normal(0, 3, 5, 8, 16, 3), tiny.normal(1, 3, 3200)
  variables = net.init(jax.random.key(0), mouth, audio)
  lips, sound = net.apply(variables, mouth, audio)
  for vectors in (lips, sound):
    assert vectors.shape == (3, 8)
    np.testing.assert_allclose(jnp.linalg.norm(vectors, axis=-1), 1, 1e-5)
  alone = net.apply(variables, mouth[1:2], method="see")
  np.testing.assert_allclose(lips[1:2], alone, atol=1e-4)
  np.testing.assert_allclose(
    sound[1:2], net.apply(variables, audio[1:2], method="hear"), atol=1e-4
  )


def test_every_frame_and_every_hop_is_seen():
  net = SyncNet(4, 8)
  mouth, audio = tiny.normal(0, 1, 5, 8, 16, 3), tiny.normal(1, 1, 3200)
  variables = net.init(jax.random.key(0), mouth, audio)

  def first(mouth, audio):
    lips, sound = net.apply(variables, mouth, audio)
    return lips[0, 0] + sound[0, 0]

  by_mouth, by_audio = jax.grad(first, (0, 1))(mouth, audio)
  assert (jnp.abs(by_mouth).max((0, 2, 3, 4)) > 0).all()
  assert (jnp.abs(by_audio.reshape(20, 160)).max(-1) > 0).all()
