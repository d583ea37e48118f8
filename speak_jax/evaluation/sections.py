"""The parts of a report: each measures one thing and says what it found."""

import functools
import glob
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from data_pipelines.media.mp4 import write_video
from speak_jax.common import names
from speak_jax.common.progress import Progress
from speak_jax.evaluation.cache import Cache
from speak_jax.evaluation.dataset import Dataset
from speak_jax.evaluation.disentanglement import subjects, swap_report, swaps
from speak_jax.evaluation.eval_clip import EvalClip
from speak_jax.evaluation.metric_table import MetricTable, MetricValues
from speak_jax.evaluation.models import Parts
from speak_jax.evaluation.plan import SHOWN_CLIPS
from speak_jax.evaluation.readers.own_syncnet import OwnSyncNet, SyncScorer
from speak_jax.evaluation.readers.perceptual import PerceptualMetric
from speak_jax.evaluation.reenactment import (
  audio_swap,
  cross_driven,
  self_driven,
)
from speak_jax.evaluation.reenactment.lines import sheet_rows
from speak_jax.evaluation.report import page, sheets
from speak_jax.evaluation.report.section import Section
from speak_jax.methods import base as methods
from speak_jax.methods.base import Entry
from speak_jax.metrics import sums

SHOWN_TIMES, SHOWN_SWAPS, SHOWN_DRIVEN = 8, 8, 8


class Reenactments(NamedTuple):
  """What the self-driven part gives."""

  section: Section
  table: MetricTable
  clips: Sequence[page.Clip]  # for the page
  frames_per_second: Mapping[str, float]  # that each entry generates


def self_driven_part(
  dataset: Dataset,
  entries: Sequence[Entry],
  sync: SyncScorer | None,
  perceptual: Mapping[str, PerceptualMetric],
  *,
  cache: Cache | None,
  seed: int,
  videos: Path,
  video_clips: int,
) -> Reenactments:
  """Every system that speaks, beside the references.

  Args:
    dataset: Held-out clips.
    entries: The systems; without any nothing is measured.
    sync: Judges lip sync; None leaves it out.
    perceptual: Metrics of frames seen through a network, by name.
    cache: Where generated frames are kept; None makes them every time.
    seed: Seed of the bootstrap.
    videos: Folder for METHOD/CLIP.mp4.
    video_clips: Clips of which videos are written.
  """
  if not entries:
    return Reenactments(Section({}), MetricTable(), [], {})
  rows = sheet_rows(entries)
  shown: list[self_driven.ClipVideos] = []
  clips: list[page.Clip] = []

  def show(clip: self_driven.ClipVideos) -> None:
    if len(shown) < SHOWN_CLIPS:
      shown.append(clip)
    if len(clips) < video_clips:
      on_page = rows if len(clips) < SHOWN_CLIPS else ()
      fps = dataset.clips[0].fps
      clips.append(_write_videos(clip, fps, videos, on_page))

  measured = self_driven.measure(
    dataset.clips,
    entries,
    dataset.read,
    sync,
    seed=seed,
    show=show,
    perceptual=perceptual,
    cache=cache,
    progress=functools.partial(_counted, "self-driven"),
  )
  cells = self_driven.sheet_cells(shown, SHOWN_TIMES, list(rows))
  sheet = sheets.draw(cells, list(rows.values()) * len(shown))
  section = Section(measured.values, pictures={"sheet.png": sheet})
  return Reenactments(
    section, measured.table, clips, measured.frames_per_second
  )


def own_syncnet_part(
  sync: OwnSyncNet, clips: Sequence[EvalClip], seed: int
) -> Section:
  """Our SyncNet on real clips, where it does not judge a system's.

  Args:
    sync: SyncNet of the run or bundle.
    clips: Held out; those without landmarks are left out.
    seed: Seed of the bootstrap.
  """
  table = MetricTable()
  for clip in clips:
    lips = sync.lip_codes(clip.frames, clip.landmarks)
    if lips is None:
      continue
    sound = sync.sound_codes(clip.audio, len(clip.frames))
    two_way = sync.metrics(lips, sound)["two_way"]
    table.add("syncnet/two_way", sums.mean_row(two_way))
  return Section(table.values(seed))


