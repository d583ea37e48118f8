"""ATVG's networks: published sizes, and what depends on what."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from speak_jax.models import atvg
from speak_jax.supervision import flops
from tests import jitted

# Parameters of the public definitions, counted from the layers' description.
# There, the LSTMs have a second bias, which adds to the first.
SECOND_BIASES = 3 * 4 * 256
COUNTS = {
  "at": 30_071_750 - SECOND_BIASES,
  "vg": 58_355_781,
  # Without a branch that is never called: 1024 -> 512 -> 136.
  "critic": 21_491_473 - SECOND_BIASES - (1024 * 512 + 512 + 512 * 136 + 136),
}


def _net(kind, size, width, frames=2, batch=2):
  shapes = {
    "example": (batch, 68, 2),
    "landmarks": (batch, frames, 68, 2),
    "picture": (batch, size, size, 3),
    "frames": (batch, frames, size, size, 3),
    "coefficients": (batch, 6),
    "sound": (batch, frames, 28, 12),
  }
  deep = width == 64
  net, inputs = {
    "at": (atvg.ATNet(width, 3 if deep else 1), ("coefficients", "sound")),
    "vg": (
      atvg.VGNet(size, width, 9 if deep else 1),
      ("picture", "example", "landmarks"),
    ),
    "critic": (
      atvg.Critic(size, width, 3 if deep else 1),
      ("frames", "example"),
    ),
  }[kind]
  return net, [
    jax.ShapeDtypeStruct(shapes[name], jnp.float32) for name in inputs
  ]


def _traced(kind, size, width, **counts):
  """Shapes of the variables, and of what comes out."""
  net, inputs = _net(kind, size, width, **counts)
  variables = jax.eval_shape(net.init, jax.random.key(0), *inputs)
  return variables, jax.eval_shape(net.apply, variables, *inputs)


def _count(variables):
  return sum(
    int(np.prod(x.shape)) for x in jax.tree.leaves(variables["params"])
  )


def _cost(kind, frames):
  """Thousand million multiply-accumulates of a clip."""
  net, inputs = _net(kind, 128, 64, frames, 1)
  variables = jax.eval_shape(net.init, jax.random.key(0), *inputs)
  return flops.count(jax.make_jaxpr(net.apply)(variables, *inputs).jaxpr) / 1e9


@pytest.mark.parametrize("kind", COUNTS)
def test_it_has_as_many_parameters_as_published(kind):
  variables, out = _traced(kind, 128, 64)
  assert _count(variables) == COUNTS[kind]
  if kind == "at":
    assert [x.shape for x in out] == [(2, 2, 6), (3, 2, 2, 256)]
  elif kind == "vg":
    assert out.frames.shape == out.colour.shape == (2, 2, 128, 128, 3)
    assert out.attention.shape == (2, 2, 128, 128, 1)
    assert out.mask.shape == (2, 2, 32, 32, 1)
    assert out.state.shape == (2, 8, 8, 512)
  else:
    assert out.logits.shape == (2,)
    assert out.landmarks.shape == (2, 2, 68, 2)


@pytest.mark.parametrize(
  ("kind", "frame", "clip"),
  # 0.53 for the picture, 0.08 for its landmarks, 0.01 for its mirrored edges.
  [("at", 0.32, 0.0), ("vg", 4.52 - 0.53, 0.62)],
)
def test_it_costs_as_much_as_published(kind, frame, clip, unfolded):
  """A frame, and once a clip."""
  one, three = _cost(kind, 1), _cost(kind, 3)
  assert (three - one) / 2 == pytest.approx(frame, rel=0.01)
  assert one - (three - one) / 2 == pytest.approx(clip, abs=0.01)


def test_at_64_px_maps_are_half_as_large():
  variables, out = _traced("vg", 64, 16)
  assert out.frames.shape == (2, 2, 64, 64, 3)
  assert out.mask.shape == (2, 2, 16, 16, 1)
  assert out.state.shape == (2, 4, 4, 128)
  assert variables["params"]["place"]["dense0"]["kernel"].shape == (136, 16)
  assert _traced("critic", 64, 16)[1].logits.shape == (2,)


def _world(kind, frames, size=32, width=4):
  """A tiny network with drawn weights, and inputs for it."""
  rng = np.random.default_rng(len(kind))
  net, shapes = _net(kind, size, width, frames)
  variables = jax.eval_shape(net.init, jax.random.key(0), *shapes)

  def drawn(path, x):
    values = rng.normal(size=x.shape) / np.sqrt(np.prod(x.shape[:-1]) or 1)
    if path[-1].key in ("scale", "var"):
      values = np.exp(0.2 * values)
    return values.astype(np.float32)

  variables = jax.tree_util.tree_map_with_path(drawn, variables)
  inputs = [rng.uniform(-1, 1, x.shape).astype(np.float32) for x in shapes]
  return net, variables, inputs


def _moved(net, variables, inputs, index, output):
  """Which frames of the output move with which of an input's, (out, in)."""

  def out(x):
    return output(
      net.apply(variables, *inputs[:index], x, *inputs[index + 1 :])
    )

  plain = np.asarray(out(inputs[index]))
  frames = inputs[index].shape[1]
  found = []
  for i in range(frames):
    other = inputs[index].copy()
    other[:, i] += 0.5
    changed = np.asarray(out(other))
    axes = (0, *range(2, plain.ndim))
    found.append(np.abs(changed - plain).max(axes) > 1e-6)
  return np.stack(found, 1)


