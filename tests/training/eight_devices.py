"""Prints what eight devices do otherwise than one; run by test_sharding.py.

For each stage: how far five steps of one device move the parameters, how far
away eight devices arrive that start each step from the same state, and the
collectives in the compiled programs.

Every step by itself, for networks that read pictures at places they predict
amplify rounding: one place that rounds to the other side of a pixel is a part
in a hundred of how far they moved after two more steps.
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
from speak_jax.training.state import create, initial
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


class Side:
  """A stage's programs on some devices, and what they do to a state."""

  def __init__(self, stage: Stage, devices: int):
    self.mesh = jax.sharding.Mesh(
      np.array(jax.devices()[:devices]).reshape(devices, 1), ("data", "model")
    )
    like = jax.eval_shape(lambda: initial(stage, 0, {}))
    self.placing = sharding.rules(like, self.mesh, 64)
    self.compiled = loop.compiled(stage, self.placing, self.mesh)
    key = sharding.replicated(self.mesh)
    self.key = jax.device_put(jax.random.key(0), key)
    self.programs: list[Any] = []

  def step(self, state: Any, batch: Any) -> Any:
    """One step from a state to the next, both on the host."""
    state = sharding.place(state, self.placing)
    batch = sharding.place_batch(batch, self.mesh)
    for k, (_, run) in enumerate(self.compiled):
      if k == len(self.programs):
        self.programs.append(run.lower(state, batch, self.key).compile())
      state, _ = self.programs[k](state, batch, self.key)
    return jax.device_get(state._replace(step=state.step + 1))

  def texts(self) -> list[str]:
    """The programs, after the first step."""
    return [program.as_text() for program in self.programs]


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
    one, eight = Side(stage, 1), Side(stage, 8)
    state = jax.device_get(create(stage, 0, {}))
    moved, apart = [], []
    for step in range(STEPS):
      batch = small.batch(stage, step)
      after, other = one.step(state, batch), eight.step(state, batch)
      moved.append(largest(state.params, after.params))
      apart.append(largest(after.params, other.params))
      state = after
    programs = eight.texts()
    told[stage.name] = {
      "moved": moved,
      "apart": apart,
      "all_reduce": sum(text.count(" all-reduce(") for text in programs),
      "gathers": [shape for text in programs for shape in gathers(text)],
    }
  json.dump(told, sys.stdout)


if __name__ == "__main__":
  main()
