"""Prints what many devices do otherwise than one; run by test_sharding.py.

  python -m tests.training.many_devices [--all]

For each stage: how far five steps of one device move the parameters, how far
away several devices arrive that start each step from the same state, and what
they exchange in which program. Without --all SPEAK is not trained, and fewer
meshes are looked at: each is half a minute of XLA or more.

Every step by itself, for networks that read pictures at places they predict
amplify rounding: one place that rounds to the other side of a pixel is a part
in a hundred of how far they moved after two more steps.
"""

import argparse
import json
import sys
from typing import Any

import jax
import numpy as np
import optax

from speak_jax.stages import irfd, speak, syncnet
from speak_jax.stages.base import Stage
from speak_jax.training import sharding, step
from speak_jax.training.state import abstract_state, init_state
from tests.benchmarks.scaling import collectives, trained
from tests.stages import small

STEPS, BATCH, MICROBATCH = 5, 16, 2
MESHES = {
  "syncnet": ((8, 1), (4, 2)),
  "irfd": ((2, 1),),
  "speak": ((2, 1),),
}
ALL_MESHES = {
  "syncnet": ((8, 1), (4, 2)),
  "irfd": ((2, 1), (4, 1), (8, 1)),
  "speak": ((2, 1), (8, 1)),
}
TRAINED = ("syncnet", "irfd")  # without --all


def made(module: Any) -> Stage:
  """A stage whose steps are smooth in the gradient, as rounding wants it."""
  changes: dict[str, Any] = {
    f"{stage}__{key}": value
    for stage in ("syncnet", "irfd", "speak")
    for key, value in (("batch", BATCH), ("microbatch", MICROBATCH))
  }
  stage = module.make(
    small.config(
      **changes,
      irfd__weights__swap_pose=0.1,
      irfd__weights__swap_identity=0.1,
      irfd__weights__gan=0.1,
      irfd__gan_ramp=(0, 0),
      speak__sync_ramp=(0, 0),
    )
  )
  return stage._replace(
    optims={
      name: optim._replace(tx=optax.sgd(2e-4, momentum=0.9), rates={})
      for name, optim in stage.optims.items()
    }
  )


class Side:
  """A stage's programs on some devices, and what they do to a state."""

  def __init__(self, stage: Stage, data: int, model: int):
    self.stage = stage
    self.mesh = jax.make_mesh(
      (data, model),
      ("data", "model"),
      axis_types=(jax.sharding.AxisType.Auto,) * 2,
      devices=jax.devices()[: data * model],
    )
    like = abstract_state(stage)
    self.placing = sharding.state_sharding(like, self.mesh, 64)
    self.phases = step.jit_phases(stage, self.placing, self.mesh)
    key = sharding.replicated(self.mesh)
    self.key = jax.device_put(jax.random.key(0), key)

  def step(self, state: Any, batch: Any) -> Any:
    """One step from a state to the next, both on the host."""
    number = int(state.step)
    state = sharding.shard(state, self.placing)
    batch = sharding.shard_batch(batch, self.mesh)
    state, _ = step.train_step(self.phases, state, batch, self.key, number)
    return jax.device_get(state)

  def exchanged(self) -> dict[str, tuple[list[str], float]]:
    """Kinds of collectives of each program, and bytes over the gradient's."""
    state = abstract_state(self.stage)
    found = {}
    for index, (phase, run) in enumerate(self.phases):
      programs = run.traced(state, self.stage.batch, self.key)
      for name, traced in programs.items():
        kinds = collectives(traced.lower().compile().as_text())
        size = sum(size for _, size in kinds.values())
        share = size / trained(self.stage, index)
        found[f"{phase.name} {name}"] = sorted(kinds), share
    return found


def largest(a: Any, b: Any) -> float:
  """Of all differences between two trees."""
  apart = jax.tree.map(lambda x, y: float(np.abs(x - y).max()), a, b)
  return max(jax.tree.leaves(apart))


def main() -> None:
  """Compares; one line of JSON."""
  parser = argparse.ArgumentParser(description=__doc__)
  parser.add_argument("--all", action="store_true", help="stages and meshes")
  whole = parser.parse_args().all
  meshes = ALL_MESHES if whole else MESHES
  told = {}
  for module in (syncnet, irfd, speak):
    stage = made(module)
    sides = {f"{d} x {m}": Side(stage, d, m) for d, m in meshes[stage.name]}
    moved: list[float] = []
    apart: dict[str, list[float]] = {name: [] for name in sides}
    if whole or stage.name in TRAINED:
      one = Side(stage, 1, 1)
      state = jax.device_get(init_state(stage, 0, {}))
      for number in range(STEPS):
        batch = small.batch(stage, number)
        after = one.step(state, batch)
        moved.append(largest(state.params, after.params))
        for name, side in sides.items():
          other = side.step(state, batch)
          apart[name].append(largest(after.params, other.params))
        state = after
    told[stage.name] = {
      "moved": moved,
      "apart": apart,
      # What splits the network itself exchanges as it needs.
      "exchanged": {
        name: side.exchanged()
        for name, side in sides.items()
        if side.mesh.shape["model"] == 1
      },
    }
  json.dump(told, sys.stdout)


if __name__ == "__main__":
  main()
