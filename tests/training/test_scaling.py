"""Losses scaled for float16: skipped updates, recovery, growth, resuming."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from orbax.checkpoint import v1 as ocp

from speak_jax.stages.base import LossOut, Scaling
from speak_jax.stages.registry import STAGES
from speak_jax.training import loop, scaling, sharding, step
from speak_jax.training.state import init_state
from speak_jax.training.step import update
from tests.stages import small
from tests.training import toy

ONES = toy.Batch(jnp.ones((4, 4)))


def half(initial: float, growth: int = 3, weight: float = 1.0):
  """The toy stage with one phase, whose product is of float16."""
  plain = toy.stage()

  def main(params, vars, batch, step, key):
    del key
    code = batch.x.astype(jnp.float16) @ params["a"]["w"].astype(jnp.float16)
    loss = weight * (code.astype(jnp.float32) ** 2).mean()
    seen = vars["a"]["stats"]["seen"] + batch.x.sum()
    return LossOut(loss, {}, {"a": {"stats": {"seen": seen}}})

  phase = plain.phases[1]._replace(loss=main)
  return plain._replace(phases=(phase,), scaling=Scaling(initial, growth))


def equal(a, b) -> None:
  jax.tree.map(
    np.testing.assert_array_equal, jax.device_get(a), jax.device_get(b)
  )


def test_an_overflow_is_skipped_and_halves_the_scale():
  stage = half(2.0**20)
  one, key = jax.jit(update(stage, 0)), jax.random.key(0)
  before = init_state(stage, 0, {})
  after, metrics = one(before, ONES, key)
  assert metrics["skipped"] == 1 and metrics["bad"] == 0
  assert np.isfinite(metrics["loss"])
  for name in ("params", "vars", "opt", "ema"):
    equal(getattr(after, name), getattr(before, name))
  assert int(after.step) == 1  # the batch has had its turn
  assert metrics["loss_scale"] == 2.0**20
  assert after.scale["main"] == (2.0**19, 0)
  equal(after.scale["side"], before.scale["side"])

  tries = 0
  while metrics["skipped"]:
    after, metrics = one(after, ONES, key)
    tries += 1
  assert 1 < tries < 20 and metrics["bad"] == 0
  # Now it has learned, as it does in float32.
  plain = stage._replace(scaling=None)
  want, _ = jax.jit(update(plain, 0))(init_state(plain, 0, {}), ONES, key)
  np.testing.assert_allclose(
    after.params["a"]["w"], want.params["a"]["w"], atol=1e-3
  )
  assert int(after.opt["main"][0].count) == 1
  assert after.vars["a"]["stats"]["seen"] == 16


def test_one_of_four_microbatches_that_overflows_skips_the_update():
  """Together they are left out, once; without it they are as one batch."""
  mesh = jax.make_mesh(
    (1, 1),
    ("data", "model"),
    axis_types=(jax.sharding.AxisType.Auto,) * 2,
    devices=jax.devices()[:1],
  )
  stage = half(2.0**6)._replace(microbatch=1)
  before = init_state(stage, 0, {})
  placing = sharding.state_sharding(before, mesh, 8)
  ((_, turns),) = step.jit_phases(stage, placing, mesh)
  key = jax.random.key(0)

  def updated(x):
    batch = sharding.shard_batch(toy.Batch(x), mesh)
    state = sharding.shard(before, placing)
    return turns(state, batch, jax.device_put(key, sharding.replicated(mesh)))

  x = np.ones((4, 4), np.float32)
  x[2] = 100
  # Alone it overflows, the others do not.
  for row, overflows in zip(x, (False, False, True, False), strict=True):
    _, alone = jax.jit(update(stage, 0))(before, toy.Batch(row[None]), key)
    assert alone["skipped"] == overflows
  after, metrics = updated(x)
  assert metrics["skipped"] == 1 and metrics["bad"] == 0
  assert np.isfinite(metrics["loss"])
  for name in ("params", "vars", "opt", "ema"):
    equal(getattr(after, name), getattr(before, name))
  assert int(after.step) == 1
  equal(after.scale["main"], scaling.LossScale(2.0**5, 0))

  after, metrics = updated(np.ones((4, 4), np.float32))
  assert metrics["skipped"] == metrics["bad"] == 0
  equal(after.scale["main"], scaling.LossScale(2.0**6, 1))
  # Divided by the scale once and by the number of microbatches once.
  plain = stage._replace(scaling=None)
  want, whole = jax.jit(update(plain, 0))(before, ONES, key)
  np.testing.assert_allclose(
    metrics["grad_norm"], whole["grad_norm"], rtol=2e-3
  )
  np.testing.assert_allclose(
    after.params["a"]["w"], want.params["a"]["w"], atol=1e-3
  )


def test_the_scale_doubles_after_good_updates_and_has_bounds():
  settings = Scaling(2.0**23, 3)
  scale = scaling.initial(settings)
  seen = []
  for overflow in [False] * 7 + [True] * 2 + [False] * 3:
    scale = scaling.adjusted(scale, settings, jnp.array(overflow))
    seen.append(float(scale.factor) / 2.0**23)
  # At most 2^24; an overflow begins the count anew.
  assert seen == [1, 1, 2, 2, 2, 2, 2, 1, 0.5, 0.5, 0.5, 1]
  scale = scaling.LossScale(jnp.float32(1), jnp.int32(0))
  assert not scaling.can_shrink(scale)
  assert scaling.adjusted(scale, settings, jnp.array(True)).factor == 1


def test_small_gradients_come_through():
  """A thousandth of float16's least number, times 2^15 and divided again."""
  key, weight = jax.random.key(0), 1e-9

  def slope(stage):
    state = init_state(stage, 0, {})
    _, metrics = jax.jit(update(stage, 0))(state, ONES, key)
    return float(metrics["grad_norm"])

  scaled = slope(half(2.0**24, weight=weight))
  assert slope(half(1.0, weight=weight)) == 0
  np.testing.assert_allclose(scaled / weight, slope(half(1.0)), rtol=1e-2)


