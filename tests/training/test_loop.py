"""The loop on a stage of a few numbers: resuming, guards, schedule, files."""

import json
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from speak_jax.stages import optimizers
from speak_jax.training import checkpoints, loop, run_config, sharding, step
from speak_jax.training.state import ema_params, init_state
from speak_jax.training.step import update
from tests.training import toy


def rows(folder) -> list[dict]:
  text = (folder / "metrics.jsonl").read_text()
  return [json.loads(line) for line in text.splitlines()]


def equal(a, b) -> None:
  jax.tree.map(
    np.testing.assert_array_equal, jax.device_get(a), jax.device_get(b)
  )


def test_resume_is_bit_equal(tmp_path):
  straight = toy.batches()
  want, done = loop.fit(toy.run(tmp_path / "a", 7), straight, {})
  assert done
  asked = iter([False, False, True])
  half, done = loop.fit(
    toy.run(tmp_path / "b", 7),
    toy.batches(),
    {},
    should_stop=lambda step: next(asked),
  )
  assert not done
  assert int(half.step) == 3
  again = toy.batches()
  got, done = loop.fit(toy.run(tmp_path / "b", 7), again, {})
  assert done
  equal(want, got)
  assert straight.get_state() == again.get_state()
  learned = [
    [
      {k: v for k, v in row.items() if k.split("/")[0] in ("main", "side")}
      for row in rows(tmp_path / name)
    ]
    for name in ("a", "b")
  ]
  assert learned[0] == learned[1]


def test_resume_drops_the_lines_of_a_lost_run(tmp_path):
  run = toy.run(tmp_path, 4, save_every=2)
  loop.fit(run, toy.batches(), {})
  with (tmp_path / "metrics.jsonl").open("a") as lines:
    lines.write('{"step": 9, "main/loss": 1}\n{"step": 10, "ma')
  loop.fit(run._replace(steps=6), toy.batches(), {})
  assert [row["step"] for row in rows(tmp_path)] == [1, 2, 3, 4, 5, 6]


def test_frozen_groups_and_lazy_phases(tmp_path):
  before, _ = toy.stage().init(5, {})
  state, _ = loop.fit(toy.run(tmp_path, 5), toy.batches(), {})
  equal(before["c"], state.params["c"])
  assert not np.array_equal(before["a"]["w"], state.params["a"]["w"])
  fired = [row["step"] for row in rows(tmp_path) if "side/loss" in row]
  assert fired == [1, 4]  # every third step, the first one included
  assert int(state.opt["side"][0].count) == 2
  assert int(state.opt["main"][0].count) == 5


def test_figures_are_read_while_the_next_step_runs(tmp_path):
  """A line waits for the step after it, but not beyond a checkpoint."""
  seen = {}

  def on_step(number, state):
    del state
    lines = (tmp_path / "metrics.jsonl").read_text().splitlines()
    seen[number] = [json.loads(line)["step"] for line in lines]

  run = toy.run(tmp_path, 6, save_every=4)
  loop.fit(run, toy.batches(), {}, on_step=on_step)
  # The first step is waited for: it compiles.
  assert seen == {
    1: [1], 2: [1], 3: [1, 2], 4: [1, 2, 3, 4], 5: [1, 2, 3, 4],
    6: [1, 2, 3, 4, 5, 6],
  }  # fmt: skip


def test_a_step_moves_nothing_by_accident(tmp_path, monkeypatch):
  """An array of the host that meets one of the device is an error."""
  true = step.Update.__call__

  def careless(self, state, *args):
    return true(self, state._replace(step=state.step + 0), *args)

  monkeypatch.setattr(step.Update, "__call__", careless)
  with pytest.raises(Exception, match="Disallowed host-to-device"):
    loop.fit(toy.run(tmp_path, 2), toy.batches(), {})


def test_a_stage_without_a_phase_at_every_step_is_refused(tmp_path):
  run = toy.run(tmp_path, 2)
  run = run._replace(stage=run.stage._replace(phases=run.stage.phases[:1]))
  with pytest.raises(ValueError, match="toy: no phase is due at every step"):
    loop.fit(run, toy.batches(), {})


