"""Measures runs and bundles on held-out people, and writes a report.

  python -m speak_jax.evaluate --model RUN|BUNDLE --data DATA --out REPORT \
    [--syncnet syncnet_v2.model] [--cache DIR]
  python -m speak_jax.evaluate --models NAME=RUN,NAME=BUNDLE --data DATA ...
  python -m speak_jax.evaluate --table 1 --models ... --data NAME=DATA,NAME=DATA
  python -m speak_jax.evaluate --table 3 --models full=RUN,no_pose=RUN,... ...

REPORT/metrics.json holds every figure under a flat name, REPORT/report.md
says what they are, REPORT/sheet.png and swaps.png show what was measured. Of
a run whose later stages are not there yet the earlier ones are measured.
Lip sync is judged by the public SyncNet v2 where its weights are given
(Sync-C and Sync-D, the field's figures), else by the run's own SyncNet, of
several runs by that of the first that has one.

--table writes REPORT/table.md, .csv, .json and .tex: 1 the paper's Table I for
any data sets, each apart; 3 the encoders left out (full, no_identity, no_pose,
no_emotion); losses the losses left out, as in v1 of the paper (full,
no_identity, no_cls, no_pose, no_emotion, no_self, no_irfd, no_gan, no_vgg,
no_sync). Of several data sets each has a report in REPORT/NAME.
"""

import hashlib
import json
import os
import platform
import re
import shutil
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import jax
import numpy as np
from absl import app, flags, logging

from data_pipelines.held_out import Whole, evaluation_clips
from data_pipelines.media import face
from data_pipelines.records import Records, open_records
from data_pipelines.synthetic.render import FACTORS
from speak_jax import bundle, methods, spec, synthesis
from speak_jax.evaluation import (
  figures,
  published,
  reading,
  released_sync,
  report,
  swapping,
  tables,
  talking,
)
from speak_jax.evaluation.cache import Cache
from speak_jax.evaluation.figures import Figures, Ledger
from speak_jax.evaluation.methods import Entry, Method, Restored, Track
from speak_jax.methods.speak import emotion_pictures, where
from speak_jax.metrics import sums
from speak_jax.models import judge
from speak_jax.pretrained import files, syncnet
from speak_jax.pretrained.tensors import Converted
from speak_jax.progress import Progress
from speak_jax.stages import base
from speak_jax.stages.syncnet import frames_of
from speak_jax.training import checkpoints
from speak_jax.training.weights import trained

MOST_FRAMES = 100  # of a clip that are measured
EMOTION_FRAMES = 4
SUBJECTS = 4  # frames of each clip whose codes are swapped
SHOWN_CLIPS, SHOWN_TIMES, SHOWN_SWAPS = 4, 8, 8
ALONE = "speak"  # the name of a model that is evaluated by itself
_RESERVED = ("irfd", "meta", "syncnet")  # what other figures begin with
ABLATIONS = {"3": published.ENCODERS, "losses": published.LOSSES}


class Parts(NamedTuple):
  """What a run has beside the system that speaks; None where it has not."""

  irfd: swapping.Irfd | None
  settings: synthesis.Settings | None  # of the pictures for IRFD
  sync: reading.OwnSync | None
  mouth: int  # px, side of the mouth patches


class Model(NamedTuple):
  """What is measured."""

  method: Method
  restored: Restored  # its weights are None while nothing speaks
  parts: Parts


class Plan(NamedTuple):
  """How to measure."""

  models: Mapping[str, Path]  # by name: runs, bundles, weights of a method
  clips: int  # held-out clips at most
  seed: int  # of the bootstrap and of the donors
  syncnet: Path | None = None  # the public SyncNet v2, which then judges sync
  cache: Cache | None = None  # of generated frames


class Result(NamedTuple):
  """What was measured on one data set."""

  metrics: dict[str, float | str]  # metrics.json
  entries: list[Entry]
  figures: Figures
  ledger: Ledger


class _Opened(NamedTuple):
  """What a plan names, read."""

  models: dict[str, Model]
  public: Converted | None


