"""A run: the stages of a config one after the other, each from where it stands.

RUN/config.json, RUN/<stage>/{checkpoints,metrics.jsonl,tb,samples} and, for
faster restarts, RUN/compiled (unless JAX_COMPILATION_CACHE_DIR is set).
"""

import contextlib
import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from ml_collections import ConfigDict

from data_pipelines.dataset import reader
from data_pipelines.dataset.paths import named_folders
from speak_jax.common import names, outputs
from speak_jax.common.lock import locked
from speak_jax.stages.base import Stage
from speak_jax.stages.registry import training
from speak_jax.supervision import attempts
from speak_jax.supervision.activity import Activity
from speak_jax.training import (
  checkpoints,
  compilation,
  config_validation,
  distributed,
  initial_weights,
  input_pipeline,
  loop,
  microbatches,
  run_config,
  sharding,
)
from speak_jax.training.stage_run import StageRun
from speak_jax.training.state import TrainState, Weights, abstract_groups

Say = Callable[[str], None]
OnStep = Callable[[int, TrainState], None]
# What is called after steps of a stage, made of the config, RUN and held-out
# clips. All processes call it; the last step's call follows its checkpoint.
Hook = Callable[[ConfigDict, Path, reader.Records], OnStep]


def train(
  config: ConfigDict,
  workdir: str | Path,
  *,
  hooks: Mapping[str, Hook] = {},
  preemption: distributed.PreemptionHandler | None = None,
  activity: Activity | None = None,
  profile: tuple[int, int] | None = None,
) -> int:
  """Trains the stages of a config in order; waits while another process does.

  A stage that is complete is skipped, one that is not goes on at its newest
  checkpoint, bit for bit as if it had never stopped.

  Args:
    config: From a file of configs/; not changed.
    workdir: RUN; made if need be.
    hooks: {stage: what is called after its steps}.
    preemption: Listens to signals; None: one of its own.
    activity: What this process has done so far; None: nothing.
    profile: First and last step to trace of the first stage that is trained.

  Returns:
    The exit code: 0, or that of the signal that ended it.

  Raises:
    ValueError: a config that fits nothing, one line.
    input_pipeline.DataError: data that cannot be used, one line.
    loop.TrainingError: training has failed.
    NoProgressError: restarted in vain too often.
  """
  run, activity = Path(workdir).absolute(), activity or Activity()
  config = resolved(config, run)
  mesh = sharding.make_mesh(config.mesh.data, config.mesh.model)
  sharding.data_shard(mesh)
  devices = mesh.shape["data"]
  if not run.exists():  # a config that is refused leaves no folder
    fitted(config, run, {}, devices, say=lambda line: None)
  with _run_lock(run):
    own = training(config.method).stages
    saved = checkpoints.newest_verified_steps(run, own)
    config, stages = fitted(config, run, saved, devices, _say)
    if config.train.compilation_cache:
      compilation.keep_programs(run / "compiled")
    _describe(config, run, mesh, stages, saved)
    todo = [s for s in stages if saved.get(s.name, -1) < config[s.name].steps]
    if not todo:
      _say("every stage is complete; nothing to do")
      return 0
    new = [stage for stage in todo if stage.name not in saved]
    # Before data are made: what does not fit is refused at once.
    tuned = initial_weights.finetuned(config, new)
    preemption = preemption or distributed.PreemptionHandler()
    preemption.install()
    with _attempt(run, stages, saved):
      data = input_pipeline.open_data(config, run)
      jobs = _stage_runs(config, run, todo, saved, data, mesh)
      run_config.write(config, run)  # now that none of them is refused
      jobs[0] = jobs[0]._replace(profile=profile)
      for job in jobs:
        hook = hooks.get(job.stage.name, _no_hook)(config, run, data["test"])
        state, done = loop.fit(
          job,
          _batches(config, job, data["train"], config.seed, training=True),
          _initial_weights(
            config,
            run,
            job.stage,
            job.stage in new,
            tuned.get(job.stage.name),
            data["train"],
          ),
          held_out=next(_batches(config, job, data["test"], 0, training=False)),
          should_stop=preemption,
          on_step=_but_after(job.steps, hook),
          activity=activity,
        )
        if not done:
          _say(f"{job.stage.name}: stopped; the same command goes on")
          return preemption.code
        with activity.during("evaluation"):
          hook(job.steps, state)
      _say(f"done: {run}")
  return preemption.code


