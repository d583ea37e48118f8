"""What a stage starts with that was trained before it."""

from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
from ml_collections import ConfigDict

from speak_jax.models.audio import WAVE_FRONTS, AudioEncoder
from speak_jax.nn import precision
from speak_jax.pretrained import layouts, speech
from speak_jax.pretrained.tensors import WeightsError
from speak_jax.stages.base import Stage
from speak_jax.stages.init import RESNETS, fixed_convolutions
from speak_jax.stages.registry import STAGES
from speak_jax.training import checkpoints, run_config, weights
from speak_jax.training.state import Weights, abstract_groups


def initial_weights(
  config: ConfigDict, run: Path, stage: Stage, tuned: Weights
) -> tuple[Weights, dict[str, str]]:
  """What a stage without a checkpoint starts with, and where that comes from.

  Earlier stages come first, those of this run and then those of
  config.init_from; then the run or bundle that config.finetune_from names;
  public weights (config.pretrained) are for what none of them has.

  Args:
    config: The run's.
    run: Its folder.
    stage: To be trained from its first step on.
    tuned: What `finetuned` has found for it.

  Returns:
    {group: (params, collections)}; the names of public weights are groups of
    their own. And {group: where it comes from}.

  Raises:
    ValueError: an earlier stage is missing, or weights have other sizes.
  """
  groups, _ = abstract_groups(stage)
  chosen = dict(tuned)
  origins = {group: str(config.finetune_from) for group in tuned}
  for earlier in dict.fromkeys(stage.pretrained_from.values()):
    wanted = [
      group
      for group, trained_by in stage.pretrained_from.items()
      # What only warms up a network is of no use to one that was trained.
      if trained_by == earlier and (group in groups or not tuned)
    ]
    missing = [group for group in wanted if group not in chosen]
    if source := weights.find_in((run, config.init_from), earlier):
      params, collections = checkpoints.restore_params(
        source.run, earlier, wanted, step=source.step
      )
      origin = f"{source.run}/{earlier}"
      _check_sizes(origin, params, groups)
      chosen |= {g: (params[g], collections[g]) for g in wanted}
      origins |= dict.fromkeys(wanted, origin)
    elif missing:
      raise ValueError(
        f"{run}: stage {stage.name} needs {earlier}; train it before, or set"
        " config.init_from"
      )
  for name, group in public_weights(config, stage).items():
    if name in groups or not tuned:
      chosen[name] = group
      origins[name] = config.pretrained[name]
  return chosen, origins


def finetuned(
  config: ConfigDict, stages: Sequence[Stage]
) -> dict[str, Weights]:
  """What config.finetune_from holds for stages that have no checkpoint.

  Args:
    config: The run's.
    stages: Not trained yet.

  Returns:
    {stage: {group: (params, collections)}}; empty without the key.

  Raises:
    ValueError: it is no run or bundle, has networks of other sizes, or
      nothing of a stage; one line.
  """
  home = config.finetune_from
  if not home or not stages:
    return {}
  names = {
    name for s in stages for name in (s.name, *s.pretrained_from.values())
  }
  _, learned = weights.load(Path(home), names)
  chosen: dict[str, Weights] = {}
  for stage in stages:
    own = learned.get(stage.name, {})
    if not own:
      raise ValueError(
        f"{home}: has nothing of stage {stage.name}; a bundle has if it was"
        " exported with --evaluation"
      )
    earlier = {
      g: learned.get(s, {}).get(g) for g, s in stage.pretrained_from.items()
    }
    groups, _ = abstract_groups(stage)
    kept = {}
    for group, variables in (earlier | own).items():
      if variables and group in groups:
        collections = {k: x for k, x in variables.items() if k != "params"}
        kept[group] = variables["params"], collections
    _check_sizes(home, {g: params for g, (params, _) in kept.items()}, groups)
    chosen[stage.name] = kept
  return chosen


