"""Trains the stages of a config, one after the other, and resumes them.

  python -m speak_jax.train --config configs/speak.py[:preset[,key=value]] \
    --workdir RUN [--config.any.key=value]

A stage that is complete is skipped, one that is not goes on at its newest
checkpoint, bit for bit as if it had never stopped. Frozen networks come from
the earlier stages of RUN, or of the run that config.init_from names. With
config.finetune_from a stage begins at the networks of a run or a bundle.

RUN/config.json, RUN/<stage>/{checkpoints,metrics.jsonl,tb,samples} and, for
faster restarts, RUN/compiled (unless JAX_COMPILATION_CACHE_DIR is set).
Without config.data.path, synthetic faces are prepared once, in RUN/data.

On many machines run the same command on each, with --distributed where SLURM,
a JobSet or a TPU tells who is who, else with --coordinator HOST:PORT,
--processes and --process-id; see docs/launch.md. Exit codes:
speak_jax/common/exit_codes.py.
"""

import contextlib
import hashlib
import importlib.metadata
import json
import os
import platform
import subprocess
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from absl import app, flags
from ml_collections import ConfigDict, config_flags

from data_pipelines.dataset import damage, reader
from data_pipelines.media import video
from data_pipelines.media.error import MediaError
from data_pipelines.sampling import held_out
from speak_jax import spec
from speak_jax.common import command_line, exit_codes, files, names, outputs
from speak_jax.common.lock import locked
from speak_jax.configs.common import current_flags
from speak_jax.inference import synthesis
from speak_jax.stages import base
from speak_jax.stages.init import networks
from speak_jax.stages.registry import SPEAKING, STAGES
from speak_jax.supervision import attempts
from speak_jax.supervision.activity import Activity, process_age
from speak_jax.supervision.profile import parse_steps
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
from speak_jax.training.state import TrainState, ema_params

PACKAGES = (
  "jax",
  "jaxlib",
  "flax",
  "optax",
  "orbax-checkpoint",
  "grain",
  "numpy",
  "ml-collections",
)