def test_a_phase_begins_at_its_start(tmp_path, capsys):
  """Its optimizer has then seen nothing; a resumed run keeps to it."""
  run = toy.run(tmp_path, 4)._replace(stage=toy.stage(every=3, start=5))
  state, _ = loop.fit(run, toy.batches(), {})
  assert "side/loss" not in rows(tmp_path)[-1]
  assert int(state.opt["side"][0].count) == 0
  equal(state.params["b"], run.stage.init(run.seed, {})[0]["b"])
  state, _ = loop.fit(run._replace(steps=11), toy.batches(), {})
  fired = [row["step"] for row in rows(tmp_path) if "side/loss" in row]
  assert fired == [7, 10]  # after 6 and 9 updates: every third, from 5 on
  assert int(state.opt["side"][0].count) == 2
  loop.fit(run._replace(steps=12), toy.batches(), {})
  said = capsys.readouterr().err
  assert said.count("toy: side begins at step 5") == 2  # once a start before


def test_given_groups_are_taken(tmp_path):
  given = {"c": ({"w": np.full(4, 2.0, np.float32)}, {})}
  state, _ = loop.fit(toy.run(tmp_path, 1), toy.batches(), given)
  equal(state.params["c"], given["c"][0])


@pytest.mark.parametrize("size", [1, 2])  # 4 microbatches, 2 on two devices
def test_collections_are_the_mean_of_the_microbatches(size):
  """Whatever their number and that of the devices."""
  stage = toy.stage()._replace(microbatch=size)
  mesh = sharding.make_mesh(-1, 1)
  state = init_state(stage, 0, {})
  placing = sharding.state_sharding(state, mesh, 8)
  state = sharding.shard(state, placing)
  batch = toy.Batch(np.arange(16, dtype=np.float32).reshape(4, 4))
  _, run = step.jit_phases(stage, placing, mesh)[1]
  state, _ = run(state, sharding.shard_batch(batch, mesh), jax.random.key(0))
  assert state.vars["a"]["stats"]["seen"] == batch.x.sum() * size / 4


def test_bad_batch_changes_nothing():
  stage = toy.stage()
  state = init_state(stage, 0, {})
  one = jax.jit(update(stage, 1))
  key = jax.random.key(0)
  good = toy.Batch(jnp.ones((4, 4)))
  bad = toy.Batch(good.x.at[0, 0].set(jnp.nan))
  state, metrics = one(state, good, key)
  assert metrics["bad"] == 0
  same, metrics = one(state, bad, key)
  assert metrics["bad"] == 1
  equal(state._replace(step=state.step + 1), same)


def test_collapsed_code_ends_the_run(tmp_path):
  run = toy.run(tmp_path, 30, collapse=1e6, collapse_after=5)
  with pytest.raises(loop.TrainingError, match="the code code has collapsed"):
    loop.fit(run, toy.batches(), {})
  assert len(rows(tmp_path)) < 20


def test_average_warms_up():
  stage = toy.stage()
  state = init_state(stage, 0, {})
  old = np.array(state.ema["a"]["w"])
  batch = toy.Batch(jnp.ones((4, 4)))
  state, _ = jax.jit(update(stage, 1))(state, batch, jax.random.key(0))
  new = np.asarray(state.params["a"]["w"])
  want = old + 0.9 * (new - old)  # decay 1/10 at step 0, not .9
  np.testing.assert_allclose(state.ema["a"]["w"], want, rtol=1e-5)
  assert ema_params(state)["a"] is state.ema["a"]
  assert ema_params(state)["c"] is state.params["c"]


def test_state_is_donated(tmp_path):
  run = toy.run(tmp_path, 1)
  state = init_state(run.stage, 0, {})
  placing = sharding.state_sharding(state, run.mesh, run.min_shard_size)
  state = sharding.shard(state, placing)
  (_, main), *_ = step.jit_phases(run.stage, placing, run.mesh)[1:]
  batch = sharding.shard_batch(next(toy.batches()), run.mesh)
  main(state, batch, jax.random.key(0))
  assert state.params["a"]["w"].is_deleted()


SETTINGS = types.SimpleNamespace(
  lr=1e-2, warmup=2, floor=0.1, b1=0.9, b2=0.99, clip=1.0
)


