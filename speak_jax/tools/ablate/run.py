"""Runs what is missing of an ablation, and writes its table."""

import json
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from speak_jax.common import files, progress
from speak_jax.evaluation.report import published, tables
from speak_jax.tools.ablate.plan import ROWS, Job, why_left_out
from speak_jax.tools.ablate.table import ablation_table
from speak_jax.training import checkpoints
from speak_jax.training.distributed import SIGNAL_CODES


class Commands:
  """Runs commands, one at a time; a signal to stop is handed on to them."""

  def __init__(self):
    """Nothing runs, and nothing was asked yet."""
    self.code = 0  # of the signal that asked for an end
    self._child: subprocess.Popen | None = None

  def install(self) -> None:
    """Takes over SIGTERM and SIGINT."""
    for number in SIGNAL_CODES:
      signal.signal(number, self._on)

  def _on(self, number, frame) -> None:
    del frame
    self.code = SIGNAL_CODES[number]
    if self._child:
      self._child.send_signal(number)

  def __call__(self, command: Sequence[str], log: Path) -> int:
    """Runs `python COMMAND`, its output added to a log; the exit code."""
    if self.code:
      return self.code
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("a", encoding="utf-8") as out:
      print(f"$ python {shlex.join(command)}", file=out, flush=True)
      # In a group of its own: Ctrl-C reaches it through here and so but once,
      # for a second one would end a training without its checkpoint.
      self._child = subprocess.Popen(
        [sys.executable, *command],
        stdout=out,
        stderr=subprocess.STDOUT,
        process_group=0,
      )
      code = self._child.wait()
      self._child = None
    return code if code >= 0 else 128 - code


def ablate(
  jobs: Mapping[str, Job], names: Sequence[str], out: Path, call: Commands
) -> int:
  """Trains and measures what is missing of some rows; writes the table.

  Args:
    jobs: From `plan`. The table has all of them that are measured.
    names: From `chosen`; rows without a job change nothing and are left out.
    out: DIR.
    call: Runs commands.

  Returns:
    The exit code: 0, that of the first row that failed, or of the signal.
  """
  failed: dict[str, str] = {}
  first_code = 0
  for name in names:
    if name not in jobs:
      _say(f"{name}: {why_left_out(ROWS[name])}")
      continue
    start = time.monotonic()
    done, code = _run(jobs[name], jobs[published.FULL], call)
    minutes = f"{(time.monotonic() - start) / 60:.1f} minutes"
    if call.code:
      _say(f"{name}: stopped after {minutes}; the same command goes on")
      return call.code
    if code:
      first_code = first_code or code
      failed[name] = f"exit code {code}: {_last_line(jobs[name].log)}"
      _say(f"{name}: failed after {minutes}, {failed[name]}")
      if name == published.FULL:
        return code
    else:
      _say(f"{name}: {', '.join(done) or 'complete'}, {minutes}")
    _write(out, jobs, failed)
  if failed:
    _say(f"without figures: {', '.join(failed)}")
  _say(f"wrote {out / 'table.md'}")
  return first_code


def _run(job: Job, full: Job, call: Commands) -> tuple[list[str], int]:
  """Does what is missing of a row; what that was, and an exit code."""
  done = []
  if not _trained(job):
    done.append(f"trained {', '.join(job.row.stages)}")
    if code := call(job.train, job.log):
      return done, code
  if not _measured(job, full):
    done.append("measured")
    if code := call(job.measure, job.log):
      return done, code
    files.write(_asked(job), json.dumps(job.measure))
  return done, 0


def _trained(job: Job) -> bool:
  return all(
    (checkpoints.newest_verified_step(job.run, stage) or 0)
    >= job.config[stage].steps
    for stage in job.row.stages
  )


def _measured(job: Job, full: Job) -> bool:
  """Whether the report is there, was asked for alike, and is the newer one."""
  metrics, asked_file = job.report / "metrics.json", _asked(job)
  if not (metrics.exists() and asked_file.exists()):
    return False
  if json.loads(asked_file.read_text()) != list(job.measure):
    return False
  written = [
    path.stat().st_mtime
    for run in {job.run, full.run}  # frozen networks may be those of `full`
    for path in run.glob("*/checkpoints/*")
  ]
  return metrics.stat().st_mtime >= max(written, default=0.0)


def _asked(job: Job) -> Path:
  """Where it is kept how a report was asked for."""
  return job.report / "asked.json"


def _last_line(log: Path) -> str:
  lines = log.read_text(encoding="utf-8", errors="replace").split("\n")
  return next((line.strip() for line in reversed(lines) if line.strip()), "")


def _write(
  out: Path, jobs: Mapping[str, Job], failed: Mapping[str, str]
) -> None:
  """Writes DIR/table.md and table.json of every row that is measured."""
  full = jobs[published.FULL]
  measured = {
    name: json.loads((job.report / "metrics.json").read_text())
    for name, job in jobs.items()
    if _measured(job, full)
  }
  steps = [f"{x} {full.config[x].steps} steps" for x in full.row.stages]
  budget = f"{full.config.preset}, seed {full.config.seed}, {', '.join(steps)}"
  left_out = [name for name in ROWS if name not in jobs]
  rows = ablation_table(measured, failed, budget, left_out)
  for suffix, text in {
    "md": tables.markdown(rows),
    "json": tables.as_json(rows),
  }.items():
    files.write(out / f"table.{suffix}", text)


def _say(text: str) -> None:
  progress.say(f"ablate: {text}")
