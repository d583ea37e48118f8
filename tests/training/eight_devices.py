"""Prints what eight devices do otherwise than one; run by test_sharding.py.

For each stage: how far apart parameters are after five steps, relative to how
far they moved; and the collectives in the compiled programs.
"""

import json
import re
import sys
from typing import Any

import jax
import numpy as np
import optax

from speak_jax.stages import irfd, speak, syncnet
from speak_jax.stages.base import Stage
from speak_jax.training import loop, sharding
from speak_jax.training.state import create
from tests.stages import small

STEPS, BATCH = 5, 16


def made(module: Any) -> Stage:
  """A stage whose steps are smooth in the gradient, as rounding wants it."""
  stage = module.make(
    small.config(
      syncnet__batch=BATCH,
      irfd__batch=BATCH,
      speak__batch=BATCH,
      irfd__weights__swap_pose=0.1,
      irfd__weights__swap_identity=0.1,
      irfd__weights__covariance=0.1,
      speak__sync_ramp=(0, 0),
    )
  )
  return stage._replace(
    optims={
      name: optim._replace(tx=optax.sgd(2e-4, momentum=0.9))
      for name, optim in stage.optims.items()
    }
  )


def train(stage: Stage, devices: int) -> tuple[Any, Any, list[str]]:
  """Parameters before and after, and the programs of the phases."""
  mesh = jax.sharding.Mesh(
    np.array(jax.devices()[:devices]).reshape(devices, 1), ("data", "model")
  )
  state = create(stage, 0, {})
  before = jax.device_get(state.params)
  placing = sharding.rules(state, mesh, 64)
  state = sharding.place(state, placing)
  key = jax.device_put(jax.random.key(0), sharding.replicated(mesh))
  programs = []
  for step in range(STEPS):
    batch = sharding.place_batch(small.batch(stage, step), mesh)
    for k, (_, run) in enumerate(loop.compiled(stage, placing, mesh)):
      if step == 0:
        programs.append(run.lower(state, batch, key).compile())
      state, _ = programs[k](state, batch, key)
    state = state._replace(step=state.step + 1)
  after = jax.device_get(state.params)
  return before, after, [program.as_text() for program in programs]


def largest(a: Any, b: Any) -> float:
  """Of all differences between two trees."""
  apart = jax.tree.map(lambda x, y: float(np.abs(x - y).max()), a, b)
  return max(jax.tree.leaves(apart))


def gathers(program: str) -> list[str]:
  """Collectives that bring together what belongs to single examples."""
  found = re.findall(
    r"= \(?\w+\[([\d,]*)\]\S* all-(?:gather|to-all)\(", program
  )
  return [shape for shape in found if shape.startswith(f"{BATCH},")]


def main() -> None:
  """Compares; one line of JSON."""
  told = {}
  for module in (syncnet, irfd, speak):
    stage = made(module)
    before, one, _ = train(stage, 1)
    _, eight, programs = train(stage, 8)
    told[stage.name] = {
      "moved": largest(before, one),
      "apart": largest(one, eight),
      "all_reduce": sum(text.count(" all-reduce(") for text in programs),
      "gathers": [shape for text in programs for shape in gathers(text)],
    }
  json.dump(told, sys.stdout)


if __name__ == "__main__":
  main()
