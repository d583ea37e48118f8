"""Trains ablations at equal steps, and writes one table of what each moves.

  python -m speak_jax.tools.ablate \
    --config configs/speak.py[:preset[,key=value]] --data DATA --out DIR \
    [--table 3|losses|ours|all] [--only NAME,NAME] [--clips N] \
    [--config.any.key=value]

The rows stand in configs/ablations.py. `full` is the config as it is; every
other row is that with its overrides, on the same data, with the same seed and
as many steps. Stages that a row does not touch are those of `full`. Every row
is measured by itself, by `speak_jax.evaluate` on the same held-out clips. A row
whose overrides the config has already is left out, and the table names it.

DIR/runs/ROW, DIR/reports/ROW, DIR/logs/ROW.log; DIR/table.md and table.json
are written anew after every row. The same command goes on where it was
stopped, and does only what is missing; a run of the same config and data that
is there already may be linked as DIR/runs/full.

Exit codes are those of speak_jax.train. A row that fails is named and the
others are run nonetheless: the code is then that of the first. Nothing is run
without `full`.
"""

import json
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from absl import app, flags
from flax import traverse_util
from ml_collections import ConfigDict, config_flags

from speak_jax.common import command_line, outputs
from speak_jax.common.exit_codes import BAD_CONFIG
from speak_jax.configs.ablations import FULL, GROUPS, Row
from speak_jax.evaluation import methods
from speak_jax.evaluation.ledger import Figure, Figures
from speak_jax.evaluation.report import published, tables
from speak_jax.evaluation.report.paper_tables import ABLATIONS
from speak_jax.evaluation.report.tables import Column
from speak_jax.training import (
  checkpoints,
  config_validation,
  initial_weights,
  microbatches,
  run_config,
)
from speak_jax.training.distributed import SIGNAL_CODES
from speak_jax.training.weights import STAGES

Metrics = Mapping[str, float | str]  # a metrics.json

COLUMNS = (
  Column("speak/psnr", "PSNR", 2),
  Column("speak/psnr_over_static", "PSNR over static", 2),
  Column("speak/ssim", "SSIM", 3),
  Column("speak/m_lmd", "M-LMD", 2),
  Column("speak/f_lmd", "F-LMD", 2),
  Column("speak/sync_confidence", "Sync, own network", 3),
  Column("speak/mouth_box_over_shuffled", "mouth box, own - other speech", 2),
  Column("irfd/emotion_donor_emotion_swap", "emotion swap: donor named", 2),
  Column("irfd/pose_moved", "pose swap: share of the way", 2),
  Column("irfd/identity_swap_margin", "identity swap: donor - source", 2),
)

# Every row by its full name, `full` first.
ROWS: Mapping[str, Row] = {
  published.FULL: FULL,
  **{
    f"{group}/{name}": row
    for group, inside in GROUPS.items()
    for name, row in inside.items()
  },
}

# What is published under another name than ours.
_OURS = {"sync_c": "sync_confidence"}
AGREES, DIFFERS, NOISE = "agrees", "does not", "within noise"

# Of a config, what may differ between two calls: how it is run, not what.
_FREE = (
  *("commit", "stages", "mesh", "train"),
  *("data.workers", "data.threads", "data.cache_gb", "data.synthetic"),
)


class Base(NamedTuple):
  """The config that all rows start from, and how a command names it."""

  config: ConfigDict
  file: str  # configs/speak.py:demo
  overrides: Mapping[str, Any]  # given beside it, as --config.any.key


class Job(NamedTuple):
  """One row to train and to measure."""

  name: str  # "full", or "group/row"
  row: Row
  config: ConfigDict
  train: Sequence[str]  # command lines, behind `python`
  measure: Sequence[str]
  run: Path
  report: Path
  log: Path


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