def load(path: Path, frames: int) -> Model:
  """Opens a run or a bundle, to make clips of up to so many frames.

  Raises:
    ValueError: it is neither, or damaged; one line with the path.
  """
  method = methods.find(path)
  restored = method.restore(path, frames)
  parts = _parts(path)
  if restored.weights is None and not (parts.irfd or parts.sync):
    raise ValueError(f"{path}: no stage has a checkpoint yet")
  return Model(method, restored, parts)


def evaluate(plan: Plan, data: str, out: Path) -> Result:
  """Measures, writes the report, and returns what it says.

  Args:
    plan: What to measure, and how.
    data: Prepared data sets, comma-separated; "" = the first model's own.
    out: Folder of the report.

  Raises:
    ValueError: one line: no such model, data or weights, or frame rates that
      differ.
  """
  data = ",".join(sets(data, plan).values())
  # The weights first, because they fail soonest.
  public = _public(plan)
  records = open_records(data, "test")
  opened = _Opened(_models(plan, [records]), public)
  return _evaluate(plan, opened, data, records, out)


def tabulate(plan: Plan, kind: str, data: str, out: Path) -> list[tables.Table]:
  """Measures every data set by itself, and writes the paper's tables.

  Args:
    plan: What to measure, and how.
    kind: "1", or a key of ABLATIONS.
    data: NAME=DATA, comma-separated; a folder's own name where none is given.
    out: Folder of the tables, and of the report; of several data sets each has
      its report in out/NAME.

  Returns:
    What was written: the table, and of an ablation what each row moved.

  Raises:
    ValueError: as `evaluate`; an ablation without a row named "full"; a model
      that does not speak yet.
  """
  if kind in ABLATIONS and published.FULL not in plan.models:
    raise ValueError(f"--table {kind} needs a model named {published.FULL}")
  public = _public(plan)
  named = sets(data, plan)
  opened_sets = {name: open_records(x, "test") for name, x in named.items()}
  opened = _Opened(_models(plan, opened_sets.values()), public)
  for name, model in opened.models.items():
    if model.restored.weights is None:
      raise ValueError(f"{plan.models[name]}: no stage that speaks is trained")
  results = {
    name: _evaluate(
      plan, opened, named[name], records, out / name if len(named) > 1 else out
    )
    for name, records in opened_sets.items()
  }
  made = paper_tables(kind, results, plan.seed)
  writers = {
    "md": tables.markdown,
    "csv": tables.comma_separated,
    "json": tables.as_json,
    "tex": tables.latex,
  }
  for stem, table in zip(("table", "changes"), made, strict=False):
    for suffix, write in writers.items():
      _replace(out / f"{stem}.{suffix}", write(table))
  return made


def paper_tables(
  kind: str, results: Mapping[str, Result], seed: int
) -> list[tables.Table]:
  """A table of the paper with its published rows; of an ablation two."""
  rows = [
    row
    for name, result in results.items()
    for row in talking.table_rows(result.figures, result.entries, name)
  ]
  notes = (
    published.NOTE,
    "Ours: 95 % bootstrap intervals over clips; self-driven, the first frame is"
    " the identity picture and left out; landmarks by the reader named in the"
    " report; 100 dB stands for equal frames. Rows that see more of the target"
    " are not to be ranked with those that see less.",
  )
  if kind not in ABLATIONS:
    title = "Self-driven (the layout of the paper's Table I)"
    rows += published.table_1()
    return [tables.Table(title, tables.PAPER, rows, notes)]
  ablation = ABLATIONS[kind]
  moved = []
  for data, result in results.items():
    for entry in result.entries:
      if entry.name != published.FULL:
        found = _moved(result, entry, seed)
        theirs = published.change(ablation, entry.name)
        moved += tables.changes(entry.name, data, found, theirs)
  rows += published.ablated(ablation)
  signed = [column._replace(signed=True) for column in tables.PAPER]
  return [
    tables.Table(ablation.title, tables.PAPER, rows, notes),
    tables.Table(
      f"{ablation.title}: row minus {published.FULL}",
      signed,
      moved,
      (
        "Paired over clips. In round brackets: whether the sign is the"
        f" published one, on {published.ABLATED_ON}; unclear where the interval"
        " holds 0.",
      ),
    ),
  ]