def test_resume_is_bit_equal_with_its_scale(tmp_path):
  run = toy.run(tmp_path / "a", 16)._replace(stage=half(2.0**21))
  want, _ = loop.fit(run, toy.batches(), {})
  assert 2 < want.scale["main"].factor < 2.0**20  # it has shrunk and grown
  for stop in (3, 11):
    count = iter(range(stop, 0, -1))
    part = run._replace(folder=tmp_path / "b")
    loop.fit(
      part, toy.batches(), {}, should_stop=lambda step, c=count: next(c) == 1
    )
  got, done = loop.fit(run._replace(folder=tmp_path / "b"), toy.batches(), {})
  assert done
  equal(want, got)
  # What is not of float16 keeps no scale, as ever.
  plain = run._replace(stage=toy.stage(), folder=tmp_path / "c", steps=1)
  loop.fit(plain, toy.batches(), {})
  for name, keys in (
    ("b/checkpoints/16", {"step", "opt", "scale"}),
    ("c/checkpoints/1", {"step", "opt"}),
  ):
    stored = ocp.checkpointables_metadata(str(tmp_path / name)).metadata
    assert set(stored["optim"]) == keys


def test_a_scale_at_its_floor_ends_the_run_in_one_line(tmp_path):
  """What overflows whatever the scale is no fault of the scale."""
  stage = half(4.0)

  def main(params, vars, batch, step, key):
    del batch, step, key
    loss = jnp.sqrt(0 * params["a"]["w"]).sum()  # 0, of slope 0 / 0
    return LossOut(loss, {}, {"a": vars["a"]})

  phase = stage.phases[0]._replace(loss=main)
  run = toy.run(tmp_path, 99)._replace(stage=stage._replace(phases=(phase,)))
  with pytest.raises(loop.TrainingError) as error:
    loop.fit(run, toy.batches(), {})
  assert "not finite for 3 steps in a row" in str(error.value)
  assert "rolled back 3 times" in str(error.value)
  assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", ["syncnet"])
def test_a_network_learns_in_float16(name):
  config = small.config(model__dtype="float16", syncnet__steps=40)
  stage = STAGES[name].make(config)
  assert stage.scaling == Scaling(2.0**15, 2000)
  one = jax.jit(update(stage, 0))
  state, batch = init_state(stage, 0, {}), small.batch(stage)
  losses, skipped = [], 0
  for _ in range(40):
    state, metrics = one(state, batch, jax.random.key(0))
    assert metrics["bad"] == 0
    skipped += int(metrics["skipped"])
    losses.append(float(metrics["loss"]))
  assert np.mean(losses[-5:]) < 0.7 * np.mean(losses[:5])
  assert skipped < 10


@pytest.mark.parametrize(
  "name", ["irfd", pytest.param("speak", marks=pytest.mark.campaign)]
)
def test_a_network_finds_its_scale_in_float16(name):
  """From a scale that overflows, it learns as soon as one fits."""
  config = small.config(
    model__dtype="float16",
    train__loss_scale__initial=2.0**24,
    **{f"{name}__steps": 20, f"{name}__optim__warmup": 0},
  )
  stage = STAGES[name].make(config)
  one = jax.jit(update(stage, 0))
  state, batch = init_state(stage, 0, {}), small.batch(stage)
  losses, skipped, scale = [], [], 2.0**24
  for _ in range(20):
    state, metrics = one(state, batch, jax.random.key(0))
    assert metrics["bad"] == 0 and np.isfinite(metrics["loss"])
    assert metrics["loss_scale"] == scale
    skipped.append(int(metrics["skipped"]))
    scale /= 2 if skipped[-1] else 1
    losses.append(float(metrics["loss"]))
  assert skipped[0] and not any(skipped[-5:]), skipped
  assert scale >= 2.0**8
  assert np.mean(losses[-3:]) < 0.9 * losses[0], losses
