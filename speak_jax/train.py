"""Trains the stages of a config, one after the other, and resumes them.

  python -m speak_jax.train --config configs/speak.py[:preset[,key=value]] \
    --workdir RUN [--config.any.key=value]

A stage that is complete is skipped, one that is not goes on at its newest
checkpoint, bit for bit as if it had never stopped. Frozen networks come from
the earlier stages of RUN, or of the run that config.init_from names.

RUN/config.json and RUN/<stage>/{checkpoints,metrics.jsonl,tb,samples}.
Without config.data.path, synthetic faces are prepared once, in RUN/data.

Exit codes: 0 done; 42 SIGTERM and 130 SIGINT (a checkpoint was saved, the same
command goes on); 64 a wrong flag or config; 65 data that cannot be used; 66
numbers that are not finite, or a code that has collapsed.
"""

import importlib.metadata
import json
import os
import platform
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from absl import app, flags, logging
from ml_collections import ConfigDict, config_flags

from data_pipelines import batches, held_out, records
from data_pipelines.media import video
from data_pipelines.prepare import TooManyRejectsError, prepare
from data_pipelines.sources import synthetic
from data_pipelines.synthetic import render
from speak_jax import synthesis
from speak_jax.stages import base, syncnet
from speak_jax.training import checkpoints, loop, public, sharding
from speak_jax.training.state import TrainState, averaged
from speak_jax.training.weights import STAGES

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
BAD_CONFIG, BAD_DATA, DIVERGED = 64, 65, 66
STOPPED = {signal.SIGTERM: 42, signal.SIGINT: 130}


class DataError(ValueError):
  """Data that cannot be used; one line."""


class Stopping:
  """Remembers that a signal asked for an end; a second one ends at once."""

  def __init__(self):
    """Nothing was asked yet."""
    self.code = 0

  def install(self) -> None:
    """Takes over SIGTERM and SIGINT."""
    for number in STOPPED:
      signal.signal(number, self._on)

  def _on(self, number, frame) -> None:
    del frame
    if self.code:
      os._exit(self.code)
    self.code = STOPPED[number]
    _say("stopping after this step, with a checkpoint; again: stop at once")

  def __call__(self) -> bool:
    """Whether an end was asked for."""
    return bool(self.code)


def train(config: ConfigDict, workdir: str | Path) -> int:
  """Runs the config's stages in order.

  Args:
    config: From configs/speak.py; not changed.
    workdir: RUN; made if need be.

  Returns:
    The exit code: 0, or that of the signal that ended it.

  Raises:
    ValueError: a config that fits nothing, one line.
    DataError: data that cannot be used, one line.
    loop.TrainingError: training has failed.
  """
  run = Path(workdir).absolute()
  config = _resolved(config)
  mesh = sharding.make_mesh(config.mesh.data, config.mesh.model)
  stages = {name: STAGES[name](config) for name in config.stages}
  for name in stages:
    sharding.check_batch(config[name].batch, config[name].parts, mesh, name)
    if config[name].batch % jax.process_count():
      raise ValueError(
        f"config.{name}.batch = {config[name].batch} does not divide over"
        f" {jax.process_count()} processes"
      )
  _write_config(config, run)
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
  sets = _open_data(config, run)

  stopping = Stopping()
  stopping.install()
  for name in todo:
    done = _train_stage(config, run, stages[name], sets, mesh, stopping)
    if not done:
      _say(f"{name}: stopped; the same command goes on")
      return stopping.code
  _say(f"done: {run}")
  return 0


# --- one stage -------------------------------------------------------------


