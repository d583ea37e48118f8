"""Measures a run or a bundle on held-out people, and writes a report.

  python -m speak_jax.evaluate --model RUN|BUNDLE --data DATA --out REPORT \
    [--syncnet syncnet_v2.model]

REPORT/metrics.json holds every figure under a flat name, REPORT/report.md
says what they are, REPORT/sheet.png and swaps.png show what was measured. Of
a run whose later stages are not there yet the earlier ones are measured.
Lip sync is judged by the public SyncNet v2 where its weights are given
(Sync-C and Sync-D, the field's figures), else by the run's own SyncNet.
"""

import hashlib
import json
import os
import platform
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import jax
import numpy as np
from absl import app, flags, logging
from ml_collections import ConfigDict

from data_pipelines.held_out import Whole, evaluation_clips
from data_pipelines.media import face
from data_pipelines.records import Records, open_records
from data_pipelines.synthetic.render import FACTORS
from speak_jax import bundle, spec, synthesis
from speak_jax.evaluation import (
  figures,
  reading,
  released_sync,
  report,
  swapping,
  talking,
)
from speak_jax.metrics import sums
from speak_jax.models import judge
from speak_jax.pretrained import files, syncnet
from speak_jax.progress import Progress
from speak_jax.stages import base
from speak_jax.stages.syncnet import frames_of
from speak_jax.training import checkpoints
from speak_jax.training.weights import trained

MOST_FRAMES = 100  # of a clip that are measured
MOST_WINDOWS = 16  # that the system makes at a time
EMOTION_FRAMES = 4
SUBJECTS = 4  # frames of each clip whose codes are swapped
SHOWN_CLIPS, SHOWN_TIMES, SHOWN_SWAPS = 4, 8, 8


class Model(NamedTuple):
  """What is measured; None where there is no such part."""

  settings: synthesis.Settings
  preset: str
  commit: str
  synthesizer: synthesis.Synthesizer | None
  irfd: swapping.Irfd | None
  sync: reading.OwnSync | None
  mouth: int  # px, side of the mouth patches


