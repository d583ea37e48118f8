"""What a run or a bundle has learned, stage by stage."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from flax import traverse_util
from ml_collections import ConfigDict

from speak_jax import bundle
from speak_jax.stages.registry import STAGES
from speak_jax.training import checkpoints, run_config, weights

# Variables of the networks by group, by stage.
Stages = dict[str, dict[str, Any]]


def load(
  path: Path, stages: Iterable[str] | None = None
) -> tuple[ConfigDict, Stages]:
  """A run's or bundle's config, and the averaged weights of its stages.

  Args:
    path: The folder.
    stages: Which to look for, None for all that there are; what the folder
      does not hold is not in the result.

  Raises:
    ValueError: it is neither, or damaged, or of another version of the code;
      one line.
  """
  read = _of_bundle if bundle.is_bundle(path) else _of_run
  return read(path, tuple(STAGES) if stages is None else stages)


def where(path: Path, stage: str) -> Path | None:
  """The run that holds a stage: this one, or the one it started from.

  Raises:
    ValueError: the folder is not a run.
  """
  config = run_config.read(path)
  for run in (path, Path(config.init_from) if config.init_from else None):
    if run and checkpoints.newest_verified_step(run, stage) is not None:
      return run
  return None


def _of_run(path: Path, stages: Iterable[str]) -> tuple[ConfigDict, Stages]:
  config = run_config.read(path)
  found = {}
  for stage in stages:
    if home := where(path, stage):
      found[stage] = weights.of_stage(home, config, stage)
  return config, found


def _of_bundle(path: Path, stages: Iterable[str]) -> tuple[ConfigDict, Stages]:
  content = bundle.read(path)
  config = run_config.from_json(content.config.get("config", {}))
  speaks = traverse_util.unflatten_dict(content.weights, sep="/")
  found = traverse_util.unflatten_dict(content.evaluation, sep="/")
  if "irfd" in found:
    # Not there twice if they were held still when the system learned to speak.
    found["irfd"].setdefault("encoders", speaks["encoders"])
  found["speak"] = speaks
  return config, {stage: found[stage] for stage in stages if stage in found}