def train(
  config: ConfigDict,
  workdir: str | Path,
  stopping: distributed.PreemptionHandler | None = None,
  activity: Activity | None = None,
  profile: tuple[int, int] | None = None,
) -> int:
  """Runs the config's stages in order; waits while another process does.

  Args:
    config: From configs/speak.py; not changed.
    workdir: RUN; made if need be.
    stopping: Listens to signals; None: one of its own.
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
  run = Path(workdir).absolute()
  names.check_utf8(str(run))
  read = [x.strip() for x in config.data.path.split(",") if x]
  outputs.check_folder(run, [], sealed=read)
  config = _resolved(config)
  mesh = sharding.make_mesh(config.mesh.data, config.mesh.model)
  sharding.data_shard(mesh)
  config, stages = _fitted(config, run, mesh.shape["data"])
  if config.train.compilation_cache:
    compilation.keep_programs(run / "compiled")
  with _alone(run):
    return _train(config, run, stages, mesh, stopping, activity, profile)


def _alone(run: Path) -> contextlib.AbstractContextManager[None]:
  """Keeps others from training in RUN; process 0 does so for all of one."""
  if jax.process_index():
    return contextlib.nullcontext()
  run.mkdir(parents=True, exist_ok=True)
  return locked(run / "lock", "train")


def _train(
  config: ConfigDict,
  run: Path,
  stages: dict[str, base.Stage],
  mesh: jax.sharding.Mesh,
  stopping: distributed.PreemptionHandler | None,
  activity: Activity | None,
  profile: tuple[int, int] | None,
) -> int:
  """`train` in a RUN of its own."""
  _check_model(config, run)
  _say(f"{config.preset}, seed {config.seed} -> {run}")
  devices = jax.devices()
  _say(
    f"{len(devices)} x {devices[0].device_kind} ({devices[0].platform}), mesh"
    f" data {mesh.shape['data']} x model {mesh.shape['model']},"
    f" {config.model.dtype}"
  )
  for name, stage in stages.items():
    _describe(config, run, name, stage)
  todo = [n for n in stages if not _complete(config, run, n)]
  if not todo:
    _say("every stage is complete; nothing to do")
    return 0
  begun = initial_weights.begun(config, run, [stages[name] for name in todo])

  stopping = stopping or distributed.PreemptionHandler()
  stopping.install()
  activity = activity or Activity()
  attempts.record_start(
    run, sum(checkpoints.newest_verified_step(run, n) or 0 for n in stages)
  )
  try:
    sets = input_pipeline.open_data(config, run)
    meta = _meta(config, sets["train"])  # reads the whole index: once
    parts = [_part(config, run, stages[n], sets, mesh, meta) for n in todo]
    for part in parts:
      loop.check(part)
    _write_config(config, run)  # now that none of them is refused
    for part in parts:
      name = part.stage.name
      done = _train_stage(
        config,
        run,
        part._replace(profile=profile),
        begun.get(name, {}),
        sets,
        stopping,
        activity,
      )
      profile = None
      if not done:
        _say(f"{name}: stopped; the same command goes on")
        break
    else:
      _say(f"done: {run}")
  except Exception as error:
    if not distributed.is_peer_error(error):
      attempts.clear(run)
    raise
  attempts.clear(run)
  return stopping.code


# --- one stage -------------------------------------------------------------


def _train_stage(
  config: ConfigDict,
  run: Path,
  part: loop.StageRun,
  begun: initial_weights.Given,
  sets: dict[str, reader.Records],
  stopping: distributed.PreemptionHandler,
  activity: Activity,
) -> bool:
  """Trains a stage; whether it is complete."""
  stage, mesh = part.stage, part.mesh
  for note in stage.notes:
    _say(f"{stage.name}: {note}")
  # Nobody may look at checkpoints while process 0 writes or sorts them.
  distributed.barrier(f"{stage.name}: earlier stages are complete")
  settings, share = config.train, sharding.data_shard(mesh)
  devices = len(mesh.local_devices)
  given = {}
  if checkpoints.newest_verified_step(run, stage.name) is None:
    given = initial_weights.given(config, run, stage, begun, _say)
  film = _Film(config, run, sets["test"]) if stage.name == SPEAKING else None

  def on_step(step: int, state: TrainState) -> None:
    every = settings.video_every
    if film and every and step % every == 0 and step < config.speak.steps:
      film.make(step, state)

  distributed.barrier(f"{stage.name}: begins")
  state, done = loop.fit(
    part,
    input_pipeline.batches(
      config, stage.name, sets["train"], config.seed, True, share, devices
    ),
    given,
    held_out=next(
      input_pipeline.batches(
        config, stage.name, sets["test"], 0, False, share, devices
      )
    ),
    stopping=stopping,
    on_step=on_step,
    activity=activity,
  )
  if done and film:
    with activity.during("evaluation"):
      film.make(config.speak.steps, state)
  return done


def _part(
  config: ConfigDict,
  run: Path,
  stage: base.Stage,
  sets: dict[str, reader.Records],
  mesh: jax.sharding.Mesh,
  meta: dict[str, str],
) -> loop.StageRun:
  """A stage of a run, for the loop."""
  settings = config.train
  return loop.StageRun(
    stage=stage,
    steps=config[stage.name].steps,
    seed=config.seed,
    folder=run / stage.name,
    mesh=mesh,
    min_shard_size=config.mesh.min_shard_size,
    schedule=loop.Schedule(
      **{name: settings[name] for name in loop.Schedule._fields}
    ),
    meta=meta,
    allow_other_data=config.data.allow_change,
    gauges=lambda: {"data/damaged_clips": float(len(sets["train"].damage))},
  )


class _Film:
  """Sample videos with sound: the first held-out clip, made again."""

  def __init__(self, config: ConfigDict, run: Path, clips: reader.Records):
    """Chooses the clip; nothing is compiled yet."""
    self._config = config
    self._folder = run / "speak" / "samples"
    self._clips = clips
    self._made: synthesis.Synthesizer | None = None

  def make(self, step: int, state: TrainState) -> None:
    """Writes samples/video_<step>.mp4; every process must call.

    Process 0 makes it and the others wait, however long it takes: to the
    watchdog all of them evaluate.
    """
    params: Any = ema_params(state)
    variables = distributed.gather_to_host(
      {
        group: {"params": params[group], **state.vars[group]}
        for group in ("encoders", "speak")
      }
    )
    if jax.process_index() == 0:
      self._write(self._folder / f"video_{step:07d}.mp4", variables)
    distributed.barrier(f"video of step {step}")

  def _write(self, path: Path, variables: synthesis.Variables) -> None:
    """Makes a video of the first held-out clip; a full disk takes only it."""
    config, model = self._config, self._config.model
    if self._made is None:
      settings = synthesis.settings_of(config)
      functions = synthesis.functions_of(networks(config), settings)
      self._made = synthesis.Synthesizer(functions, variables, settings)
    self._made.variables = jax.device_put(variables)
    clip = next(
      held_out.evaluation_clips(
        self._clips,
        size=model.image,
        face_size=model.face,
        emotion_frames=config.speak.emotion_frames,
        emotion_input=model.emotion_input,
        same_session=config.speak.same_session,
        limit=1,
      )
    )
    n = min(len(clip.frames), round(config.train.video_seconds * clip.fps))
    sound = clip.audio[: round(n * spec.SAMPLE_RATE_HZ / clip.fps)]
    made = self._made.video(
      clip.identity, clip.identity_landmarks, clip.frames, clip.emotion, sound
    )
    true = clip.frames[: len(made)]
    try:
      video.write_video(path, np.concatenate([true, made], 2), clip.fps, sound)
    except MediaError as error:
      _say(str(error))


# --- what is said and written ----------------------------------------------


def _resolved(config: ConfigDict) -> ConfigDict:
  """A copy with the stages as a tuple and the commit filled in.

  Raises:
    ValueError: an unknown stage, or a value that cannot be.
  """
  config = ConfigDict(config.to_dict())
  # --config.stages=syncnet,irfd arrives as one word.
  config.stages = tuple(
    name.strip() for word in config.stages for name in word.split(",")
  )
  for name in config.stages:
    if name not in STAGES:
      raise ValueError(
        f"config.stages: {name!r} is not one of {', '.join(STAGES)}"
      )
  config.commit = config.commit or _commit()
  config_validation.validate(config)
  return config.lock()


def _fitted(
  config: ConfigDict, run: Path, devices: int
) -> tuple[ConfigDict, dict[str, base.Stage]]:
  """The config as RUN and this machine can have it, and its stages.

  Args:
    config: From `_resolved`.
    run: RUN; it need not be there yet.
    devices: That share a batch.

  Raises:
    ValueError: they cannot; one line.
  """
  config = initial_weights.with_dtype(config, run)
  config = initial_weights.with_speech(config, run, _say)
  config, stages, changes = microbatches.fit_to_devices(config, devices)
  for line in changes:
    _say(line)
  return config, stages


def _check_model(config: ConfigDict, run: Path) -> None:
  """Refuses a RUN that has learned a model of other sizes.

  Raises:
    ValueError: it has.
  """
  if initial_weights.bound(run):
    old = run_config.read(run).model.to_dict()
    new = json.loads(json.dumps(config.model.to_dict()))
    old = json.loads(json.dumps(old))
    if checkpoints.newest_verified_step(run, "speak") is None:
      old.pop("audio", None)  # no earlier stage has a speech encoder
      new.pop("audio", None)
    odd = sorted(k for k in {**old, **new} if old.get(k) != new.get(k))
    if odd:
      raise ValueError(
        f"{run}: was trained with another model.{odd[0]}; choose another"
        " workdir"
      )


def _write_config(config: ConfigDict, run: Path) -> None:
  """Writes RUN/config.json; process 0 does so for all."""
  if jax.process_index():
    return
  path = run / "config.json"
  content = {
    "config": config.to_dict(),
    "python": platform.python_version(),
    "packages": _versions(),
    "argv": sys.argv,
  }
  run.mkdir(parents=True, exist_ok=True)
  files.write(path, json.dumps(content, indent=1))


def _describe(
  config: ConfigDict, run: Path, name: str, stage: base.Stage
) -> None:
  """One line: what a stage will do."""
  step, steps = checkpoints.newest_verified_step(run, name), config[name].steps
  sizes = {group: (n, on) for group, n, on in loop.parameters(stage)}
  learns = [f"{g} {n / 1e6:.2f} M" for g, (n, on) in sizes.items() if on]
  frozen = [f"{g} {n / 1e6:.2f} M" for g, (n, on) in sizes.items() if not on]
  state = "" if step is None else f", {step} done"
  _say(
    f"stage {name}: {steps} steps of {config[name].batch} in microbatches of"
    f" {stage.microbatch}{state};"
    f" trains {', '.join(learns)}"
    + (f"; frozen {', '.join(frozen)}" if frozen else "")
  )


def _complete(config: ConfigDict, run: Path, name: str) -> bool:
  return (checkpoints.newest_verified_step(run, name) or -1) >= config[
    name
  ].steps


def _meta(config: ConfigDict, clips: reader.Records) -> dict[str, str]:
  """What a checkpoint tells of its origin; texts."""
  text = config.to_json()
  return {
    "config": text,
    "config_sha256": hashlib.sha256(text.encode()).hexdigest(),
    "commit": config.commit,
    "versions": json.dumps(_versions()),
    "dataset": input_pipeline.fingerprint(clips, config.data.mix.to_dict()),
  }


def _versions() -> dict[str, str]:
  """Of the packages that a result depends on."""
  return {name: importlib.metadata.version(name) for name in PACKAGES}


def _commit() -> str:
  """The checkout's commit, with + if files differ; "" outside of git.

  An installed package may lie in someone else's checkout, which has no say.
  """
  here = Path(__file__).parent

  def git(*words: str) -> str:
    return subprocess.run(
      ["git", *words], cwd=here, capture_output=True, text=True, check=True
    ).stdout.strip()

  try:
    git("ls-files", "--error-unmatch", Path(__file__).name)
    return git("rev-parse", "HEAD") + ("+" if git("status", "-s") else "")
  except (OSError, subprocess.CalledProcessError):
    return ""


def _say(text: str) -> None:
  if jax.process_index() == 0:
    print(f"train: {text}", file=sys.stderr, flush=True)


# --- the command -----------------------------------------------------------

_CONFIG = config_flags.DEFINE_config_file("config", None, "Experiment.")
_WORKDIR = flags.DEFINE_string("workdir", None, "RUN, the run's folder.")
_DISTRIBUTED = flags.DEFINE_bool(
  "distributed", False, "Train with the other processes that JAX finds."
)
_COORDINATOR = flags.DEFINE_string(
  "coordinator", None, "HOST:PORT of process 0, where nothing tells it."
)
_PROCESSES = flags.DEFINE_integer(
  "processes", None, "How many train together.", 1
)
_PROCESS_ID = flags.DEFINE_integer("process-id", None, "Which one this is.", 0)
_PROFILE = flags.DEFINE_string(
  "profile", "", "First and last step to trace for XProf, as in 100:105."
)


def main(argv: Sequence[str]) -> int:
  """Runs the command; returns the exit code, if this is the only process."""
  if len(argv) > 1:
    return _fail(f"{argv[1]}: unexpected argument", exit_codes.BAD_CONFIG)
  stopping = distributed.PreemptionHandler()
  try:
    code = _run(_CONFIG.value, stopping)
  except loop.TrainingError as error:
    code = _fail(str(error), exit_codes.DIVERGED)
  except (input_pipeline.DataError, damage.DamagedError) as error:
    code = _fail(str(error), exit_codes.BAD_DATA)
  except (
    checkpoints.NoCheckpointError,
    distributed.ReplicaMismatchError,
  ) as error:
    code = _fail(str(error), exit_codes.NO_CHECKPOINT)
  except attempts.NoProgressError as error:
    code = _fail(str(error), exit_codes.NO_PROGRESS)
  except OSError as error:
    code = _fail(f"{error.filename or _WORKDIR.value}: {error.strerror}", 1)
  except KeyboardInterrupt:
    code = _fail(
      "interrupted; the same command goes on", exit_codes.INTERRUPTED
    )
  except BaseException as error:
    code = _unexpected(error, stopping.step)
  return distributed.exit_process(code)


def _run(config: ConfigDict, stopping: distributed.PreemptionHandler) -> int:
  """`train`, with the other processes if there are any."""
  if config.mesh.cpu_devices:
    jax.config.update("jax_num_cpu_devices", config.mesh.cpu_devices)
  place = distributed.process_of_flags(
    _COORDINATOR.value, _PROCESSES.value, _PROCESS_ID.value
  )
  if place is None and _DISTRIBUTED.value:
    place = distributed.process_of_jobset(os.environ)
  if place is not None or _DISTRIBUTED.value:
    distributed.initialize(distributed.Timeouts(**config.cluster), place)
  return train(
    config,
    _WORKDIR.value or "",  # the flag is required
    stopping,
    Activity(process_age()),
    parse_steps(_PROFILE.value),
  )


def _unexpected(error: BaseException, step: int) -> int:
  """The rest of what can end a process.

  Raises:
    BaseException: the error, if it is none of ours and nobody else waits.
  """
  if distributed.is_peer_error(error):
    line = f"after step {step}: another process is gone: {error}"
    return _fail(line, exit_codes.PEER_LOST)
  if isinstance(error, ValueError):
    return _fail(str(error), exit_codes.BAD_CONFIG)
  if jax.distributed.is_initialized() and not isinstance(error, SystemExit):
    traceback.print_exc()
    return _fail(f"after step {step}: {error!r}", exit_codes.PEER_LOST)
  raise error


def _fail(line: str, code: int) -> int:
  """One line, and the exit code."""
  who = "train"
  if jax.distributed.is_initialized():
    who += f": process {jax.process_index()}"
  return command_line.fail(who, line, code)


if __name__ == "__main__":
  flags.mark_flags_as_required(["config", "workdir"])
  app.run(main, flags_parser=command_line.parser("train", current_flags))