def _moved(result: Result, entry: Entry, seed: int) -> Figures:
  """An entry's figures minus those of the full model."""
  metrics = [column.metric for column in tables.PAPER]
  pairs = {x: (f"{entry.name}/{x}", f"{published.FULL}/{x}") for x in metrics}
  return result.ledger.differences(pairs, seed)


def sets(data: str, plan: Plan) -> dict[str, str]:
  """{name: folder} of a flag such as MEAD=data/mead,data/hdtf.

  Raises:
    ValueError: two of one name.
  """
  data = data or str(next(iter(plan.models.values())) / "data")
  found = {}
  for part in data.split(","):
    name, sign, path = part.rpartition("=")
    name = name if sign else Path(path).name
    if name in found:
      raise ValueError(f"--data: two data sets are called {name}")
    found[name] = path
  return found


def named_models(flag: str) -> dict[str, Path]:
  """{name: path} of a flag such as full=RUN,no_pose=RUN2.

  Raises:
    ValueError: a name is missing, odd, reserved or there twice.
  """
  found = {}
  for part in flag.split(","):
    name, sign, path = part.partition("=")
    if not sign or not path:
      raise ValueError(f"--models: {part!r} is not NAME=RUN")
    if not re.fullmatch(r"[A-Za-z0-9][\w.-]*", name) or name in _RESERVED:
      raise ValueError(f"--models: {name!r} cannot be a name")
    if name in found:
      raise ValueError(f"--models: {name} is there twice")
    found[name] = Path(path)
  return found


def _public(plan: Plan) -> Converted | None:
  return syncnet.convert(files.read(plan.syncnet)) if plan.syncnet else None


def _models(plan: Plan, data: Iterable[Records]) -> dict[str, Model]:
  """Every model of a plan; several must speak."""
  longest = max(row.frames for records in data for row in records.index)
  return {
    name: load(path, min(longest, MOST_FRAMES))
    for name, path in plan.models.items()
  }


def _evaluate(
  plan: Plan, opened: _Opened, data: str, records: Records, out: Path
) -> Result:
  """One data set's report."""
  begun = time.monotonic()
  models, public = opened
  for name, model in models.items():
    _check_rate(records, model.restored.fps, f"{data}", name)
  # All rows are compared in one crop, that of the largest.
  size = max(model.restored.size for model in models.values())
  wholes = list(
    evaluation_clips(
      records,
      size=size,
      face_size=size,
      emotion_frames=EMOTION_FRAMES,
      emotion_input="frame",
      limit=plan.clips,
    )
  )
  synthetic = all(len(whole.factors) for whole in wholes)
  read = (
    reading.judge_reader(judge.load())
    if synthetic
    else reading.tracker_reader(face.Tracker())
  )
  judge_name, sync = _sync_judge(opened)
  entries = [
    Entry(name, model.method, model.restored)
    for name, model in models.items()
    if model.restored.weights is not None
  ]
  found: Figures = {}
  ledger = Ledger()
  sheets: dict[str, np.ndarray] = {}
  if entries:
    made = talking.measure(
      [_take(whole) for whole in wholes],
      entries,
      read,
      sync,
      seed=plan.seed,
      shown=SHOWN_CLIPS,
      cache=plan.cache,
      progress=_counted,
    )
    found |= made.figures
    ledger = made.ledger
    rows = talking.sheet_rows(entries)
    sheets["sheet.png"] = report.sheet(
      talking.grid(made.shown, SHOWN_TIMES, list(rows)),
      list(rows.values()) * len(made.shown),
    )
  # What a run has beside its system is looked at where it is the only one.
  parts = next(iter(models.values())).parts if len(models) == 1 else _NO_PARTS
  if parts.sync and (public or not entries):
    found |= _sync_alone(parts.sync, list(map(_shorten, wholes)), plan.seed)
  if parts.irfd and parts.settings:
    moved, swapped = swapping.measure(
      subjects(_pictured(wholes, parts.settings), parts.mouth),
      parts.irfd,
      read,
      seed=plan.seed,
      shown=SHOWN_SWAPS,
    )
    found |= moved
    sheets["swaps.png"] = report.sheet(
      swapping.grid(swapped),
      [f"pair {i + 1}" for i in range(len(swapped.donors))],
      ("identity", "source", "donor", *swapping.SWAPS),
    )
  minutes = (time.monotonic() - begun) / 60
  facts = _facts(plan, models, data, wholes, minutes, synthetic)
  if plan.syncnet:
    facts["syncnet"] = _released(plan.syncnet)
  elif judge_name:
    facts["syncnet"] = (
      "the run's own" if len(models) == 1 else f"{judge_name}'s own, for all"
    )
  words = _words(models, entries, synthetic, bool(public), bool(judge_name))
  text = report.markdown(found, facts, words, _captions(sheets), entries)
  metrics: dict[str, float | str] = {
    **figures.flat(found),
    **{f"meta/{key}": value for key, value in facts.items()},
  }
  _write(out, metrics, text, sheets)
  return Result(metrics, entries, found, ledger)


