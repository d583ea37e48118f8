"""The evaluation protocol: models and data sets to metrics and a report."""

import contextlib
import json
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from data_pipelines.dataset.opening import open_records
from data_pipelines.dataset.reader import Records
from speak_jax.evaluation import (
  dataset,
  metric_table,
  models,
  public_networks,
  sections,
  speed,
)
from speak_jax.evaluation.dataset import Dataset
from speak_jax.evaluation.metric_table import MetricValues
from speak_jax.evaluation.models import Models
from speak_jax.evaluation.plan import SHOWN_CLIPS, Plan
from speak_jax.evaluation.public_networks import PublicNetworks
from speak_jax.evaluation.readers.own_syncnet import SyncScorer
from speak_jax.evaluation.report import (
  curves,
  markdown,
  markup,
  page,
  prose,
  published,
  tables,
)
from speak_jax.evaluation.report.facts import facts
from speak_jax.evaluation.report.methods_table import methods_table
from speak_jax.evaluation.report.paper_tables import (
  ABLATIONS,
  Result,
  paper_tables,
)
from speak_jax.evaluation.report.section import Section
from speak_jax.methods.base import Entry
from speak_jax.supervision import goodput

_TABLE_FORMATS = {
  "md": tables.markdown,
  "csv": tables.comma_separated,
  "json": tables.as_json,
  "tex": tables.latex,
}


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
  folders = dataset.named_folders(data, plan.models)
  name = ",".join(folders.values())
  # The weights first, because they fail soonest.
  public = public_networks.load(plan.syncnet, plan.lpips, plan.inception)
  records = open_records(data or name, "test")
  opened = models.load_all(
    plan.models,
    [records],
    swap=plan.swap and not plan.side_by_side,
    modes=plan.modes,
  )
  sync = models.sync_scorer(opened, public)
  label = next(iter(folders)) if len(folders) == 1 else ""
  return _evaluate(plan, opened, public, sync, name, records, out, label)


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
  public = public_networks.load(plan.syncnet, plan.lpips, plan.inception)
  folders = dataset.named_folders(data, plan.models)
  data_sets = {
    name: open_records(f"{name}={folder}", "test")
    for name, folder in folders.items()
  }
  opened = models.load_all(
    plan.models, data_sets.values(), swap=False, modes=plan.modes
  )
  for name, model in opened.items():
    if model.restored.weights is None:
      raise ValueError(f"{plan.models[name]}: no stage that speaks is trained")
  sync = models.sync_scorer(opened, public)
  results = {
    name: _evaluate(
      plan,
      opened,
      public,
      sync,
      folders[name],
      records,
      out / name if len(folders) > 1 else out,
    )
    for name, records in data_sets.items()
  }
  written = paper_tables(kind, results, plan.seed)
  with _replaced_folder(out) as folder:
    for stem, table in zip(("table", "changes"), written, strict=False):
      _write_table(folder, stem, table)
  return written


def _evaluate(
  plan: Plan,
  opened: Models,
  public: PublicNetworks,
  sync: SyncScorer | None,
  name: str,
  records: Records,
  out: Path,
  label: str = "",
) -> Result:
  """One data set's report.

  Args:
    plan: What to measure, and how.
    opened: The models.
    public: Networks that judge.
    sync: Judges lip sync.
    name: Folders of the data set.
    records: Its held-out clips.
    out: Folder of the report.
    label: What the data set is called.
  """
  start = time.monotonic()
  dataset.check(records, opened, name, swap=plan.swap)
  clips = dataset.load(
    records, opened, public.perceptual, name=name, limit=plan.clips
  )
  entries = models.speaking(opened)
  with _replaced_folder(out) as folder:
    reenactments = sections.self_driven_part(
      clips,
      entries,
      sync,
      public.perceptual,
      cache=plan.cache,
      seed=plan.seed,
      videos=folder / "videos",
      video_clips=plan.videos,
    )
    parts = [reenactments.section]
    if plan.side_by_side and plan.swap:
      parts.append(sections.driven_side_by_side(clips, entries, plan.seed))
    elif len(opened) == 1:
      parts += _single_model_parts(plan, opened, public, clips, entries, sync)
    lines = facts(plan, opened, clips, reenactments.frames_per_second)
    lines["minutes"] = f"{(time.monotonic() - start) / 60:.2f}"
    introduction = prose.introduction(
      demo=any(x.restored.preset == "demo" for x in opened.values()),
      synthetic=clips.synthetic,
      speaks=bool(entries),
      sync="official" if public.syncnet else "own" if sync else "",
      people=clips.people,
    )
    values: MetricValues = {}
    for part in parts:
      values |= part.values
    side_by_side = None
    if plan.side_by_side and entries:
      side_by_side = _methods_table(plan, opened, clips, entries, values, label)
      _write_table(folder, "methods", side_by_side)
    metrics: dict[str, float | str] = {
      **metric_table.flat(values),
      **{f"meta/{key}": line for key, line in lines.items()},
    }
    _write_report(
      folder,
      values,
      lines,
      introduction,
      entries,
      parts,
      reenactments.clips[:SHOWN_CLIPS],
      _training_curves(plan.models),
    )
    text = json.dumps(metrics, indent=2) + "\n"
    (folder / "metrics.json").write_text(text, encoding="utf-8")
  return Result(metrics, entries, values, reenactments.table, side_by_side)


