"""The evaluation protocol: models and data sets to figures and a report."""

import glob
import json
import os
import platform
import re
import shutil
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import jax
import numpy as np

from data_pipelines.dataset.index import read_metadata
from data_pipelines.dataset.opening import open_records
from data_pipelines.dataset.reader import Records
from data_pipelines.dataset.writer import HELD_OUT
from data_pipelines.faces import face
from data_pipelines.media.video import write_video
from data_pipelines.sampling.held_out import Whole, evaluation_clips
from speak_jax.common import names
from speak_jax.common.progress import Progress
from speak_jax.evaluation import clips as takes
from speak_jax.evaluation import ledger as figures
from speak_jax.evaluation import methods, systems
from speak_jax.evaluation.cache import Cache
from speak_jax.evaluation.disentanglement import swap_report, swaps
from speak_jax.evaluation.ledger import Figures, Ledger
from speak_jax.evaluation.readers import reading, syncnet_v2
from speak_jax.evaluation.readers.perceptual import Features, Look, Paired
from speak_jax.evaluation.reenactment import (
  audio_swap,
  cross_driven,
  self_driven,
)
from speak_jax.evaluation.report import (
  html,
  markdown,
  page,
  prose,
  published,
  tables,
)
from speak_jax.evaluation.report.paper_tables import (
  ABLATIONS,
  Result,
  paper_tables,
)
from speak_jax.metrics import image, sums
from speak_jax.models import inception, judge, lpips
from speak_jax.pretrained import files, layouts, syncnet
from speak_jax.pretrained.tensors import Converted

SHOWN_CLIPS, SHOWN_TIMES, SHOWN_SWAPS, SHOWN_DRIVEN = 4, 8, 8, 8
LOOKED_AT = 8  # frames at a time
FID_EVERY = 5  # frames: neighbours tell little more


class Plan(NamedTuple):
  """How to measure."""

  models: Mapping[str, Path]  # by name: runs, bundles, weights of a method
  clips: int  # held-out clips at most
  seed: int  # of the bootstrap and of the donors
  syncnet: Path | None = None  # the public SyncNet v2, which then judges sync
  lpips: str = ""  # its public weights; "" leaves the figure out
  inception: str = ""  # the public weights of FID's; "" leaves FID out
  cache: Cache | None = None  # of generated frames
  swap: bool = False  # whether to ask how well the codes are apart
  videos: int = SHOWN_CLIPS  # clips of which videos are kept


class _Opened(NamedTuple):
  """What a plan names, read."""

  models: dict[str, systems.System]
  public: Converted | None  # SyncNet
  looks: dict[str, Look]

  @property
  def judge(self) -> str:
    """Whose own SyncNet judges lip sync; "": nobody's, or the public one."""
    if self.public:
      return ""
    return next((k for k, x in self.models.items() if x.parts.sync), "")

  @property
  def alone(self) -> systems.Parts | None:
    """Of the only model, which is looked at closer if it has IRFD; or None."""
    first = next(iter(self.models.values())).parts
    return first if len(self.models) == 1 and first.irfd else None

  @property
  def sync(self) -> reading.Sync | None:
    """Who judges lip sync."""
    if self.public:
      fps = next(iter(self.models.values())).restored.fps
      public = self.public
      return syncnet_v2.released(public.variables, public.sizes, fps)
    return self.models[self.judge].parts.sync if self.judge else None


class _Held(NamedTuple):
  """Held-out clips of one data set, and who reads them."""

  data: str  # where they come from
  records: Records
  wholes: Sequence[Whole]
  takes: Sequence[reading.Take]
  synthetic: bool
  read: reading.Reader
  reader: str  # who that is, and how good

  @property
  def people(self) -> int:
    """How many."""
    return len({take.person for take in self.takes})


class _Told(NamedTuple):
  """Figures, Markdown and pictures of a part of the report."""

  figures: Figures
  sections: Sequence[str] = ()
  sheets: Mapping[str, np.ndarray] = {}


class _Spoken(NamedTuple):
  """What `talking` finds."""

  told: _Told
  ledger: Ledger
  clips: Sequence[html.Clip]  # for the page
  speeds: Mapping[str, float]  # frames/s that each entry generates


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
  public, looks = _public(plan), _looks(plan)
  records = open_records(data, "test")
  opened = _Opened(_models(plan, [records]), public, looks)
  return _evaluate(plan, opened, data, records, out)


