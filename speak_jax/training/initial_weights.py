"""What a stage starts with that was trained before it."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax
from ml_collections import ConfigDict

from speak_jax.models.audio import WAVE_FRONTS
from speak_jax.nn import precision
from speak_jax.stages import base
from speak_jax.stages.init import fixed_convolutions
from speak_jax.stages.registry import STAGES
from speak_jax.training import checkpoints, public, run_config, trained

# Weights by group: parameters and the other collections.
Given = dict[str, tuple[Any, Any]]


def with_speech(
  config: ConfigDict, run: Path, say: Callable[[str], None]
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
    say: Takes a line.

  Raises:
    ValueError: config.pretrained.required lacks something, or
      config.finetune_from holds no model; one line.
  """
  config = ConfigDict(config.to_dict())
  origin = _origin(config, run) if "speak" in config.stages else None
  heard = origin is not None and origin.model.audio.front in WAVE_FRONTS
  public.require(config, ("speech",) if heard else ())
  if "speak" not in config.stages:
    return config.lock()
  fixed = fixed_convolutions(config)
  if heard and config.speak.convolutions == "auto":
    fixed |= fixed_convolutions(origin)
  config.speak.convolutions = "fixed" if fixed else "trained"
  audio = config.model.audio
  if audio.front in WAVE_FRONTS and not (config.pretrained.speech or heard):
    say(
      f"speak: no trained weights for a speech encoder on the {audio.front}"
      " (config.pretrained.speech): a mel front end of"
      f" {config.speak.mel.layers} layers takes its place"
    )
    config.model.audio.update(front="mel", **config.speak.mel)
  return config.lock()


def with_dtype(config: ConfigDict, run: Path) -> ConfigDict:
  """The config with the type that the run computes in, in place of "auto".

  A run keeps the type that it began with, on whatever machine it goes on:
  RUN/config.json says it. A start that came to no checkpoint binds nobody.

  Args:
    config: As it was asked for; not changed.
    run: RUN; it need not be there yet.

  Raises:
    ValueError: there is no such type; one line.
  """
  dtype = config.model.dtype
  if dtype == "auto" and bound(run):
    dtype = run_config.read(run).model.dtype
  return precision.with_dtype(config, precision.resolve(dtype))


def bound(run: Path) -> bool:
  """Whether a run has learned something, as its config.json says.

  Raises:
    NoCheckpointError: a stage has checkpoints, and none can be trusted.
  """
  return (run / "config.json").exists() and any(
    checkpoints.newest_verified_step(run, name) is not None for name in STAGES
  )


def _origin(config: ConfigDict, run: Path) -> ConfigDict | None:
  """The config of what the speech encoder's weights come from, if any."""
  if checkpoints.newest_verified_step(run, "speak") is not None:
    return run_config.read(run)
  if config.finetune_from:
    return trained.load(Path(config.finetune_from), ())[0]
  return None


def begun(
  config: ConfigDict, run: Path, stages: Sequence[base.Stage]
) -> dict[str, Given]:
  """What config.finetune_from holds for each stage that has no checkpoint.

  Before any data are made: what does not fit is said at once.

  Raises:
    ValueError: it is no run or bundle, has networks of other sizes, or
      nothing of a stage; one line.
  """
  home = config.finetune_from
  stages = [
    s for s in stages if checkpoints.newest_verified_step(run, s.name) is None
  ]
  if not home or not stages:
    return {}
  wanted = {
    name for s in stages for name in (s.name, *s.pretrained_from.values())
  }
  _, learned = trained.load(Path(home), wanted)
  starts: dict[str, Given] = {}
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
    like = _sizes(stage)
    starts[stage.name] = {}
    for group, found in (earlier | own).items():
      if found and group in like:
        extra = {name: x for name, x in found.items() if name != "params"}
        starts[stage.name][group] = found["params"], extra
    _check(home, starts[stage.name], like)
  return starts


def _sizes(stage: base.Stage) -> dict[str, Any]:
  """The shapes of a stage's parameters, by group."""
  return jax.eval_shape(lambda: stage.init(0, {}))[0]


def _check(source: str | Path, given: Given, like: dict[str, Any]) -> None:
  """Refuses weights of other sizes.

  Raises:
    ValueError: naming the group and the first array.
  """
  for group, (params, _) in given.items():
    if group not in like:  # a start for another
      continue
    odd = checkpoints.shapes(params) ^ checkpoints.shapes(like[group])
    if odd:
      raise ValueError(
        f"{source}: its {group} have other sizes than this config's, see"
        f" {min(odd)[0]}"
      )


def given(
  config: ConfigDict,
  run: Path,
  stage: base.Stage,
  begun: Given,
  say: Callable[[str], None],
) -> Given:
  """What a stage starts with that was trained before, by group.

  Earlier stages of this run come first, then the model that it goes on from;
  public weights are for what neither has.

  Args:
    config: The run's.
    run: Its folder.
    stage: To be trained from its first step on.
    begun: Its part of `begun`.
    say: Takes a line for each group.

  Raises:
    ValueError: an earlier stage is missing, or weights have other sizes.
  """
  found, like = dict(begun), _sizes(stage)
  origins = dict.fromkeys(begun, config.finetune_from)
  for group, earlier in stage.pretrained_from.items():
    if begun and group not in like:
      continue  # a start for what has one
    for home in (run, config.init_from):
      if home and checkpoints.newest_verified_step(home, earlier) is not None:
        break
    else:
      if group in found:
        continue
      raise ValueError(
        f"{run}: stage {stage.name} needs {earlier}; train it before, or set"
        " config.init_from"
      )
    params, extra = checkpoints.restore_params(home, earlier, [group])
    found[group] = params[group], extra[group]
    origins[group] = origin = f"{home}/{earlier}"
    _check(origin, {group: found[group]}, like)
  for name, group in public.weights(config, stage).items():
    if name in like or not begun:
      found[name] = group
      origins[name] = config.pretrained[name]
  for name, source in origins.items():
    say(f"{stage.name}: {name} from {source}")
  if begun and (fresh := like.keys() - found.keys()):
    say(f"{stage.name}: {', '.join(sorted(fresh))} anew")
  return found