def plan(base: Base, data: str, out: Path, clips: int) -> dict[str, Job]:
  """A job for every row that changes something of the config; `full` first.

  Args:
    base: What all rows share.
    data: Prepared data sets, comma-separated.
    out: DIR.
    clips: Held-out clips at most.

  Raises:
    ValueError: a value of the config cannot be, or a run in DIR was trained
      with another config; one line.
  """
  config_validation.validate(base.config)
  # Absolute: a run's config outlives the folder that it was started in.
  out = out.absolute()
  data = ",".join(str(Path(part).absolute()) for part in data.split(","))
  found = {}
  for name, row in ROWS.items():
    full = name == published.FULL
    if not full and _changed(base.config, row.overrides) == base.config:
      continue
    home = "" if full else str(out / "runs" / published.FULL)
    given = {"data.path": data, "stages": row.stages, "init_from": home}
    given |= row.overrides
    run, report = out / "runs" / name, out / "reports" / name
    told = {**base.overrides, **given}
    flagged = [f"--config.{key}={value}" for key, value in told.items()]
    found[name] = Job(
      name,
      row,
      _changed(base.config, given),
      [
        *("-m", "speak_jax.train", f"--config={base.file}"),
        *(*flagged, f"--workdir={run}"),
      ],
      [
        *("-m", "speak_jax.evaluate", f"--model={run}", f"--data={data}"),
        *(f"--out={report}", f"--clips={clips}"),
      ],
      run,
      report,
      out / "logs" / f"{name}.log",
    )
    _check(found[name])
  return found


def chosen(table: str, only: str) -> list[str]:
  """Full names of the rows that are asked for, `full` first.

  Args:
    table: A group of rows, or "all".
    only: Names, comma-separated, with or without their group; "" is all.

  Raises:
    ValueError: there is no such row; one line.
  """
  groups = list(GROUPS) if table == "all" else [table]
  names = [x for x in ROWS if x.split("/")[0] in (published.FULL, *groups)]
  wanted = {part.strip() for part in only.split(",") if part.strip()}
  if not wanted:
    return names
  wanted.add(published.FULL)
  found = [x for x in names if {x, x.split("/")[-1]} & wanted]
  unknown = wanted - {part for x in found for part in (x, x.split("/")[-1])}
  if unknown:
    raise ValueError(
      f"--only: no row {sorted(unknown)[0]!r} among {', '.join(names)}"
    )
  return found


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
  first = 0
  for name in names:
    if name not in jobs:
      _say(f"{name}: {_left_out(ROWS[name])}")
      continue
    begun = time.monotonic()
    done, code = _run(jobs[name], jobs[published.FULL], call)
    minutes = f"{(time.monotonic() - begun) / 60:.1f} minutes"
    if call.code:
      _say(f"{name}: stopped after {minutes}; the same command goes on")
      return call.code
    if code:
      first = first or code
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
  return first


# --- one row ---------------------------------------------------------------


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
    _asked(job).write_text(json.dumps(job.measure), encoding="utf-8")
  return done, 0


def _changed(config: ConfigDict, overrides: Mapping[str, Any]) -> ConfigDict:
  """A locked copy with some dotted keys set."""
  copy = ConfigDict(config.to_dict()).lock()
  copy.update_from_flattened_dict(dict(overrides))
  return copy


def _check(job: Job) -> None:
  """Refuses a folder of another experiment: its rows do not compare.

  Raises:
    ValueError: naming the first key that differs.
  """
  if not initial_weights.bound(job.run):
    return
  stored = run_config.read(job.run)
  old, new = (
    traverse_util.flatten_dict(config.to_dict(), sep=".")
    for config in (stored, _fitted(job, stored))
  )
  for key in sorted({*old, *new}):
    if old.get(key) != new.get(key) and not key.startswith(_FREE):
      raise ValueError(
        f"{job.run}: was trained with another {key}; choose another --out"
      )


