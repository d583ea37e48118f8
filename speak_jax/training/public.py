"""Public weights that a stage starts from, as its groups take them."""

from collections.abc import Collection
from typing import Any

import jax
from ml_collections import ConfigDict

from speak_jax.models.audio import AudioEncoder
from speak_jax.pretrained import layouts, speech
from speak_jax.pretrained.tensors import WeightsError
from speak_jax.stages.base import Stage
from speak_jax.stages.init import RESNETS
from speak_jax.stages.registry import STAGES


def require(config: ConfigDict, elsewhere: Collection[str] = ()) -> None:
  """Refuses a config that lacks public weights which it cannot do without.

  What none of config.stages has a use for is not asked for.

  Args:
    config: config.pretrained.required names them.
    elsewhere: Names whose networks come trained from another place.

  Raises:
    ValueError: naming what is missing; one line.
  """
  lacking = [
    name
    for name in config.pretrained.required
    if not config.pretrained[name] and name not in elsewhere
  ]
  if not lacking:
    return
  used = {x for name in config.stages for x in STAGES[name].make(config).public}
  if keys := [f"config.pretrained.{name}" for name in lacking if name in used]:
    raise ValueError(
      f"preset {config.preset} needs public weights: set {', '.join(keys)},"
      " or leave them out of config.pretrained.required"
    )


def weights(config: ConfigDict, stage: Stage) -> dict[str, tuple[Any, Any]]:
  """What config.pretrained names for a stage: {name: (params, vars)}.

  Args:
    config: The run's.
    stage: Its `public` says which of the names it has a use for.

  Raises:
    WeightsError: not found, damaged, or of other sizes than the config's; one
      line.
  """
  named = {name: config.pretrained[name] for name in stage.public}
  if not any(named.values()):
    return {}  # tracing the networks would be for nothing
  like, _ = jax.eval_shape(lambda: stage.init(0, {}))
  found = {}
  for name, source in named.items():
    if not source:
      continue
    if name == "resnet" and config.model.norm != "batch":
      raise WeightsError(
        f"{source}: a published ResNet needs config.model.norm = 'batch'"
      )
    converted = layouts.load(source, name).converted
    extra = dict(converted.variables)
    params = extra.pop("params")
    if name == "speech":
      audio = AudioEncoder(**config.model.audio)
      params = speech.encoder_params(converted, audio, source)
    elif name == "vgg":
      _check(params, like["vgg"], source)
    else:
      _check(params, _resnet(like["encoders"]), source)
    found[name] = params, extra
  return found


def _resnet(encoders: dict[str, Any]) -> Any:
  """The one of E_i, E_p and E_e that is there."""
  return next(encoders[name] for name in RESNETS if name in encoders)


def _check(params: Any, wanted: Any, source: str) -> None:
  """Refuses weights of another shape.

  Raises:
    WeightsError: naming the first array that differs.
  """
  ours, theirs = (
    {
      jax.tree_util.keystr(path, simple=True, separator="/"): leaf.shape
      for path, leaf in jax.tree_util.tree_flatten_with_path(tree)[0]
    }
    for tree in (wanted, params)
  )
  for key in sorted({*ours, *theirs}):
    if ours.get(key) != theirs.get(key):
      raise WeightsError(
        f"{source}: {key} is {theirs.get(key, 'missing')}, this config's is"
        f" {ours.get(key, 'missing')}"
      )
