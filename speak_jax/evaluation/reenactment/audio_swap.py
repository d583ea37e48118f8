"""Audio swap: what changes when the sound is another's, or none?

Each clip is generated three times, with its own speech, with another person's,
and with silence; all else stays. The mouth should change and the upper face
should not, and lip sync to the clip's own speech should fall to what the real
clip scores against another's.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np
from jaxtyping import Bool, Float, Int16, UInt8

from speak_jax import spec
from speak_jax.evaluation import metric_table
from speak_jax.evaluation.eval_clip import EvalClip
from speak_jax.evaluation.metric_table import (
  MetricTable,
  MetricValue,
  MetricValues,
)
from speak_jax.evaluation.readers.face_reader import Reader, Reading
from speak_jax.evaluation.readers.own_syncnet import SyncScorer
from speak_jax.evaluation.reenactment.donors import fit_audio, next_speaker
from speak_jax.evaluation.report import tables
from speak_jax.metrics import mouth, sums

OTHER, SILENT = "shuffled", "silent"
_UPPER = [*range(68)[spec.BROWS], *range(36, 48)]  # brows and eyes
_NOTE = (
  "Sync is against the clip's own speech; the real clip's column is the real"
  " frames under another's speech (Sync), or against their own first frame"
  " (pixels)."
)

# A clip and the sound to say; gives as many frames as the clip has.
Generate = Callable[
  [EvalClip, Int16[np.ndarray, "s"]], UInt8[np.ndarray, "n h w 3"]
]


def measure(
  clips: Sequence[EvalClip],
  generate: Generate,
  read: Reader,
  sync: SyncScorer | None,
  *,
  seed: int,
  progress: Callable[[Sequence[EvalClip]], Iterable[EvalClip]] = lambda x: x,
) -> MetricValues:
  """Compares what a system makes of a clip's own sound, another's, and none.

  Args:
    clips: Clips of two people or more. The first frame, the identity picture,
      is left out.
    generate: The system.
    read: Reads landmarks and the mouth's opening off frames.
    sync: SyncNet; None leaves its metrics out.
    seed: Seed of the bootstrap.
    progress: Wraps the clips.

  Returns:
    For SOUND shuffled and silent, each against the clip's own sound:
    audio/SOUND/mouth and upper: mean absolute difference of the pixels in
    the mouth box and from the brows to below the eyes, of 255; /ratio: the
    first over the second; /mouth_landmarks and upper_landmarks: mean shift in
    percent of the eye distance; /opening: mean absolute change of the mouth's
    opening; /sync_...: values against the clip's own speech, less those of
    the frames made with it. audio/real_shuffled/sync_...: the same of the
    real frames when another speech is laid over them. audio/motion/mouth and
    upper: how much the real clip differs from its own first frame, a scale to
    read the others by. audio/silent/opening_level and opening_spread: the
    mouth's mean opening in silence and its standard deviation within clips;
    audio/own/opening_spread: the same with the clip's speech.

  Raises:
    ValueError: there is but one clip.
  """
  table = MetricTable()
  for index, clip in enumerate(progress(clips)):
    other = fit_audio(next_speaker(clips, index).audio, len(clip.audio))
    own = generate(clip, clip.audio)
    reading = read(own)
    boxes = _boxes(clip, own.shape[1])
    for part, box in boxes.items():
      motion = _difference(clip.frames[1:], clip.frames[:1], box)
      table.add(f"audio/motion/{part}", motion)
    _add_opening(table, "audio/own", reading)
    if sync is not None:
      [before] = _sync_metrics(sync, own, reading, clip.audio)
    for sound, audio in (
      (OTHER, other),
      (SILENT, np.zeros_like(clip.audio)),
    ):
      frames = generate(clip, audio)
      changed = read(frames)
      _add_pixels(table, f"audio/{sound}", frames, own, boxes)
      _add_shifts(table, f"audio/{sound}", reading, changed, clip.landmarks)
      if sound == SILENT:
        _add_opening(table, f"audio/{sound}", changed)
      if sync is not None:
        [after] = _sync_metrics(sync, frames, changed, clip.audio)
        _add_sync_change(table, f"audio/{sound}", before, after)
    if sync is not None:
      real = read(clip.frames)
      both = _sync_metrics(sync, clip.frames, real, clip.audio, other)
      _add_sync_change(table, f"audio/real_{OTHER}", *both)
  return table.values(seed)


def upper_box(
  landmarks: Float[np.ndarray, "n 68 2"], size: int
) -> Bool[np.ndarray, "n h w"]:
  """Rectangle from the brows to a fifth of the eye distance below the eyes.

  Args:
    landmarks: Landmarks of the true frames, so that every row is measured in
      one place.
    size: Side of the frames in pixels.
  """
  return mouth.box_mask(landmarks, landmarks[:, _UPPER], size)


def markdown(values: Mapping[str, MetricValue]) -> str:
  """Table of `measure`; "" without its values."""
  if f"audio/{OTHER}/mouth" not in values:
    return ""
  sync = sorted(
    key.split("/")[-1]
    for key in values
    if key.startswith(f"audio/real_{OTHER}/sync_")
  )
  titles = {
    "mouth": "mouth box changed, of 255",
    "upper": "upper face changed, of 255",
    "ratio": "mouth over upper face",
    "mouth_landmarks": "mouth landmarks moved, % of eye distance",
    "upper_landmarks": "brows and eyes moved, % of eye distance",
    "opening": "mouth opening changed",
    **{name: f"{name.replace('_', ' ')}, change" for name in sync},
    "opening_level": "mouth opening, mean",
    "opening_spread": "mouth opening, standard deviation in a clip",
  }
  rows = []
  for metric, title in titles.items():
    beside = "real_shuffled" if metric in sync else "motion"
    keys = [f"audio/{row}/{metric}" for row in (OTHER, SILENT, beside)]
    if any(key in values for key in keys):
      cells = [metric_table.text(values.get(key), 3) for key in keys]
      rows.append([title, *cells])
  head = [
    "made with other sound, against the clip's own",
    *("shuffled", "silent", "real clip"),
  ]
  return f"{tables.pipe_table(head, rows)}\n\n{_NOTE}"


def _boxes(clip: EvalClip, size: int) -> dict[str, Bool[np.ndarray, "n h w"]]:
  """Masks of the mouth and of the upper face in all but the first frame."""
  landmarks = clip.landmarks[1:]
  return {
    "mouth": mouth.mouth_box(landmarks, size),
    "upper": upper_box(landmarks, size),
  }


def _difference(
  a: UInt8[np.ndarray, "n h w 3"],
  b: UInt8[np.ndarray, "#n h w 3"],
  box: Bool[np.ndarray, "n h w"],
) -> Float[np.ndarray, "2"]:
  """Sums for the mean absolute difference inside a box."""
  difference = np.abs(a.astype(np.float64) - b).mean(-1)
  return np.array([(difference * box).sum(), float(box.sum())])


def _add_pixels(
  table: MetricTable,
  name: str,
  frames: UInt8[np.ndarray, "n h w 3"],
  own: UInt8[np.ndarray, "n h w 3"],
  boxes: Mapping[str, Bool[np.ndarray, "m h w"]],
) -> None:
  """How far pixels move in each box, and the mouth's over the upper face's."""
  rows = {
    part: _difference(frames[1:], own[1:], box) for part, box in boxes.items()
  }
  for part, row in rows.items():
    table.add(f"{name}/{part}", row)
  means = [total / count for total, count in rows.values()]
  table.add(f"{name}/ratio", np.array(means), sums.ratio)


def _add_shifts(
  table: MetricTable,
  name: str,
  before: Reading,
  after: Reading,
  true: Float[np.ndarray, "n 68 2"],
) -> None:
  """How far the reader sees landmarks and the mouth's opening move."""
  known = before.found & after.found
  known[0] = False
  if not known.any():
    return
  shift = np.linalg.norm(
    after.landmarks[known] - before.landmarks[known], axis=-1
  )
  shift *= 100 / spec.interocular(true[known]).clip(1e-3)[:, None]
  opening = np.abs(after.opening[known] - before.opening[known])
  for metric, values in (
    ("mouth_landmarks", shift[:, spec.MOUTH]),
    ("upper_landmarks", shift[:, _UPPER]),
    ("opening", opening),
  ):
    table.add(f"{name}/{metric}", sums.mean_row(values))