def tabulate(plan: Plan, kind: str, data: str, out: Path) -> list[tables.Table]:
  """Measures every data set by itself, and writes the paper's tables.

  Args:
    plan: What to measure, and how.
    kind: One of `paper_tables.KINDS`.
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
  public, looks = _public(plan), _looks(plan)
  named = sets(data, plan)
  opened_sets = {name: open_records(x, "test") for name, x in named.items()}
  opened = _Opened(_models(plan, opened_sets.values()), public, looks)
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
  with _whole(out) as part:
    for stem, table in zip(("table", "changes"), made, strict=False):
      for suffix, write in writers.items():
        (part / f"{stem}.{suffix}").write_text(write(table), encoding="utf-8")
  return made


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


def _public(plan: Plan) -> Converted | None:
  return syncnet.convert(files.read(plan.syncnet)) if plan.syncnet else None


def _looks(plan: Plan) -> dict[str, Look]:
  """What else frames are looked at through: LPIPS and FID with weights."""
  found: dict[str, Look] = {"gaussian_ssim": Paired(image.gaussian_ssim)}
  if plan.lpips:
    alex = _weights(plan.lpips, "lpips")
    found["lpips"] = Paired(
      lambda a, b: reading.in_batches(
        lambda x, y: (lpips.distance(alex, x, y),), a, b, size=LOOKED_AT
      )[0]
    )
  if plan.inception:
    pool3 = _weights(plan.inception, "inception")
    found["fid"] = Features(
      lambda a: reading.in_batches(
        lambda x: (inception.features(pool3, x),), a, size=LOOKED_AT
      )[0],
      every=FID_EVERY,
    )
  return found


def _weights(name: str, layout: str) -> Any:
  return jax.device_put(layouts.load(name, layout).converted.variables)


def _models(plan: Plan, data: Iterable[Records]) -> dict[str, systems.System]:
  """Every model of a plan; several must speak."""
  longest = max(row.frames for records in data for row in records.index)
  found = {
    name: systems.load(path, min(longest, takes.MOST_FRAMES))
    for name, path in plan.models.items()
  }
  if plan.swap:
    for name, system in found.items():
      if system.parts.irfd is None:
        raise ValueError(f"--swap: {plan.models[name]} has no stage irfd")
  return found


def _evaluate(
  plan: Plan, opened: _Opened, data: str, records: Records, out: Path
) -> Result:
  """One data set's report."""
  begun = time.monotonic()
  _check(records, opened.models, data)
  if plan.swap and len({row.identity for row in records.index}) < 2:
    raise ValueError(
      f"--swap: {data}: donors must be others than its one person"
    )
  held = _held(plan, opened, data, records)
  found: Figures = {}
  sections: list[str] = []
  sheets: dict[str, np.ndarray] = {}
  with _whole(out) as part:
    spoken = _spoken(plan, opened, held, part / "videos")
    for told in (spoken.told, *_alone(plan, opened, held)):
      found |= told.figures
      sections += told.sections
      sheets |= told.sheets
    facts = _facts(plan, opened, held, spoken.speeds)
    facts["minutes"] = f"{(time.monotonic() - begun) / 60:.2f}"
    metrics: dict[str, float | str] = {
      **figures.flat(found),
      **{f"meta/{key}": value for key, value in facts.items()},
    }
    entries = systems.speaking(opened.models)
    said = prose.warnings(
      demo=any(x.restored.preset == "demo" for x in opened.models.values()),
      synthetic=held.synthetic,
      speaks=bool(entries),
      sync="public" if opened.public else "own" if opened.judge else "",
      people=held.people,
    )
    captions = prose.captions(sheets)
    texts = {
      "report.md": markdown.markdown(
        found, facts, said, captions, entries, sections
      ),
      "report.html": page.page(
        found,
        facts,
        said,
        entries,
        spoken.clips[:SHOWN_CLIPS],
        sheets,
        captions,
        _curves(plan),
      ),
      "metrics.json": json.dumps(metrics, indent=2) + "\n",
    }
    for name, picture in sheets.items():
      cv2.imwrite(str(part / name), picture[..., ::-1])
    for name, text in texts.items():
      (part / name).write_text(text, encoding="utf-8")
  return Result(metrics, entries, found, spoken.ledger)


def _held(plan: Plan, opened: _Opened, data: str, records: Records) -> _Held:
  """The clips of a data set, in one crop for all rows, that of the largest."""
  size = max(model.restored.size for model in opened.models.values())
  # Nothing else is shown identity pictures: what speaks has the first frame.
  alone = opened.alone or systems.NO_PARTS
  wholes = list(
    evaluation_clips(
      records,
      size=size,
      face_size=size,
      emotion_frames=takes.EMOTION_FRAMES,
      emotion_input="frame",
      same_session=alone.same_session,
      limit=plan.clips,
    )
  )
  synthetic = all(len(whole.factors) for whole in wholes)
  read, reader = (
    (reading.judge_reader(judge.load()), prose.judged())
    if synthetic
    else _tracked(opened)
  )
  asked = [takes.take(whole) for whole in wholes]
  return _Held(data, records, wholes, asked, synthetic, read, reader)