def _methods_table(
  plan: Plan,
  opened: Models,
  clips: Dataset,
  entries: Sequence[Entry],
  values: MetricValues,
  label: str,
) -> tables.Table:
  """The methods side by side; times each, if the plan asks for it."""
  minutes = {}
  for name in (entry.name for entry in entries):
    with contextlib.suppress(ValueError):  # it is no run
      minutes[name] = goodput.summary(plan.models[name]).seconds["step"] / 60
  speeds = {}
  if plan.speed:
    speeds = {
      entry.name: speed.measure(
        opened[entry.name].method, plan.models[entry.name], clips.clips[0]
      )
      for entry in entries
    }
  data = label if label in published.DATA else ""
  return methods_table(values, entries, speeds, minutes, data)


def _write_table(folder: Path, stem: str, table: tables.Table) -> None:
  """Writes a table in every format."""
  for suffix, text in _TABLE_FORMATS.items():
    path = folder / f"{stem}.{suffix}"
    path.write_text(text(table), encoding="utf-8")


def _single_model_parts(
  plan: Plan,
  opened: Models,
  public: PublicNetworks,
  clips: Dataset,
  entries: list[Entry],
  sync: SyncScorer | None,
) -> Iterator[Section]:
  """What is measured of a model only where it is the only one."""
  parts = next(iter(opened.values())).parts
  if parts.sync and (public.syncnet or not entries):
    yield sections.own_syncnet_part(parts.sync, clips.clips, plan.seed)
  # Donors of codes are other people.
  if parts.irfd is None or parts.settings is None or clips.people < 2:
    return
  yield from sections.irfd_parts(
    clips, parts, clips=plan.clips, seed=plan.seed, swap=plan.swap
  )
  if plan.swap:
    for entry in entries:
      yield sections.audio_swap_part(clips, entry, sync, plan.seed)
      yield sections.cross_driven_part(clips, entry, plan.seed)


def _write_report(
  folder: Path,
  values: MetricValues,
  lines: Mapping[str, str],
  introduction: list[str],
  entries: list[Entry],
  parts: list[Section],
  clips: Sequence[page.Clip],
  training: list[curves.Curve],
) -> None:
  """Writes report.md, report.html and the pictures.

  Args:
    folder: Folder of the report.
    values: All that was measured.
    lines: How it was measured.
    introduction: Paragraphs to begin with.
    entries: The systems that speak.
    parts: Whose paragraphs and pictures are added, in this order.
    clips: To look at on the page.
    training: Curves of the models' training.
  """
  paragraphs = [text for part in parts for text in part.paragraphs]
  pictures: dict[str, UInt8[np.ndarray, "h w 3"]] = {}
  for part in parts:
    pictures |= part.pictures
  captions = prose.captions(pictures)
  pngs = {name: markup.png(picture) for name, picture in pictures.items()}
  for name, png in pngs.items():
    (folder / name).write_bytes(png)
  shown_tables = page.code_tables(values)
  if entries:
    every_row = markdown.every_row(values, entries)
    every_metric = page.every_metric(values, entries)
    shown_tables = [every_row, every_metric, *shown_tables]
  texts = {
    "report.md": markdown.markdown(
      values, lines, introduction, captions, entries, paragraphs
    ),
    "report.html": page.page(
      title="Evaluation",
      introduction=introduction,
      facts={k: v for k, v in lines.items() if k != "reader"},
      sees=page.sees_of(entries),
      reader=lines["reader"],
      clips=clips,
      shown_tables=shown_tables,
      pictures=[
        page.Picture(captions[name], png) for name, png in pngs.items()
      ],
      curves=training,
    ),
  }
  for name, text in texts.items():
    (folder / name).write_text(text, encoding="utf-8")


def _training_curves(paths: Mapping[str, Path]) -> list[curves.Curve]:
  """How every model was trained; of several, each under its name."""
  return [
    curve if len(paths) == 1 else curve._replace(stage=f"{name} {curve.stage}")
    for name, path in paths.items()
    for curve in curves.read(path)
  ]


@contextlib.contextmanager
def _replaced_folder(out: Path) -> Iterator[Path]:
  """A folder whose content replaces that of `out` at the end, or never.

  What else is in `out` stays. metrics.json comes last: where it is, the rest
  is.
  """
  out.mkdir(parents=True, exist_ok=True)
  with tempfile.TemporaryDirectory(dir=out, prefix=".part-") as part:
    yield Path(part)
    new = sorted(Path(part).iterdir(), key=lambda x: x.name == "metrics.json")
    for path in new:
      old = out / path.name
      if old.is_dir():
        shutil.rmtree(old)
      path.replace(old)
