"""The whole system on held-out clips: self-driven, and with other speech.

The clip's first frame is the identity picture and is left out of every
figure; pose and emotion come from the clip. Rows: the model, the model with
another clip's speech, the first frame standing still, and the real clip.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Int16, UInt8

from speak_jax.evaluation import figures
from speak_jax.evaluation.reading import Reader, Reading, Sync, Take
from speak_jax.metrics import (
  identity,
  image,
  landmarks,
  mouth,
  pose,
  sums,
)

MODEL, SHUFFLED, STATIC, TRUE = "model", "shuffled", "static", "true"
ROWS = (TRUE, STATIC, MODEL, SHUFFLED)

# A clip and the sound to say; gives as many frames as the clip has.
Talk = Callable[[Take, Int16[np.ndarray, "s"]], UInt8[np.ndarray, "n h w 3"]]


class Talked(NamedTuple):
  """One clip in all rows, for the sheet."""

  clip: str
  frames: dict[str, UInt8[np.ndarray, "n h w 3"]]


def name(row: str, metric: str) -> str:
  """Key of a figure: speak/psnr, speak/static_psnr, speak/psnr_shuffled.

  How our own SyncNet does on real clips says nothing of speaking, and is
  syncnet/two_way.
  """
  if (row, metric) == (TRUE, "two_way"):
    return "syncnet/two_way"
  if row == SHUFFLED:
    return f"speak/{metric}_shuffled"
  return f"speak/{metric}" if row == MODEL else f"speak/{row}_{metric}"


def measure(
  takes: Sequence[Take],
  talk: Talk,
  read: Reader,
  lips: Sync | None,
  *,
  seed: int,
  shown: int,
  progress: Callable[[Sequence[Take]], Iterable[Take]] = lambda x: x,
) -> tuple[figures.Figures, list[Talked]]:
  """All of the speaking figures.

  Args:
    takes: Clips of one length each; two of different people at least.
    talk: The system.
    read: Who reads landmarks and so on off frames.
    lips: SyncNet; None leaves its figures out.
    seed: Of the bootstrap.
    shown: How many clips are kept for the sheet.
    progress: Wraps the clips.
  """
  ledger, kept = figures.Ledger(), []
  for index, take in enumerate(progress(takes)):
    driver = _driver(takes, index)
    sound = _fit(driver.audio, len(take.audio))
    rows = {
      TRUE: take.frames,
      STATIC: np.repeat(take.frames[:1], len(take.frames), 0),
      MODEL: talk(take, take.audio),
      SHUFFLED: talk(take, sound),
    }
    readings = {row: read(frames) for row, frames in rows.items()}
    for row, frames in rows.items():
      _row(ledger, row, frames, readings[row], take, readings[TRUE])
    _compare(ledger, rows, take)
    _shuffled(ledger, readings, take, driver)
    if lips is not None:
      _sync(ledger, lips, rows, readings, take.audio, sound)
    if index < shown:
      kept.append(Talked(take.clip, rows))
  return ledger.figures(seed), kept


def _row(
  ledger: figures.Ledger,
  row: str,
  frames: np.ndarray,
  seen: Reading,
  take: Take,
  real: Reading,
) -> None:
  """Figures of one row of one clip."""
  true, size = take.frames[1:], take.frames.shape[1]
  box = mouth.mouth_box(take.landmarks[1:], size)

  def book(metric, values, statistic=sums.mean):
    ledger.add(name(row, metric), values, statistic)

  if row != TRUE:
    book("psnr", sums.mean_row(image.psnr(frames[1:], true)))
    book("ssim", sums.mean_row(image.ssim(frames[1:], true)))
    book("mouth_box_psnr", sums.mean_row(image.psnr(frames[1:], true, box)))
    book(
      "gradient_energy",
      np.array(
        [
          image.gradient_energy(frames[1:]).sum(),
          image.gradient_energy(true).sum(),
        ]
      ),
      sums.ratio,
    )
    book(
      "mouth_gradient_energy",
      np.array(
        [
          image.gradient_energy(frames[1:], box).sum(),
          image.gradient_energy(true, box).sum(),
        ]
      ),
      sums.ratio,
    )
  ok = seen.found.copy()
  ok[0] = False
  book("found", sums.mean_row(seen.found[1:]))
  if not ok.any():
    return
  points, truth = seen.landmarks[ok], take.landmarks[ok]
  book("f_lmd", sums.mean_row(landmarks.f_lmd(points, truth)))
  book("m_lmd", sums.mean_row(landmarks.m_lmd(points, truth)))
  book("pose_error", sums.mean_row(pose.error(seen.pose[ok], take.pose[ok])))
  book("pose_r2", sums.r2_row(seen.pose[ok], take.pose[ok]), sums.r2)
  book(
    "mouth_r",
    sums.pearson_row(seen.opening[ok], take.opening[ok]),
    sums.pearson,
  )
  if seen.identity is not None and real.identity is not None:
    book(
      "identity_cosine",
      sums.mean_row(identity.cosine(seen.identity[ok], real.identity[0])),
    )
  if seen.emotion is not None and take.emotion >= 0:
    guess = seen.emotion[ok].argmax(-1)
    book("emotion", sums.mean_row((guess == take.emotion).astype(float)))


def _compare(
  ledger: figures.Ledger, rows: dict[str, np.ndarray], take: Take
) -> None:
  """Differences between rows of one clip, so that intervals are paired."""
  true = take.frames[1:]
  model, still = rows[MODEL][1:], rows[STATIC][1:]
  gain = image.psnr(model, true) - image.psnr(still, true)
  ledger.add("speak/psnr_over_static", sums.mean_row(gain))
  box = mouth.mouth_box(take.landmarks[1:], take.frames.shape[1])
  heard = image.psnr(model, true, box)
  other = image.psnr(rows[SHUFFLED][1:], true, box)
  still = image.psnr(still, true, box)
  ledger.add("speak/mouth_box_over_shuffled", sums.mean_row(heard - other))
  ledger.add("speak/mouth_box_over_static", sums.mean_row(heard - still))


def _shuffled(
  ledger: figures.Ledger,
  readings: dict[str, Reading],
  take: Take,
  driver: Take,
) -> None:
  """Whom the mouth follows when it hears another clip's speech."""
  seen = readings[SHUFFLED]
  n = min(len(take.frames), len(driver.frames))
  ok = seen.found[:n].copy()
  ok[0] = False
  if not ok.any():
    return
  opening = seen.opening[:n][ok]
  driving = sums.pearson_row(opening, driver.opening[:n][ok])
  true = sums.pearson_row(opening, take.opening[:n][ok])
  ledger.add("speak/shuffled_driving_r", driving, sums.pearson)
  ledger.add("speak/shuffled_true_r", true, sums.pearson)
  ledger.add(
    "speak/shuffled_driving_minus_true",
    np.concatenate([driving, true]),
    figures.difference(sums.pearson, 3),
  )