_NO_PARTS = Parts(irfd=None, settings=None, sync=None, mouth=0)


def _sync_judge(opened: _Opened) -> tuple[str, reading.Sync | None]:
  """Who judges lip sync: whose network it is ("" the public), and itself."""
  if opened.public:
    fps = next(iter(opened.models.values())).restored.fps
    public = opened.public
    return "", released_sync.released(public.variables, public.sizes, fps)
  for name, model in opened.models.items():
    if model.parts.sync:
      return name, model.parts.sync
  return "", None


def _counted(takes: Sequence[reading.Take]) -> Iterator[reading.Take]:
  """The clips, one by one, with a progress line."""
  with Progress("speak", "clip", len(takes)) as progress:
    for i, take in enumerate(takes):
      yield take
      progress.update(i + 1)


def subjects(wholes: list[Whole], mouth: int) -> swapping.Subjects:
  """Frames of every clip with the pictures that their codes are read from."""
  people = sorted({whole.person for whole in wholes})
  rows = []
  for number, whole in enumerate(wholes):
    n = len(whole.frames)
    times = np.linspace(0.1 * n, 0.9 * n, SUBJECTS).astype(int).clip(0, n - 1)
    opening = _opening(whole)
    for k, t in enumerate(times):
      frame, points = whole.frames[t], whole.landmarks[t]
      rows.append(
        swapping.Subjects(
          target=frame,
          identity=whole.identity,
          identity_landmarks=whole.identity_landmarks,
          # Another time of the clip, where it has that many pictures.
          emotion=whole.emotion[(k + 1) % len(whole.emotion)],
          mouth=face.align_mouth(frame, points, mouth),
          pose=whole.pose[t],
          opening=opening[t],
          label=np.array(whole.emotion_label),
          person=np.array(people.index(whole.person)),
          clip=np.array(number),
        )
      )
  return swapping.Subjects(*map(np.stack, zip(*rows, strict=True)))


def _parts(path: Path) -> Parts:
  """Opens what a run's earlier stages have left."""
  if not (path / "config.json").is_file() or bundle.is_bundle(path):
    return _NO_PARTS
  config, parts = checkpoints.run_config(path), _NO_PARTS
  if run := where(path, "irfd"):
    weights = trained(run, config, "irfd", ("encoders", "decoder"))
    parts = parts._replace(
      irfd=swapping.irfd(base.networks(config), *weights),
      settings=synthesis.settings_of(config),
      mouth=config.model.mouth,
    )
  if run := where(path, "syncnet"):
    weights = trained(run, config, "syncnet", ("sync",))
    sync = _sync(base.networks(config), *weights, float(config.data.fps))
    parts = parts._replace(sync=sync)
  return parts


