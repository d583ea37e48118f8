"""Self-driven: whole systems on held-out clips, also with other speech.

The clip's first frame is the identity picture and is left out of every
metric; pose and emotion come from the clip. `lines` says which lines there
are, `comparison` by what a generated clip is compared.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int16, UInt8

from speak_jax import spec
from speak_jax.evaluation.cache import Cache
from speak_jax.evaluation.eval_clip import EvalClip
from speak_jax.evaluation.metric_table import (
  MetricTable,
  MetricValues,
  Statistic,
)
from speak_jax.evaluation.readers.aligned import align
from speak_jax.evaluation.readers.face_reader import (
  Reader,
  Reading,
  known_reading,
)
from speak_jax.evaluation.readers.own_syncnet import SyncScorer
from speak_jax.evaluation.readers.perceptual import (
  FeatureMetric,
  FeatureStats,
  PerceptualMetric,
  paired_sums,
)
from speak_jax.evaluation.reenactment import comparison
from speak_jax.evaluation.reenactment.comparison import ClipSums, Side
from speak_jax.evaluation.reenactment.donors import fit_audio, next_speaker
from speak_jax.evaluation.reenactment.lines import (
  STATIC_LINE,
  TRUE_LINE,
  Kind,
  Line,
  lines,
  metric_name,
)
from speak_jax.methods import base as methods
from speak_jax.methods.base import Entry
from speak_jax.metrics import mouth, sums

IDENTITIES = "frechet_identity"  # in the reader's own identity features
MIN_SYNC_S = 0.4  # less is not two of SyncNet's windows

# {name of an entry: (frames, seconds) of each clip that it generated}
Times = dict[str, list[tuple[int, float]]]


class Generated(NamedTuple):
  """What a line made of one clip, and what is read off it."""

  frames: UInt8[np.ndarray, "n h w 3"]
  reading: Reading
  first: int  # frames before it only fill the clip
  key: int | None  # that drew it; None: nothing is drawn


class ClipVideos(NamedTuple):
  """One clip in all lines, to look at; by the lines' titles."""

  clip: str
  frames: dict[str, UInt8[np.ndarray, "n h w 3"]]
  sounds: dict[str, Int16[np.ndarray, "s"]]  # what each line hears


class Measured(NamedTuple):
  """What `measure` gives."""

  values: MetricValues
  table: MetricTable
  # That each entry generates, by its name. Cached clips do not count, nor the
  # first, which compiles; an entry without any other is not there.
  frames_per_second: dict[str, float]


class _ClipTable(NamedTuple):
  """The part of a table that is one clip's."""

  table: MetricTable
  clip: str

  def add(
    self,
    name: str,
    row: np.ndarray,
    statistic: Statistic = sums.mean,
    *,
    key: int | None,
  ) -> None:
    self.table.add(name, row, statistic, self.clip, key)

  def add_all(
    self, sums_by_metric: ClipSums, line: Line, *, key: int | None
  ) -> None:
    """Adds a line's sums under their names."""
    for metric, clip_sum in sums_by_metric.items():
      self.add(metric_name(line, metric), *clip_sum, key=key)


def measure(
  clips: Sequence[EvalClip],
  entries: Sequence[Entry],
  read: Reader,
  sync: SyncScorer | None,
  *,
  seed: int,
  show: Callable[[ClipVideos], None] = lambda videos: None,
  perceptual: Mapping[str, PerceptualMetric] = {},
  cache: Cache | None = None,
  progress: Callable[[Sequence[EvalClip]], Iterable[EvalClip]] = lambda x: x,
) -> Measured:
  """All metrics of systems that speak, and of the references.

  Args:
    clips: Clips of one length each; two at least, of different people if the
      other speech is to be another person's.
    entries: The systems, of different names.
    read: Reads landmarks, pose and so on off frames.
    sync: SyncNet; None leaves its metrics out.
    seed: Seed of the bootstrap.
    show: Is given every clip as it is generated; frames are not kept here.
    perceptual: Metrics of frames seen through a network, by name.
    cache: Where generated frames are kept; None makes them every time.
    progress: Wraps the clips.
  """
  table, features, times = MetricTable(), FeatureStats(), defaultdict(list)
  table_lines = lines(entries)
  for index, clip in enumerate(progress(clips)):
    speaker = next_speaker(clips, index)
    sounds = _sounds(clip, speaker)
    generated = {
      line.title: _generate(
        line, request(clip, sounds[line.kind]), read, cache, times
      )
      for line in table_lines
    }
    rows = _ClipTable(table, str(index))
    true = _truth(clip, generated[TRUE_LINE.title][0].reading)
    for line in table_lines:
      heard = sounds[line.kind]
      for one in generated[line.title]:
        measured = _metrics(clip, true, one, heard, perceptual)
        rows.add_all(measured, line, key=one.key)
      # One key alone: the distance falls with the number of frames.
      first_key = _features(generated[line.title][0], perceptual)
      for metric, values in first_key.items():
        features.add(metric_name(line, metric), values)
    if sync is not None:
      _add_sync(rows, clip, table_lines, generated, sync, sounds)
    for entry in entries:
      _add_differences(rows, clip, speaker, entry, generated)
    show(
      ClipVideos(
        clip.name,
        {title: by_key[0].frames for title, by_key in generated.items()},
        {line.title: sounds[line.kind] for line in table_lines},
      )
    )
  values = table.values(seed) | features.frechet(
    _feature_pairs(table_lines, perceptual)
  )
  return Measured(values, table, _frames_per_second(times))


