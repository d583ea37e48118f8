"""slurm.sbatch with a SLURM of two tasks on this machine: JAX finds them."""

import os
import subprocess
import sys
import time

from tests.faults import lab as labs

# Runs the command twice at once, as srun does with two tasks on one node.
SRUN = """
while [[ "$1" == --* ]]; do shift; done
for rank in 0 1; do
  SLURM_PROCID=$rank SLURM_LOCALID=$rank "$@" &
  tasks[rank]=$!
done
worst=0
for task in "${tasks[@]}"; do
  code=0; wait "$task" || code=$?
  [ "$code" -le "$worst" ] || worst=$code
done
exit "$worst"
"""


def batch(lab, tmp_path, *command):
  """Runs the batch script; what came of it, and what scontrol was told."""
  bin = tmp_path / "bin"
  bin.mkdir(exist_ok=True)
  for name, text in {"srun": SRUN, "scontrol": 'echo "$@" >>told'}.items():
    (bin / name).write_text(f"#!/usr/bin/env bash\n{text}\n")
    (bin / name).chmod(0o755)
  slurm = {
    "SLURM_JOB_ID": str(time.time_ns() % 4096),  # JAX's port comes of it
    "SLURM_STEP_NODELIST": "127.0.0.1",
    "SLURM_NTASKS": "2",
    "PATH": f"{bin}:{os.environ['PATH']}",
    "PYTHONPATH": str(labs.ROOT),
  }
  (tmp_path / "told").write_text("")
  done = subprocess.run(
    ["bash", labs.ROOT / "launch" / "slurm.sbatch", *command],
    cwd=tmp_path,
    env={**lab.environment(), **slurm},
    capture_output=True,
    text=True,
    timeout=300,
  )
  assert not list(tmp_path.glob("*.final"))
  return done, (tmp_path / "told").read_text()


def test_jax_finds_two_tasks(tmp_path):
  lab = labs.Lab(tmp_path / "lab")
  program = (
    "from speak_jax.training import distributed\n"
    "distributed.initialize(None, initialization_timeout=60,"
    " heartbeat_timeout=30, shutdown_timeout=30)\n"
    "import jax\n"
    "distributed.barrier('here')\n"
    "me, all = jax.process_index(), jax.process_count()\n"
    "open(f'task{me}of{all}', 'w').close()\n"
    "distributed.exit_process(0)\n"
  )
  done, told = batch(lab, tmp_path, sys.executable, "-c", program)
  assert done.returncode == 0, done.stderr
  assert (tmp_path / "task0of2").exists()
  assert (tmp_path / "task1of2").exists()
  assert told == ""


def test_a_final_code_counts_more_than_what_it_caused(tmp_path):
  """One task says 65, the other is killed: the job is not queued again."""
  task = "exit $(( SLURM_PROCID == 0 ? 65 : 137 ))"
  done, told = batch(labs.Lab(tmp_path / "lab"), tmp_path, "bash", "-c", task)
  assert done.returncode == 65
  assert told == ""


def test_a_restart_is_queued(tmp_path):
  task = "exit $(( SLURM_PROCID == 0 ? 43 : 137 ))"
  done, told = batch(labs.Lab(tmp_path / "lab"), tmp_path, "bash", "-c", task)
  assert done.returncode == 137
  assert told.startswith("requeue ")