def _sync(nets: Any, params: Any, extra: Any, fps: float) -> reading.OwnSync:
  """SyncNet's two towers on uint8 and int16."""
  variables = {"params": params["sync"], **extra["sync"]}

  @jax.jit
  def see(variables, mouth):
    return nets.sync.apply(variables, base.as_frames(mouth), method="see")

  @jax.jit
  def hear(variables, audio):
    return nets.sync.apply(variables, base.as_audio(audio), method="hear")

  return reading.OwnSync(
    see=lambda mouth: (see(variables, mouth),),
    hear=lambda audio: (hear(variables, audio),),
    frames=frames_of(fps),
    fps=fps,
  )


def _sync_alone(
  sync: reading.OwnSync, wholes: list[Whole], seed: int
) -> Figures:
  """Our SyncNet on real clips, where it does not judge a system's."""
  ledger = Ledger()
  for whole in wholes:
    seen = sync.lips(whole.frames, whole.landmarks)
    found = sync.figures(seen, sync.sound(whole.audio, len(whole.frames)))
    ledger.add("syncnet/two_way", sums.mean_row(found["two_way"]))
  return ledger.figures(seed)


def _shorten(whole: Whole) -> Whole:
  """At most `MOST_FRAMES` frames of a clip."""
  n = min(len(whole.frames), MOST_FRAMES)
  return whole._replace(
    frames=whole.frames[:n],
    landmarks=whole.landmarks[:n],
    pose=whole.pose[:n],
    factors=whole.factors[:n],
    audio=whole.audio[: round(n * spec.samples_per_frame(whole.fps))],
  )


def _take(whole: Whole) -> reading.Take:
  """What is asked for of a clip, no longer than `MOST_FRAMES`."""
  short = _shorten(whole)
  return reading.Take(
    clip=whole.clip,
    person=whole.person,
    emotion=whole.emotion_label,
    level=whole.level,
    frames=short.frames,
    landmarks=short.landmarks,
    pose=short.pose,
    opening=_opening(short),
    audio=short.audio,
    fps=whole.fps,
    emotion_track=_emotion_track(whole),
  )


def _emotion_track(whole: Whole) -> Track:
  """Frames of all of the clip, evenly spaced."""
  last = len(whole.frames) - 1
  times = np.linspace(0, last, EMOTION_FRAMES).round().astype(int)
  return Track(whole.frames[times], whole.landmarks[times])


def _pictured(
  wholes: Sequence[Whole], settings: synthesis.Settings
) -> list[Whole]:
  """Short clips with what a model's emotion encoder sees of the whole ones."""
  return [
    _shorten(whole)._replace(
      emotion=emotion_pictures(_emotion_track(whole), settings)
    )
    for whole in wholes
  ]


def _opening(whole: Whole) -> np.ndarray:
  """Exact where rendered, which no turn of the head can fake."""
  if len(whole.factors):
    return whole.factors[:, FACTORS.index("mouth_open")]
  return spec.mouth_opening(whole.landmarks)


def _check_rate(records: Records, fps: float, data: str, name: str) -> None:
  for row in records.index:
    if abs(row.fps - fps) > 0.01:
      raise ValueError(
        f"{data}: clip {row.clip} has {row.fps:g} frames/s, the model {name}"
        f" makes {fps:g}"
      )


