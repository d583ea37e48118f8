"""TH-PAD's networks: their sizes, and what depends on what."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from configs import thpad as presets
from speak_jax.models import thpad
from speak_jax.nn import lip_mel
from speak_jax.stages import thpad_prior, thpad_space
from speak_jax.stages.thpad_lip import SENSES
from speak_jax.stages.thpad_prior import MOVES
from speak_jax.stages.thpad_space import DRAWS
from speak_jax.supervision import flops
from tests import jitted
from tests.plain_face import plain_face


def _shape(*sizes, dtype=jnp.float32):
  return jax.ShapeDtypeStruct(sizes, dtype)


def _millions(tree):
  return sum(x.size for x in jax.tree.leaves(tree)) / 1e6


def _cost(net, variables, method, *inputs):
  """Thousand million multiply-accumulates."""
  run = lambda *args: net.apply(*args, method=method)  # noqa: E731
  return flops.count(jax.make_jaxpr(run)(variables, *inputs).jaxpr) / 1e9


def test_base_is_as_large_as_it_was_reckoned():
  """About 77 M that make videos and 100 M that learn; 18 GMAC a frame.

  Ours is a little larger: heads with a hidden layer, E_v's view of places, and
  G's flow.
  """
  config = presets.get_config("base")
  losses = thpad_prior.PriorLosses.of(config)
  params, collections = jax.eval_shape(lambda: losses.init(0, {}))
  senses, draws, moves = (params[group] for group in (SENSES, DRAWS, MOVES))
  learns_alone = [senses["see_net"], senses["contrast"]]
  learns_alone += [draws["other_head"], draws["motion_head"]]
  total = _millions(params)
  speaks = total - _millions(learns_alone)
  assert total == pytest.approx(100, rel=0.08)
  assert speaks == pytest.approx(77, rel=0.05)
  assert _millions(moves) == pytest.approx(25.2, rel=0.04)
  assert _millions(senses["hear_net"]) == pytest.approx(3.4, rel=0.01)
  variables = {
    group: {"params": params[group], **collections[group]} for group in params
  }
  picture, points = _shape(1, 256, 256, 3), _shape(1, 68, 2)
  portrait = (variables[DRAWS], picture, points)
  features = jax.eval_shape(
    lambda *x: losses.space.apply(*x, method="portrait"), *portrait
  )
  frame = _cost(
    losses.space,
    variables[DRAWS],
    "draw",
    features,
    _shape(1, losses.width),
    _shape(1, 500),
  )
  sound = _cost(losses.senses, variables[SENSES], "hear", _shape(1, 80, 16))
  frames = losses.settings.frames
  window = [
    _shape(1, frames, losses.width),
    _shape(1, frames, dtype=jnp.bool_),
    _shape(1, frames, 512),
    _shape(1, dtype=jnp.bool_),
    _shape(1, dtype=jnp.int32),
  ]
  step = _cost(losses.net, variables[MOVES], None, *window) / frames
  assert step == pytest.approx(0.026, rel=0.03)
  whole = frame + sound + 2 * losses.settings.count * step
  assert whole == pytest.approx(18, rel=0.02)


def test_a_frame_hears_the_steps_about_its_middle():
  spectra = jnp.arange(32.0)[None, :, None] * jnp.ones(80)
  windows = np.asarray(thpad.heard(spectra, 4, 3))
  assert windows.shape == (1, 4, 80, 16)
  # Step i lies about sample 200 i, a frame's middle 320 after its first.
  middles = (3 + np.arange(4) + 0.5) * 640 / 200
  assert np.abs(windows[0, :, 0].mean(-1) - middles).max() <= 0.5
  assert (np.diff(windows[0, 0, 0]) == 1).all()
  with pytest.raises(ValueError, match="2 frames of context"):
    thpad.heard(spectra, 4, 2)


def test_frames_hear_the_same_wherever_a_window_begins():
  """Windows of the prior begin five frames from each other."""
  sound = np.random.default_rng(0).normal(0, 0.1, (1, 40 * 640))
  mel = jitted.compiled(lip_mel.lip_mel)
  whole, later = (
    mel(jnp.asarray(x, "float32")) for x in (sound, sound[:, 5 * 640 :])
  )
  frames, context = 10, 5
  np.testing.assert_allclose(
    thpad.heard(whole, frames + 5, context)[:, 5:],
    thpad.heard(later, frames, context),
    atol=1e-4,
  )


def _prior():
  net = thpad.Prior(width=16, layers=1, heads=2, hidden=32)
  rng = np.random.default_rng(0)
  noisy, sound = rng.normal(size=(2, 2, 6, 4)).astype(np.float32)
  inputs = [
    noisy,
    np.arange(6) < np.array([[2], [0]]),
    sound,
    np.array([True, False]),
    np.array([3, 9], np.int32),
  ]
  inputs = [jnp.asarray(x) for x in inputs]
  return net, net.init(jax.random.key(0), *inputs), inputs


def test_the_prior_hears_what_it_is_told_and_sees_the_whole_window():
  net, variables, inputs = _prior()
  run = jitted.compiled(net.apply)
  plain = np.asarray(run(variables, *inputs))
  assert plain.shape == (2, 6, 4)

  def moved(index, change):
    other = [*inputs]
    other[index] = change(other[index])
    away = np.abs(np.asarray(run(variables, *other)) - plain)
    return away.max(-1) > 1e-6

  # One frame's noise reaches all of its own window.
  np.testing.assert_array_equal(
    moved(0, lambda x: x.at[0, 5].add(1)), [[True] * 6, [False] * 6]
  )
  # Who is not told hears nothing.
  np.testing.assert_array_equal(
    moved(2, lambda x: x + 1), [[True] * 6, [False] * 6]
  )
  assert moved(1, lambda x: ~x).all()
  assert moved(3, lambda x: ~x).all()
  assert moved(4, lambda x: x + 1).all()


@pytest.fixture(scope="module")
def space():
  """The demo's networks, and what they are given of two pictures."""
  config = presets.get_config("demo")
  net = thpad_space.space(config)
  rng = np.random.default_rng(0)
  size = config.model.image
  pictures = rng.uniform(-1, 1, (2, size, size, 3)).astype(np.float32)
  points = np.repeat(plain_face()[None] * size, 2, 0).astype(np.float32)
  params, _ = jax.jit(lambda: thpad_space.SpaceLosses.of(config).init(1, {}))()
  variables = {"params": params[DRAWS]}
  # Flows begin near zero; here they must move.
  variables = jax.tree.map(lambda x: 3 * x, variables)
  features = jax.jit(lambda *x: net.apply(*x, method="portrait"))(
    variables, pictures, points
  )
  return net, variables, features


def test_lips_follow_the_sound_and_the_head_does_not(space):
  """Where landmarks go: f_l moves the expression, f_nl's head the whole."""
  net, variables, features = space
  draw = jax.jit(lambda *x: net.apply(*x, method="draw"))
  motion, lips = jnp.zeros((2, 8)), jnp.zeros((2, 16))
  plain = draw(variables, features, motion, lips)
  assert plain.frames.shape == (2, 32, 32, 3)
  for moved in (
    draw(variables, features, motion, lips.at[0].add(1)),
    draw(variables, features, motion.at[0, 0].add(1), lips),
    draw(variables, features, motion.at[0, 7].add(1), lips),
  ):
    away = np.abs(np.asarray(moved.frames - plain.frames)).max((1, 2, 3))
    assert away[0] > 1e-4 and away[1] == 0
    landmarks = np.abs(moved.geometry.landmarks - plain.geometry.landmarks)
    assert landmarks[0].max() > 1e-4


def test_the_picture_itself_is_the_last_map(space):
  _, _, features = space
  assert [x.shape[1] for x in features.maps] == [8, 16, 32]
  assert features.maps[-1].shape[-1] == 3 + 3
  assert features.pose.shape == (2, 4) and features.emotion.shape == (2, 4)
