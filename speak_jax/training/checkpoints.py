"""Checkpoints: the whole state, the data position, and a line of JSON.

RUN/config.json              the resolved config
RUN/<stage>/checkpoints/N/   after N steps: model, optim, meta (orbax)

Orbax writes to a temporary name and renames, so a checkpoint is whole or not
there at all.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from ml_collections import ConfigDict
from orbax.checkpoint import v1 as ocp

from speak_jax.training.state import TrainState


class Checkpoints:
  """The checkpoints of one stage of a run."""

  def __init__(self, folder: str | Path, keep: int = 2):
    """Opens or creates the folder; the newest `keep` checkpoints stay."""
    training: Any = ocp.training  # its policies and protocols disagree
    every = training.save_decision_policies.FixedIntervalPolicy(1)
    newest = training.preservation_policies.LatestN(keep)
    self._manager = training.Checkpointer(
      str(Path(folder).absolute()),
      save_decision_policy=every,
      preservation_policy=newest,
      cleanup_tmp_directories=True,
    )

  @property
  def latest(self) -> int | None:
    """Step of the newest checkpoint."""
    newest = self._manager.latest
    return None if newest is None else newest.step

  def save(self, state: TrainState, data: Any, meta: dict) -> None:
    """Writes a checkpoint unless one of this step is there.

    Args:
      state: The whole state.
      data: The batch iterator's position, plain data for JSON.
      meta: What else to remember, plain data for JSON.
    """
    step = int(state.step)
    if self.latest == step:
      return
    parts = {
      "model": {"params": state.params, "vars": state.vars, "ema": state.ema},
      "optim": {"step": state.step, "opt": state.opt},
      "meta": {**meta, "data": json.dumps(data)},
    }
    self._manager.save_checkpointables(step, parts)

  def restore(self, like: TrainState, shardings: Any) -> tuple[TrainState, Any]:
    """The newest state, placed by `shardings`, and the data position.

    Args:
      like: A state of the same shapes.
      shardings: A sharding for each of its arrays.

    Raises:
      ValueError: the checkpoint holds other arrays than `like`.
    """

    def abstract(x, sharding):
      return jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=sharding)

    want = jax.tree.map(abstract, like, shardings)
    model = {"params": want.params, "vars": want.vars, "ema": want.ema}
    step = self.latest
    stored: Any = self._manager.checkpointables_metadata(step).metadata
    odd = sorted(shapes(stored["model"]) ^ shapes(model))
    if odd:
      raise ValueError(
        f"{self._manager.directory}/{step}: not a checkpoint of this config,"
        f" see {odd[0][0]}"
      )
    found = self._manager.load_checkpointables(
      step,
      {
        "model": model,
        "optim": {"step": want.step, "opt": want.opt},
        "meta": None,
      },
    )
    state = TrainState(
      step=found["optim"]["step"],
      params=found["model"]["params"],
      vars=found["model"]["vars"],
      opt=found["optim"]["opt"],
      ema=found["model"]["ema"],
    )
    return state, json.loads(found["meta"]["data"])

  def close(self) -> None:
    """Waits for what is still being written."""
    self._manager.close()


def latest_step(run: str | Path, stage: str) -> int | None:
  """Step of a stage's newest checkpoint; None when there is none."""
  folder = _folder(run, stage)
  if not folder.is_dir():
    return None
  with ocp.training.Checkpointer(str(folder)) as manager:
    newest = manager.latest
    return None if newest is None else newest.step


def restore_params(
  run: str | Path, stage: str, groups: Sequence[str], ema: bool = True
) -> tuple[dict[str, Any], dict[str, Any]]:
  """Weights of some groups on the host, without the optimizers.

  Args:
    run: RUN folder.
    stage: Whose newest checkpoint.
    groups: Names of parameter groups.
    ema: Averaged weights where the group has them.

  Returns:
    {group: params} and {group: {collection: tree}}, NumPy arrays.

  Raises:
    ValueError: no checkpoint, or no such group in it.
  """
  folder = _folder(run, stage)
  step = latest_step(run, stage)
  if step is None:
    raise ValueError(f"{folder}: no checkpoint")
  with ocp.training.Checkpointer(str(folder)) as manager:
    found: Any = manager.checkpointables_metadata(step).metadata
    like = jax.tree.map(lambda x: np.empty(x.shape, x.dtype), found["model"])
    model = manager.load_checkpointables(step, {"model": like})["model"]
  missing = [g for g in groups if g not in model["params"]]
  if missing:
    raise ValueError(f"{folder}/{step}: no group {', '.join(missing)}")
  averages = model["ema"] if ema else {}
  params = {g: averages.get(g, model["params"][g]) for g in groups}
  return params, {g: model["vars"].get(g, {}) for g in groups}


def run_config(run: str | Path) -> ConfigDict:
  """The config that a run was trained with.

  Raises:
    ValueError: the folder is not a run.
  """
  path = Path(run) / "config.json"
  try:
    stored = json.loads(path.read_text())
  except (OSError, json.JSONDecodeError) as error:
    raise ValueError(f"{path}: not a run ({type(error).__name__})") from error
  return config_of(stored["config"])


def config_of(stored: dict[str, Any]) -> ConfigDict:
  """A config that was kept as JSON, locked."""
  return ConfigDict(_tuples(stored)).lock()


def shapes(tree: Any) -> set[tuple[str, tuple[int, ...]]]:
  """Path and shape of every array of a tree."""
  leaves, _ = jax.tree.flatten_with_path(tree)
  return {(jax.tree_util.keystr(p), tuple(x.shape)) for p, x in leaves}


def _folder(run: str | Path, stage: str) -> Path:
  return (Path(run) / stage / "checkpoints").absolute()


def _tuples(value: Any) -> Any:
  """JSON's lists as the tuples that they were."""
  if isinstance(value, dict):
    return {key: _tuples(item) for key, item in value.items()}
  if isinstance(value, list):
    return tuple(_tuples(item) for item in value)
  return value
