"""Checkpoints on disk: which of them are good, and what is in them.

RUN/<stage>/checkpoints/N/   after N steps: model, optim, meta (orbax), and
                             manifest.sha256
RUN/<stage>/checkpoints/N.corrupt   one whose files are not what was written

Orbax writes to a temporary name and renames; our manifest follows, and what is
restored is the newest checkpoint that agrees with its own. Orbax itself does
not see a changed bit. Nothing here changes a file; `checkpoint_manager` does.
"""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from orbax.checkpoint import v1 as ocp

from speak_jax.training import manifest
from speak_jax.training.distributed import say_once

CORRUPT = ".corrupt"  # suffix of what was put aside


class NoCheckpointError(ValueError):
  """There were checkpoints, and none of them can be trusted."""


class CheckpointStatus(NamedTuple):
  """What is known of a checkpoint."""

  step: int
  kind: str  # "good", "unchecked", "unfinished", "corrupt"
  reason: str  # in words, unless it is good


def statuses(
  folder: Path, verified: int | None = None
) -> Iterator[CheckpointStatus]:
  """Verifies the checkpoints of a folder one by one, the newest one first.

  One without manifest is unfinished if an older one has a manifest. Otherwise
  it is of before there were manifests, or the first of a run that was killed
  right after; orbax finished it, and nothing else is known.

  Args:
    folder: RUN/<stage>/checkpoints.
    verified: Step of one that this process has hashed; it is not hashed again.
  """
  steps = steps_in(folder)
  sealed = [s for s in steps if (folder / str(s) / manifest.NAME).exists()]
  for step in steps:
    if step in sealed:
      wrong = None if step == verified else manifest.fault(folder / str(step))
      yield CheckpointStatus(step, "corrupt" if wrong else "good", wrong or "")
    elif sealed and step > sealed[0]:
      yield CheckpointStatus(step, "unfinished", "its manifest was not written")
    else:
      yield CheckpointStatus(
        step, "unchecked", "it has no manifest to check it by"
      )


def newest_verified_step(run: str | Path, stage: str) -> int | None:
  """Step of a stage's newest checkpoint that can be trusted; changes nothing.

  Reads and hashes all of that checkpoint, which takes seconds a gigabyte: ask
  once and pass the number on. Says which ones cannot be trusted.

  Returns:
    None if there is no checkpoint at all.

  Raises:
    NoCheckpointError: there are checkpoints, and none can be trusted.
  """
  folder = folder_of(run, stage)
  for status in statuses(folder):
    if status.kind in ("good", "unchecked"):
      return status.step
    say_once(f"{folder / str(status.step)}: passed over, {status.reason}")
  raise_if_none_good(folder)
  return None


def newest_verified_steps(
  run: str | Path, stages: Iterable[str]
) -> dict[str, int]:
  """`newest_verified_step` of each stage that has one."""
  steps = {stage: newest_verified_step(run, stage) for stage in stages}
  return {stage: step for stage, step in steps.items() if step is not None}


def stored_origin(run: str | Path, stage: str, step: int) -> dict[str, str]:
  """What a checkpoint tells of the run that wrote it."""
  path = folder_of(run, stage) / str(step)
  meta: Any = ocp.load_checkpointables(str(path), {"meta": None})["meta"]
  return {key: value for key, value in meta.items() if key != "data"}


def restore_params(
  run: str | Path,
  stage: str,
  groups: Sequence[str],
  ema: bool = True,
  step: int | None = None,
) -> tuple[dict[str, Any], dict[str, Any]]:
  """Weights of some groups on the host, without the optimizers.

  Args:
    run: RUN folder.
    stage: Whose checkpoint.
    groups: Names of parameter groups.
    ema: Averaged weights where the group has them.
    step: Which one, verified before; None: the newest good one.

  Returns:
    {group: params} and {group: {collection: tree}}, NumPy arrays.

  Raises:
    ValueError: no checkpoint, none that is good, or no such group in it.
  """
  folder = folder_of(run, stage)
  if step is None:
    step = newest_verified_step(run, stage)
  if step is None:
    raise ValueError(f"{folder}: no checkpoint")
  path = folder / str(step)
  stored: Any = ocp.checkpointables_metadata(str(path)).metadata
  like = jax.tree.map(lambda x: np.empty(x.shape, x.dtype), stored["model"])
  model = ocp.load_checkpointables(str(path), {"model": like})["model"]
  missing = [g for g in groups if g not in model["params"]]
  if missing:
    raise ValueError(f"{path}: no group {', '.join(missing)}")
  averages = model["ema"] if ema else {}
  params = {g: averages.get(g, model["params"][g]) for g in groups}
  return params, {g: model["vars"].get(g, {}) for g in groups}


def folder_of(run: str | Path, stage: str) -> Path:
  """RUN/<stage>/checkpoints."""
  return (Path(run) / stage / "checkpoints").absolute()


def steps_in(folder: Path) -> list[int]:
  """Steps of all checkpoints, whatever they are worth, the newest first."""
  if not folder.is_dir():
    return []
  names = [path.name for path in folder.iterdir() if path.is_dir()]
  return sorted((int(name) for name in names if name.isdigit()), reverse=True)


def raise_if_none_good(folder: Path) -> None:
  """Refuses a folder whose checkpoints are all damaged.

  Raises:
    NoCheckpointError: there are checkpoints, or some that were put aside.
  """
  if steps_in(folder) or (folder.is_dir() and any(folder.glob(f"*{CORRUPT}*"))):
    raise NoCheckpointError(
      f"{folder}: no good checkpoint; remove the folder to train anew"
    )


def odd_array(stored: Any, wanted: Any) -> str:
  """Path of the first array that one tree has and the other has not so.

  Args:
    stored: Arrays, or anything with a shape.
    wanted: Likewise.

  Returns:
    "" if both have the same arrays, each of the same shape.
  """
  odd = _shapes(stored) ^ _shapes(wanted)
  return min(odd)[0] if odd else ""


def _shapes(tree: Any) -> set[tuple[str, tuple[int, ...]]]:
  """Path and shape of every array of a tree."""
  leaves, _ = jax.tree.flatten_with_path(tree)
  return {(jax.tree_util.keystr(p), tuple(x.shape)) for p, x in leaves}