def test_learning_rate_of_a_part():
  """Paths have factors; the longest prefix counts, whole words only."""
  params = {
    "a": {"w": jnp.ones(3), "wide": jnp.ones(3)},
    "b": {"w": jnp.ones(3), "v": jnp.ones(3)},
  }
  factors = {"a/w": 0.25, "b": 0.5, "b/v": 0.0}
  grads = jax.tree.map(jnp.ones_like, params)
  plain = optimizers.adam(("a", "b"), SETTINGS, 100)
  scaled = optimizers.adam(("a", "b"), SETTINGS, 100, factors)
  state = plain.tx.init(params)
  assert jax.tree.structure(state) == jax.tree.structure(scaled.tx.init(params))
  whole, _ = plain.tx.update(grads, state, params)
  part, _ = scaled.tx.update(grads, state, params)
  want = {"a": {"w": 0.25, "wide": 1.0}, "b": {"w": 0.5, "v": 0.0}}
  jax.tree.map(
    lambda a, b, factor: np.testing.assert_allclose(b, factor * a),
    whole,
    part,
    want,
  )
  for wrong, line in (({"a/x": 1.0}, "'a/x': no such"), ({"a": -1.0}, "< 0")):
    with pytest.raises(ValueError, match=line):
      optimizers.adam(("a", "b"), SETTINGS, 100, wrong).tx.init(params)


def test_learning_rates_are_logged():
  """The one that an update is made with, after what other phases did."""
  stage = toy.stage()
  adam = optimizers.adam(("a",), SETTINGS, 100, {"a/w": 0.5})
  stage = stage._replace(optims={**stage.optims, "main": adam})
  state = init_state(stage, 0, {})
  one = jax.jit(update(stage, 1))
  for want in (1 / 3, 2 / 3, 1.0):  # of the peak; two steps of warm-up
    state, metrics = one(state, toy.Batch(jnp.ones((4, 4))), jax.random.key(0))
    np.testing.assert_allclose(metrics["lr"], 1e-2 * want, rtol=1e-5)
    np.testing.assert_allclose(metrics["lr/a/w"], 5e-3 * want, rtol=1e-5)


def test_files(tmp_path):
  run = toy.run(tmp_path, 4, sheet_every=2, first_save=1, save_every=2)
  state, _ = loop.fit(
    run, toy.batches(), {}, held_out=next(toy.batches(seed=1))
  )
  assert len(list((tmp_path / "samples").glob("shades_*.png"))) == 2
  assert list((tmp_path / "tb").glob("events*"))
  kept = {p.name for p in (tmp_path / "checkpoints").iterdir()}
  assert kept == {"2", "4"}  # the newest two
  row = rows(tmp_path)[0]
  assert {"main/loss", "main/grad_norm", "data_wait", "step"} <= set(row)
  assert rows(tmp_path)[-1]["machine/tflops"] > 0
  assert 0 <= row["data_wait"] <= 1
  run_folder = tmp_path.parent
  name = tmp_path.name
  assert checkpoints.newest_verified_step(run_folder, name) == 4
  params, extra = checkpoints.restore_params(run_folder, name, ["a", "c"])
  equal(params["a"], state.ema["a"])
  equal(params["c"], state.params["c"])
  assert extra["a"]["stats"]["seen"] == state.vars["a"]["stats"]["seen"]
  raw, _ = checkpoints.restore_params(run_folder, name, ["a"], ema=False)
  equal(raw["a"], state.params["a"])
  with pytest.raises(ValueError, match="no group nobody"):
    checkpoints.restore_params(run_folder, name, ["nobody"])


def test_checkpoint_of_another_model_is_refused(tmp_path):
  run = toy.run(tmp_path, 1)
  loop.fit(run, toy.batches(), {})
  other = run.stage.init

  def wider(seed, given):
    params, extra = other(seed, given)
    params["a"]["w"] = jnp.zeros((4, 7))
    return params, extra

  with pytest.raises(ValueError, match="not a checkpoint of this config"):
    loop.fit(
      run._replace(steps=2, stage=run.stage._replace(init=wider)),
      toy.batches(),
      {},
    )


def test_nothing_to_restore(tmp_path):
  assert checkpoints.newest_verified_step(tmp_path, "toy") is None
  with pytest.raises(ValueError, match="no checkpoint"):
    checkpoints.restore_params(tmp_path, "toy", ["a"])
  with pytest.raises(ValueError, match="not a run"):
    run_config.read(tmp_path)
