"""What if the sound had been another, or none? Who listens must differ.

Each clip is made three times, with its own speech, with another person's, and
with silence; all else stays. The mouth should change and the upper face should
not, and lip sync to the clip's own speech should fall to what the real clip
scores against another's.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np
from jaxtyping import Bool, Float, Int16, UInt8

from speak_jax import spec
from speak_jax.evaluation import ledger as figures
from speak_jax.evaluation.readers.reading import Reader, Reading, Sync, Take
from speak_jax.evaluation.reenactment.self_driven import fit, next_person
from speak_jax.metrics import mouth, sums

OTHER, SILENT = "shuffled", "silent"

# A clip and the sound to say; gives as many frames as the clip has.
Talk = Callable[[Take, Int16[np.ndarray, "s"]], UInt8[np.ndarray, "n h w 3"]]


def measure(
  takes: Sequence[Take],
  talk: Talk,
  read: Reader,
  lips: Sync | None,
  *,
  seed: int,
  progress: Callable[[Sequence[Take]], Iterable[Take]] = lambda x: x,
) -> figures.Figures:
  """Compares what a system makes of a clip's own sound, another's, and none.

  Args:
    takes: Clips of two people or more. The first frame, the identity picture,
      is left out.
    talk: The system.
    read: Who reads landmarks and the opening off frames.
    lips: SyncNet; None leaves its figures out.
    seed: Of the bootstrap.
    progress: Wraps the clips.

  Returns:
    For SOUND shuffled and silent, each against the clip's own sound:
    audio/SOUND/mouth and upper: mean absolute difference of the pixels in
    the mouth box and from the brows to below the eyes, of 255; /ratio: the
    first over the second; /mouth_landmarks and upper_landmarks: mean shift in
    percent of the eye distance; /opening: mean absolute change of the mouth's
    opening; /sync_...: figures against the clip's own speech, less those of
    the frames made with it. audio/real_shuffled/sync_...: the same of the
    real frames when another speech is laid over them. audio/motion/mouth and
    upper: how much the real clip differs from its own first frame, a scale to
    read the others by. audio/silent/opening_level and opening_spread: the
    mouth's mean opening in silence and its standard deviation within clips;
    audio/own/opening_spread: the same with the clip's speech.

  Raises:
    ValueError: all clips are of one person.
  """
  ledger = figures.Ledger()
  for index, take in enumerate(progress(takes)):
    other = fit(next_person(takes, index).audio, len(take.audio))
    sounds = {OTHER: other, SILENT: np.zeros_like(take.audio)}
    own = talk(take, take.audio)
    seen = read(own)
    size = own.shape[1]
    boxes = {
      "mouth": mouth.mouth_box(take.landmarks[1:], size),
      "upper": upper_box(take.landmarks[1:], size),
    }
    for where, box in boxes.items():
      moved = _difference(take.frames[1:], take.frames[:1], box)
      ledger.add(f"audio/motion/{where}", moved)
    _spread(ledger, "audio/own", seen)
    for sound, audio in sounds.items():
      made = talk(take, audio)
      after = read(made)
      rows = {
        where: _difference(made[1:], own[1:], box)
        for where, box in boxes.items()
      }
      for where, row in rows.items():
        ledger.add(f"audio/{sound}/{where}", row)
      both = np.array([rows["mouth"][0], rows["upper"][0]]) / [
        rows["mouth"][1],
        rows["upper"][1],
      ]
      ledger.add(f"audio/{sound}/ratio", both, sums.ratio)
      _shifts(ledger, f"audio/{sound}", seen, after, take.landmarks)
      if sound == SILENT:
        _spread(ledger, f"audio/{sound}", after)
      if lips is not None:
        before = _sync(lips, own, seen, take.audio)
        now = _sync(lips, made, after, take.audio)
        _changes(ledger, f"audio/{sound}", before, now)
    if lips is not None:
      real = read(take.frames)
      before = _sync(lips, take.frames, real, take.audio)
      now = _sync(lips, take.frames, real, other)
      _changes(ledger, f"audio/real_{OTHER}", before, now)
  return ledger.figures(seed)


def upper_box(
  landmarks: Float[np.ndarray, "n 68 2"], size: int
) -> Bool[np.ndarray, "n h w"]:
  """Rectangle from the brows to a fifth of the eye distance below the eyes.

  Take it from the true frames, as `mouth.mouth_box`.
  """
  points = landmarks[:, [*range(68)[spec.BROWS], *range(36, 48)]]
  eyes = spec.interocular(landmarks)[:, None]
  low = np.floor(points.min(1) - 0.1 * eyes).clip(0, size - 1)
  high = np.ceil(points.max(1) + eyes * [0.1, 0.2]).clip(low, size - 1)
  along = np.arange(size)
  inside = (along >= low[..., None]) & (along <= high[..., None])
  return inside[:, 1, :, None] & inside[:, 0, None, :]


def markdown(found: Mapping[str, figures.Figure]) -> str:
  """Table of `measure`; "" without its figures."""
  if f"audio/{OTHER}/mouth" not in found:
    return ""
  lines = [
    "| made with other sound, against the clip's own | shuffled | silent |"
    " real clip |",
    "|---|---|---|---|",
  ]
  sync = sorted(
    key.split("/")[-1]
    for key in found
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
  for metric, title in titles.items():
    beside = "real_shuffled" if metric in sync else "motion"
    keys = [f"audio/{row}/{metric}" for row in (OTHER, SILENT, beside)]
    if any(key in found for key in keys):
      cells = [figures.text(found.get(key), 3) for key in keys]
      lines.append(f"| {title} | {' | '.join(cells)} |")
  note = (
    "Sync is against the clip's own speech; the real clip's column is the real"
    " frames under another's speech (Sync), or against their own first frame"
    " (pixels)."
  )
  return "\n".join(lines) + "\n\n" + note


def _difference(
  a: UInt8[np.ndarray, "n h w 3"],
  b: UInt8[np.ndarray, "#n h w 3"],
  box: Bool[np.ndarray, "n h w"],
) -> Float[np.ndarray, "2"]:
  """Sums for the mean absolute difference inside a box."""
  apart = np.abs(a.astype(np.float64) - b).mean(-1)
  return np.array([(apart * box).sum(), float(box.sum())])


def _shifts(
  ledger: figures.Ledger,
  name: str,
  before: Reading,
  after: Reading,
  true: Float[np.ndarray, "n 68 2"],
) -> None:
  """How far the reader sees landmarks and the opening move."""
  ok = before.found & after.found
  ok[0] = False
  if not ok.any():
    return
  apart = np.linalg.norm(after.landmarks[ok] - before.landmarks[ok], axis=-1)
  apart *= 100 / spec.interocular(true[ok]).clip(1e-3)[:, None]
  upper = [*range(68)[spec.BROWS], *range(36, 48)]
  opened = np.abs(after.opening[ok] - before.opening[ok])
  for metric, values in (
    ("mouth_landmarks", apart[:, spec.MOUTH]),
    ("upper_landmarks", apart[:, upper]),
    ("opening", opened),
  ):
    ledger.add(f"{name}/{metric}", sums.mean_row(values))


def _spread(ledger: figures.Ledger, name: str, seen: Reading) -> None:
  """How open the mouth is, and how much that varies within the clip."""
  ok = seen.found.copy()
  ok[0] = False
  if not ok.any():
    return
  opening = seen.opening[ok]
  ledger.add(f"{name}/opening_level", sums.mean_row(opening))
  ledger.add(
    f"{name}/opening_spread", sums.mean_row(opening.std(keepdims=True))
  )


def _sync(
  lips: Sync,
  frames: UInt8[np.ndarray, "n h w 3"],
  seen: Reading,
  audio: Int16[np.ndarray, "s"],
) -> dict[str, float] | None:
  """SyncNet's figures of one clip; None without a face."""
  codes = lips.lips(frames, seen.landmarks)
  if codes is None:
    return None
  found = lips.figures(codes, lips.sound(audio, len(frames)))
  return {name: float(np.mean(values)) for name, values in found.items()}


def _changes(
  ledger: figures.Ledger,
  name: str,
  before: dict[str, float] | None,
  after: dict[str, float] | None,
) -> None:
  if before is None or after is None:
    return
  for metric in sorted(before.keys() & after.keys()):
    # two_way and the like are Sync figures too.
    key = metric if metric.startswith("sync_") else f"sync_{metric}"
    change = np.array([after[metric] - before[metric]])
    ledger.add(f"{name}/{key}", sums.mean_row(change))