def _initial_weights(
  config: ConfigDict,
  run: Path,
  stage: Stage,
  new: bool,
  tuned: Weights | None,
  clips: reader.Records,
) -> Weights:
  """What a new stage starts with; says where it comes from.

  Raises:
    ValueError: see `initial_weights.initial_weights`.
  """
  for note in stage.notes:
    _say(f"{stage.name}: {note}")
  # Nobody may look at checkpoints while process 0 writes or sorts them.
  distributed.barrier(f"{stage.name}: earlier stages are complete")
  weights, origins = {}, {}
  if new:
    weights, origins = initial_weights.initial_weights(
      config, run, stage, tuned or {}
    )
    lacking = {
      name: make
      for name, make in stage.from_landmarks.items()
      if name not in weights
    }
    landmarks = input_pipeline.Landmarks(clips)
    weights = {**weights, **{n: make(landmarks) for n, make in lacking.items()}}
    origins |= dict.fromkeys(lacking, f"the landmarks of {len(clips)} clips")
  for name, source in origins.items():
    _say(f"{stage.name}: {name} from {source}")
  groups, _ = abstract_groups(stage)
  if new and config.finetune_from and (anew := groups.keys() - weights.keys()):
    _say(f"{stage.name}: {', '.join(sorted(anew))} anew")
  distributed.barrier(f"{stage.name}: begins")
  return weights


def _batches(
  config: ConfigDict,
  job: StageRun,
  clips: reader.Records,
  seed: int,
  *,
  training: bool,
) -> Any:
  """This process's share of a stage's batches."""
  return input_pipeline.batches(
    config,
    job.stage.name,
    clips,
    seed,
    training,
    sharding.data_shard(job.mesh),
    len(job.mesh.local_devices),
  )


def _no_hook(config: ConfigDict, run: Path, clips: reader.Records) -> OnStep:
  return loop.no_callback


def _but_after(last: int, hook: OnStep) -> OnStep:
  """A hook for all steps but the last, whose checkpoint comes first."""

  def on_step(step: int, state: TrainState) -> None:
    if step != last:
      hook(step, state)

  return on_step


# --- before anything is trained --------------------------------------------


def resolved(config: ConfigDict, run: Path) -> ConfigDict:
  """A validated copy with the stages as a tuple and the commit filled in.

  Args:
    config: As it was asked for.
    run: RUN, which it must be possible to write into.

  Raises:
    ValueError: an unknown stage, a value that cannot be, or a RUN that cannot
      be written or holds the data themselves; one line.
  """
  names.check_utf8(str(run))
  data = named_folders(config.data.path) if config.data.path else {}
  outputs.check_folder(run, [], sealed=data.values())
  config = ConfigDict(config.to_dict())
  # --config.stages=syncnet,irfd arrives as one word.
  config.stages = tuple(
    name.strip() for word in config.stages for name in word.split(",")
  )
  own = training(config.method).stages
  for name in config.stages:
    if name not in own:
      raise ValueError(
        f"config.stages: {name!r} is not one of {', '.join(own)}"
      )
  config.commit = config.commit or run_config.commit()
  config_validation.validate(config)
  return config.lock()


def fitted(
  config: ConfigDict,
  run: Path,
  saved: Mapping[str, int],
  devices: int,
  say: Say,
) -> tuple[ConfigDict, list[Stage]]:
  """The config as RUN and this machine can have it, and its stages.

  Args:
    config: From `resolved`.
    run: RUN; it need not be there yet.
    saved: {stage: step} of its checkpoints.
    devices: That share a batch.
    say: Takes a line on each thing that is not as it was asked for.

  Raises:
    ValueError: they cannot, or RUN has learned another model; one line.
  """
  config = initial_weights.with_dtype(config, run, saved)
  config = initial_weights.with_speech(config, run, saved, say)
  config, stages, changes = microbatches.fit_to_devices(config, devices)
  for line in changes:
    say(line)
  run_config.check_model(config, run, saved)
  return config, list(stages.values())


