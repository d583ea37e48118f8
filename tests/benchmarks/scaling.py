"""What many devices cost: bytes between them, counted and modelled.

  python -m tests.benchmarks.scaling collectives   # compiles for 8 devices
  python -m tests.benchmarks.scaling model         # traces base256

Both print the tables of docs/scaling.md.
"""

import argparse
import math
import re
import sys
from typing import Any, NamedTuple

import jax
from ml_collections import ConfigDict

from configs import speak as presets
from speak_jax.stages.base import Phase, Stage
from speak_jax.stages.registry import STAGES
from speak_jax.supervision import flops
from speak_jax.training import sharding, step
from speak_jax.training.state import abstract_state
from tests.stages import small

DEVICES = 8
CHIPS = (8, 16, 64)
# What else base256 has: swaps without a ground truth, and discriminators.
SWAPS = {
  "irfd__weights__swap_pose": 0.1,
  "irfd__weights__swap_identity": 0.1,
  "irfd__weights__gan": 0.05,
  "speak__weights__gan": 0.05,
}
ITEM = {"f32": 4, "s32": 4, "u32": 4, "bf16": 2, "f16": 2, "pred": 1, "u8": 1}
KINDS = (
  "all-reduce",
  "all-gather",
  "reduce-scatter",
  "all-to-all",
  "collective-permute",
)
REACHED = 0.8  # of a link's rated speed; an assumption
USE = 0.1  # of a chip's peak in a step; an assumption


class Link(NamedTuple):
  """How chips are joined, one level after the other."""

  name: str
  device: str  # in flops.PEAK
  near: int  # chips that the fast level joins
  near_speed: float  # bytes/s out of a chip
  far_speed: float  # bytes/s out of a chip to other groups
  latency: float  # s for each doubling of the chips, far or near


LINKS = (
  # NVLink 4: 900 GB/s, both ways together; one 400 Gb/s NDR port for each GPU.
  Link("H100, NVLink + InfiniBand", "NVIDIA H100", 8, 450e9, 50e9, 10e-6),
  # 4,800 Gb/s a chip, both ways together; a torus from 4 x 4 x 4 on, so that a
  # chip of 2 x 2 x 2 has half its links.
  Link("TPU v5p, ICI", "TPU v5", 8, 150e9, 300e9, 5e-6),
)


def collectives(program: str) -> dict[str, tuple[int, int]]:
  """Kind to count and bytes of what a compiled program exchanges.

  Args:
    program: Text of the optimized HLO.
  """
  found: dict[str, tuple[int, int]] = {}
  pattern = re.compile(rf"= (.*?) ({'|'.join(KINDS)})(?:-start)?\(")
  for shapes, kind in pattern.findall(program):
    size = 0
    for item, sides in re.findall(r"(\w+)\[([\d,]*)\]", shapes):
      size += ITEM[item] * math.prod(map(int, filter(None, sides.split(","))))
    count, total = found.get(kind, (0, 0))
    found[kind] = count + 1, total + size
  return found


def updates(
  stage: Stage, mesh: jax.sharding.Mesh
) -> tuple[list[tuple[Phase, step.Update]], tuple[Any, Any, Any]]:
  """Each phase with its update, and the shapes that it takes."""
  state = abstract_state(stage)
  placing = sharding.state_sharding(state, mesh, 1 << 40)
  key = jax.eval_shape(lambda: jax.random.key(0))
  return step.jit_phases(stage, placing, mesh), (state, stage.batch, key)


def trained(stage: Stage, index: int) -> int:
  """Bytes of a phase's gradient: float32, what its optimizer trains."""
  state = abstract_state(stage)
  groups = stage.optims[stage.phases[index].optim].trains
  return sum(
    4 * x.size for g in groups for x in jax.tree.leaves(state.params[g])
  )


