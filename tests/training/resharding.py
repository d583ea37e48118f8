"""Prints how a run goes on that moves to fewer devices; for test_sharding.py.

Trained on eight simulated devices, then on from one checkpoint on eight, four
and one: the digest of what was restored, and how far apart the losses of the
next hundred steps are from those on eight, relative to them.
"""

import json
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

import jax
import numpy as np

from speak_jax.training import loop, sharding
from speak_jax.training.checkpoint_manager import CheckpointManager
from speak_jax.training.stage_run import StageRun
from speak_jax.training.state import abstract_state, digest
from tests.training import toy

BEFORE, AFTER, BATCH = 20, 100, 16


def run_on(folder: Path, devices: int, steps: int) -> StageRun:
  mesh = jax.sharding.Mesh(
    np.array(jax.devices()[:devices]).reshape(devices, 1), ("data", "model")
  )
  stage = toy.stage(batch=BATCH)
  return toy.run(folder, steps)._replace(mesh=mesh, stage=stage)


def restored(run: StageRun) -> str:
  saved = CheckpointManager(run.folder / "checkpoints")
  saved.recover()
  like = abstract_state(run.stage)
  placing = sharding.state_sharding(like, run.mesh, run.min_shard_size)
  state, position, _ = saved.restore(like, placing)
  assert {len(x.devices()) for x in jax.tree.leaves(state)} == {run.mesh.size}
  return digest(state, position)


def moved(there: Path, folder: Path, devices: int) -> dict[str, Any]:
  shutil.copytree(there, folder)
  run = run_on(folder, devices, BEFORE + AFTER)
  found = restored(run)
  batches = toy.batches(size=BATCH)
  loop.fit(run, batches, {})
  rows = [
    json.loads(line)
    for line in (folder / "metrics.jsonl").read_text().splitlines()
  ]
  losses = [row["main/loss"] for row in rows if row["step"] > BEFORE]
  return {
    "restored": found,
    "position": json.dumps(batches.get_state()),
    "losses": losses,
  }


def main() -> None:
  """Compares; one line of JSON."""
  with tempfile.TemporaryDirectory() as name:
    folder = Path(name)
    there = folder / "there"
    loop.fit(run_on(there, 8, BEFORE), toy.batches(size=BATCH), {})
    found = {
      devices: moved(there, folder / str(devices), devices)
      for devices in (8, 4, 1)
    }
  want = np.array(found[8]["losses"])
  for one in found.values():
    losses = np.array(one.pop("losses"))
    one["steps"] = len(losses)
    one["lowest"] = float(np.abs(losses).min())
    one["apart"] = float((np.abs(losses - want) / np.abs(want)).max())
  json.dump(found, sys.stdout)


if __name__ == "__main__":
  main()
