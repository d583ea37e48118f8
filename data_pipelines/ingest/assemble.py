"""Finished shards get their names, and the directory becomes a data set."""

import contextlib
import json
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from data_pipelines.dataset import writer
from data_pipelines.dataset.index import SPLITS, VERSION, ClipInfo
from data_pipelines.ingest import outcomes, staging
from data_pipelines.ingest.guard import TooManyRejectsError
from data_pipelines.ingest.outcomes import PrepareError
from data_pipelines.ingest.plan import ShardPlan
from data_pipelines.ingest.summary import REJECTS, STAGING, with_list
from speak_jax.common import files

STATE = "prepare.json"
# In STAGING, of what is there: the settings, and the records' format.
META, FORMAT = "meta.json", "format"


def check_meta(output: Path, meta: dict[str, Any]) -> None:
  """Refuses a folder that was prepared with other settings.

  Raises:
    PrepareError: names the settings.
  """
  state = _read_json(output / STATE)
  old = state["meta"] if state else _read_json(output / STAGING / META)
  if old is not None and old != meta:
    keys = sorted(k for k in old | meta if old.get(k) != meta.get(k))
    raise PrepareError(
      f"{output}: was prepared with another {', '.join(keys)}; "
      "choose another output or remove it"
    )


def check_format(output: Path) -> None:
  """Refuses to add to clips of another format: a set has one.

  Raises:
    PrepareError: names the formats.
  """
  info, kept = output / "dataset_info.json", output / STAGING / FORMAT
  if described := _read_json(info):
    found = described["version"]
  elif kept.exists():
    found = kept.read_text()
  elif (output / STAGING / META).exists():
    found = "before 1.5.0"  # which kept none
  else:
    return
  if found != VERSION:
    raise PrepareError(
      f"{output}: its clips have format {found}, and new ones {VERSION}; "
      "choose another output or remove it"
    )


def is_assembled(output: Path, plans: Sequence[ShardPlan]) -> bool:
  """Whether the folder is a data set of exactly these shards."""
  state = _read_json(output / STATE)
  return (
    state is not None
    and state["parts"] == [plan.key for plan in plans]
    and (output / "dataset_info.json").exists()
  )


def take_apart(output: Path, meta: dict[str, Any]) -> None:
  """Undoes `assemble`, so that a changed list of clips keeps its shards."""
  files.write(output / STAGING / META, json.dumps(meta))
  files.write(output / STAGING / FORMAT, VERSION)
  state = _read_json(output / STATE)
  (output / "dataset_info.json").unlink(missing_ok=True)
  for name, key in (state or {"shards": {}})["shards"].items():
    with contextlib.suppress(FileNotFoundError):
      os.replace(output / name, staging.shard_path(output / STAGING, key))
  (output / STATE).unlink(missing_ok=True)


def assemble(
  output: Path,
  plans: Sequence[ShardPlan],
  meta: dict[str, Any],
  max_reject: float,
) -> None:
  """Gives the shards their names and makes the directory a data set.

  Raises:
    TooManyRejectsError: more than `max_reject` of the clips gave no record.
  """
  folder = output / STAGING
  names = {}
  for split in SPLITS:
    full = [
      plan
      for plan in plans
      if plan.split == split and staging.shard_path(folder, plan.key).exists()
    ]
    for i, plan in enumerate(full):
      names[plan.key] = writer.shard_name(split, i, len(full))
  rows, rejects, notes = [], [], []
  for plan in plans:
    summary = staging.shard_summary(folder, plan.key)
    shard = {"shard": names.get(plan.key, "")}
    rows += [ClipInfo(**{**row, **shard}) for row in summary["rows"]]
    rejects += summary["rejects"]
    notes += summary["notes"]
  staging.write_lines(output / REJECTS, rejects)
  staging.write_lines(output / "notes.jsonl", notes)
  total = sum(len(plan.tasks) for plan in plans)
  lost = sum(map(outcomes.is_whole_clip, rejects))
  if lost / total > max_reject or not rows:
    error = TooManyRejectsError(f"{lost} of {total} clips rejected")
    raise with_list(error, output, rejects)
  state = {
    "meta": meta,
    "parts": [plan.key for plan in plans],
    "shards": {name: key for key, name in names.items()},
    "rejects": lost,
  }
  # Written before the first shard moves: a kill in between can be undone.
  files.write(output / STATE, json.dumps(state, indent=1))
  for key, name in names.items():
    os.replace(staging.shard_path(folder, key), output / name)
  _tidy(folder, {plan.key for plan in plans})
  writer.write_metadata(output, rows, meta=meta)


def _tidy(folder: Path, keys: set[str]) -> None:
  """Removes what earlier lists of clips and killed runs have left."""
  for path in folder.iterdir():
    name = path.name
    if path.suffix == ".json" and (name == META or path.stem in keys):
      continue
    if path.is_dir():
      shutil.rmtree(path, ignore_errors=True)
    elif name not in ("lock", FORMAT):
      path.unlink(missing_ok=True)


def _read_json(path: Path) -> dict[str, Any] | None:
  return json.loads(path.read_text()) if path.exists() else None