def _train_stage(
  config: ConfigDict,
  run: Path,
  stage: base.Stage,
  sets: dict[str, records.Records],
  mesh: jax.sharding.Mesh,
  stopping: Callable[[], bool],
) -> bool:
  """Trains a stage; whether it is complete."""
  for note in stage.notes:
    _say(f"{stage.name}: {note}")
  settings = config.train
  given = {}
  if checkpoints.latest_step(run, stage.name) is None:
    given = _given(config, run, stage)
  film = _Film(config, run, sets["test"]) if stage.name == "speak" else None

  def on_step(step: int, state: TrainState) -> None:
    every = settings.video_every
    if film and every and step % every == 0 and step < config.speak.steps:
      film.make(step, state)

  state, done = loop.fit(
    loop.Run(
      stage=stage,
      steps=config[stage.name].steps,
      seed=config.seed,
      folder=run / stage.name,
      mesh=mesh,
      large=config.mesh.large,
      schedule=loop.Schedule(
        **{name: settings[name] for name in loop.Schedule._fields}
      ),
      meta={"config": config.to_json(), "commit": config.commit},
    ),
    _batches(config, stage.name, sets["train"], config.seed, True),
    given,
    held_out=next(_batches(config, stage.name, sets["test"], 0, False)),
    stopping=stopping,
    on_step=on_step,
  )
  if done and film:
    film.make(config.speak.steps, state)
  return done


def _given(
  config: ConfigDict, run: Path, stage: base.Stage
) -> dict[str, tuple[Any, Any]]:
  """Weights that earlier stages trained, and public ones, by group.

  Raises:
    ValueError: an earlier stage is missing, or weights have other sizes.
  """
  given = {}
  like, _ = jax.eval_shape(lambda: stage.init(0, {}))
  for group, earlier in stage.takes.items():
    for home in (run, config.init_from):
      if home and checkpoints.latest_step(home, earlier) is not None:
        break
    else:
      raise ValueError(
        f"{run}: stage {stage.name} needs {earlier}; train it before, or set"
        " config.init_from"
      )
    params, extra = checkpoints.restore_params(home, earlier, [group])
    if group in like and checkpoints.shapes(
      params[group]
    ) != checkpoints.shapes(like[group]):
      raise ValueError(
        f"{home}/{earlier}: its {group} have other sizes than this config's"
      )
    given[group] = params[group], extra[group]
    _say(f"{stage.name}: {group} from {home}/{earlier}")
  for name, group in public.weights(config, stage).items():
    given[name] = group
    _say(f"{stage.name}: {name} from {config.pretrained[name]}")
  return given


class _Film:
  """Sample videos with sound: the first held-out clip, made again."""

  def __init__(self, config: ConfigDict, run: Path, clips: records.Records):
    """Chooses the clip; nothing is compiled yet."""
    self._config = config
    self._folder = run / "speak" / "samples"
    self._clips = clips
    self._made: synthesis.Synthesizer | None = None

  def make(self, step: int, state: TrainState) -> None:
    """Writes samples/video_<step>.mp4."""
    if jax.process_index():
      return
    config, model = self._config, self._config.model
    params: Any = averaged(state)
    variables = {
      group: jax.device_get({"params": params[group], **state.vars[group]})
      for group in ("encoders", "speak")
    }
    settings = synthesis.settings_of(config)
    if self._made is None:
      functions = synthesis.functions_of(base.networks(config))
      self._made = synthesis.Synthesizer(functions, variables, settings)
    self._made.variables = jax.device_put(variables)
    clip = next(
      held_out.evaluation_clips(
        self._clips,
        size=model.image,
        face_size=model.face,
        emotion_frames=config.speak.emotion_frames,
        emotion_input=model.emotion_input,
        limit=1,
      )
    )
    n = min(len(clip.frames), round(config.train.video_seconds * clip.fps))
    sound = clip.audio[: round(n * 16_000 / clip.fps)]
    made = self._made.video(
      clip.identity, clip.identity_landmarks, clip.frames, clip.emotion, sound
    )
    true = clip.frames[: len(made)]
    path = self._folder / f"video_{step:07d}.mp4"
    video.write_video(path, np.concatenate([true, made], 2), clip.fps, sound)


# --- data ------------------------------------------------------------------