def _fitted(job: Job, stored: ConfigDict) -> ConfigDict:
  """A job's config as train has written it, on whatever devices that was.

  No device is looked at: it would be taken from the commands that are run.
  """
  config = initial_weights.with_dtype(job.config, job.run)
  config = initial_weights.with_speech(config, job.run, lambda line: None)
  config = ConfigDict(config.to_dict())
  for name in job.row.stages:
    asked, found = (
      microbatches.Plan(x[name].batch, x[name].microbatch)
      for x in (config, stored)
    )
    if microbatches.could_be_plan_of(
      found, asked, STAGES[name](config).together
    ):
      config[name].batch, config[name].microbatch = found
  return config.lock()


def _trained(job: Job) -> bool:
  return all(
    (checkpoints.newest_verified_step(job.run, stage) or 0)
    >= job.config[stage].steps
    for stage in job.row.stages
  )


def _measured(job: Job, full: Job) -> bool:
  """Whether the report is there, was asked for alike, and is the newer one."""
  metrics, asked = job.report / "metrics.json", _asked(job)
  if not (metrics.exists() and asked.exists()):
    return False
  if json.loads(asked.read_text()) != list(job.measure):
    return False
  made = [
    path.stat().st_mtime
    for run in {job.run, full.run}  # frozen networks may be those of `full`
    for path in run.glob("*/checkpoints/*")
  ]
  return metrics.stat().st_mtime >= max(made, default=0.0)


def _asked(job: Job) -> Path:
  """Where it is kept how a report was asked for."""
  return job.report / "asked.json"


def _last_line(log: Path) -> str:
  lines = log.read_text(encoding="utf-8", errors="replace").split("\n")
  return next((line.strip() for line in reversed(lines) if line.strip()), "")


# --- the table -------------------------------------------------------------


def table(
  measured: Mapping[str, Metrics],
  failed: Mapping[str, str] = {},
  budget: str = "",
  left_out: Sequence[str] = (),
) -> tables.Table:
  """Rows with their change against `full`, and whether that was expected.

  Args:
    measured: By row, what evaluate's metrics.json says; `full` among them.
    failed: By row, why there are no figures.
    budget: What all rows share, in words.
    left_out: Rows that change nothing of the config.
  """
  whole = measured[published.FULL]
  full = _figures(whole, FULL.stages)
  lines = []
  for name, metrics in measured.items():
    found = _figures(metrics, ROWS[name].stages)
    marks = {} if name == published.FULL else _marks(name, found, full)
    lines.append(tables.Row(name, "", tables.MEASURED, found, marks=marks))
  for entry in (methods.STATIC, methods.TRUE):
    found = _figures(whole, ("speak",), f"{entry.name}_")
    lines.append(tables.Row(entry.method.name, "", tables.MEASURED, found))
  notes = [
    f"Every row has the same budget, data and seed: {budget}. Stages that a row"
    " does not train anew are those of full, and IRFD's figures then too: they"
    " are left out.",
    "In square brackets: 95 % bootstrap interval over clips. In round brackets:"
    f" the change against full, and whether it has the expected sign; {NOISE}"
    " where the two intervals overlap. They are not paired, so this hides small"
    " changes that are there. 100 dB stands for equal frames.",
    "Signs expected of rows 3/ and losses/ are the paper's, of table III (v3)"
    " and of the losses left out (v1), on MEAD; its Sync is the public"
    " network's, ours our own's.",
    f"{whole.get('meta/data', 'data unknown')};"
    f" {whole.get('meta/hardware', 'hardware unknown')}; read by"
    f" {whole.get('meta/reader', 'an unknown reader')}.",
    *(_about(name, ROWS[name]) for name in measured),
    *(f"{name}: no figures, {why}" for name, why in failed.items()),
    *(f"{name}: {_left_out(ROWS[name])}." for name in left_out),
  ]
  return tables.Table("Ablations at equal steps", COLUMNS, lines, notes)


def expected(name: str) -> dict[str, int]:
  """{figure: the sign of its change} that somebody expects of a row."""
  group, _, short = name.partition("/")
  ablation = ABLATIONS.get(group)
  theirs = published.change(ablation, short) if ablation else {}
  signs = {
    f"speak/{_OURS.get(metric, metric)}": int(np.sign(change))
    for metric, change in theirs.items()
    if change
  }
  return signs | dict(ROWS[name].expects)


