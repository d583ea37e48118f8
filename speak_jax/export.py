"""Makes a bundle out of a training run: what `generate` needs, alone.

  python -m speak_jax.export --workdir RUN --out BUNDLE [--half] [--evaluation]

--half keeps the weights in half precision: half the size, and frames that
differ by a level here and there. --dtype is what the functions compute in, on
every machine that runs them; the card says it. --evaluation adds the weights of
IRFD's decoder and of SyncNet, so that `evaluate` measures the bundle as it
measures the run.

RUN may be a bundle too: its functions are written anew by this version of JAX,
and its weights stay. A bundle that a newer JAX has written is so read by this
one, and one of an older format gets what functions of today can do.
"""

import functools
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
from absl import app, flags
from flax import traverse_util

from data_pipelines.dataset.index import read_metadata
from data_pipelines.dataset.opening import open_records
from data_pipelines.dataset.paths import named_folders
from data_pipelines.dataset.reader import Records
from data_pipelines.faces.nets import MissingModelError
from data_pipelines.faces.tracker import Tracker
from speak_jax import bundle
from speak_jax.common import command_line, outputs
from speak_jax.inference import card, lowering, motion_lowering, training_data
from speak_jax.inference.functions import Functions
from speak_jax.inference.motion_model import MotionSettings
from speak_jax.inference.settings import (
  Framing,
  Settings,
  settings_from_json,
  settings_to_json,
)
from speak_jax.nn import precision
from speak_jax.stages.init import networks
from speak_jax.stages.registry import SPEAKING, earlier, training
from speak_jax.training import run_config
from speak_jax.training.weights import Source, find, of_stage


def export(
  workdir: str | os.PathLike,
  out: str | os.PathLike,
  say: Callable[[str], None] = print,
  *,
  half: bool = False,
  dtype: str = "float32",
  evaluation: bool = False,
  attribution: str = "",
) -> Path:
  """Writes the bundle of a run whose stage `speak` has a checkpoint.

  Or of one that has trained the stage `motion` alone.

  Args:
    workdir: The run; or a bundle, whose functions are written anew.
    out: The bundle's folder; a bundle that is there is replaced.
    say: Takes notes, one line each.
    half: Keep the weights in half precision.
    dtype: What the bundle's functions compute in, of `precision.DTYPES`.
    evaluation: Add the weights of earlier stages that `evaluate` looks at.
    attribution: What the data's licences ask for, in the card and the config.

  Raises:
    BundleError: `out` is there and would not be replaced without loss.
    ValueError: No run, or no checkpoint to export; one line.
  """
  workdir, out = Path(workdir), Path(out)
  outputs.check_folder(out, [workdir])
  bundle.check_target(out)
  if bundle.is_bundle(workdir):
    return _export_again(workdir, out, half=half, dtype=dtype)
  config = run_config.read(workdir)
  if SPEAKING not in training(config.method).stages:
    raise ValueError(
      f"{workdir}: is a run of {config.method}, of which there are no bundles"
    )
  if tuple(config.stages) == ("motion",):
    return _export_motion(
      workdir, out, config, say, half=half, dtype=dtype, attribution=attribution
    )
  nets = networks(precision.with_dtype(config, dtype))
  sources = _sources(workdir)  # each is verified, which reads all of it
  speaks = sources.get(SPEAKING)
  own = speaks.step if speaks and speaks.run == workdir else None
  variables = of_stage(workdir, config, SPEAKING, own)
  # Opened once, and not before it is asked for: it may be gone.
  clips = functools.cache(
    lambda: open_records(config.data.path or workdir / "data", "train")
  )
  settings = lowering.settings_of(config)._replace(framing=_framing(clips, say))
  functions = lowering.functions_of(nets, settings)
  neutral = _neutral(clips, settings, functions, variables, say)
  weights = _flat(variables, half)
  facts = _facts(config, sources, say) | _attributed(attribution)
  content = bundle.Bundle(
    config={
      "settings": settings_to_json(settings),
      "config": _portable(config),
      **facts,
      **neutral,
      "dtype": dtype,
      "jax": jax.__version__,
    },
    weights=weights,
    artifacts=lowering.serialize(functions, variables, settings),
    evaluation=_flat(_earlier(config, workdir, sources), half)
    if evaluation
    else {},
  )
  count = sum(x.size for x in weights.values())
  bundle.write(out, content, card.text(out.name, settings, facts, count, dtype))
  return out


