"""The training step of every stage of a preset."""

import functools
import time
from collections.abc import Iterator
from typing import Any

import jax
import numpy as np
from ml_collections import ConfigDict

from data_pipelines.synthetic import render
from speak_jax.bench import inputs, networks
from speak_jax.bench.compiling import compiled
from speak_jax.bench.figure import Figure, skipped
from speak_jax.bench.plan import Plan
from speak_jax.configs import speak
from speak_jax.stages.base import Stage
from speak_jax.supervision import flops
from speak_jax.training import microbatches, sharding, state, step


def figures(plan: Plan) -> Iterator[Figure]:
  """Of the preset that the plan names."""
  yield from of_config(speak.get_config(plan.preset), plan)


def of_config(config: ConfigDict, plan: Plan) -> Iterator[Figure]:
  """Steps of every stage on all devices, on one batch that is there.

  What is done at every n-th step counts for the n-th part. The share of the
  peak and the memory are told where the device's are known.
  """
  mesh = sharding.make_mesh(config.mesh.data, config.mesh.model)
  config, stages, _ = microbatches.fit_to_devices(config, mesh.shape["data"])
  for name, stage in stages.items():
    yield from _of_stage(config, name, stage, mesh, plan)


def _of_stage(
  config: ConfigDict, name: str, stage: Stage, mesh: Any, plan: Plan
) -> Iterator[Figure]:
  current = state.init_state(stage, 0, {})
  placing = sharding.state_sharding(current, mesh, config.mesh.min_shard_size)
  current = sharding.shard(current, placing)
  batch = sharding.shard_batch(batch_of(stage, config), mesh)
  key = jax.device_put(jax.random.key(0), sharding.replicated(mesh))
  cold = warm = seconds = work = 0.0
  uncounted = ""
  for phase, update in step.jit_phases(stage, placing, mesh):
    for program in update.traced(current, batch, key):
      made = compiled(
        functools.partial(_traced, update, program, current, batch, key)
      )
      cold, warm = cold + made.cold, warm + made.warm
    taken = []
    for _ in range(plan.steps + 1):
      begin = time.perf_counter()
      current, _ = update(current, batch, key)
      jax.block_until_ready(current)
      taken.append(time.perf_counter() - begin)
    seconds += float(np.median(taken[1:])) / phase.every
    # After the steps, whose traces are there.
    try:
      work += update.flop(current, batch, key) / phase.every
    except ValueError as error:
      uncounted = str(error)
  size = config[name].batch
  note = f"batch {size}, {config[name].microbatch} at once"
  yield Figure(f"{name}, compile cold", "s", (cold,))
  yield Figure(f"{name}, compile warm", "s", (warm,))
  yield Figure(f"{name}, step", "s", (seconds,), note)
  yield Figure(f"{name}, samples", "samples/s", (size / seconds,))
  if uncounted:
    yield skipped(f"{name}, arithmetic", uncounted)
  else:
    yield Figure(f"{name}, arithmetic", "GFLOP/s", (1e-9 * work / seconds,))
  if (peak := flops.peak()) is not None and not uncounted:
    note = "of the dense bfloat16 peak of the maker's sheet"
    yield Figure(f"{name}, MFU", "%", (100 * work / seconds / peak,), note)
  if (memory := flops.memory().get("device_gb")) is not None:
    note = "the most so far, stages before it included"
    yield Figure(f"{name}, device memory", "GB", (memory,), note)


def _traced(
  update: step.Update, program: str, current: Any, batch: Any, key: Any
) -> jax.stages.Traced:
  return update.traced(current, batch, key)[program]


def batch_of(stage: Stage, config: ConfigDict) -> Any:
  """Noise in the shapes of a stage's batch, landmarks of a drawn face.

  How long a step takes does not hang on what it sees, unless numbers come to
  be infinite.
  """
  size = config.model.image
  (recipe,) = inputs.people(1, 1.0, size, "tight")
  face = render.render_clip(recipe).landmarks[0]

  def placed(x: Any) -> np.ndarray:
    if x.shape[-2:] == face.shape:
      return np.broadcast_to(face, x.shape).astype(x.dtype)
    return networks.drawn(x)

  return jax.tree.map(placed, stage.batch)