def public_weights(config: ConfigDict, stage: Stage) -> Weights:
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
  like, _ = abstract_groups(stage)
  chosen = {}
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
    elif name in like:  # a network whose group is called as its weights are
      _check_public(params, like[name], source)
    else:
      _check_public(params, _resnet(like["encoders"]), source)
    chosen[name] = params, extra
  return chosen


def _resnet(encoders: dict[str, Any]) -> Any:
  """The one of E_i, E_p and E_e that is there."""
  return next(encoders[name] for name in RESNETS if name in encoders)


def require_public(config: ConfigDict, elsewhere: Collection[str] = ()) -> None:
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


def with_speech(
  config: ConfigDict,
  run: Path,
  saved: Mapping[str, int],
  say: Callable[[str], None],
) -> ConfigDict:
  """The config with the speech encoder that the run can have.

  A front that hears the waveform needs trained weights: public ones, those of
  the model that the run goes on from, or the run's own. Where there are none
  the front becomes `speak.mel`, and the run says so. Convolutions that began
  as public ones stay fixed in every run that goes on from them. What comes out
  is written into RUN, so that whatever reads the run has the same networks.

  Args:
    config: As it was asked for; not changed.
    run: RUN; it need not be there yet.
    saved: {stage: step} of its checkpoints.
    say: Takes a line.

  Raises:
    ValueError: config.pretrained.required lacks something, or
      config.finetune_from holds no model; one line.
  """
  config = ConfigDict(config.to_dict())
  stage = next((name for name in config.stages if STAGES[name].hears), None)
  origin = _speech_origin(config, run, saved, stage) if stage else None
  heard = origin is not None and origin.model.audio.front in WAVE_FRONTS
  require_public(config, ("speech",) if heard else ())
  if stage is None:
    return config.lock()
  settings: Any = config[stage]
  fixed = fixed_convolutions(config)
  if heard and settings.convolutions == "auto":
    fixed |= fixed_convolutions(origin)
  settings.convolutions = "fixed" if fixed else "trained"
  audio = config.model.audio
  if audio.front in WAVE_FRONTS and not (config.pretrained.speech or heard):
    say(
      f"{stage}: no trained weights for a speech encoder on the {audio.front}"
      " (config.pretrained.speech): a mel front end of"
      f" {settings.mel.layers} layers takes its place"
    )
    config.model.audio.update(front="mel", **settings.mel)
  return config.lock()


def with_dtype(
  config: ConfigDict, run: Path, saved: Mapping[str, int]
) -> ConfigDict:
  """The config with the type that the run computes in, in place of "auto".

  A run keeps the type that it began with, on whatever machine it goes on:
  RUN/config.json says it. A start that came to no checkpoint binds nobody.

  Args:
    config: As it was asked for; not changed.
    run: RUN; it need not be there yet.
    saved: {stage: step} of its checkpoints.

  Raises:
    ValueError: there is no such type; one line.
  """
  dtype = config.model.dtype
  if dtype == "auto" and run_config.binds(run, saved):
    dtype = run_config.read(run).model.dtype
  return precision.with_dtype(config, precision.resolve(dtype))


def _speech_origin(
  config: ConfigDict, run: Path, saved: Mapping[str, int], stage: str
) -> ConfigDict | None:
  """The config of what the speech encoder's weights come from, if any."""
  if stage in saved:
    return run_config.read(run)
  if config.finetune_from:
    return weights.load(Path(config.finetune_from), ())[0]
  return None


def _check_sizes(
  source: str | Path, params: Mapping[str, Any], groups: Mapping[str, Any]
) -> None:
  """Refuses weights of other sizes than a stage's groups.

  Raises:
    ValueError: naming the group and the first array.
  """
  for group in sorted(params.keys() & groups.keys()):
    if odd := checkpoints.odd_array(params[group], groups[group]):
      raise ValueError(
        f"{source}: its {group} have other sizes than this config's, see {odd}"
      )


def _check_public(params: Any, wanted: Any, source: str) -> None:
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
