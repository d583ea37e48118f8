"""Two processes that save together, of which one finds the disk full.

  python -m tests.faults.agreement FOLDER HOST:PORT PROCESS WHO

For test_two_processes.py. Process WHO sees no room for steps 2, 5, 6 and 7;
process 0 cannot write the manifest of step 3. Prints what each save came to.
"""

import errno
import os
import shutil
import sys
from pathlib import Path

import jax

from speak_jax.training import (
  checkpoint_manager,
  distributed,
  sharding,
)
from tests.faults.saves import state_of

TIMEOUTS = {
  "initialization_timeout": 60,
  "heartbeat_timeout": 30,
  "shutdown_timeout": 30,
}
FULL = (2, 5, 6, 7)
UNSEALED = 3


def main(folder: Path, coordinator: str, rank: int, who: int) -> None:
  """Saves eight steps, or as many as it may."""
  place = distributed.ProcessSpec(coordinator, 2, rank)
  distributed.initialize(place, **TIMEOUTS)
  whole = sharding.replicated(sharding.make_mesh(-1, 1))
  usage, seal = shutil.disk_usage, checkpoint_manager.manifest.write
  saved = checkpoint_manager.CheckpointManager(folder)
  saved.recover()
  step = 0

  def looked(path):
    return usage(path)._replace(free=1) if step in FULL else usage(path)

  def sealed(path):
    if step == UNSEALED:
      raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
    seal(path)

  if rank == who:
    checkpoint_manager.shutil.disk_usage = looked
  checkpoint_manager.manifest.write = sealed
  try:
    for step in range(1, 9):
      state = state_of(step)
      state = sharding.shard(state, jax.tree.map(lambda _: whole, state))
      saved.save(state, step, {})
      saved.wait()
      saved.check_for_errors()
      distributed.barrier(f"{step} is done")
      print(step, saved.latest, flush=True)
  except checkpoint_manager.SaveError as error:
    print("ends", step, error.strerror, flush=True)
  distributed.exit_process(0)


if __name__ == "__main__":
  main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