def _facts(
  plan: Plan,
  models: Mapping[str, Model],
  data: str,
  wholes: Sequence[Whole],
  minutes: float,
  synthetic: bool,
) -> dict[str, str]:
  """How it was measured, a line each."""
  frames = sum(min(len(whole.frames), MOST_FRAMES) for whole in wholes)
  people = len({whole.person for whole in wholes})
  kind = "synthetic faces" if synthetic else "recorded video"
  device = jax.devices()[0]

  def joined(of: Mapping[str, str]) -> str:
    if len(of) == 1:
      return next(iter(of.values()))
    return "; ".join(f"{name}: {value}" for name, value in of.items())

  origins = {name: model.restored for name, model in models.items()}
  facts = {
    "model": joined(
      {
        name: f"{plan.models[name]}, preset {x.preset}, {x.size} px"
        for name, x in origins.items()
      }
    ),
    "commit": joined({k: x.commit or "unknown" for k, x in origins.items()}),
    "data": f"{data}: {kind}, {len(wholes)} clips, {frames} frames, {people}"
    " people whom training never saw",
    "seed": str(plan.seed),
    "hardware": f"{device.platform} {device.device_kind}, {os.cpu_count()}"
    f" CPU cores, {platform.machine()}",
    "minutes": f"{minutes:.2f}",
  }
  if synthetic:
    facts["reader"] = (
      "the judge, trained on rendered faces of other people, never on"
      " generated frames; on its own held-out frames: " + _judge_score()
    )
  else:
    facts["reader"] = (
      "the face tracker that also made the records; it tells neither emotion"
      " nor identity, so those rows are left out"
    )
  return facts


def _released(path: Path) -> str:
  """Whether weights are those that everybody else uses."""
  with path.open("rb") as stream:
    digest = hashlib.file_digest(stream, "sha256").hexdigest()
  kind = "the" if digest == syncnet.RELEASED_SHA256 else "NOT the"
  return f"official SyncNet v2, {path}: {kind} released file, {digest[:8]}"


def _judge_score() -> str:
  """One line of the judge's own report, tight framing."""
  path = judge.WEIGHTS.with_suffix(".json")
  score = json.loads(path.read_text())["tight"]
  return (
    f"landmarks {score['landmarks_px']:.2f} px, yaw / pitch / roll R2"
    f" {score['yaw_r2']:.2f} / {score['pitch_r2']:.2f} /"
    f" {score['roll_r2']:.2f}, emotion {score['emotion']:.2f} (chance .125),"
    f" mouth opening r {score['opening_r']:.2f}, identity AUC"
    f" {score['identity_auc']:.3f}"
  )


def _words(
  models: Mapping[str, Model],
  entries: Sequence[Entry],
  synthetic: bool,
  public: bool,
  own: bool,
) -> list[str]:
  words = []
  if any(model.restored.preset == "demo" for model in models.values()):
    words.append(
      "**This shows that the pipeline works, not what quality it can reach:**"
      " the `demo` preset trains small networks for minutes. Expect soft lips"
      " and emotions that hardly show."
    )
  if synthetic:
    words.append(
      "All faces and voices here are synthetic. Nothing below says how the"
      " model does on real people."
    )
  words.append(
    "Read every figure beside two others: the static first frame, which"
    " already scores well, and the ground-truth column, which is what the"
    " reader itself scores on real frames. A high Sync figure without a"
    " mouth box above shuffled speech means lips that only SyncNet sees."
  )
  if public and entries:
    words.append(
      "Sync-C, Sync-D and the Sync offset are those of the official SyncNet"
      " v2, scored as its authors' code does, but for the face crop, which is"
      " made from landmarks instead of S3FD's boxes. That code takes zeros for"
      " the sound beyond a clip's ends, so that clips of other lengths than the"
      " literature's (its pipeline wants 100 frames) do not compare."
    )
  elif public:
    words.append("Nothing speaks yet: the official SyncNet had nothing to do.")
  elif own:
    words.append(
      "Sync figures are those of the run's own SyncNet: they compare the rows"
      " below, and are not the literature's Sync-C and Sync-D. For those, give"
      " the official SyncNet's weights (`--syncnet`)."
    )
  else:
    words.append("No SyncNet is at hand (a bundle has none): no Sync figures.")
  return words


def _captions(sheets: dict[str, np.ndarray]) -> dict[str, str]:
  captions = {
    "sheet.png": "Held-out clips: the real frames, the first frame standing"
    " still, the model, and the model hearing another clip's speech.",
    "swaps.png": "Identity picture (another clip), source and donor, then the"
    " source made again with one code taken from the donor.",
  }
  return {name: captions[name] for name in sheets}