def _tracked(opened: _Opened) -> tuple[reading.Reader, str]:
  """Who reads recorded faces, and in words."""
  fid = opened.looks.get("fid")
  if isinstance(fid, Features):
    read = reading.tracker_reader(face.Tracker(), fid.run)
    return read, prose.tracked("Inception's pool3")
  return reading.tracker_reader(face.Tracker()), prose.tracked("")


def _spoken(plan: Plan, opened: _Opened, held: _Held, videos: Path) -> _Spoken:
  """Every system that speaks, beside the references."""
  entries = systems.speaking(opened.models)
  if not entries:
    return _Spoken(_Told({}), Ledger(), [], {})
  rows = self_driven.sheet_rows(entries)
  shown: list[self_driven.Talked] = []
  clips: list[html.Clip] = []

  def show(talked: self_driven.Talked) -> None:
    if len(shown) < SHOWN_CLIPS:
      shown.append(talked)
    if len(clips) < plan.videos:
      clip = _videos(talked, held.takes[0].fps, videos)
      clips.append(
        clip._replace(videos=[x for x in clip.videos if x.label in rows])
      )

  made = self_driven.measure(
    held.takes,
    entries,
    held.read,
    opened.sync,
    seed=plan.seed,
    show=show,
    cache=plan.cache,
    progress=_counted,
    looks=opened.looks,
  )
  sheet = markdown.sheet(
    self_driven.grid(shown, SHOWN_TIMES, list(rows)),
    list(rows.values()) * len(shown),
  )
  told = _Told(made.figures, sheets={"sheet.png": sheet})
  return _Spoken(told, made.ledger, clips, made.frames_per_second)


def _alone(plan: Plan, opened: _Opened, held: _Held) -> Iterator[_Told]:
  """What is looked at of a model that is the only one."""
  if len(opened.models) > 1:
    return
  system = next(iter(opened.models.values()))
  entries, parts = systems.speaking(opened.models), system.parts
  if parts.sync and (opened.public or not entries):
    yield _Told(_sync_alone(parts.sync, held.takes, plan.seed))
  if parts.irfd is None or parts.settings is None:
    return
  if held.people < 2:  # donors are others
    return
  subjects = takes.subjects(held.wholes, parts.settings, parts.mouth)
  moved, swapped = swaps.measure(
    subjects, parts.irfd, held.read, seed=plan.seed, shown=SHOWN_SWAPS
  )
  sheet = markdown.sheet(
    swaps.grid(swapped),
    [f"pair {i + 1}" for i in range(len(swapped.donors))],
    ("identity", "source", "donor", *swaps.SWAPS),
  )
  yield _Told(moved, sheets={"swaps.png": sheet})
  if not plan.swap:
    return
  yield _Told(
    *swap_report.measure(
      subjects,
      takes.asked(held.takes, parts.settings, parts.mouth),
      takes.twins(
        held.records,
        parts.settings,
        parts.mouth,
        same_session=parts.same_session,
        limit=plan.clips,
        seed=plan.seed,
      ),
      parts.irfd,
      held.read,
      held.reader,
      seed=plan.seed,
    )
  )
  for entry in entries:

    def talk(take, audio, entry=entry):
      return methods.run(entry, self_driven.request(take, audio), 0)

    heard = audio_swap.measure(
      held.takes,
      talk,
      held.read,
      opened.sync,
      seed=plan.seed,
      progress=_counted,
    )
    told = audio_swap.markdown(heard)
    yield _Told(heard, ["What other speech changes, and none:", told])
    yield _driven(plan, held, entry)


def _driven(plan: Plan, held: _Held, entry: methods.Entry) -> _Told:
  """One system with inputs of several people."""
  found, shown = cross_driven.measure(
    held.takes,
    lambda asked: methods.run(entry, asked, 0),
    held.read,
    seed=plan.seed,
    shown=SHOWN_DRIVEN,
    progress=_counted,
  )
  sheet = markdown.sheet(
    cross_driven.grid(shown),
    [f"clip {i + 1}" for i in range(len(shown))],
    cross_driven.titles(),
  )
  told = ["Driven by others, each input another person's:"]
  return _Told(
    found, [*told, cross_driven.markdown(found)], {"driven.png": sheet}
  )


def _videos(talked: self_driven.Talked, fps: float, folder: Path) -> html.Clip:
  """Writes folder/METHOD/CLIP.mp4 of every line; the same for a page."""
  videos = []
  stem = names.file_stem(talked.clip)
  if any(folder.glob(f"*/{glob.escape(stem)}.mp4")):  # of another clip
    stem = names.file_stem(talked.clip, marked=True)
  for title, frames in talked.frames.items():
    path = folder / re.sub(r"[^\w.-]+", "-", title) / f"{stem}.mp4"
    path.parent.mkdir(parents=True, exist_ok=True)
    write_video(path, frames, fps, talked.sounds[title])
    videos.append(html.Video(title, path.read_bytes()))
  return html.Clip(talked.clip, videos)