def test_coefficients_know_the_frames_before_them():
  net, variables, inputs = _world("at", 3)
  moved = _moved(net, variables, inputs, 1, lambda out: out[0])
  np.testing.assert_array_equal(moved, np.tri(3, dtype=bool))


@pytest.mark.parametrize("recurrent", [True, False])
def test_frames_know_those_before_them_unless_they_must_not(recurrent):
  net, variables, inputs = _world("vg", 3)
  net = net.clone(recurrent=recurrent)
  moved = _moved(net, variables, inputs, 2, lambda out: out.frames)
  wanted = np.tri(3) if recurrent else np.eye(3)
  np.testing.assert_array_equal(moved, wanted.astype(bool))


def test_a_clip_in_two_parts_is_the_clip():
  net, variables, (picture, example, landmarks) = _world("vg", 3)
  whole = net.apply(variables, picture, example, landmarks)
  first = net.apply(variables, picture, example, landmarks[:, :2])
  second = net.apply(variables, picture, example, landmarks[:, 2:], first.state)
  for name in ("frames", "mask"):
    parts = [getattr(x, name) for x in (first, second)]
    np.testing.assert_allclose(
      np.concatenate(parts, 1), getattr(whole, name), atol=1e-5
    )
  np.testing.assert_allclose(second.state, whole.state, atol=1e-5)


def test_attention_says_where_the_picture_stays():
  net, variables, (picture, example, landmarks) = _world("vg", 3)
  out = net.apply(variables, picture, example, landmarks)
  assert np.abs(out.frames).max() <= 1
  np.testing.assert_allclose(
    out.frames,
    out.attention * out.colour + (1 - out.attention) * picture[:, None],
    atol=1e-6,
  )
  closed = jax.tree.map(np.copy, variables)
  closed["params"]["attention"]["bias"] -= 1e4
  still = net.apply(closed, picture, example, landmarks)
  np.testing.assert_allclose(
    still.frames, np.broadcast_to(picture[:, None], still.frames.shape)
  )


def test_training_moves_every_weight_and_drops_at_random():
  net, variables, inputs = _world("vg", 2)

  def run(params, key):
    out, changed = net.apply(
      {**variables, "params": params},
      *inputs,
      train=True,
      mutable=["batch_stats"],
      rngs={"dropout": key},
    )
    return (out.frames**2).sum(), (out.frames, changed["batch_stats"])

  variables, inputs = jax.tree.map(jnp.asarray, (variables, inputs))
  step = jax.jit(jax.value_and_grad(run, has_aux=True))
  (_, (frames, stats)), slope = step(variables["params"], jax.random.key(0))
  (_, (others, _)), _ = step(variables["params"], jax.random.key(1))
  assert (np.asarray(frames) != np.asarray(others)).any()
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


def test_the_critic_judges_clips_one_by_one():
  net, variables, (frames, example) = _world("critic", 3)
  run = jitted.compiled(net.apply)
  judged = run(variables, frames, example)
  alone = run(variables, frames[1:], example[1:])
  np.testing.assert_allclose(judged.logits[1:], alone.logits, rtol=1e-4)
  away = np.abs(judged.landmarks - example[:, None])
  assert 0 < away.max() <= 1