def _export_motion(
  workdir: Path,
  out: Path,
  config: Any,
  say: Callable[[str], None],
  *,
  half: bool,
  dtype: str,
  attribution: str,
) -> Path:
  """Writes the bundle of a run that has trained the motion stage alone.

  Raises:
    ValueError: it has no checkpoint; one line.
  """
  config = precision.with_dtype(config, dtype)
  source = find(workdir, "motion")
  step = source.step if source and source.run == workdir else None
  variables = of_stage(workdir, config, "motion", step)
  settings = motion_lowering.settings_of(config)
  expression = motion_lowering.expression_of(config)
  weights = _flat(variables, half)
  facts = _facts(config, {"motion": source} if source else {}, say)
  facts |= _attributed(attribution)
  content = bundle.Bundle(
    config={
      "settings": settings._asdict(),
      "config": _portable(config),
      **facts,
      "dtype": dtype,
      "jax": jax.__version__,
    },
    weights=weights,
    artifacts=motion_lowering.serialize(expression, variables, settings),
  )
  count = sum(x.size for x in weights.values())
  bundle.write(
    out,
    content,
    card.of_photographs(out.name, settings.fps, facts, count, dtype),
  )
  return out


def _export_again(path: Path, out: Path, *, half: bool, dtype: str) -> Path:
  """Writes a bundle with another one's weights and config, and new functions.

  Raises:
    ValueError: it is damaged; one line.
  """
  stored = bundle.read(path)
  config = precision.with_dtype(
    run_config.from_json(stored.config["config"]), dtype
  )
  facts, count = stored.config, sum(x.size for x in stored.weights.values())
  if stored.moves_photographs:
    motion = MotionSettings(**facts["settings"])
    expression = motion_lowering.expression_of(config)
    artifacts = motion_lowering.serialize(expression, stored.variables, motion)
    text = card.of_photographs(out.name, motion.fps, facts, count, dtype)
  else:
    settings = settings_from_json(facts["settings"])
    functions = lowering.functions_of(networks(config), settings)
    artifacts = lowering.serialize(functions, stored.variables, settings)
    text = card.text(out.name, settings, facts, count, dtype)
  kept = {key: value for key, value in facts.items() if key != "format"}
  anew = bundle.Bundle(
    config={**kept, "dtype": dtype, "jax": jax.__version__},
    weights={k: _stored(k, x, half) for k, x in stored.weights.items()},
    artifacts=artifacts,
    evaluation={k: _stored(k, x, half) for k, x in stored.evaluation.items()},
  )
  bundle.write(out, anew, text)
  return out


def _attributed(attribution: str) -> dict[str, str]:
  """What facts hold of an attribution, if there is one."""
  return {"attribution": attribution} if attribution else {}


def _flat(variables: Any, half: bool) -> dict[str, np.ndarray]:
  """Returns arrays under flat names."""
  flat = traverse_util.flatten_dict(variables, sep="/")
  return {name: _stored(name, value, half) for name, value in flat.items()}


def _stored(name: str, value: Any, half: bool) -> np.ndarray:
  array = np.asarray(value)
  if not half or array.dtype != np.float32:
    return array
  small = array.astype(np.float16)
  if not np.isfinite(small).all():
    raise ValueError(f"{name}: too large for half precision; export without")
  return small


def _sources(workdir: Path) -> dict[str, Source]:
  """Finds each stage's checkpoint in a run or in what it started from."""
  sources = {stage: find(workdir, stage) for stage in (*earlier(), SPEAKING)}
  return {stage: source for stage, source in sources.items() if source}


def _earlier(
  config: Any, workdir: Path, sources: Mapping[str, Source]
) -> dict[str, Any]:
  """Loads {stage: {group: variables}} of the stages before the last.

  Raises:
    ValueError: Neither the run nor the one that it started from has trained
      them; one line.
  """
  stages: dict[str, Any] = {}
  for stage in earlier():
    source = sources.get(stage)
    home, step = (source.run, source.step) if source else (workdir, None)
    stages[stage] = of_stage(home, config, stage, step)
  if config.speak.encoders == "frozen":
    del stages["irfd"]["encoders"]  # those of the stage `speak`
  return stages