def request(clip: EvalClip, audio: Int16[np.ndarray, "s"]) -> methods.Request:
  """Self-driven: what there is to know of a clip, and a sound to say."""
  track = methods.ShownFrames(clip.frames, clip.landmarks)
  return methods.Request(
    identity=clip.frames[0],
    landmarks=clip.landmarks[0],
    audio=audio,
    frames=len(clip.frames),
    fps=clip.fps,
    pose=track,
    emotion=clip.emotion_track,
    target=track,
  )


def _generate(
  line: Line,
  clip_request: methods.Request,
  read: Reader,
  cache: Cache | None,
  times: Times,
) -> list[Generated]:
  """A line's clip, once for each key, and what is read off it."""
  entry = line.entry
  keys = range(methods.RANDOM_KEYS if entry.method.samples else 1)
  first = round(entry.method.lag_s * clip_request.fps)

  def make(key: int) -> UInt8[np.ndarray, "n h w 3"]:
    frames, seconds = methods.timed(entry, clip_request, key)
    if line.kind != "reference":
      times[entry.name].append((len(frames), seconds))
    return frames

  def cached(key: int) -> UInt8[np.ndarray, "n h w 3"]:
    if cache is None or not entry.restored.digest:
      return make(key)
    name = methods.cache_key(entry, clip_request, key)
    return cache.frames(name, lambda: make(key))

  clips = [cached(key) for key in keys]
  drawn = keys if entry.method.samples else [None]
  return [
    Generated(frames, read(frames), first, key)
    for frames, key in zip(clips, drawn, strict=True)
  ]


def _frames_per_second(times: Times) -> dict[str, float]:
  return {
    entry: sums.ratio(np.array(clips[1:], np.float64))
    for entry, clips in times.items()
    if len(clips) > 1
  }


def _truth(clip: EvalClip, reading: Reading) -> Side:
  """What generated frames are compared with.

  Landmarks, pose and opening are the clip's own, so that the ground truth's
  line shows the reader's error; the identity is that of the first frame. The
  aligned crop needs the same landmarks on both sides, the reader's.
  """
  identity = reading.identity
  if identity is not None:
    identity = np.repeat(identity[:1], len(identity), 0)
  known = known_reading(clip.landmarks, clip.pose, clip.opening, identity)
  return Side(clip.frames, known, align(clip.frames, reading.landmarks))


def _metrics(
  clip: EvalClip,
  true: Side,
  generated: Generated,
  heard: Int16[np.ndarray, "s"],
  perceptual: Mapping[str, PerceptualMetric],
) -> ClipSums:
  """Metrics of one line of one clip; {} if it starts after the clip's end."""
  if generated.first >= len(generated.frames):
    return {}
  compared = slice(max(generated.first, 1), None)
  side = comparison.read_side(generated.frames, generated.reading)
  side, true = side.part(compared), true.part(compared)
  box = mouth.mouth_box(true.reading.landmarks, true.frames.shape[1])
  silent = mouth.silent(heard, len(clip.frames), clip.fps)[compared]
  return {
    **comparison.clip_metrics(side, true, box=box, silent=silent, fps=clip.fps),
    **comparison.emotion_metrics(side.reading, clip.emotion),
    **paired_sums(perceptual, side.frames, true.frames),
  }