def _add_opening(table: MetricTable, name: str, reading: Reading) -> None:
  """How open the mouth is, and how much that varies within the clip."""
  known = reading.found.copy()
  known[0] = False
  if not known.any():
    return
  opening = reading.opening[known]
  table.add(f"{name}/opening_level", sums.mean_row(opening))
  table.add(f"{name}/opening_spread", sums.mean_row(opening.std(keepdims=True)))


def _sync_metrics(
  sync: SyncScorer,
  frames: UInt8[np.ndarray, "n h w 3"],
  reading: Reading,
  *sounds: Int16[np.ndarray, "s"],
) -> list[dict[str, float] | None]:
  """SyncNet's metrics of one clip with each sound; None without a face."""
  lips = sync.lip_codes(frames, reading.landmarks)
  if lips is None:
    return [None] * len(sounds)
  metrics = [
    sync.metrics(lips, sync.sound_codes(audio, len(frames))) for audio in sounds
  ]
  return [
    {name: float(np.mean(values)) for name, values in of_sound.items()}
    for of_sound in metrics
  ]


def _add_sync_change(
  table: MetricTable,
  name: str,
  before: Mapping[str, float] | None,
  after: Mapping[str, float] | None,
) -> None:
  """How much SyncNet's metrics change; nothing where a side has no face."""
  if before is None or after is None:
    return
  for metric in sorted(before.keys() & after.keys()):
    # two_way and the like are Sync metrics too.
    key = metric if metric.startswith("sync_") else f"sync_{metric}"
    change = np.array([after[metric] - before[metric]])
    table.add(f"{name}/{key}", sums.mean_row(change))
