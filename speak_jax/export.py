"""Makes a bundle out of a training run: what `generate` needs, alone.

  python -m speak_jax.export --workdir RUN --out BUNDLE [--half] [--evaluation]

--half keeps the weights in half precision: half the size, and frames that
differ by a level here and there. --dtype is what the functions compute in, on
every machine that runs them; the card says it. --evaluation adds the weights of
IRFD's decoder and of SyncNet, so that `evaluate` measures the bundle as it
measures the run.
"""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np
from absl import app, flags
from flax import traverse_util
from jaxtyping import Float, UInt8

from data_pipelines.dataset.index import read_metadata
from data_pipelines.dataset.opening import open_records
from data_pipelines.dataset.reader import Records
from data_pipelines.faces.follow import FaceTracker
from data_pipelines.faces.nets import MissingModelError
from data_pipelines.faces.tracker import Tracker
from speak_jax import bundle, spec
from speak_jax.common import command_line, outputs
from speak_jax.evaluation.methods.base import Track
from speak_jax.evaluation.methods.speak import emotion_pictures
from speak_jax.inference import synthesis
from speak_jax.nn import precision
from speak_jax.stages.init import networks
from speak_jax.stages.registry import SPEAKING, earlier
from speak_jax.training import run_config
from speak_jax.training.weights import find, of_stage

NEUTRAL_CLIPS, NEUTRAL_FRAMES = 64, 4  # that say what neutral is

CARD = """\
# {name}

A talking-head model: an identity picture, speech, a video of head motion and a
video of an emotion go in; a video of that identity comes out, speaking so.
Method: SPEAK (arXiv 2405.07257), in JAX.

| | |
|---|---|
| preset | `{preset}` |
| frames | {image} x {image} px, {fps:g} a second |
| weights | {count:,} numbers, averaged over training (EMA) |
| computes in | {dtype} |
| trained on | {data} |
| steps | {steps} |
| seed | {seed} |
| code | commit `{commit}` |

## How to run it

    python -m speak_jax.generate --model {folder} --identity face.png \\
      --audio speech.wav --pose nods.mp4 --emotion happy.mp4 -o out.mp4

`SHA256SUMS` is checked whenever the bundle is read. `stablehlo/*.bin` are the
functions (portrait, pose, emotion, speech, frames) for CPU, CUDA and TPU, any
batch size; they take the weights of `model.safetensors` as their first
argument. Nothing here is a pickle.

## What it was trained on, and what follows

{training}

It knows faces like those it saw. Others may come out wrong: beards, glasses,
hats, strong turns, skin tones or ages that the data lacks. It does not know
what is said, only how it sounds.

## Consent

Use it on a person's face or voice only with that person's clear consent to
this very use, or your own. Do not use it to deceive, to defame, to harass, to
evade identity checks, or to put words into the mouth of somebody who did not
say them. Label what it makes as synthetic wherever you show it; in many places
the law asks for that. Keep the consent with the result. Public figures are
people too.
"""

_SYNTHETIC = """\
Rendered faces and synthesised speech alone: no picture and no voice of a real
person. Results on photographs show that the pipeline runs, not what the method
can do."""
_RECORDED = """\
Recordings of people, in the data sets above. Their licences and the consent
given there bind this model too; read them before you ship it."""


def export(
  workdir: str | os.PathLike,
  out: str | os.PathLike,
  say: Callable[[str], None] = print,
  *,
  half: bool = False,
  dtype: str = "float32",
  evaluation: bool = False,
) -> Path:
  """Writes the bundle of a run whose stage `speak` has a checkpoint.

  Args:
    workdir: The run.
    out: The folder to make.
    say: Takes notes.
    half: Keep the weights in half precision.
    dtype: What the bundle's functions compute in, of `precision.DTYPES`.
    evaluation: Add the weights of earlier stages that `evaluate` looks at.

  Raises:
    BundleError: `out` is there and would not be replaced without loss.
    ValueError: no run, or no checkpoint to export; one line.
  """
  workdir, out = Path(workdir), Path(out)
  outputs.check_folder(out, [workdir])
  bundle.check_target(out)
  config = run_config.read(workdir)
  nets = networks(precision.with_dtype(config, dtype))
  variables = of_stage(workdir, config, "speak")
  settings = synthesis.settings_of(config)._replace(
    framing=_measured(config, workdir, say)
  )
  functions = synthesis.functions_of(nets, settings)
  neutral = _neutral(config, workdir, settings, functions, variables, say)
  weights = _flat(variables, half)
  facts = _facts(config, workdir, say)
  content = bundle.Bundle(
    config={
      "settings": synthesis.settings_to_json(settings),
      "config": _portable(config),
      **facts,
      **neutral,
      "dtype": dtype,
    },
    weights=weights,
    artifacts=synthesis.serialize(functions, variables, settings),
    evaluation=_flat(_earlier(config, workdir), half) if evaluation else {},
  )
  bundle.write(out, content, _card(out, settings, facts, weights, dtype))
  return out