def _features(
  generated: Generated, perceptual: Mapping[str, PerceptualMetric]
) -> dict[str, Float[np.ndarray, "n d"]]:
  """What Frechet distances are measured in, of the frames compared."""
  if generated.first >= len(generated.frames):
    return {}
  compared = slice(max(generated.first, 1), None)
  frames = generated.frames[compared]
  reading = generated.reading.part(compared)
  features = {
    name: metric.run(frames[:: metric.every])
    for name, metric in perceptual.items()
    if isinstance(metric, FeatureMetric)
  }
  if reading.identity is not None:
    features[IDENTITIES] = reading.identity[reading.found]
  return features


def _feature_pairs(
  table_lines: Sequence[Line], perceptual: Mapping[str, PerceptualMetric]
) -> dict[str, str]:
  """{name of a line's Frechet distance: name of the truth's features}."""
  metrics = [
    IDENTITIES,
    *(k for k, x in perceptual.items() if isinstance(x, FeatureMetric)),
  ]
  return {
    metric_name(line, metric): metric_name(TRUE_LINE, metric)
    for line in table_lines
    for metric in metrics
  }


def _add_differences(
  rows: _ClipTable,
  clip: EvalClip,
  speaker: EvalClip,
  entry: Entry,
  generated: Mapping[str, Sequence[Generated]],
) -> None:
  """Differences between lines of one entry, so that intervals are paired."""
  still, real = generated[STATIC_LINE.title][0], generated[TRUE_LINE.title][0]
  compared = slice(1, None)
  true = clip.frames[compared]
  box = mouth.mouth_box(clip.landmarks[compared], true.shape[1])
  silent = mouth.silent(clip.audio, len(clip.frames), clip.fps)[compared]
  # The other speech may be the shorter one.
  heard = slice(1, min(len(clip.frames), len(speaker.frames)))
  for own, other in zip(
    generated[Line(entry, "own").title],
    generated[Line(entry, "shuffled").title],
    strict=True,
  ):
    differences = {
      **comparison.gain_metrics(
        own.frames[compared],
        other.frames[compared],
        still.frames[compared],
        true,
        box,
      ),
      **comparison.silence_over_true(
        own.reading.part(compared), real.reading.part(compared), silent
      ),
      **comparison.speech_following(
        other.reading.part(heard), speaker.opening[heard], clip.opening[heard]
      ),
    }
    for metric, clip_sum in differences.items():
      rows.add(f"{entry.name}/{metric}", *clip_sum, key=own.key)


def _add_sync(
  rows: _ClipTable,
  clip: EvalClip,
  table_lines: Sequence[Line],
  generated: Mapping[str, Sequence[Generated]],
  sync: SyncScorer,
  sounds: Mapping[Kind, Int16[np.ndarray, "s"]],
) -> None:
  """SyncNet's opinion of every line against the sound that it heard."""
  step = spec.samples_per_frame(clip.fps)
  sound_codes: dict[tuple[Kind, int], np.ndarray] = {}
  for line in table_lines:
    for one in generated[line.title]:
      first, count = one.first, len(clip.frames) - one.first
      if first and count < MIN_SYNC_S * clip.fps:
        continue
      lips = sync.lip_codes(one.frames[first:], one.reading.landmarks[first:])
      if lips is None:
        continue
      heard = line.kind, first
      if heard not in sound_codes:
        sound = sounds[line.kind][round(first * step) :]
        sound_codes[heard] = sync.sound_codes(sound, count)
      for metric, values in sync.metrics(lips, sound_codes[heard]).items():
        row = sums.mean_row(values)
        rows.add(metric_name(line, metric), row, key=one.key)


def _sounds(
  clip: EvalClip, speaker: EvalClip
) -> dict[Kind, Int16[np.ndarray, "s"]]:
  """What a line of each kind hears."""
  other = fit_audio(speaker.audio, len(clip.audio))
  return {"own": clip.audio, "reference": clip.audio, "shuffled": other}


def sheet_cells(
  videos: Sequence[ClipVideos], columns: int, rows: Sequence[str]
) -> UInt8[np.ndarray, "r c h w 3"]:
  """Cells of the contact sheet: some lines of each clip, `columns` frames.

  Args:
    videos: Clips that the sheet shows.
    columns: Frames of each, evenly spaced.
    rows: Titles of the lines that are shown.
  """
  cells = []
  for clip in videos:
    n = len(clip.frames[rows[0]])
    times = np.linspace(1, n - 1, columns).round().astype(int)
    cells += [clip.frames[row][times] for row in rows]
  return np.stack(cells)