def irfd_parts(
  dataset: Dataset, parts: Parts, *, clips: int, seed: int, swap: bool
) -> Iterator[Section]:
  """IRFD's codes: what swaps move; with `swap` also how far they are apart.

  Args:
    dataset: Clips of two people or more.
    parts: Parts of the model, IRFD among them.
    clips: With twins, at most.
    seed: Seed of donors, controls and the bootstrap.
    swap: Adds the swap matrix, twins and probes.
  """
  irfd, settings = parts.irfd, parts.settings
  assert irfd is not None and settings is not None
  all_swaps = swaps.make_all(
    subjects.swap_subjects(dataset.wholes, settings, parts.mouth),
    irfd,
    dataset.read,
    seed=seed,
  )
  values, swapped = swaps.measure(all_swaps, irfd, seed=seed, shown=SHOWN_SWAPS)
  sheet = sheets.draw(
    swaps.sheet_cells(swapped),
    [f"pair {i + 1}" for i in range(len(swapped.donors))],
    ("identity", "source", "donor", *swaps.SWAPS),
  )
  yield Section(values, pictures={"swaps.png": sheet})
  if not swap:
    return
  yield swap_report.measure(
    all_swaps,
    subjects.probe_subjects(dataset.clips, settings, parts.mouth),
    subjects.twins(
      dataset.records,
      settings,
      parts.mouth,
      same_session=parts.same_session,
      limit=clips,
      seed=seed,
    ),
    irfd,
    dataset.read,
    dataset.reader,
    seed=seed,
  )


def audio_swap_part(
  dataset: Dataset, entry: Entry, sync: SyncScorer | None, seed: int
) -> Section:
  """What other speech changes of a system's clips, and none."""

  def generate(clip, audio):
    return methods.run(entry, self_driven.request(clip, audio), 0)

  values = audio_swap.measure(
    dataset.clips,
    generate,
    dataset.read,
    sync,
    seed=seed,
    progress=functools.partial(_counted, f"{entry.name}, other speech"),
  )
  title = "What other speech changes, and none:"
  return Section(values, [title, audio_swap.markdown(values)])


def driven_side_by_side(
  dataset: Dataset, entries: Sequence[Entry], seed: int
) -> Section:
  """`cross_driven_part` of each system; names of values begin with its own."""
  values: MetricValues = {}
  paragraphs: list[str] = []
  pictures = {}
  for entry in entries:
    part = cross_driven_part(dataset, entry, seed)
    values |= {f"{entry.name}/{key}": x for key, x in part.values.items()}
    title, table = part.paragraphs
    paragraphs += [f"{entry.name}. {title}", table]
    pictures[f"driven_{entry.name}.png"] = part.pictures["driven.png"]
  return Section(values, paragraphs, pictures)


def cross_driven_part(dataset: Dataset, entry: Entry, seed: int) -> Section:
  """A system with inputs of several people."""
  values, pictures = cross_driven.measure(
    dataset.clips,
    lambda request: methods.run(entry, request, 0),
    dataset.read,
    seed=seed,
    shown=SHOWN_DRIVEN,
    progress=functools.partial(_counted, f"{entry.name}, driven by others"),
  )
  sheet = sheets.draw(
    cross_driven.sheet_cells(pictures),
    [f"clip {i + 1}" for i in range(len(pictures))],
    cross_driven.sheet_titles(),
  )
  title = "Driven by others, each input another person's:"
  return Section(
    values, [title, cross_driven.markdown(values)], {"driven.png": sheet}
  )


def _write_videos(
  clip: self_driven.ClipVideos,
  fps: float,
  folder: Path,
  on_page: Collection[str],
) -> page.Clip:
  """Writes folder/METHOD/CLIP.mp4 of every line; those that the page shows."""
  videos = []
  stem = names.file_stem(clip.clip)
  if any(folder.glob(f"*/{glob.escape(stem)}.mp4")):  # of another clip
    stem = names.file_stem(clip.clip, marked=True)
  for title, frames in clip.frames.items():
    path = folder / re.sub(r"[^\w.-]+", "-", title) / f"{stem}.mp4"
    path.parent.mkdir(parents=True, exist_ok=True)
    write_video(path, frames, fps, clip.sounds[title])
    if title in on_page:
      videos.append(page.Video(title, path.read_bytes()))
  return page.Clip(clip.clip, videos)


def _counted(part: str, clips: Sequence[EvalClip]) -> Iterator[EvalClip]:
  """The clips, one by one, with a progress line that names the part."""
  with Progress(part, "clip", len(clips)) as progress:
    for i, clip in enumerate(clips):
      yield clip
      progress.update(i + 1)
