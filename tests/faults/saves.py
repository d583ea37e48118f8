"""Kills a process in the middle of saves and looks at what it left.

  python -m tests.faults.saves FOLDER [--kills 100] [--seed 0]

A process saves one state after the other and is killed (SIGKILL) at a random
moment of a save. Its successor must find a state that is bit for bit that of
its step, and no older than the last one that was reported as saved.
"""

import argparse
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

from speak_jax.training import sharding
from speak_jax.training.checkpoint_manager import CheckpointManager
from speak_jax.training.state import TrainState, digest

MEGABYTES = 32


class Report(NamedTuple):
  """What a campaign found."""

  kills: int
  step: int  # the last one that was saved
  wrong: list[str]  # what must not have happened


def state_of(step: int) -> TrainState:
  """A state that depends on the step alone."""
  rng = np.random.default_rng(step)
  parts = 8
  size = MEGABYTES * 2**20 // 4 // parts
  return TrainState(
    step=jnp.asarray(step, jnp.int32),
    params={
      "a": {
        f"w{i}": jnp.asarray(rng.standard_normal(size, np.float32))
        for i in range(parts)
      }
    },
    vars={"a": {}},
    opt={"adam": jnp.asarray(rng.standard_normal(8, np.float32))},
    ema={},
  )


def save_for_ever(folder: Path) -> None:
  """Goes on where the process before was killed; says what it does."""
  mesh = sharding.make_mesh(-1, 1)
  saved = CheckpointManager(folder, keep=2)
  step = saved.recover()
  if step is not None:
    like = state_of(0)
    placing = sharding.state_sharding(like, mesh, 1 << 30)
    state, position, _ = saved.restore(like, placing)
    right = digest(state) == digest(state_of(step)) and position == step
    print("found", step, "right" if right else "wrong", flush=True)
  while True:
    step = (step or 0) + 1
    state = state_of(step)
    print("saving", step, flush=True)
    saved.save(state, step, {"kind": "test"})
    saved.finish()
    print("saved", step, flush=True)


def campaign(folder: Path, kills: int, seed: int) -> Report:
  """Kills a saving process again and again; the last one is only asked."""
  rng = random.Random(seed)
  wrong: list[str] = []
  certain, took = 0, 1.0  # s, a save
  for kill in range(kills + 1):
    child = subprocess.Popen(
      [sys.executable, "-m", "tests.faults.saves", str(folder), "--child"],
      stdout=subprocess.PIPE,
      text=True,
    )
    assert child.stdout
    saves, begin = 0, 0.0
    wanted = rng.choice([1, 2])  # the first save of a process is a slow one
    for line in child.stdout:
      word, step, *verdict = line.split()
      if word == "found" and (verdict != ["right"] or int(step) < certain):
        wrong.append(f"kill {kill}: {line.strip()}, {certain} was saved")
      if word == "saved":
        certain, took = int(step), time.monotonic() - begin
      if word == "saving":
        saves, begin = saves + 1, time.monotonic()
        if kill == kills or saves == wanted:
          break
    else:
      wrong.append(f"kill {kill}: ended by itself with {child.wait()}")
    time.sleep(rng.uniform(0, took))
    child.send_signal(signal.SIGKILL)
    # What it still said before it died.
    for line in child.stdout:
      if line.startswith("saved"):
        certain = int(line.split()[1])
    child.wait()
    child.stdout.close()
  return Report(kills, certain, wrong)


def main() -> None:
  """Runs the campaign; exit code 1 if something was wrong."""
  parser = argparse.ArgumentParser(description=__doc__)
  parser.add_argument("folder", type=Path)
  parser.add_argument("--kills", type=int, default=100)
  parser.add_argument("--seed", type=int, default=0)
  parser.add_argument("--child", action="store_true")
  asked = parser.parse_args()
  if asked.child:
    save_for_ever(asked.folder)
  begin = time.monotonic()
  report = campaign(asked.folder, asked.kills, asked.seed)
  for line in report.wrong:
    print(f"wrong: {line}")
  print(
    f"{report.kills} kills within saves, {len(report.wrong)} wrong, step"
    f" {report.step}, {time.monotonic() - begin:.0f} s"
  )
  sys.exit(bool(report.wrong))


if __name__ == "__main__":
  main()