def _open_data(config: ConfigDict, run: Path) -> dict[str, records.Records]:
  """Both splits of the config's data; synthetic faces are made if need be.

  Raises:
    DataError: one line with the path and the reason.
  """
  path = config.data.path or _prepare_synthetic(config, run)
  try:
    sets = {"train": records.open_records(path, "train")}
    rate = batches.common_fps(sets["train"])
  except (ValueError, OSError) as error:
    raise DataError(str(error)) from error
  if abs(rate - config.data.fps) > 0.01:
    raise DataError(f"{path}: {rate} frames/s, config.data.fps is not")
  try:
    sets["test"] = records.open_records(path, "test")
  except ValueError:
    _say(f"data: {path} holds nobody out; samples show training people")
    sets["test"] = sets["train"]
  for name, part in sets.items():
    people = len({row.identity for row in part.index})
    frames = sum(row.frames for row in part.index)
    _say(
      f"data: {name}: {len(part)} clips, {frames} frames, {people} people"
      f" in {path}"
    )
  return sets


def _prepare_synthetic(config: ConfigDict, run: Path) -> str:
  """Prepares the synthetic faces, or finds them prepared; their path."""
  options = config.data.synthetic.to_dict()
  workers = options.pop("workers")
  options["clips_per_identity"] = options.pop("clips")
  options |= {"seed": config.seed, "fps": config.data.fps}
  path = run / "data"
  if not (path / "dataset_info.json").exists():
    count = (options["identities"] + options["held_out"]) * options[
      "clips_per_identity"
    ]
    _say(
      f"data: config.data.path is empty: drawing {count} clips of synthetic"
      f" faces once, into {path}"
    )
  try:
    prepare(
      synthetic.tasks(render.recipes(**options)),
      path,
      workers=workers,
      meta={"source": "synthetic", **options},
    )
  except (ValueError, TooManyRejectsError) as error:
    raise DataError(str(error)) from error
  return str(path)


def _batches(
  config: ConfigDict,
  name: str,
  clips: records.Records,
  seed: int,
  ahead: bool,
) -> Any:
  """A stage's batches for this process.

  Args:
    config: The run's.
    name: Of the stage.
    clips: One split.
    seed: Of the order and of every draw.
    ahead: Make batches in threads before they are asked for.

  Raises:
    DataError: the clips cannot serve the stage.
  """
  model = config.model
  sizes = {"size": model.image, "face_size": model.face}
  try:
    if name == "syncnet":
      dataset = batches.sync_windows(
        clips,
        frames=syncnet.frames_of(config.data.fps),
        windows=config.syncnet.windows,
        size=model.image,
        seed=seed,
      )
    elif name == "irfd":
      dataset = batches.pairs(
        clips,
        **sizes,
        mouth_size=model.mouth,
        mix=_mix(config.irfd.pairs, clips),
        emotion_input=model.emotion_input,
        seed=seed,
      )
    else:
      dataset = batches.clips(
        clips,
        **sizes,
        frames=model.frames,
        context=model.context,
        emotion_frames=config.speak.emotion_frames,
        emotion_input=model.emotion_input,
        identity_from=config.speak.identity_from,
        seed=seed,
      )
  except ValueError as error:
    raise DataError(f"{clips.name}: {error}") from error
  count = jax.process_count()
  return batches.batched(
    dataset,
    config[name].batch // count,
    jax.process_index(),
    count,
    config.data.threads if ahead else 0,
  )


def _mix(text: str, clips: records.Records) -> dict[str, float]:
  """Weights of the pair kinds: "auto", "self", or "cross_clip:1,twins:2"."""
  if text == "auto":
    return batches.robust_mix(clips)
  mix = {}
  for part in text.split(","):
    kind, _, weight = part.partition(":")
    try:
      mix[kind.strip()] = float(weight or 1)
    except ValueError:
      raise ValueError(
        f"config.irfd.pairs {text!r}: {weight!r} is no number"
      ) from None
  return mix


# --- what is said and written ----------------------------------------------