def _write(
  out: Path,
  metrics: dict[str, float | str],
  text: str,
  sheets: dict[str, np.ndarray],
) -> None:
  """Every file whole or not at all; metrics.json comes last."""
  out.mkdir(parents=True, exist_ok=True)
  with tempfile.TemporaryDirectory(dir=out, prefix=".part-") as part:
    folder = Path(part)
    for name, picture in sheets.items():
      cv2.imwrite(str(folder / name), picture[..., ::-1])
    (folder / "report.md").write_text(text)
    (folder / "metrics.json").write_text(json.dumps(metrics, indent=2) + "\n")
    for name in (*sheets, "report.md", "metrics.json"):
      shutil.move(folder / name, out / name)


def _replace(path: Path, text: str) -> None:
  """A file whole or not at all."""
  with tempfile.TemporaryDirectory(dir=path.parent, prefix=".part-") as part:
    fresh = Path(part) / path.name
    fresh.write_text(text)
    fresh.replace(path)


FLAGS = flags.FLAGS

_HEADLINES = (
  "psnr",
  "ssim",
  "mouth_r",
  "sync_c",
  "sync_d",
  "psnr_over_static",
  "shuffled_driving_minus_true",
  "mouth_box_over_shuffled",
)
_PART_HEADLINES = (
  "syncnet/two_way",
  "irfd/psnr",
  "irfd/pose_moved",
  "irfd/pose_moved_no_swap",
  "irfd/identity_swap_margin",
  "speak/static_psnr",
)


def _headlines(result: Result) -> list[str]:
  """The figures to print at the end."""
  names = [*_PART_HEADLINES]
  for entry in result.entries:
    names += [f"{entry.name}/{metric}" for metric in _HEADLINES]
  return [
    f"{name:36s} {result.metrics[name]:.3f}"
    for name in names
    if name in result.metrics
  ]


def _plan() -> Plan:
  """The flags.

  Raises:
    ValueError: they do not go together.
  """
  if bool(FLAGS.model) == bool(FLAGS.models):
    raise ValueError("give either --model or --models")
  models = (
    named_models(FLAGS.models) if FLAGS.models else {ALONE: Path(FLAGS.model)}
  )
  most = round(FLAGS.cache_gb * 1e9)
  return Plan(
    models=models,
    clips=FLAGS.clips,
    seed=FLAGS.seed,
    syncnet=Path(FLAGS.syncnet) if FLAGS.syncnet else None,
    cache=Cache(Path(FLAGS.cache), most) if FLAGS.cache else None,
  )


def main(_: list[str]) -> int:
  """Reads the flags, measures, prints the headlines; 1 and a line if not."""
  logging.set_verbosity(logging.WARNING)  # Orbax tells every step it takes
  out = Path(FLAGS.out)
  try:
    plan = _plan()
    if FLAGS.table:
      made = tabulate(plan, FLAGS.table, FLAGS.data, out)
      print("\n".join(map(tables.markdown, made)), end="")
      print(f"wrote {out / 'table.md'}")
    else:
      result = evaluate(plan, FLAGS.data, out)
      print("\n".join(_headlines(result)))
      print(f"wrote {out / 'report.md'}")
  except (ValueError, face.MissingModelError) as error:
    print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
    return 1
  return 0


if __name__ == "__main__":
  flags.DEFINE_string("model", "", "RUN or BUNDLE")
  flags.DEFINE_string("models", "", "NAME=RUN,NAME=BUNDLE: side by side")
  flags.DEFINE_string("data", "", "prepared data sets; empty: the run's own")
  flags.DEFINE_string("out", None, "folder of the report", required=True)
  flags.DEFINE_integer("clips", 24, "held-out clips at most", lower_bound=2)
  flags.DEFINE_integer("seed", 0, "of the bootstrap and of the donors")
  flags.DEFINE_string("syncnet", "", "weights of the public SyncNet v2")
  flags.DEFINE_enum(
    "table", "", ["", "1", *ABLATIONS], "write the paper's table"
  )
  flags.DEFINE_string("cache", "", "folder that keeps generated frames")
  flags.DEFINE_float("cache_gb", 4, "its size at most", lower_bound=0)
  app.run(main)