def _flat(variables: Any, half: bool) -> dict[str, np.ndarray]:
  """Arrays under flat names."""
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


def _earlier(config: Any, workdir: Path) -> dict[str, Any]:
  """{stage: {group: variables}} of the stages before the last.

  Raises:
    ValueError: neither the run nor the one that it started from has trained
      them; one line.
  """
  found: dict[str, Any] = {}
  for stage in earlier():
    source = find(workdir, stage)
    home, step = (source.run, source.step) if source else (workdir, None)
    found[stage] = of_stage(home, config, stage, step)
  if config.speak.encoders == "frozen":
    del found["irfd"]["encoders"]  # those of the system that speaks
  return found


def _portable(config: Any) -> dict[str, Any]:
  """The config without the places of files on this machine."""
  plain = config.to_dict()
  plain["data"]["path"] = plain["init_from"] = plain["finetune_from"] = ""
  plain["pretrained"] = {
    key: Path(value).name if isinstance(value, str) else value
    for key, value in plain["pretrained"].items()
  }
  return plain


def framing_of(
  data: Records, tracker: FaceTracker, *, clips: int = 24, frames: int = 8
) -> synthesis.Framing:
  """How the clips of a data set are cut, in the tracker's own landmarks.

  Rendered clips have landmarks of their own, which lie elsewhere, and are cut
  by their renderer; so pictures are looked at as `generate` will look.

  Args:
    data: What the model learned from.
    tracker: That of `generate`.
    clips: How many to look at, evenly spread.
    frames: Of each clip.

  Raises:
    ValueError: no face in any of them.
  """
  whole, single = [], []
  for i in np.unique(np.linspace(0, len(data) - 1, clips).astype(int)):
    row = data.index[i]
    times = np.linspace(0, row.frames - 1, min(frames, row.frames))
    size = max(row.size, 128)
    # Pictures far apart in time: each is searched on its own.
    tracks = [
      tracker.track([frame])
      for frame in data.frames(int(i), times.round().astype(int).tolist(), size)
    ]
    seen = np.concatenate([t.landmarks[t.found] for t in tracks])
    if len(seen):
      whole.append(_proportions(seen, size))
      single += [_proportions(one[None], size) for one in seen]
  if not whole:
    raise ValueError("no face found in the training data")
  side, up = np.median(whole, 0)
  still_side, still_up = np.median(single, 0)
  return synthesis.Framing(
    float(side), float(up), float(still_side), float(still_up)
  )


def _proportions(
  landmarks: Float[np.ndarray, "n 68 2"], size: int
) -> tuple[float, float]:
  """(side, up) of a whole picture as a crop, see `synthesis.Framing`."""
  low, high = landmarks.min((0, 1)), landmarks.max((0, 1))
  middle = (low[1] + high[1]) / 2 + 0.5
  return size / float((high - low).max()), float(middle / size - 0.5)


def _measured(
  config: Any, workdir: Path, say: Callable[[str], None]
) -> synthesis.Framing:
  """The training data's framing, or the usual one where it cannot be seen."""
  data = config.data.path or workdir / "data"
  try:
    return framing_of(open_records(data, "train"), Tracker())
  except (ValueError, MissingModelError) as error:
    say(f"note: crops as of recordings are assumed ({error})")
    return synthesis.Framing()


def neutral_of(
  data: Records,
  settings: synthesis.Settings,
  emotion: Callable[[UInt8[np.ndarray, "k f f 3"]], Float[np.ndarray, "k e"]],
) -> Float[np.ndarray, "e"]:
  """The emotion code of a neutral face: the mean over people of a data set.

  Args:
    data: What the model learned from.
    settings: What the emotion encoder sees.
    emotion: It, with the model's weights.

  Raises:
    ValueError: no clip is labelled neutral.
  """
  calm = spec.EMOTIONS.index("neutral")
  first: dict[str, int] = {}
  for i, row in enumerate(data.index):
    if row.emotion == calm:
      first.setdefault(row.identity, i)
  if not first:
    raise ValueError("no clip is labelled neutral")
  chosen = np.linspace(0, len(first) - 1, min(NEUTRAL_CLIPS, len(first)))
  codes = []
  for i in np.array(list(first.values()))[chosen.round().astype(int)].tolist():
    last = data.index[i].frames - 1
    times = np.linspace(0, last, NEUTRAL_FRAMES).round().astype(int)
    track = Track(
      data.frames(i, times.tolist(), settings.image),
      data.landmarks(i, times, settings.image),
    )
    codes.append(emotion(emotion_pictures(track, settings)).mean(0))
  return np.stack(codes).mean(0)


