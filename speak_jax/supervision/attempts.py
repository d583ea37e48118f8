"""Counts starts that come no further, so that restarting comes to an end.

RUN/attempts.json: the steps that checkpoints held at the last start, and how
many starts found the same. An orderly end removes it.
"""

import json
from pathlib import Path

import jax
import numpy as np
from jax.experimental import multihost_utils

from speak_jax.common import files

NAME = "attempts.json"
MAX_RESTARTS = 3  # restarts that may find nothing new


class NoProgressError(RuntimeError):
  """Training was restarted again and again and came no further."""


def record_start(run: Path, steps: int) -> None:
  """Counts a start; all processes agree on it.

  Args:
    run: RUN folder.
    steps: Steps that the checkpoints of all stages hold.

  Raises:
    NoProgressError: it is one too many. The count begins anew, for whoever
      has found the reason.
  """
  first = jax.process_index() == 0
  count = _count(run / NAME, steps) if first else 0
  if jax.process_count() > 1:
    count = int(multihost_utils.broadcast_one_to_all(np.int32(count)))
  if count > MAX_RESTARTS + 1:
    clear(run)
    raise NoProgressError(
      f"{run}: restarted {MAX_RESTARTS} times at step {steps} of all stages"
      " together, and no checkpoint was added"
    )


def clear(run: Path) -> None:
  """Training ends as it should, or for a reason that it tells."""
  if jax.process_index() == 0:
    (run / NAME).unlink(missing_ok=True)


def _count(path: Path, steps: int) -> int:
  """Starts at `steps`, this one included; the file is replaced as a whole."""
  try:
    before = json.loads(path.read_text())
  except (OSError, json.JSONDecodeError):
    before = {}
  count = before["starts"] + 1 if before.get("steps") == steps else 1
  files.write(path, json.dumps({"steps": steps, "starts": count}))
  return count
