"""Which rows there are, and what each of them runs."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from flax import traverse_util
from ml_collections import ConfigDict

from data_pipelines.dataset import paths
from speak_jax.configs.ablations import FULL, GROUPS, Row
from speak_jax.evaluation.report import published
from speak_jax.stages.registry import STAGES, training
from speak_jax.training import (
  checkpoints,
  config_validation,
  initial_weights,
  microbatches,
  run_config,
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


def plan(base: Base, data: str, out: Path, clips: int) -> dict[str, Job]:
  """A job for every row that changes something of the config; `full` first.

  Args:
    base: What all rows share.
    data: Prepared data sets, as `paths.named_folders` reads them.
    out: DIR.
    clips: Held-out clips at most.

  Raises:
    ValueError: a value of the config cannot be, or a run in DIR was trained
      with another config; one line.
  """
  config_validation.validate(base.config)
  # Absolute: a run's config outlives the folder that it was started in.
  out = out.absolute()
  data = paths.absolute(data)
  jobs = {}
  for name, row in ROWS.items():
    full = name == published.FULL
    if not full and overridden(base.config, row.overrides) == base.config:
      continue
    home = "" if full else str(out / "runs" / published.FULL)
    keys = {"data.path": data, "stages": row.stages, "init_from": home}
    keys |= row.overrides
    run, report = out / "runs" / name, out / "reports" / name
    flags = [
      f"--config.{key}={value}"
      for key, value in {**base.overrides, **keys}.items()
    ]
    jobs[name] = Job(
      name,
      row,
      overridden(base.config, keys),
      [
        *("-m", "speak_jax.train", f"--config={base.file}"),
        *(*flags, f"--workdir={run}"),
      ],
      [
        *("-m", "speak_jax.evaluate", f"--model={run}", f"--data={data}"),
        *(f"--out={report}", f"--clips={clips}"),
      ],
      run,
      report,
      out / "logs" / f"{name}.log",
    )
    _check(jobs[name])
  return jobs


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
  asked = [x for x in names if {x, x.split("/")[-1]} & wanted]
  unknown = wanted - {part for x in asked for part in (x, x.split("/")[-1])}
  if unknown:
    raise ValueError(
      f"--only: no row {sorted(unknown)[0]!r} among {', '.join(names)}"
    )
  return asked


def overridden(config: ConfigDict, overrides: Mapping[str, Any]) -> ConfigDict:
  """A locked copy with some dotted keys set."""
  copy = ConfigDict(config.to_dict()).lock()
  copy.update_from_flattened_dict(dict(overrides))
  return copy


def _check(job: Job) -> None:
  """Refuses a folder of another experiment: its rows do not compare.

  Raises:
    ValueError: naming the first key that differs.
  """
  own = training(job.config.method).stages
  saved = checkpoints.newest_verified_steps(job.run, own)
  if not run_config.binds(job.run, saved):
    return
  stored = run_config.read(job.run)
  old, new = (
    traverse_util.flatten_dict(config.to_dict(), sep=".")
    for config in (stored, _fitted(job, stored, saved))
  )
  for key in sorted({*old, *new}):
    if old.get(key) != new.get(key) and not key.startswith(_FREE):
      raise ValueError(
        f"{job.run}: was trained with another {key}; choose another --out"
      )


def _fitted(
  job: Job, stored: ConfigDict, saved: Mapping[str, int]
) -> ConfigDict:
  """A job's config as train has written it, on whatever devices that was.

  No device is looked at: it would be taken from the commands that are run.
  """
  config = initial_weights.with_dtype(job.config, job.run, saved)
  config = initial_weights.with_speech(
    config, job.run, saved, lambda line: None
  )
  config = ConfigDict(config.to_dict())
  for name in job.row.stages:
    wanted, trained = (
      microbatches.Plan(x[name].batch, x[name].microbatch)
      for x in (config, stored)
    )
    if microbatches.could_be_plan_of(
      trained, wanted, STAGES[name].make(config).together
    ):
      config[name].batch, config[name].microbatch = trained
  return config.lock()


def describe(row: Row) -> str:
  """The config keys that a row sets, with their values."""
  return ", ".join(f"{key} = {x!r}" for key, x in row.overrides.items())


def why_left_out(row: Row) -> str:
  """Why a row that changes nothing is not run."""
  return f"left out, the config has {describe(row)} already"
