"""EAMM's networks: published sizes, and what depends on what."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from speak_jax.models import eamm
from speak_jax.models.fomm import Keypoints
from speak_jax.supervision import flops
from tests import jitted

# Parameters of the public definitions, counted from the layers' description.
# There, the LSTMs have a second bias, which adds to the first.
SECOND_BIASES = 3 * 4 * 256
HEAD = 7 * 7 * 35 * 50 + 50
# A second head of classes, one of neutral numbers without waves, and those of
# displacements that are not used.
UNUSED = (512 * 8 + 8) + (60 * 128 + 128 + 128 * 512 + 512)
NARROW, WIDE = 10 + 36 + 52, 104 + 250
UNUSED += 2 * 52
COUNTS = {
  "motion": 35_290_339 - SECOND_BIASES + HEAD,
  "emotion": 27_888_092 - UNUSED - WIDE,
  "emotion_of_all": 27_888_092 - UNUSED - NARROW,
}
PUBLISHED = dict(
  motion=eamm.AudioToMotion(10, 35, 64, 64, 3),
  emotion=eamm.EmotionNet(10, 4, 32, 1024, 5, 4, (2, 2, 2, 2), 64),
  emotion_of_all=eamm.EmotionNet(10, 10, 32, 1024, 5, 4, (2, 2, 2, 2), 64),
)
TINY = dict(
  motion=eamm.AudioToMotion(3, 5, 8, 4, 1),
  emotion=eamm.EmotionNet(3, 2, 4, 8, 2, 2, (1, 1), 4),
  emotion_of_all=eamm.EmotionNet(3, 3, 4, 8, 2, 2, (1, 1), 4),
)


def _shapes(net, size, frames=2, batch=2):
  shape = lambda *s: jax.ShapeDtypeStruct((batch, *s), jnp.float32)  # noqa: E731
  picture = shape(size, size, 3)
  if isinstance(net, eamm.AudioToMotion):
    return picture, shape(frames, 28, 12), shape(frames, 6)
  k = net.keypoints
  return picture, Keypoints(shape(k, 2), shape(k, 2, 2))


def _variables(net, inputs):
  return jax.eval_shape(net.init, jax.random.key(0), *inputs)


def _count(variables):
  return sum(
    int(np.prod(x.shape)) for x in jax.tree.leaves(variables["params"])
  )


@pytest.mark.parametrize("kind", COUNTS)
def test_it_has_as_many_parameters_as_published(kind):
  net = PUBLISHED[kind]
  inputs = _shapes(net, 256)
  variables = _variables(net, inputs)
  assert _count(variables) == COUNTS[kind]
  out = jax.eval_shape(net.apply, variables, *inputs)
  if kind == "motion":
    assert out.found.heat.shape == (4, 10, 58, 58)
    assert out.found.keypoints.points.shape == (4, 10, 2)
    assert out.state.shape == (3, 2, 2, 256)
  else:
    assert out.displacement.points.shape == (2, net.moved, 2)
    assert out.displacement.jacobians.shape == (2, net.moved, 2, 2)
    assert out.logits.shape == (2, 8)


# Of the published count the keypoints' head is no part.
@pytest.mark.parametrize(
  ("kind", "cost"),
  [("motion", 0.53 + 58**2 * 7**2 * 35 * 50 / 1e9), ("emotion", 1.63)],
)
def test_it_costs_as_much_as_published(kind, cost, unfolded):
  net = PUBLISHED[kind]
  inputs = _shapes(net, 256, 1, 1)
  program = jax.make_jaxpr(net.apply)(_variables(net, inputs), *inputs)
  assert flops.count(program.jaxpr) / 1e9 == pytest.approx(cost, rel=0.01)


def _world(net, size=16, frames=3):
  """Drawn weights of a tiny network, and inputs."""
  rng = np.random.default_rng(1)
  shapes = _shapes(net, size, frames)

  def drawn(path, x):
    values = rng.normal(size=x.shape) / np.sqrt(np.prod(x.shape[:-1]) or 1)
    if path[-1].key in ("scale", "var"):
      values = np.exp(0.2 * values)
    if path[1].key == "head":  # spots that are not the edge of the map
      values = 0.1 * values
    return values.astype(np.float32)

  variables = jax.tree_util.tree_map_with_path(drawn, _variables(net, shapes))
  inputs = jax.tree.map(
    lambda x: rng.uniform(0, 1, x.shape).astype(np.float32), shapes
  )
  return jax.tree.map(jnp.asarray, (variables, inputs))


def test_a_clip_in_two_parts_is_the_clip_and_later_sound_says_nothing():
  net = TINY["motion"]
  variables, (picture, sound, pose) = _world(net)
  run = jitted.compiled(net.apply)
  whole = run(variables, picture, sound, pose)
  first = run(variables, picture, sound[:, :2], pose[:, :2])
  second = run(variables, picture, sound[:, 2:], pose[:, 2:], first.state)
  points = whole.found.keypoints.points.reshape(2, 3, 3, 2)
  for part, wanted in ((first, points[:, :2]), (second, points[:, 2:])):
    got = part.found.keypoints.points.reshape(wanted.shape)
    np.testing.assert_allclose(got, wanted, atol=1e-5)
  np.testing.assert_allclose(second.state, whole.state, atol=1e-5)


def test_keypoints_know_person_sound_and_pose():
  net = TINY["motion"]
  variables, inputs = _world(net)
  run = jitted.compiled(net.apply)
  plain = run(variables, *inputs).found.keypoints.points
  for i, other in enumerate(inputs):
    changed = [*inputs[:i], other[::-1], *inputs[i + 1 :]]
    moved = run(variables, *changed).found.keypoints.points
    assert np.abs(moved - plain).max() > 1e-6
  # Louder is not the same, and without sound its factor is nothing.
  louder = run(variables, *inputs, loud=1.6).found.keypoints.points
  assert np.abs(louder - plain).max() > 1e-6


@pytest.mark.parametrize("kind", TINY)
def test_training_moves_every_weight(kind):
  net = TINY[kind]
  variables, inputs = _world(net)

  def run(params):
    out, changed = net.apply(
      {**variables, "params": params},
      *inputs,
      train=True,
      mutable=["batch_stats"],
    )
    kept = out.found if kind == "motion" else out
    total = sum((x**2).sum() for x in jax.tree.leaves(kept))
    return total, changed["batch_stats"]

  slope, stats = jax.jit(jax.grad(run, has_aux=True))(variables["params"])
  still = [
    jax.tree_util.keystr(path)
    for path, x in jax.tree_util.tree_leaves_with_path(slope)
    if not np.asarray(x).any()
  ]
  assert not still
  for old, new in zip(
    jax.tree.leaves(variables["batch_stats"]),
    jax.tree.leaves(stats),
    strict=True,
  ):
    assert (old != np.asarray(new)).any()


def test_waves_are_a_number_then_its_sines_and_cosines():
  rng = np.random.default_rng(0)
  points, turns = rng.normal(size=(2, 3, 2)), rng.normal(size=(2, 3, 2, 2))
  got = eamm.waves(Keypoints(jnp.asarray(points), jnp.asarray(turns)))
  assert got.shape == (2, 3 * 126)
  third = np.asarray(got).reshape(2, 3, 126)[1, 2]
  six = np.concatenate([points[1, 2], turns[1, 2].ravel()])
  np.testing.assert_allclose(third[:6], six, rtol=1e-6)
  np.testing.assert_allclose(
    third[6 + 12 * 3 :][:6], np.sin(8 * six), atol=1e-5
  )
  np.testing.assert_allclose(third[-6:], np.cos(512 * six), atol=1e-3)


def test_an_emotion_moves_the_chosen_keypoints_alone():
  plain = Keypoints(jnp.zeros((2, 5, 2)), jnp.zeros((2, 5, 2, 2)))
  ones = Keypoints(jnp.ones((2, 2, 2)), jnp.ones((2, 2, 2, 2)))
  got = eamm.displaced(plain, ones, (1, 4), (0.2, 1.0))
  wanted = np.array([0, 0.2, 0, 0, 1])
  np.testing.assert_allclose(got.points, wanted[:, None] * np.ones((2, 5, 2)))
  np.testing.assert_allclose(
    got.jacobians, wanted[:, None, None] * np.ones((2, 5, 2, 2))
  )