def verdict(row: Figure, full: Figure, sign: int) -> str:
  """Whether a change has a sign; "" where none is expected (0)."""
  if not (row.low > full.high or row.high < full.low):
    return NOISE
  if not sign:
    return ""
  return AGREES if (row.value - full.value) * sign > 0 else DIFFERS


def _marks(name: str, found: Figures, full: Figures) -> dict[str, str]:
  """-0.42, - expected: agrees."""
  signs, marks = expected(name), {}
  for column in COLUMNS:
    metric, sign = column.metric, signs.get(column.metric, 0)
    if metric in found and metric in full:
      row, whole = found[metric], full[metric]
      said = verdict(row, whole, sign)
      if sign:
        said = f"{'+' if sign > 0 else '-'} expected: {said}"
      change = f"{row.value - whole.value:+.{column.digits}f}"
      marks[metric] = ", ".join(filter(None, (change, said)))
  return marks


def _figures(
  metrics: Metrics, stages: Sequence[str], reference: str = ""
) -> Figures:
  """Figures of some stages; `reference` is what a reference's begin with."""
  found = {}
  for column in COLUMNS:
    stage, name = column.metric.split("/")
    key = f"{stage}/{reference}{name}"
    if stage in stages and key in metrics:
      value, low, high = (
        float(metrics.get(x, np.nan))
        for x in (key, f"{key}/low", f"{key}/high")
      )
      found[column.metric] = Figure(value, low, high)
  return found


def _about(name: str, row: Row) -> str:
  """What a row asks, in a line."""
  parts = [row.asks, f"trains {', '.join(row.stages)}", _changes(row)]
  if row.source:
    parts.append(f"signs: {row.source}")
  return f"{name}: {'; '.join(filter(None, parts))}."


def _left_out(row: Row) -> str:
  """Why a row that changes nothing is not run."""
  return f"left out, the config has {_changes(row)} already"


def _changes(row: Row) -> str:
  """What a row sets."""
  return ", ".join(f"{key} = {x!r}" for key, x in row.overrides.items())


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
  made = table(measured, failed, budget, left_out)
  for suffix, text in {
    "md": tables.markdown(made),
    "json": tables.as_json(made),
  }.items():
    (out / f"table.{suffix}").write_text(text, encoding="utf-8")


# --- the command -----------------------------------------------------------


def _say(text: str) -> None:
  print(f"ablate: {text}", file=sys.stderr, flush=True)


def main(argv: Sequence[str]) -> int:
  """Runs the command; returns the exit code."""
  if len(argv) > 1:
    return command_line.fail(
      "ablate", f"{argv[1]}: unexpected argument", BAD_CONFIG
    )
  given: Any = flags.FLAGS
  flag = given["config"]
  base = Base(flag.value, flag.config_filename, flag.override_values)
  out = Path(given.out)
  try:
    outputs.check_folder(out, [], sealed=given.data.split(","))
    names = chosen(given.table, given.only)
    jobs = plan(base, given.data, out, given.clips)
    call = Commands()
    call.install()
    return ablate(jobs, names, out, call)
  except ValueError as error:
    return command_line.fail("ablate", str(error), BAD_CONFIG)
  except OSError as error:
    return command_line.fail("ablate", f"{error.filename}: {error.strerror}", 1)


if __name__ == "__main__":
  config_flags.DEFINE_config_file("config", None, "experiment")
  flags.DEFINE_string("data", None, "prepared data sets, comma-separated")
  flags.DEFINE_string("out", None, "DIR, folder of runs, reports and the table")
  flags.DEFINE_enum("table", "all", [*GROUPS, "all"], "which rows")
  flags.DEFINE_string("only", "", "NAME,NAME: of these rows, some")
  flags.DEFINE_integer("clips", 24, "held-out clips at most", lower_bound=2)
  flags.mark_flags_as_required(["config", "data", "out"])
  app.run(main, flags_parser=command_line.parser("ablate"))
