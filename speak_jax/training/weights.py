"""Trained weights of a run, checked against the networks of this code."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
from ml_collections import ConfigDict

from speak_jax.stages.registry import STAGES
from speak_jax.training import checkpoints


def of_stage(
  run: str | Path, config: ConfigDict, stage: str
) -> dict[str, dict[str, Any]]:
  """{group: variables} of a stage's groups in `STAGES`; see `trained`."""
  groups = STAGES[stage].groups
  params, extra = trained(run, config, stage, groups)
  return {g: {"params": params[g], **extra[g]} for g in groups}


def trained(
  run: str | Path, config: ConfigDict, stage: str, groups: Sequence[str]
) -> tuple[dict[str, Any], dict[str, Any]]:
  """Averaged weights of a stage's newest checkpoint.

  Args:
    run: RUN folder.
    config: Of the networks that are to hold them.
    stage: Name in `STAGES`.
    groups: Names of parameter groups.

  Returns:
    See `checkpoints.restore_params`.

  Raises:
    ValueError: no checkpoint, or the networks that this code makes of the
      config have other weights; one line.
  """
  weights = checkpoints.restore_params(run, stage, groups)
  try:
    made = STAGES[stage].make(config)
  except AttributeError as error:  # a key that the config does not have
    raise ValueError(
      f"{run}: its config is not for this version of the code ({error})"
    ) from error
  like = jax.eval_shape(lambda: made.init(0, {}))
  for found, wanted in zip(weights, like, strict=True):
    wanted = {group: wanted[group] for group in groups}
    odd = sorted(checkpoints.shapes(found) ^ checkpoints.shapes(wanted))
    if odd:
      raise ValueError(
        f"{run}: its checkpoint of stage {stage} does not fit this version of"
        f" the code, see {odd[0][0]}"
      )
  return weights