def _sync(
  ledger: figures.Ledger,
  lips: Sync,
  rows: dict[str, np.ndarray],
  readings: dict[str, Reading],
  audio: Int16[np.ndarray, "s"],
  other: Int16[np.ndarray, "s"],
) -> None:
  """SyncNet's opinion of every row; the shuffled row against its own sound."""
  count = len(rows[TRUE])
  heard = {False: lips.sound(audio, count), True: lips.sound(other, count)}
  for row, frames in rows.items():
    seen = lips.lips(frames, readings[row].landmarks)
    if seen is None:
      continue
    found = lips.figures(seen, heard[row == SHUFFLED])
    for metric, values in found.items():
      ledger.add(name(row, metric), sums.mean_row(values))


def _driver(takes: Sequence[Take], index: int) -> Take:
  """The next clip of another person: whose speech is put in."""
  order = [*takes[index + 1 :], *takes[:index]]
  others = [t for t in order if t.person != takes[index].person]
  if not others:
    raise ValueError("shuffled speech needs clips of two people")
  return others[0]


def _fit(audio: Int16[np.ndarray, "s"], length: int) -> np.ndarray:
  """Cut, or silence added, to a length."""
  return np.pad(audio[:length], (0, max(length - len(audio), 0)))


def grid(
  talked: Sequence[Talked], columns: int
) -> UInt8[np.ndarray, "r c h w 3"]:
  """Cells of the sheet: each clip's rows, evenly spaced frames."""
  cells = []
  for one in talked:
    n = len(one.frames[TRUE])
    at = np.linspace(1, n - 1, columns).round().astype(int)
    cells += [one.frames[row][at] for row in ROWS]
  return np.stack(cells)