def _neutral(
  config: Any,
  workdir: Path,
  settings: synthesis.Settings,
  functions: synthesis.Functions,
  variables: Any,
  say: Callable[[str], None],
) -> dict[str, Any]:
  """What a bundle's config says of a neutral face; nothing if unknown."""
  data = config.data.path or workdir / "data"
  encode = jax.jit(functions.emotion)
  try:
    code = neutral_of(
      open_records(data, "train"),
      settings,
      lambda pictures: np.asarray(encode(variables, pictures)),
    )
  except ValueError as error:
    say(f"note: without an emotion, the identity's own is kept ({error})")
    return {}
  return {"neutral": [round(float(x), 6) for x in code]}


def _facts(
  config: Any, workdir: Path, say: Callable[[str], None]
) -> dict[str, Any]:
  """Where the model comes from, out of the run."""
  sources = [find(workdir, name) for name in (*earlier(), SPEAKING)]
  facts = {
    "preset": config.preset,
    "commit": config.commit,
    "seed": config.seed,
    "data": _origins(config),
    "steps": {source.stage: source.step for source in sources if source},
  }
  if start := config.finetune_from:
    facts["start"] = _start(Path(start), say)
  return facts


def _start(path: Path, say: Callable[[str], None]) -> dict[str, Any]:
  """The same of the run or bundle that a run went on from."""
  try:
    if not bundle.is_bundle(path):
      return _facts(run_config.read(path), path, say)
    stored = bundle.read(path).config
  except ValueError as error:
    say(f"note: the card cannot say what the model went on from ({error})")
    lost = {"name": path.name, "source": "unknown"}
    return {"commit": "", "data": [lost], "steps": {}}
  keys = ("preset", "commit", "seed", "data", "steps", "start")
  return {key: stored[key] for key in keys if key in stored}


def _origins(config: Any) -> list[dict[str, Any]]:
  """Name and settings of each data set that the run learned from."""
  if not config.data.path:
    drawn = {**config.data.synthetic.to_dict(), "seed": config.seed}
    del drawn["workers"]
    return [{"name": "data", "source": "synthetic", **drawn}]
  folders = [Path(path.strip()) for path in config.data.path.split(",")]
  return [{"name": x.name, **read_metadata(x)} for x in folders]


def _learned_from(data: list[dict[str, Any]]) -> str:
  """The data sets in words."""
  return "; ".join(
    f"{x['identities']} synthetic people, {x['framing']} framing, seed"
    f" {x['seed']}"
    if _synthetic([x])
    else f"`{x['name']}`"
    for x in data
  )


def _steps(facts: dict[str, Any]) -> str:
  return ", ".join(f"{k} {v}" for k, v in facts["steps"].items()) or "unknown"


def _synthetic(data: list[dict[str, Any]]) -> bool:
  return all(x.get("source") == "synthetic" for x in data)


def _card(
  out: Path,
  settings: synthesis.Settings,
  facts: dict[str, Any],
  weights: dict[str, np.ndarray],
  dtype: str,
) -> str:
  """The model card."""
  line = [facts]  # of models that went on from each other, newest first
  while start := line[-1].get("start"):
    line.append(start)
  data = [x for link in line for x in link["data"]]
  steps = [_steps(facts), *(f"{_steps(x)} (`{x['commit']}`)" for x in line[1:])]
  return CARD.format(
    name=out.name,
    folder=out.name,
    image=settings.image,
    fps=settings.fps,
    count=sum(x.size for x in weights.values()),
    dtype=dtype,
    preset=facts["preset"],
    commit=facts["commit"] or "unknown",
    seed=facts["seed"],
    data=_learned_from(data),
    steps="; before that ".join(steps),
    training=_SYNTHETIC if _synthetic(data) else _RECORDED,
  )


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
    )
  except (ValueError, OSError) as error:
    return command_line.fail("error", str(error))
  size = sum(f.stat().st_size for f in out.rglob("*") if f.is_file())
  print(f"wrote {out}: {size / 1e6:.1f} MB; see {out / 'README.md'}")
  return 0


if __name__ == "__main__":
  # Not at import: other commands have flags of these names too.
  flags.DEFINE_string("workdir", None, "Training run.", required=True)
  flags.DEFINE_string("out", None, "Bundle to write.", required=True)
  flags.DEFINE_bool("half", False, "Weights in half precision.")
  flags.DEFINE_enum(
    "dtype", "float32", precision.DTYPES, "What the functions compute in."
  )
  flags.DEFINE_bool("evaluation", False, "Also what evaluate needs.")
  app.run(main, flags_parser=command_line.parser("export"))