def _counted(clips: Sequence[reading.Take]) -> Iterator[reading.Take]:
  """The clips, one by one, with a progress line."""
  with Progress("speak", "clip", len(clips)) as progress:
    for i, clip in enumerate(clips):
      yield clip
      progress.update(i + 1)


def _sync_alone(
  sync: reading.OwnSync, asked: Sequence[reading.Take], seed: int
) -> Figures:
  """Our SyncNet on real clips, where it does not judge a system's."""
  ledger = Ledger()
  for take in asked:
    seen = sync.lips(take.frames, take.landmarks)
    if seen is None:  # no landmarks
      continue
    found = sync.figures(seen, sync.sound(take.audio, len(take.frames)))
    ledger.add("syncnet/two_way", sums.mean_row(found["two_way"]))
  return ledger.figures(seed)


def _check(
  records: Records, models: Mapping[str, systems.System], data: str
) -> None:
  """Raises ValueError, one line, if the clips cannot be asked for."""
  if len(records.index) < 2:
    raise ValueError(
      f"{data}: one held-out clip, and other speech must come from another:"
      " prepare with a larger --held-out"
    )
  for name, model in models.items():
    fps = model.restored.fps
    for row in records.index:
      if abs(row.fps - fps) > 0.01:
        raise ValueError(
          f"{data}: clip {row.clip} has {row.fps:g} frames/s, the model {name}"
          f" makes {fps:g}"
        )


def _facts(
  plan: Plan, opened: _Opened, held: _Held, speeds: Mapping[str, float]
) -> dict[str, str]:
  """How it was measured, a line each."""
  frames = sum(len(take.frames) for take in held.takes)
  kind = "synthetic faces" if held.synthetic else "recorded video"
  device = jax.devices()[0]
  origins = {name: model.restored for name, model in opened.models.items()}
  facts = {
    "model": prose.joined(
      {
        name: f"{plan.models[name]}, preset {x.preset}, {x.size} px"
        for name, x in origins.items()
      }
    ),
    "commit": prose.joined(
      {k: x.commit or "unknown" for k, x in origins.items()}
    ),
    "data": f"{held.data}: {kind}, {len(held.takes)} clips, {frames} frames,"
    f" {prose.unseen(held.people, _held_out(held.records))}",
    "seed": str(plan.seed),
    "hardware": f"{device.platform} {device.device_kind}, {os.cpu_count()}"
    f" CPU cores, {platform.machine()}",
    "reader": held.reader,
  }
  if alone := opened.alone:
    facts["identity pictures"] = prose.lenders(
      alone.same_session, [row.session for row in held.records.index]
    )
  if speeds:
    facts["speed"] = prose.joined(
      {name: f"{value:.1f} frames/s" for name, value in speeds.items()}
    )
  if plan.lpips:
    size = held.takes[0].frames.shape[1]
    facts["lpips"] = f"v0.1, AlexNet, at {size} px: {plan.lpips}"
  if plan.inception:
    facts["fid"] = f"every {FID_EVERY}th frame, whole crop: {plan.inception}"
  if plan.syncnet:
    facts["syncnet"] = prose.released(
      plan.syncnet, "official SyncNet v2", syncnet.RELEASED_SHA256
    )
  elif opened.judge:
    alone = len(opened.models) == 1
    facts["syncnet"] = (
      "the run's own" if alone else f"{opened.judge}'s own, for all"
    )
  return facts


def _held_out(data: Records) -> set[str]:
  """What of the people is held out, in data sets where it is not all."""
  found = (read_metadata(x.folder) for x in data.parts if x.folder)
  return {str(x[HELD_OUT]) for x in found if HELD_OUT in x}


def _curves(plan: Plan) -> list[html.Curve]:
  """How every model was trained; of several, each under its name."""
  return [
    curve
    if len(plan.models) == 1
    else curve._replace(stage=f"{name} {curve.stage}")
    for name, path in plan.models.items()
    for curve in html.curves(path)
  ]


@contextmanager
def _whole(out: Path) -> Iterator[Path]:
  """A folder whose content replaces that of `out` at the end, or never.

  metrics.json comes last: where it is, the rest is.
  """
  out.mkdir(parents=True, exist_ok=True)
  with tempfile.TemporaryDirectory(dir=out, prefix=".part-") as part:
    yield Path(part)
    made = sorted(Path(part).iterdir(), key=lambda x: x.name == "metrics.json")
    for path in made:
      old = out / path.name
      if old.is_dir():
        shutil.rmtree(old)
      path.replace(old)