def exchange(link: Link, size: float, chips: int) -> float:
  """Seconds of one all-reduce, in two levels where there are two.

  2 (n - 1) / n of the bytes leave each chip; within a group first, then a
  group's n-th part of them between groups.
  """
  if chips == 1:
    return 0.0
  near = min(chips, link.near)
  groups = chips // near
  seconds = 2 * (near - 1) / near * size / (REACHED * link.near_speed)
  if groups > 1:
    far = 2 * (groups - 1) / groups * size / (REACHED * link.far_speed)
    # On a torus all links serve one flat exchange; between machines with GPUs
    # each sends what it has reduced with its neighbours.
    seconds = far if link.far_speed > link.near_speed else seconds + far / near
  return seconds + 2 * math.log2(chips) * link.latency


def efficiency(compute: float, exchanges: float) -> float:
  """Share of the time that is computing, when nothing overlaps."""
  return compute / (compute + exchanges)


class Work(NamedTuple):
  """An update of a stage."""

  stage: str
  flop: float  # of the whole batch
  size: float  # bytes all-reduced
  batch: int  # examples
  steps: int  # of accumulation on one device


def work(config: ConfigDict, name: str) -> Work:
  """Traced, not run; lazy phases count by their share of the steps."""
  stage = STAGES[name].make(config)
  mesh = jax.sharding.Mesh([[jax.devices()[0]]], ("data", "model"))
  phases, shapes = updates(stage, mesh)
  flop = size = 0.0
  for index, (phase, update) in enumerate(phases):
    flop += update.flop(*shapes) / phase.every
    size += trained(stage, index) / phase.every
  batch = config[name].batch
  return Work(name, flop, size, batch, batch // stage.microbatch)


def show_collectives() -> None:
  """The evidence: what eight simulated devices exchange."""
  mesh = sharding.make_mesh(DEVICES, 1)
  print(
    "| stage | microbatches a device | phase | program | runs a step | kind |"
    " number | bytes | of the gradient |\n"
    "| --- | ---: | --- | --- | ---: | --- | ---: | ---: | ---: |"
  )
  for name in small.STAGES:
    for steps in (1, 2):
      changes = {
        f"{name}__batch": 2 * DEVICES * steps,
        f"{name}__microbatch": 2,
      }
      stage = STAGES[name].make(small.config(**changes, **SWAPS))
      phases, shapes = updates(stage, mesh)
      for index, (phase, update) in enumerate(phases):
        for program, traced in update.traced(*shapes).items():
          runs = steps if program == "accumulate" else 1
          text = traced.lower().compile().as_text()
          what = f"| {name} | {steps} | {phase.name} | {program} | {runs} |"
          for kind, (count, size) in collectives(text).items():
            share = size / trained(stage, index)
            print(what, f"{kind} | {count} | {size:,} | {share:.2f} |")
          if not collectives(text):
            print(what, "none | 0 | 0 | 0 |", flush=True)


def show_model() -> None:
  """The model: base256's batches, shared out over more and more chips."""
  config = presets.get_config("base256")
  rows = [work(config, name) for name in small.STAGES]
  print(
    "| stage | batch | TFLOP a step | MB all-reduced | microbatches |\n"
    "| --- | ---: | ---: | ---: | ---: |"
  )
  for row in rows:
    print(
      f"| {row.stage} | {row.batch} | {row.flop / 1e12:.1f} |"
      f" {row.size / 1e6:.0f} | {row.steps} |"
    )
  chips = " | ".join(f"{n} chips" for n in CHIPS)
  print(f"\n| chip | stage | step on one, s | {chips} |")
  print("| --- | --- | ---: |" + " ---: |" * len(CHIPS))
  for link in LINKS:
    for row in rows:
      alone = row.flop / (USE * flops.PEAK[link.device])
      shares = " | ".join(
        f"{efficiency(alone / n, exchange(link, row.size, n)):.3f}"
        for n in CHIPS
      )
      print(f"| {link.name} | {row.stage} | {alone:.2f} | {shares} |")


def main() -> None:
  """Prints what was asked for."""
  parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.scaling")
  parser.add_argument("what", choices=("collectives", "model"))
  if parser.parse_args().what == "collectives":
    jax.config.update("jax_num_cpu_devices", DEVICES)
    show_collectives()
  else:
    show_model()


if __name__ == "__main__":
  sys.exit(main())