def _resolved(config: ConfigDict) -> ConfigDict:
  """A copy with the stages as a tuple and the commit filled in.

  Raises:
    ValueError: an unknown stage.
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
  return config.lock()


def _write_config(config: ConfigDict, run: Path) -> None:
  """Writes RUN/config.json, unless RUN holds a model of other sizes.

  Raises:
    ValueError: it does.
  """
  path = run / "config.json"
  if path.exists():
    old = checkpoints.run_config(run).model.to_dict()
    new = json.loads(json.dumps(config.model.to_dict()))
    old = json.loads(json.dumps(old))
    odd = sorted(k for k in {**old, **new} if old.get(k) != new.get(k))
    if odd:
      raise ValueError(
        f"{run}: was trained with another model.{odd[0]}; choose another"
        " workdir"
      )
  if jax.process_index():
    return
  content = {
    "config": config.to_dict(),
    "python": platform.python_version(),
    "packages": {name: importlib.metadata.version(name) for name in PACKAGES},
    "argv": sys.argv,
  }
  run.mkdir(parents=True, exist_ok=True)
  part = path.with_suffix(".part")
  part.write_text(json.dumps(content, indent=1))
  os.replace(part, path)


def _describe(
  config: ConfigDict, run: Path, name: str, stage: base.Stage
) -> None:
  """One line: what a stage will do."""
  step, steps = checkpoints.latest_step(run, name), config[name].steps
  sizes = {group: (n, on) for group, n, on in loop.parameters(stage)}
  trained = [f"{g} {n / 1e6:.2f} M" for g, (n, on) in sizes.items() if on]
  frozen = [f"{g} {n / 1e6:.2f} M" for g, (n, on) in sizes.items() if not on]
  state = "" if step is None else f", {step} done"
  parts = f" in {stage.parts} parts" if stage.parts > 1 else ""
  _say(
    f"stage {name}: {steps} steps of {config[name].batch}{parts}{state};"
    f" trains {', '.join(trained)}"
    + (f"; frozen {', '.join(frozen)}" if frozen else "")
  )


def _complete(config: ConfigDict, run: Path, name: str) -> bool:
  return (checkpoints.latest_step(run, name) or -1) >= config[name].steps


def _commit() -> str:
  """The checkout's commit, with + if files differ; "" outside of git."""
  here = Path(__file__).parent

  def git(*words: str) -> str:
    return subprocess.run(
      ["git", *words], cwd=here, capture_output=True, text=True, check=True
    ).stdout.strip()

  try:
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
  "distributed", False, "Call jax.distributed.initialize() first."
)


def main(argv: Sequence[str]) -> int:
  """Runs the command; returns the exit code."""
  logging.set_verbosity(logging.ERROR)  # orbax warns of what is normal
  if len(argv) > 1:
    return _fail(f"{argv[1]}: what is this?", BAD_CONFIG)
  config = _CONFIG.value
  try:
    if config.mesh.cpu_devices:
      jax.config.update("jax_num_cpu_devices", config.mesh.cpu_devices)
    if _DISTRIBUTED.value:
      jax.distributed.initialize()
    return train(config, _WORKDIR.value or "")  # the flag is required
  except loop.TrainingError as error:
    return _fail(str(error), DIVERGED)
  except DataError as error:
    return _fail(str(error), BAD_DATA)
  except ValueError as error:
    return _fail(str(error), BAD_CONFIG)
  except OSError as error:
    return _fail(f"{error.filename}: {error.strerror}", 1)
  except KeyboardInterrupt:
    return _fail("interrupted; the same command goes on", 130)


def _parse(argv: Sequence[str]) -> list[str]:
  """absl's flags; what is wrong with them is said in one line."""
  try:
    rest = flags.FLAGS(list(argv))
  except (flags.Error, AttributeError, ValueError) as error:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    sys.exit(_fail(lines[-1], BAD_CONFIG))
  return rest


def _fail(line: str, code: int) -> int:
  """One line, and the exit code."""
  print(f"train: {' '.join(line.split())}", file=sys.stderr)
  return code


if __name__ == "__main__":
  flags.mark_flags_as_required(["config", "workdir"])
  app.run(main, flags_parser=_parse)
