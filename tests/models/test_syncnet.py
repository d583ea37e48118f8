import jax
import jax.numpy as jnp
import numpy as np

from speak_jax.models.syncnet import SyncNet, motion
from tests import jitted
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


def test_published_codes_have_any_length():
  """The same last layer, not brought to length 1; fresh ones are about 1
  apart, as far as Eq. 11's margin."""
  net = SyncNet(8, 64)
  mouth, audio = tiny.normal(0, 8, 5, 16, 32, 3), tiny.normal(1, 8, 3200)
  variables = net.init(jax.random.key(0), mouth, audio)
  free = net.clone(unit=False)
  same = jax.tree.map(jnp.shape, variables) == jax.tree.map(
    jnp.shape, free.init(jax.random.key(0), mouth, audio)
  )
  assert same
  for code, long in zip(
    net.apply(variables, mouth, audio),
    free.apply(variables, mouth, audio),
    strict=True,
  ):
    length = jnp.linalg.norm(long, axis=-1, keepdims=True)
    assert length.std() > 1e-3
    np.testing.assert_allclose(long / length, code, atol=1e-5)
  lips, sound = free.apply(variables, mouth, audio)
  apart = jnp.linalg.norm(lips - sound, axis=-1).mean()
  assert 0.4 < apart < 2.5


def test_every_frame_and_every_hop_is_seen():
  net = SyncNet(4, 8)
  mouth, audio = tiny.normal(0, 1, 5, 8, 16, 3), tiny.normal(1, 1, 3200)
  variables = net.init(jax.random.key(0), mouth, audio)

  def first(mouth, audio):
    lips, sound = net.apply(variables, mouth, audio)
    return lips[0, 0] + sound[0, 0]

  by_mouth, by_audio = jitted.grad(first, (0, 1))(mouth, audio)
  assert (jnp.abs(by_mouth).max((0, 2, 3, 4)) > 0).all()
  assert (jnp.abs(by_audio.reshape(20, 160)).max(-1) > 0).all()


def test_motion_is_the_same_in_any_light_and_its_steps_are_what_moves():
  mouth = 0.3 * tiny.normal(0, 2, 5, 8, 8, 3).clip(-2, 2)
  seen = motion(mouth)
  assert seen.shape == (2, 8, 8, 9)
  frames, steps = seen[..., :5], seen[..., 5:]
  np.testing.assert_allclose(frames.mean((1, 2, 3)), 0, atol=1e-5)
  np.testing.assert_allclose(
    steps, 3 * (frames[..., 1:] - frames[..., :-1]), atol=1e-5
  )
  brighter = motion(1.5 * mouth + 0.1)
  assert jnp.abs(brighter - seen).max() < 0.25 * jnp.abs(seen).max()
  shifted = motion(mouth + jnp.array([0.2, -0.1, 0.05]))  # another colour
  np.testing.assert_allclose(shifted, seen, atol=1e-5)
  still = motion(mouth[:, :1].repeat(5, 1))
  np.testing.assert_allclose(still[..., 5:], 0, atol=1e-6)
  flat = jnp.full((1, 5, 8, 8, 3), 0.4)  # a gradient that is finite
  slope = jitted.grad(lambda x: motion(x).sum())(flat)
  assert jnp.isfinite(slope).all()


def test_grey_mouths_are_seen_as_if_they_were_colours_all_alike():
  """A net that was trained on colours goes on with grey ones, if it moves."""
  net = SyncNet(4, 8, moving=True)
  mouth, audio = tiny.normal(0, 2, 5, 16, 16, 1), tiny.normal(1, 2, 3200)
  variables = net.init(jax.random.key(0), mouth.repeat(3, -1), audio)
  np.testing.assert_allclose(
    net.apply(variables, mouth, method="see"),
    net.apply(variables, mouth.repeat(3, -1), method="see"),
    atol=1e-5,
  )


def test_a_moving_net_hears_all_frames_and_no_colour():
  net = SyncNet(4, 8, moving=True)
  mouth, audio = tiny.normal(0, 1, 5, 16, 16, 3), tiny.normal(1, 1, 3200)
  variables = net.init(jax.random.key(0), mouth, audio)

  def first(mouth):
    return net.apply(variables, mouth, method="see")[0, 0]

  slope = jitted.grad(first)(mouth)
  assert (jnp.abs(slope).max((0, 2, 3, 4)) > 0).all()
  np.testing.assert_allclose(slope[..., 0], slope[..., 2], atol=1e-7)
