"""What a run or a bundle has learned, checked against this code's networks."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from flax import traverse_util
from ml_collections import ConfigDict

from speak_jax import bundle
from speak_jax.stages.registry import SPEAKING, STAGES, training
from speak_jax.training import checkpoints, run_config
from speak_jax.training.state import abstract_groups

# {stage: {group: variables}}
Learned = dict[str, dict[str, Any]]


class Source(NamedTuple):
  """A checkpoint that was verified."""

  run: Path
  stage: str
  step: int


def find(run: str | Path, stage: str) -> Source | None:
  """A stage's newest good checkpoint, in a run or in what it started from.

  Raises:
    ValueError: the folder is not a run.
    NoCheckpointError: there are checkpoints, and none can be trusted.
  """
  return find_in((run, run_config.read(run).init_from), stage)


def find_in(runs: Iterable[str | Path], stage: str) -> Source | None:
  """A stage's newest good checkpoint in the first of some runs that has one.

  Args:
    runs: RUN folders; "" is none.
    stage: Name of the stage.

  Raises:
    NoCheckpointError: there are checkpoints, and none can be trusted.
  """
  for run in filter(None, runs):
    step = checkpoints.newest_verified_step(run, stage)
    if step is not None:
      return Source(Path(run), stage, step)
  return None


def load(
  path: Path, stages: Iterable[str] | None = None
) -> tuple[ConfigDict, Learned]:
  """A run's or bundle's config, and the averaged weights of its stages.

  Args:
    path: The folder.
    stages: Which to look for, None for all of its method; what the folder
      does not hold is not in the result.

  Raises:
    ValueError: it is neither, or damaged, or of another version of the code;
      one line.
  """
  read_folder = _of_bundle if bundle.is_bundle(path) else _of_run
  return read_folder(path, stages)


def of_stage(
  run: str | Path, config: ConfigDict, stage: str, step: int | None = None
) -> dict[str, dict[str, Any]]:
  """{group: variables} of a stage's groups in `STAGES`; see `trained`."""
  groups = STAGES[stage].groups
  params, collections = trained(run, config, stage, groups, step)
  return {g: {"params": params[g], **collections[g]} for g in groups}


def trained(
  run: str | Path,
  config: ConfigDict,
  stage: str,
  groups: Sequence[str],
  step: int | None = None,
) -> tuple[dict[str, Any], dict[str, Any]]:
  """Averaged weights of a stage's checkpoint.

  Args:
    run: RUN folder.
    config: Of the networks that are to hold them.
    stage: Name in `STAGES`.
    groups: Names of parameter groups.
    step: Which checkpoint, verified before; None: the newest good one.

  Returns:
    See `checkpoints.restore_params`.

  Raises:
    ValueError: no checkpoint, or the networks that this code makes of the
      config have other weights; one line.
  """
  weights = checkpoints.restore_params(run, stage, groups, step=step)
  try:
    like = abstract_groups(STAGES[stage].make(config))
  except AttributeError as error:  # a key that the config does not have
    raise ValueError(
      f"{run}: its config is not for this version of the code ({error})"
    ) from error
  for stored, wanted in zip(weights, like, strict=True):
    wanted = {group: wanted[group] for group in groups}
    if odd := checkpoints.odd_array(stored, wanted):
      raise ValueError(
        f"{run}: its checkpoint of stage {stage} does not fit this version of"
        f" the code, see {odd}"
      )
  return weights


def _of_run(
  path: Path, stages: Iterable[str] | None
) -> tuple[ConfigDict, Learned]:
  config, learned = run_config.read(path), {}
  for stage in training(config.method).stages if stages is None else stages:
    if source := find(path, stage):
      learned[stage] = of_stage(source.run, config, stage, source.step)
  return config, learned


def _of_bundle(
  path: Path, stages: Iterable[str] | None
) -> tuple[ConfigDict, Learned]:
  content = bundle.read(path)
  config = run_config.from_json(content.config.get("config", {}))
  speaks = content.variables
  learned = traverse_util.unflatten_dict(content.evaluation, sep="/")
  if "irfd" in learned:
    # A bundle has encoders that stage `speak` left as they were only once.
    learned["irfd"].setdefault("encoders", speaks["encoders"])
  learned[SPEAKING] = speaks
  wanted = learned if stages is None else stages
  return config, {s: learned[s] for s in wanted if s in learned}
