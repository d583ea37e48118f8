"""Two devices do what one does; large arrays are split, small ones copied."""

import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from speak_jax.stages import syncnet
from speak_jax.training import sharding, step
from speak_jax.training.state import abstract_state, init_state
from tests.stages import small
from tests.training import toy

two = pytest.mark.skipif(jax.device_count() < 2, reason="needs two devices")


def mesh(data: int, model: int):
  return jax.make_mesh(
    (data, model),
    ("data", "model"),
    axis_types=(AxisType.Auto,) * 2,
    devices=jax.devices()[: data * model],
  )


@two
def test_rules_go_by_name_size_and_divisor():
  tree = {
    "layer": {"kernel": jnp.zeros((3, 4, 8)), "bias": jnp.zeros(64)},
    "output": {"kernel": jnp.zeros((8, 9))},
    "odd": {"kernel": jnp.zeros((4, 33))},
    "small": {"kernel": jnp.zeros((2, 4))},
  }
  found = sharding.state_sharding(tree, mesh(1, 2), 50)
  assert found["layer"]["kernel"].spec == PartitionSpec(None, None, "model")
  assert found["output"]["kernel"].spec == PartitionSpec("model")
  for copied in (found["layer"]["bias"], *found["odd"].values()):
    assert copied.spec == PartitionSpec()
  assert found["small"]["kernel"].spec == PartitionSpec()
  for rule in jax.tree.leaves(sharding.state_sharding(tree, mesh(2, 1), 50)):
    assert rule.spec == PartitionSpec()


@pytest.mark.parametrize(
  ("owners", "parts"),
  [
    ([[0], [0], [1], [1]], [(0, 2), (1, 2)]),  # data over hosts
    ([[0, 0], [1, 1]], [(0, 2), (1, 2)]),  # a model within a host
    ([[0, 1]], [(0, 1), (0, 1)]),  # a model over two hosts
    ([[0, 1], [0, 1], [2, 3], [2, 3]], [(0, 2), (0, 2), (1, 2), (1, 2)]),
    ([[0], [1], [0], [1]], None),  # a host's rows are not beside one another
    ([[0, 0], [0, 1], [1, 1]], None),  # hosts that share some rows
  ],
)
def test_who_reads_which_part_of_a_batch(owners, parts):
  """Processes that share examples read the same ones."""
  grid = np.array(owners)
  if parts is None:
    with pytest.raises(ValueError, match=r"config\.mesh"):
      sharding.data_shard_of(grid, 0)
  else:
    ranks = range(grid.max() + 1)
    assert [sharding.data_shard_of(grid, rank) for rank in ranks] == parts


def on_eight_devices(module, *flags):
  """Runs a module by itself with eight CPU devices."""
  run = subprocess.run(
    [sys.executable, "-m", module, *flags],
    cwd=Path(__file__).parents[2],
    env=os.environ | {"JAX_NUM_CPU_DEVICES": "8"},
    capture_output=True,
    text=True,
  )
  assert run.returncode == 0, run.stderr[-2000:]
  return run


SHORT = {"syncnet": ("8 x 1", "4 x 2"), "irfd": ("2 x 1",), "speak": ()}
LONG = SHORT | {
  "irfd": ("2 x 1", "4 x 1", "8 x 1"),
  "speak": ("2 x 1", "8 x 1"),
}


@pytest.mark.parametrize(
  ("flags", "meshes"),
  [([], SHORT), pytest.param(["--all"], LONG, marks=pytest.mark.campaign)],
)
def test_many_devices_train_as_one(flags, meshes):
  """Five steps of every stage, swaps and a discriminator included.

  And what devices send to each other: gradients, once an update, and nothing
  while microbatches are added up; for SPEAK, without --campaigns, that alone.
  Rounding puts a place on the other side of a pixel in a step now and then; a
  fault is in every step.
  """
  run = on_eight_devices("tests.training.many_devices", *flags)
  found = json.loads(run.stdout)
  assert set(found) == set(meshes)
  for name, those in meshes.items():
    steps = found[name]["apart"]
    assert {x for x, apart in steps.items() if len(apart) == 5} == set(those)
    assert len(found[name]["moved"]) == (5 if those else 0)
  assert set(found["irfd"]["exchanged"]["2 x 1"]) == {
    f"{phase} {program}"
    for phase in ("disc", "disc_r1", "gen")
    for program in ("accumulate", "finish")
  }
  for name, figures in found.items():
    assert min(figures["moved"], default=1.0) > 1e-4, name
    for devices in meshes[name]:
      apart = figures["apart"][devices]
      assert np.median(apart) < 1e-6, (name, devices)
      assert max(apart) < 1e-5, (name, devices)
    assert figures["exchanged"]
    for devices, programs in figures["exchanged"].items():
      for program, (kinds, share) in programs.items():
        where = name, devices, program
        if program.endswith("accumulate"):
          assert kinds == [], where
        else:
          assert kinds == ["all-reduce"], where
          # Of the gradient: once, and what is logged. A gradient that is
          # always 0 (R1's of a last bias) is not sent.
          assert 0.98 < share < 1.02, where


def test_a_run_moves_to_fewer_devices():
  """From eight to eight, four, one: the same state, then the same losses."""
  run = on_eight_devices("tests.training.resharding")
  found = json.loads(run.stdout)
  assert list(found) == ["8", "4", "1"]
  assert len({one["restored"] for one in found.values()}) == 1
  assert len({one["position"] for one in found.values()}) == 1
  assert found["8"]["apart"] == 0
  for devices in ("4", "1"):
    assert found[devices]["apart"] < 1e-5
    assert found[devices]["steps"] == 100
    assert found[devices]["lowest"] > 1e-3  # there is something to compare
  assert "goes on on 4 x cpu" in run.stderr
  assert "goes on on 8 x" not in run.stderr


