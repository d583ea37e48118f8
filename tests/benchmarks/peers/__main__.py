"""How fast our networks are beside the same ones in PyTorch, on one core.

  python -m tests.benchmarks.peers [--networks generator,wav2lip:small64]
    [--seconds 4] [--json FILE]                  needs PyTorch: CONTRIBUTING.md

Twins in plain PyTorch take our weights. For each network of some presets: the
forward pass of 1 and of 8 examples, and a training step of 8: a mean square,
its gradient, Adam. Both run in this process, on one core, in one thread each,
call by call in turn. A row has the median of their time over ours, quartiles,
the median milliseconds of both, and the way to lay pictures out that PyTorch is
quicker with. Time is the processor's: other programs count in as far as they
share its caches.
"""

import argparse
import importlib.util
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

FORWARDS, STEP = (1, 8), 8  # examples


def one_core() -> None:
  """Before JAX starts, which has as many threads as it sees processors."""
  if hasattr(os, "sched_setaffinity"):
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})


def rows(name: str, seconds: float) -> Iterator[dict[str, Any]]:
  """What is measured of a network: its forward passes, then its step."""
  import numpy as np

  from tests.benchmarks.peers import networks, sides, timing

  peer = networks.peer(name)
  variables = networks.fresh(peer)

  def row(what: str, batch: int, goal: float, ours: Any, theirs: Any) -> dict:
    layout = timing.quickest(theirs)
    ratio = timing.paired(ours, theirs[layout], seconds)
    return dict(
      network=name,
      what=what,
      batch=batch,
      **ratio._asdict(),
      layout=layout,
      goal=goal,
    )

  for batch in FORWARDS:
    inputs = networks.drawn(peer.inputs, batch)
    yield row(
      "forward",
      batch,
      peer.goals.forward,
      sides.ours_forward(peer, variables, inputs),
      {
        layout: sides.theirs_forward(peer, variables, inputs, layout)
        for layout in sides.LAYOUTS
      },
    )
  inputs = networks.drawn(peer.inputs, STEP)
  outputs = sides.ours_forward(peer, variables, inputs)()
  targets = tuple(np.zeros(x.shape, np.float32) for x in outputs)
  yield row(
    "step",
    STEP,
    peer.goals.step,
    sides.ours_step(peer, variables, inputs, targets),
    {
      layout: sides.theirs_step(peer, variables, inputs, targets, layout)
      for layout in sides.LAYOUTS
    },
  )


def versions() -> dict[str, str]:
  """What the figures hang on."""
  import torch

  from speak_jax.bench import machine

  facts = machine.facts()
  names = ("commit", "python", "jax", "jaxlib", "cpu", "platform")
  return {name: str(facts[name]) for name in names} | {
    "torch": torch.__version__
  }


HEAD = (
  f"{'network':26}{'what':8}{'batch':>6}{'ratio':>7}  {'quartiles':13}"
  f"{'pairs':>5}{'ours ms':>10}{'theirs ms':>11}  {'PyTorch':14}goal"
)


def line(row: dict[str, Any]) -> str:
  """A row of the table."""
  met = "met" if row["median"] >= row["goal"] else "below"
  return (
    f"{row['network']:26}{row['what']:8}{row['batch']:6d}{row['median']:7.2f}"
    f"  {row['low']:5.2f} - {row['high']:5.2f}{row['pairs']:5d}"
    f"{row['ours_ms']:10.2f}{row['theirs_ms']:11.2f}  {row['layout']:14}"
    f"{row['goal']:.1f} {met}"
  )


def main() -> None:
  """Reads the flags and prints the table."""
  parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.peers")
  parser.add_argument("--networks", default="", help="kinds, or kind:preset")
  parser.add_argument("--seconds", type=float, default=4.0, help="of a row")
  parser.add_argument("--json", type=Path, help="file for the rows")
  args = parser.parse_args()
  if importlib.util.find_spec("torch") is None:
    sys.exit(
      "peers: PyTorch is not installed: SPEAK_EXTRAS=peers, CONTRIBUTING"
    )
  one_core()
  import torch

  from tests.benchmarks.peers import networks

  torch.set_num_threads(1)
  try:
    names = networks.chosen(args.networks)
  except ValueError as error:
    parser.error(str(error))
  facts, found = versions(), []
  print(", ".join(f"{name} {value}" for name, value in facts.items()))
  print("ratio: PyTorch's time over ours; above 1 we are faster")
  print(HEAD, flush=True)
  for name in names:
    for row in rows(name, args.seconds):
      found.append(row)
      print(line(row), flush=True)
    if args.json:
      args.json.write_text(json.dumps({"machine": facts, "rows": found}))
  met = sum(row["median"] >= row["goal"] for row in found)
  print(f"{met} of {len(found)} goals met")


if __name__ == "__main__":
  main()