def load(path: Path, frames: int) -> Model:
  """Opens a run or a bundle, to make clips of up to so many frames.

  Raises:
    ValueError: it is neither, or damaged; one line with the path.
  """
  if bundle.is_bundle(path):
    facts = bundle.read(path).config
    window = int(facts["settings"]["frames"])
    made = synthesis.Synthesizer.from_bundle(
      path, windows=min(-(-frames // window), MOST_WINDOWS)
    )
    return Model(
      settings=made.settings,
      preset=str(facts["preset"]),
      commit=str(facts["commit"]),
      synthesizer=made,
      irfd=None,
      sync=None,
      mouth=0,
    )
  config = checkpoints.run_config(path)
  there = {
    stage: _where(path, config, stage) for stage in ("syncnet", "irfd", "speak")
  }
  if not any(there.values()):
    raise ValueError(f"{path}: no stage has a checkpoint yet")
  irfd, sync, made = None, None, None
  if there["irfd"]:
    groups = ("encoders", "decoder")
    weights = trained(there["irfd"], config, "irfd", groups)
    irfd = swapping.irfd(base.networks(config), *weights)
  if there["syncnet"]:
    weights = trained(there["syncnet"], config, "syncnet", ("sync",))
    sync = _sync(base.networks(config), *weights, float(config.data.fps))
  if there["speak"]:
    windows = min(-(-frames // config.model.frames), MOST_WINDOWS)
    made = synthesis.Synthesizer.from_run(there["speak"], windows=windows)
  return Model(
    settings=synthesis.settings_of(config),
    preset=config.preset,
    commit=config.commit,
    synthesizer=made,
    irfd=irfd,
    sync=sync,
    mouth=config.model.mouth,
  )


def evaluate(
  model_path: Path,
  data: str,
  out: Path,
  clips: int,
  seed: int,
  syncnet_path: Path | None = None,
) -> dict[str, float | str]:
  """Measures, writes the report, and returns what metrics.json holds.

  Args:
    model_path: RUN or BUNDLE.
    data: Prepared data sets, comma-separated; "" = the run's own.
    out: Folder of the report.
    clips: Held-out clips at most.
    seed: Of the bootstrap and of the donors.
    syncnet_path: Weights of the public SyncNet v2, which then judges lip sync.

  Raises:
    ValueError: one line: no such model, data or weights, or frame rates that
      differ.
  """
  begun = time.monotonic()
  # First, because it fails soonest.
  public = syncnet.convert(files.read(syncnet_path)) if syncnet_path else None
  data = data or str(model_path / "data")
  records = open_records(data, "test")
  longest = min(max(row.frames for row in records.index), MOST_FRAMES)
  model = load(model_path, longest)
  _check_rate(records, model.settings, data)
  wholes = [
    _shorten(whole)
    for whole in evaluation_clips(
      records,
      size=model.settings.image,
      face_size=model.settings.emotion,
      emotion_frames=EMOTION_FRAMES,
      emotion_input=model.settings.emotion_input,
      limit=clips,
    )
  ]
  synthetic = all(len(whole.factors) for whole in wholes)
  read = (
    reading.judge_reader(judge.load())
    if synthetic
    else reading.tracker_reader(face.Tracker())
  )
  sync: reading.Sync | None = model.sync
  if public:
    fps = model.settings.fps
    sync = released_sync.released(public.variables, public.sizes, fps)
  found: figures.Figures = {}
  sheets: dict[str, np.ndarray] = {}
  if model.synthesizer is not None:
    made, shown = talking.measure(
      [_take(whole) for whole in wholes],
      _talker(model.synthesizer),
      read,
      sync,
      seed=seed,
      shown=SHOWN_CLIPS,
      progress=_counted,
    )
    found |= made
    sheets["sheet.png"] = report.sheet(
      talking.grid(shown, SHOWN_TIMES), list(talking.ROWS) * len(shown)
    )
  if model.sync and (public or not model.synthesizer):
    found |= _sync_alone(model.sync, wholes, seed)
  if model.irfd is not None:
    made, swapped = swapping.measure(
      subjects(wholes, model.mouth),
      model.irfd,
      read,
      seed=seed,
      shown=SHOWN_SWAPS,
    )
    found |= made
    sheets["swaps.png"] = report.sheet(
      swapping.grid(swapped),
      [f"pair {i + 1}" for i in range(len(swapped.donors))],
      ("identity", "source", "donor", *swapping.SWAPS),
    )
  minutes = (time.monotonic() - begun) / 60
  facts = _facts(model, model_path, data, wholes, seed, minutes, synthetic)
  if syncnet_path:
    facts["syncnet"] = _released(syncnet_path)
  elif model.sync:
    facts["syncnet"] = "the run's own"
  words = _words(model, synthetic, syncnet_path is not None)
  text = report.markdown(found, facts, words, _captions(sheets))
  metrics: dict[str, float | str] = {
    **figures.flat(found),
    **{f"meta/{key}": value for key, value in facts.items()},
  }
  _write(out, metrics, text, sheets)
  return metrics


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


def _where(path: Path, config: ConfigDict, stage: str) -> Path | None:
  """The run that holds a stage: this one, or the one it started from."""
  for run in (path, Path(config.init_from) if config.init_from else None):
    if run and checkpoints.latest_step(run, stage) is not None:
      return run
  return None


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


def _talker(made: synthesis.Synthesizer) -> talking.Talk:
  """Pose and emotion codes are the same whatever the clip is made to say."""
  memory: dict[str, tuple] = {}

  def talk(take, audio):
    if take.clip not in memory:
      memory.clear()
      memory[take.clip] = (
        made.portrait(take.frames[0], take.landmarks[0]),
        made.pose(take.frames),
        made.emotion(take.emotion_faces).mean(0),
      )
    portrait, pose, emotion = memory[take.clip]
    return np.concatenate(list(made.stream(portrait, pose, emotion, audio)))

  return talk


def _sync_alone(
  sync: reading.OwnSync, wholes: list[Whole], seed: int
) -> figures.Figures:
  """Our SyncNet on real clips, where it does not judge a system's."""
  ledger = figures.Ledger()
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
  return reading.Take(
    clip=whole.clip,
    person=whole.person,
    emotion=whole.emotion_label,
    level=whole.level,
    frames=whole.frames,
    landmarks=whole.landmarks,
    pose=whole.pose,
    opening=_opening(whole),
    audio=whole.audio,
    emotion_faces=whole.emotion,
  )


def _opening(whole: Whole) -> np.ndarray:
  """Exact where rendered, which no turn of the head can fake."""
  if len(whole.factors):
    return whole.factors[:, FACTORS.index("mouth_open")]
  return spec.mouth_opening(whole.landmarks)


def _check_rate(
  records: Records, settings: synthesis.Settings, data: str
) -> None:
  for row in records.index:
    if abs(row.fps - settings.fps) > 0.01:
      raise ValueError(
        f"{data}: clip {row.clip} has {row.fps:g} frames/s, the model makes"
        f" {settings.fps:g}"
      )


def _facts(
  model: Model,
  path: Path,
  data: str,
  wholes: list[Whole],
  seed: int,
  minutes: float,
  synthetic: bool,
) -> dict[str, str]:
  """How it was measured, a line each."""
  frames = sum(len(whole.frames) for whole in wholes)
  people = len({whole.person for whole in wholes})
  kind = "synthetic faces" if synthetic else "recorded video"
  device = jax.devices()[0]
  facts = {
    "model": f"{path}, preset {model.preset}, {model.settings.image} px",
    "commit": model.commit or "unknown",
    "data": f"{data}: {kind}, {len(wholes)} clips, {frames} frames, {people}"
    " people whom training never saw",
    "seed": str(seed),
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


def _words(model: Model, synthetic: bool, public: bool) -> list[str]:
  words = []
  if model.preset == "demo":
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
  if public and model.synthesizer:
    words.append(
      "Sync-C, Sync-D and the Sync offset are those of the official SyncNet"
      " v2, scored as its authors' code does, but for the face crop, which is"
      " made from landmarks instead of S3FD's boxes. That code takes zeros for"
      " the sound beyond a clip's ends, so that clips of other lengths than the"
      " literature's (its pipeline wants 100 frames) do not compare."
    )
  elif public:
    words.append("Nothing speaks yet: the official SyncNet had nothing to do.")
  elif model.sync:
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


FLAGS = flags.FLAGS

_HEADLINES = (
  "syncnet/two_way",
  "irfd/psnr",
  "irfd/pose_moved",
  "irfd/pose_moved_no_swap",
  "irfd/identity_swap_margin",
  "speak/psnr",
  "speak/static_psnr",
  "speak/ssim",
  "speak/mouth_r",
  "speak/sync_c",
  "speak/sync_d",
  "speak/shuffled_driving_minus_true",
  "speak/mouth_box_over_shuffled",
)


def main(_: list[str]) -> int:
  """Reads the flags, measures, prints the headlines; 1 and a line if not."""
  logging.set_verbosity(logging.WARNING)  # Orbax tells every step it takes
  out = Path(FLAGS.out)
  try:
    metrics = evaluate(
      Path(FLAGS.model),
      FLAGS.data,
      out,
      FLAGS.clips,
      FLAGS.seed,
      Path(FLAGS.syncnet) if FLAGS.syncnet else None,
    )
  except (ValueError, face.MissingModelError) as error:
    print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
    return 1
  for name in _HEADLINES:
    if name in metrics:
      print(f"{name:36s} {metrics[name]:.3f}")
  print(f"wrote {out / 'report.md'}")
  return 0


if __name__ == "__main__":
  flags.DEFINE_string("model", None, "RUN or BUNDLE", required=True)
  flags.DEFINE_string("data", "", "prepared data sets; empty: the run's own")
  flags.DEFINE_string("out", None, "folder of the report", required=True)
  flags.DEFINE_integer("clips", 24, "held-out clips at most", lower_bound=2)
  flags.DEFINE_integer("seed", 0, "of the bootstrap and of the donors")
  flags.DEFINE_string("syncnet", "", "weights of the public SyncNet v2")
  app.run(main)