def _stage_runs(
  config: ConfigDict,
  run: Path,
  stages: Sequence[Stage],
  saved: Mapping[str, int],
  data: Mapping[str, reader.Records],
  mesh: jax.sharding.Mesh,
) -> list[StageRun]:
  """What `loop.fit` is told of each stage.

  Raises:
    ValueError: a checkpoint is of other data or batches.
  """
  origin = _origin_of_run(config, data["train"])  # reads the whole index: once
  jobs = []
  for stage in stages:
    name = stage.name
    job = StageRun(
      stage=stage,
      steps=config[name].steps,
      seed=config.seed,
      folder=run / name,
      mesh=mesh,
      min_shard_size=config.mesh.min_shard_size,
      settings=config.train,
      meta=origin,
      allow_other_data=config.data.allow_change,
      verified=saved.get(name),
      gauges=lambda: {"data/damaged_clips": float(len(data["train"].damage))},
    )
    if name in saved:
      path = checkpoints.folder_of(run, name) / str(saved[name])
      job.check_origin(
        str(path), checkpoints.stored_origin(run, name, saved[name])
      )
    jobs.append(job)
  return jobs


def _run_lock(run: Path) -> contextlib.AbstractContextManager[None]:
  """Keeps others from training in RUN; process 0 does so for all of one."""
  if jax.process_index():
    return contextlib.nullcontext()
  run.mkdir(parents=True, exist_ok=True)
  return locked(run / "lock", "train")


@contextlib.contextmanager
def _attempt(
  run: Path, stages: Sequence[Stage], saved: Mapping[str, int]
) -> Iterator[None]:
  """Counts a start that is lost or killed; any other end has its reason.

  Raises:
    NoProgressError: restarted in vain too often.
  """
  attempts.record_start(run, sum(saved.get(s.name, 0) for s in stages))
  try:
    yield
  except Exception as error:
    if not distributed.is_peer_error(error):
      attempts.clear(run)
    raise
  attempts.clear(run)


# --- what is said and written ----------------------------------------------


def _describe(
  config: ConfigDict,
  run: Path,
  mesh: jax.sharding.Mesh,
  stages: Sequence[Stage],
  saved: Mapping[str, int],
) -> None:
  """Lines on the run, the devices, and what each stage will do."""
  _say(f"{config.preset}, seed {config.seed} -> {run}")
  devices = jax.devices()
  _say(
    f"{len(devices)} x {devices[0].device_kind} ({devices[0].platform}), mesh"
    f" data {mesh.shape['data']} x model {mesh.shape['model']},"
    f" {config.model.dtype}"
  )
  for stage in stages:
    name, parts = stage.name, {True: [], False: []}
    for group, size, learns in parameters(stage):
      parts[learns].append(f"{group} {size / 1e6:.2f} M")
    done = f", {saved[name]} done" if name in saved else ""
    _say(
      f"stage {name}: {config[name].steps} steps of {config[name].batch} in"
      f" microbatches of {stage.microbatch}{done}; trains"
      f" {', '.join(parts[True])}"
      + (f"; frozen {', '.join(parts[False])}" if parts[False] else "")
    )


def parameters(stage: Stage) -> Iterator[tuple[str, int, bool]]:
  """(group, number of parameters, whether it is trained), without arrays."""
  trained = {g for optim in stage.optims.values() for g in optim.trains}
  for group, tree in abstract_groups(stage)[0].items():
    size = sum(int(np.prod(x.shape)) for x in jax.tree.leaves(tree))
    yield group, size, group in trained


def _origin_of_run(config: ConfigDict, clips: reader.Records) -> dict[str, str]:
  """What each checkpoint tells of the run, its code and its data."""
  text = config.to_json()
  return {
    "config": text,
    "config_sha256": hashlib.sha256(text.encode()).hexdigest(),
    "commit": config.commit,
    "versions": json.dumps(run_config.versions()),
    "dataset": input_pipeline.fingerprint(clips, config.data.mix.to_dict()),
  }


def _say(text: str) -> None:
  distributed.say_once(f"train: {text}")