def _portable(config: Any) -> dict[str, Any]:
  """Returns the config without the paths of this machine."""
  plain = config.to_dict()
  plain["data"]["path"] = plain["init_from"] = plain["finetune_from"] = ""
  plain["pretrained"] = {
    key: Path(value).name if isinstance(value, str) else value
    for key, value in plain["pretrained"].items()
  }
  return plain


def _framing(
  clips: Callable[[], Records], say: Callable[[str], None]
) -> Framing:
  """Measures the training data's framing; the usual one without the data."""
  try:
    return training_data.framing_of(clips(), Tracker())
  except (ValueError, MissingModelError) as error:
    say(f"note: crops as of recordings are assumed ({error})")
    return Framing()


def _neutral(
  clips: Callable[[], Records],
  settings: Settings,
  functions: Functions,
  variables: Any,
  say: Callable[[str], None],
) -> dict[str, Any]:
  """Returns {"neutral": its emotion code}; {} where the data tell none."""
  encode = jax.jit(functions.emotion)
  try:
    code = training_data.neutral_of(
      clips(),
      settings,
      lambda pictures: np.asarray(encode(variables, pictures)),
    )
  except ValueError as error:
    say(f"note: without an emotion, the identity's own is kept ({error})")
    return {}
  return {"neutral": [round(float(x), 6) for x in code]}


def _facts(
  config: Any, sources: Mapping[str, Source], say: Callable[[str], None]
) -> dict[str, Any]:
  """Collects preset, commit, seed, data and steps of a run, for the card."""
  facts = {
    "preset": config.preset,
    "commit": config.commit,
    "seed": config.seed,
    "data": _data_sets(config),
    "steps": {stage: source.step for stage, source in sources.items()},
  }
  if start := config.finetune_from:
    facts["start"] = _start(Path(start), say)
  return facts


def _start(path: Path, say: Callable[[str], None]) -> dict[str, Any]:
  """Collects the facts of the run or bundle that a run went on from."""
  try:
    if not bundle.is_bundle(path):
      return _facts(run_config.read(path), _sources(path), say)
    stored = bundle.read(path).config
  except ValueError as error:
    say(f"note: the card cannot say what the model went on from ({error})")
    lost = {"name": path.name, "source": "unknown"}
    return {"commit": "", "data": [lost], "steps": {}}
  keys = ("preset", "commit", "seed", "data", "steps", "attribution", "start")
  return {key: stored[key] for key in keys if key in stored}


def _data_sets(config: Any) -> list[dict[str, Any]]:
  """Returns name and settings of each data set that the run learned from."""
  if not config.data.path:
    drawn = {**config.data.synthetic.to_dict(), "seed": config.seed}
    del drawn["workers"]
    return [{"name": "data", "source": "synthetic", **drawn}]
  folders = named_folders(config.data.path)
  return [{"name": name, **read_metadata(x)} for name, x in folders.items()]


FLAGS = flags.FLAGS


def main(argv: list[str]) -> int:
  """Runs the command; 0 if the bundle is there, 1 with one line if not."""
  del argv
  try:
    out = export(
      FLAGS.workdir,
      FLAGS.out,
      half=FLAGS.half,
      dtype=FLAGS.dtype,
      evaluation=FLAGS.evaluation,
      attribution=FLAGS.attribution,
    )
  except (ValueError, OSError) as error:
    return command_line.fail("error", str(error))
  size = sum(f.stat().st_size for f in out.rglob("*") if f.is_file())
  print(f"wrote {out}: {size / 1e6:.1f} MB; see {out / 'README.md'}")
  return 0


if __name__ == "__main__":
  # Not at import: other commands have flags of these names too.
  flags.DEFINE_string(
    "workdir",
    None,
    "Training run; or a bundle, whose functions are written anew.",
    required=True,
  )
  flags.DEFINE_string("out", None, "Bundle to write.", required=True)
  flags.DEFINE_bool("half", False, "Weights in half precision.")
  flags.DEFINE_enum(
    "dtype", "float32", precision.DTYPES, "What the functions compute in."
  )
  flags.DEFINE_bool("evaluation", False, "Also what evaluate needs.")
  flags.DEFINE_string(
    "attribution", "", "What the data's licences ask for; the card says it."
  )
  app.run(main, flags_parser=command_line.parser("export"))
