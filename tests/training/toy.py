"""A stage without networks: two groups, two optimizers, three phases."""

import types
from typing import Any, NamedTuple

import grain
import jax
import jax.numpy as jnp
import numpy as np
import optax

from speak_jax.stages.base import (
  LossOut,
  Optim,
  Phase,
  Stage,
  code_std,
  ramp,
)
from speak_jax.training import sharding
from speak_jax.training.stage_run import StageRun


class Batch(NamedTuple):
  x: Any  # (b, 4)


def stage(every: int = 3, start: int = 0, batch: int = 4) -> Stage:
  """Group a fits noise, b a penalty now and then, c is frozen."""

  def init(seed, given):
    rng = np.random.default_rng(seed)
    params = {
      "a": {"w": jnp.asarray(rng.normal(size=(4, 6)), jnp.float32)},
      "b": {"w": jnp.asarray(rng.normal(size=6), jnp.float32)},
      "c": {"w": jnp.ones(4)},
    }
    if "c" in given:
      params["c"] = given["c"][0]
    return params, {"a": {"stats": {"seen": jnp.zeros(())}}, "b": {}, "c": {}}

  def main(params, vars, batch, step, key):
    x = batch.x * params["c"]["w"]
    noise = jax.random.normal(key, (6,))
    code = x @ params["a"]["w"]
    loss = ((code - params["b"]["w"] - noise) ** 2).mean() * ramp(step, (0, 4))
    seen = vars["a"]["stats"]["seen"] + batch.x.sum()
    metrics = {"std/code": code_std(code)}
    return LossOut(loss, metrics, {"a": {"stats": {"seen": seen}}})

  def penalty(params, vars, batch, step, key):
    del vars, batch, step, key
    return LossOut((params["b"]["w"] ** 2).sum(), {}, {})

  def sample_grids(params, vars, batch):
    del params, vars
    shade = jnp.clip(batch.x[:, :1, None, None] * 60 + 120, 0, 255)
    picture = jnp.broadcast_to(shade, (batch.x.shape[0], 4, 4, 3))
    return {"shades": picture[None].astype(jnp.uint8)}

  return Stage(
    name="toy",
    init=init,
    pretrained_from={"c": "earlier"},
    optims={
      "main": Optim(("a",), optax.adam(0.1)),
      "side": Optim(("b",), optax.adam(0.01)),
    },
    phases=(
      Phase("side", "side", penalty, every, start),
      Phase("main", "main", main),
    ),
    ema_groups=("a",),
    ema_decay=0.9,
    batch=Batch(jax.ShapeDtypeStruct((batch, 4), jnp.float32)),
    microbatch=2,
    sample_grids=sample_grids,
  )


def batches(seed: int = 0, spoil: tuple[int, ...] = (), size: int = 4) -> Any:
  """Endless batches; the `spoil`-th ones hold a NaN."""

  def draw(i, rng):
    x = rng.normal(size=4).astype(np.float32)
    x[0] = np.nan if i // size in spoil else x[0]
    return Batch(x)

  numbers = grain.MapDataset.source(list(range(64))).seed(seed).repeat()
  made = numbers.random_map(draw).batch(
    size, batch_fn=lambda rows: Batch(np.stack([row.x for row in rows]))
  )
  return iter(made.to_iter_dataset(grain.ReadOptions(num_threads=0)))


def run(folder: Any, steps: int, **changes: Any) -> StageRun:
  settings = dict(
    log_every=1,
    save_every=100,
    save_seconds=1e6,
    first_save=100,
    first_seconds=1e6,
    keep=2,
    sheet_every=0,
    bad_steps=3,
    rollbacks=3,
    collapse=0.02,
    collapse_after=1000,
    heartbeat=10.0,
    limit_compile=600.0,
    limit_data=600.0,
    limit_step=600.0,
    limit_save=600.0,
  )
  settings.update(changes)
  return StageRun(
    stage=stage(),
    steps=steps,
    seed=5,
    folder=folder,
    mesh=sharding.make_mesh(-1, 1),
    min_shard_size=8,
    settings=types.SimpleNamespace(**settings),
    meta={"commit": "none"},
  )
