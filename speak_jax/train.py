"""Trains the stages of a config, one after the other, and resumes them.

  python -m speak_jax.train --config configs/speak.py[:preset[,key=value]] \
    --workdir RUN [--config.any.key=value]

A stage that is complete is skipped, one that is not goes on at its newest
checkpoint, bit for bit as if it had never stopped. Frozen networks come from
the earlier stages of RUN, or of the run that config.init_from names. With
config.finetune_from a stage begins at the networks of a run or a bundle.

RUN/config.json, RUN/<stage>/{checkpoints,metrics.jsonl,tb,samples} and, for
faster restarts, RUN/compiled (unless JAX_COMPILATION_CACHE_DIR is set).
Without config.data.path, synthetic faces are prepared once, in RUN/data.

On many machines run the same command on each, with --distributed where SLURM,
a JobSet or a TPU tells who is who, else with --coordinator HOST:PORT,
--processes and --process-id; see docs/launch.md. Exit codes:
speak_jax/common/exit_codes.py.
"""

import os
import traceback
from collections.abc import Sequence

import jax
from absl import app, flags
from ml_collections import ConfigDict, config_flags

from data_pipelines.dataset.damage import DamagedError
from speak_jax.common import command_line, exit_codes
from speak_jax.configs.common import current_flags
from speak_jax.inference.sample_videos import SampleVideos
from speak_jax.stages.registry import SPEAKING
from speak_jax.supervision.activity import Activity, process_age
from speak_jax.supervision.attempts import NoProgressError
from speak_jax.supervision.profile import parse_steps
from speak_jax.training import distributed, run
from speak_jax.training.checkpoints import NoCheckpointError
from speak_jax.training.health import TrainingError
from speak_jax.training.input_pipeline import DataError

HOOKS = {SPEAKING: SampleVideos}
# The first that fits.
CODES: tuple[tuple[type[BaseException], int], ...] = (
  (TrainingError, exit_codes.DIVERGED),
  (DataError, exit_codes.BAD_DATA),
  (DamagedError, exit_codes.BAD_DATA),
  (NoCheckpointError, exit_codes.NO_CHECKPOINT),
  (distributed.ReplicaMismatchError, exit_codes.NO_CHECKPOINT),
  (NoProgressError, exit_codes.NO_PROGRESS),
)

_CONFIG = config_flags.DEFINE_config_file("config", None, "Experiment.")
_WORKDIR = flags.DEFINE_string("workdir", None, "RUN, the run's folder.")
_DISTRIBUTED = flags.DEFINE_bool(
  "distributed", False, "Train with the other processes that JAX finds."
)
_COORDINATOR = flags.DEFINE_string(
  "coordinator", None, "HOST:PORT of process 0, where nothing tells it."
)
_PROCESSES = flags.DEFINE_integer(
  "processes", None, "How many train together.", 1
)
_PROCESS_ID = flags.DEFINE_integer("process-id", None, "Which one this is.", 0)
_PROFILE = flags.DEFINE_string(
  "profile", "", "First and last step to trace for XProf, as in 100:105."
)


def main(argv: Sequence[str]) -> int:
  """Runs the command; returns the exit code, if this is the only process.

  All else is in `training/run.py`, which notebooks and tests call without
  flags.
  """
  if len(argv) > 1:
    return _fail(f"{argv[1]}: unexpected argument", exit_codes.BAD_CONFIG)
  preemption = distributed.PreemptionHandler()
  try:
    join_processes(_CONFIG.value)
    code = run.train(
      _CONFIG.value,
      _WORKDIR.value or "",  # the flag is required
      hooks=HOOKS,
      preemption=preemption,
      activity=Activity(process_age()),
      profile=parse_steps(_PROFILE.value),
    )
  except BaseException as error:
    code = _code_of(error, preemption.step)
  return distributed.exit_process(code)


def join_processes(config: ConfigDict) -> None:
  """Meets the other processes, if the flags say that there are any."""
  if config.mesh.cpu_devices:
    jax.config.update("jax_num_cpu_devices", config.mesh.cpu_devices)
  process = distributed.process_of_flags(
    _COORDINATOR.value, _PROCESSES.value, _PROCESS_ID.value
  )
  if process is None and _DISTRIBUTED.value:
    process = distributed.process_of_jobset(os.environ)
  if process is not None or _DISTRIBUTED.value:
    distributed.initialize(process, **config.cluster)


def _code_of(error: BaseException, step: int) -> int:
  """Says in one line what has ended training; the exit code.

  Args:
    error: What it is.
    step: The last one done.

  Raises:
    BaseException: the error, if it is none of ours and nobody else waits.
  """
  for kind, code in CODES:
    if isinstance(error, kind):
      return _fail(str(error), code)
  if isinstance(error, OSError):
    return _fail(f"{error.filename or _WORKDIR.value}: {error.strerror}", 1)
  if isinstance(error, KeyboardInterrupt):
    line = "interrupted; the same command goes on"
    return _fail(line, exit_codes.INTERRUPTED)
  if distributed.is_peer_error(error):
    line = f"after step {step}: another process is gone: {error}"
    return _fail(line, exit_codes.PEER_LOST)
  if isinstance(error, ValueError):
    return _fail(str(error), exit_codes.BAD_CONFIG)
  if jax.distributed.is_initialized() and not isinstance(error, SystemExit):
    traceback.print_exc()
    return _fail(f"after step {step}: {error!r}", exit_codes.PEER_LOST)
  raise error


def _fail(line: str, code: int) -> int:
  """One line, and the exit code."""
  who = "train"
  if jax.distributed.is_initialized():
    who += f": process {jax.process_index()}"
  return command_line.fail(who, line, code)


if __name__ == "__main__":
  flags.mark_flags_as_required(["config", "workdir"])
  app.run(main, flags_parser=command_line.parser("train", current_flags))