@two
def test_mesh_is_checked():
  assert dict(sharding.make_mesh(-1, 1).shape) == {
    "data": jax.device_count(),
    "model": 1,
  }
  with pytest.raises(ValueError, match=r"config\.mesh"):
    sharding.make_mesh(-1, 7)


def one_step(devices, microbatch):
  """A step of SyncNet: its loss is smooth, so rounding stays rounding."""
  stage = syncnet.make(
    small.config(syncnet__batch=4, syncnet__microbatch=microbatch)
  )
  state = init_state(stage, 0, {})
  placing = sharding.state_sharding(state, devices, 64)
  if devices.shape["model"] > 1:
    split = [rule.spec for rule in jax.tree.leaves(placing.params)]
    assert any("model" in spec for spec in split)
  state = sharding.shard(state, placing)
  ((_, run),) = step.jit_phases(stage, placing, devices)
  key = jax.device_put(jax.random.key(0), sharding.replicated(devices))
  batch = sharding.shard_batch(small.batch(stage), devices)
  state, metrics = run(state, batch, key)
  # Adam's moments hold the gradient; its step is the gradient's sign alone.
  return jax.device_get((metrics, state.opt))


@two
@pytest.mark.parametrize(
  ("shape", "microbatch"), [((2, 1), 2), ((1, 2), 4), ((1, 1), 2), ((2, 1), 1)]
)
def test_devices_and_microbatches_equal_one(shape, microbatch):
  one, other = one_step(mesh(1, 1), 4), one_step(mesh(*shape), microbatch)
  # The spread of codes is taken over a microbatch.
  metrics = [
    {k: v for k, v in x[0].items() if not k.startswith(("std/", "spread/"))}
    for x in (one, other)
  ]
  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5),
    (metrics[0], one[1]),
    (metrics[1], other[1]),
  )


@two
@pytest.mark.parametrize("size", [1, 2])  # two microbatches a device, and one
def test_an_explicit_mesh_gives_the_same_step(size):
  """Of a toy stage, on axes whose shardings are part of the types.

  The toy's network is replicated: only that its batch is split shows here.
  The trace below has SyncNet's.
  """
  stage = toy.stage()._replace(microbatch=size)
  batch = next(toy.batches())
  results = []
  for kind in (AxisType.Auto, AxisType.Explicit):
    devices = jax.make_mesh((2, 1), ("data", "model"), axis_types=(kind,) * 2)
    run = toy.run(Path(), 1)._replace(stage=stage, mesh=devices)
    with jax.set_mesh(devices):
      updates = step.jit_phases(stage, run.state_sharding(), devices)
      state = init_state(stage, run.seed, {})
      state, scalars = step.train_step(
        updates,
        sharding.shard(state, run.state_sharding()),
        sharding.shard_batch(batch, devices),
        run.key(),
        0,
      )
    assert {str(x.sharding.spec) for x in jax.tree.leaves(state.params)} == {
      str(PartitionSpec())
    }
    results.append(jax.device_get((state, scalars)))
  jax.tree.map(np.testing.assert_array_equal, *results)


@two
def test_syncnet_traces_on_an_explicit_mesh():
  """So do IRFD and SPEAK, whose traces take longer."""
  devices = jax.make_mesh(
    (2, 1), ("data", "model"), axis_types=(AxisType.Explicit,) * 2
  )
  stage = syncnet.make(small.config(syncnet__batch=4, syncnet__microbatch=2))
  shardings = sharding.state_sharding(abstract_state(stage), devices, 64)
  key = jax.eval_shape(lambda: jax.random.key(0))
  split = NamedSharding(devices, PartitionSpec("data"))
  batch = jax.tree.map(
    lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=split),
    stage.batch,
  )
  for _, update in step.jit_phases(stage, shardings, devices):
    assert update.traced(abstract_state(stage), batch, key)


@pytest.mark.parametrize("size", [2, 4])  # two microbatches, and one
def test_what_has_run_is_not_traced_again_to_be_counted(size, monkeypatch):
  traced = []
  for name in ("compute_gradients", "apply_gradients"):
    was = getattr(step, name)
    monkeypatch.setattr(
      step, name, lambda *a, n=name, f=was: traced.append(n) or f(*a)
    )
  stage = toy.stage()._replace(microbatch=size)
  run = toy.run(Path(), 1)._replace(stage=stage, mesh=mesh(1, 1))
  updates = step.jit_phases(stage, run.state_sharding(), run.mesh)
  state = sharding.shard(init_state(stage, run.seed, {}), run.state_sharding())
  batch, key = sharding.shard_batch(next(toy.batches()), run.mesh), run.key()
  for _, update in updates:
    state, _ = update(state, batch, key)
  once = Counter(dict.fromkeys(traced, len(updates)))
  assert Counter(traced) == once and len(once) == 2
  assert any(update.flop(state, batch, key) for _, update in updates)
  assert Counter(traced) == once


@pytest.mark.parametrize("size", [2, 4])  # two microbatches, and one
def test_a_step_on_one_device_may_run_where_transfers_are_forbidden(size):
  """As the loop runs it: what a step needs is put there by its own leave."""
  stage = toy.stage()._replace(microbatch=size)
  run = toy.run(Path(), 1)._replace(stage=stage, mesh=mesh(1, 1))
  updates = step.jit_phases(stage, run.state_sharding(), run.mesh)
  state = sharding.shard(init_state(stage, run.seed, {}), run.state_sharding())
  batch, key = sharding.shard_batch(next(toy.batches()), run.mesh), run.key()
  with jax.transfer_guard("disallow"):
    state, _ = step.train_step(updates, state, batch, key, 0)
  assert int(state.step) == 1
