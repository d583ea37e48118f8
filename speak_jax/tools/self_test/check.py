"""The self-test: rendered clips against damaged copies of themselves.

Every metric of every pair has a stored expectation, made once: an evaluator
that pairs frames wrongly, wraps bytes around, swaps channels or loses frames in
the codec misses some of them. The metrics are those of `comparison`, which
tables are made of.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int, Int16, UInt8

from data_pipelines.dataset.pictures import decode_frame
from data_pipelines.synthetic import render
from data_pipelines.synthetic.factors import FACTORS
from speak_jax import spec
from speak_jax.evaluation.readers.face_reader import (
  Reader,
  Reading,
  judge_reader,
  known_reading,
)
from speak_jax.evaluation.reenactment import comparison
from speak_jax.evaluation.reenactment.comparison import ClipSum, ClipSums, Side
from speak_jax.methods import h264
from speak_jax.metrics import features, image, mouth, sums, sync
from speak_jax.models import judge
from speak_jax.tools.self_test import expectations
from speak_jax.tools.self_test.expectations import ITSELF, Outcome, Values

SIZE, FRAMES = 128, 40
# Identities and emotions: expressions that the judge tells from others.
CLIPS = ((1, 5), (2, 7))
LATE = 10  # frames
CRF = 18  # of H.264, what `generate` writes
WINDOW = 5  # frames of mouth opening that stand in for a SyncNet's code

Compress = Callable[
  [UInt8[np.ndarray, "n h w 3"]], UInt8[np.ndarray, "m h w 3"]
]


class Clip(NamedTuple):
  """A rendered clip, of which everything is known."""

  frames: UInt8[np.ndarray, "n h w 3"]
  landmarks: Float[np.ndarray, "n 68 2"]  # in the frames' pixels
  pose: Float[np.ndarray, "n 3"]  # degrees
  opening: Float[np.ndarray, "n"]  # of the mouth
  audio: Int16[np.ndarray, "s"]
  emotion: int  # index into spec.EMOTIONS


def report() -> int:
  """Runs the self-test and prints its rows; the exit code."""
  outcome = run()
  print("\n".join(lines(outcome)))
  return int(not outcome.passed)


def run() -> Outcome:
  """The whole self-test, well under a minute on one core."""
  measured = measure(rendered_clips(), judge_reader(judge.load()))
  return expectations.compare(measured, expectations.load())


def rendered_clips() -> list[Clip]:
  """The clips of the expectations, the same on every machine."""
  return [_render(*clip) for clip in CLIPS]


def lines(outcome: Outcome) -> list[str]:
  """One line a value, and the verdict."""
  table = [
    f"{'ok  ' if row.passed else 'MISS'} {row.pair:18} {row.metric:21}"
    f" {row.value:10.4f}, expected {row.expected:.4f} +- {row.tolerance:g}"
    for row in outcome.rows
  ]
  missed = sum(not row.passed for row in outcome.rows)
  verdict = f"{missed} of {len(outcome.rows)} figures are not as expected"
  return [*table, "the evaluator works here" if outcome.passed else verdict]


def through_h264(
  frames: UInt8[np.ndarray, "n h w 3"],
) -> UInt8[np.ndarray, "m h w 3"]:
  """What is left of frames after H.264 at crf 18, as `generate` writes it."""
  return h264.round_trip(frames, 25.0, CRF, "veryfast")


def measure(
  clips: Sequence[Clip], read: Reader, compress: Compress = through_h264
) -> Values:
  """All metrics of all pairs; of frames that do not pair, only their number.

  Args:
    clips: Rendered clips of 40 frames or more.
    read: Reads by the judge.
    compress: Encodes and decodes.
  """
  table: dict[str, dict[str, list[ClipSum]]] = defaultdict(
    lambda: defaultdict(list)
  )

  def add(pair: str, clip_sums: ClipSums) -> None:
    for metric, clip_sum in clip_sums.items():
      table[pair][metric].append(clip_sum)

  for clip in clips:
    real = comparison.read_side(clip.frames, read(clip.frames))
    add("judge", _judged(real.reading, clip))
    for pair, frames, times in _pairs(clip, compress):
      lost = np.array(len(times) - len(frames))
      add(pair, {"frames_lost": ClipSum(sums.mean_row(lost))})
      if not lost:
        side = comparison.read_side(frames, read(frames))
        add(pair, _compared(side, real.part(times), clip, times))
  return {
    pair: {
      metric: clip_sums[0].statistic(np.stack([x.row for x in clip_sums]))
      for metric, clip_sums in metrics.items()
    }
    for pair, metrics in table.items()
  }


def _pairs(
  clip: Clip, compress: Compress
) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
  """(name, damaged frames, the true frames' places that they stand for)."""
  every = np.arange(len(clip.frames))
  yield ITSELF, clip.frames, every
  yield f"H.264 crf {CRF}", compress(clip.frames), every
  yield "1 px to the right", np.roll(clip.frames, 1, axis=2), every
  yield f"{LATE} frames late", clip.frames[:-LATE], every[LATE:]


def _compared(
  side: Side, true: Side, clip: Clip, times: Int[np.ndarray, "m"]
) -> ClipSums:
  """Every metric of a pair; both sides are read by the judge.

  Args:
    side: The damaged frames.
    true: The true frames that they stand for.
    clip: Whose frames they are.
    times: Of the true frames.
  """
  box = mouth.mouth_box(clip.landmarks[times], clip.frames.shape[1])
  silent = mouth.silent(clip.audio, len(clip.frames), spec.FPS)[times]
  gaussian = image.gaussian_ssim(side.frames, true.frames)
  metrics = {
    **comparison.clip_metrics(side, true, box=box, silent=silent, fps=spec.FPS),
    "gaussian_ssim": ClipSum(sums.mean_row(gaussian)),
  }
  identities = side.reading.identity, true.reading.identity
  if identities[0] is not None and identities[1] is not None:
    row = features.frechet_row(identities[0], identities[1])
    metrics["frechet_identity"] = ClipSum(row, features.frechet)
  # The openings of five frames are a code of lips and of sound alike.
  lips = _windows(side.reading.opening)
  sound = _windows(clip.opening[times])
  offset = sync.score(sync.distances(lips, sound)).offset
  metrics["sync_offset"] = ClipSum(sums.mean_row(np.array(offset)))
  return metrics


def _judged(reading: Reading, clip: Clip) -> ClipSums:
  """The judge against what the renderer knows."""
  known = known_reading(clip.landmarks, clip.pose, clip.opening)
  return {
    **comparison.face_metrics(reading, known, clip.frames.shape[1]),
    **comparison.emotion_metrics(reading, clip.emotion),
  }


def _windows(opening: Float[np.ndarray, "n"]) -> Float[np.ndarray, "t w"]:
  """Every stretch of five values."""
  return np.lib.stride_tricks.sliding_window_view(opening, WINDOW)


def _render(person: int, emotion: int) -> Clip:
  record = render.render_clip(
    render.Recipe(
      seed=4,
      split="test",
      identity=person,
      emotion=emotion,
      level=3,
      seconds=FRAMES / spec.FPS,
      size=SIZE,
      framing="tight",
    )
  )
  return Clip(
    frames=np.stack([decode_frame(jpeg) for jpeg in record.frames]),
    landmarks=record.landmarks,
    pose=record.pose,
    opening=record.factors[:, FACTORS.index("mouth_open")],
    audio=record.audio,
    emotion=emotion,
  )
