"""Does the evaluator work here? The ground truth against copies of itself.

Every figure of every pair has a stored expectation, made once on rendered
clips: an evaluator that pairs frames wrongly, wraps bytes around, swaps
channels or loses frames in the codec misses some of them. The figures are
those of `comparison`, which tables are made of. `speak_jax.tools.self_test`
renders the clips and writes the expectations.
"""

import io
import json
import math
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import av
import numpy as np
from jaxtyping import Float, Int16, UInt8

from speak_jax import spec
from speak_jax.evaluation.readers.reading import Reader, Reading
from speak_jax.evaluation.reenactment import comparison
from speak_jax.evaluation.reenactment.comparison import Side, Sum, Sums
from speak_jax.metrics import features, image, mouth, sums, sync

EXPECTED = Path(__file__).parents[1] / "assets" / "self_test.json"
ITSELF = "itself"
EXACT = 1e-6
LATE = 10  # frames
CRF = 18  # of H.264, what `generate` writes
WINDOW = 5  # frames of mouth opening that stand in for a SyncNet's code


# How far a figure may be off: other builds of the codec and other arithmetic
# move it by less; nothing else should move it.
TOLERANCES = {
  "frames_lost": 0.0,
  "psnr": 0.3,
  "ssim": 0.005,
  "gaussian_ssim": 0.005,
  "mouth_box_psnr": 0.4,
  "gradient_energy": 0.03,
  "mouth_gradient_energy": 0.03,
  "sharpness": 0.03,
  "sharpness_slope": 0.03,
  "flicker": 0.2,
  "aligned_psnr": 0.4,
  "aligned_ssim": 0.005,
  "aligned_f_lmd": 0.1,
  "aligned_m_lmd": 0.1,
  "f_lmd": 0.15,
  "m_lmd": 0.15,
  "f_lmd_eyes": 0.003,
  "m_lmd_eyes": 0.003,
  "found": 0.0,
  "undetected": 0.0,
  "pose_error": 0.2,
  "pose_r": 0.03,
  "pose_r2": 0.05,
  "mouth_r": 0.03,
  "silent_opening": 0.05,
  "jitter": 4.0,
  "head_speed": 0.1,
  "lip_speed": 0.05,
  "identity_cosine": 0.02,
  "frechet_identity": 0.03,
  "emotion": 0.08,
  "emotion_balanced": 0.08,
  "sync_offset": 0.5,
}
# Of one side alone: codec and judge move them even for a clip and itself.
ALONE = frozenset(
  ("flicker", "jitter", "head_speed", "lip_speed", "silent_opening")
)

Compress = Callable[
  [UInt8[np.ndarray, "n h w 3"]], UInt8[np.ndarray, "m h w 3"]
]
Figures = dict[str, dict[str, float]]  # by pair, then by metric


class Clip(NamedTuple):
  """A rendered clip, of which everything is known."""

  frames: UInt8[np.ndarray, "n h w 3"]
  landmarks: Float[np.ndarray, "n 68 2"]  # in the frames' pixels
  pose: Float[np.ndarray, "n 3"]  # degrees
  opening: Float[np.ndarray, "n"]  # of the mouth
  audio: Int16[np.ndarray, "s"]
  emotion: int  # index into spec.EMOTIONS


class Row(NamedTuple):
  """One figure beside what it should be."""

  pair: str
  metric: str
  value: float  # NaN: it was not measured
  expected: float
  tolerance: float

  @property
  def passed(self) -> bool:
    """Whether the figure is near enough; NaN is not."""
    return abs(self.value - self.expected) <= self.tolerance


class Outcome(NamedTuple):
  """Of a self-test."""

  rows: list[Row]
  passed: bool


def self_test(
  clips: Sequence[Clip], read: Reader, expected: Path = EXPECTED
) -> Outcome:
  """Measures the clips' pairs and holds them against the expectations.

  Args:
    clips: Those that the expectations were made from.
    read: The judge's reader.
    expected: File of expectations.
  """
  stored = json.loads(expected.read_text(encoding="utf-8"))
  return compare(measure(clips, read), stored["figures"])


def compare(
  measured: Figures, expected: Mapping[str, Mapping[str, Sequence[float]]]
) -> Outcome:
  """Every expectation, [value, tolerance], with what was measured."""
  rows = [
    Row(pair, metric, measured.get(pair, {}).get(metric, math.nan), *wanted)
    for pair, metrics in expected.items()
    for metric, wanted in metrics.items()
  ]
  return Outcome(rows, all(row.passed for row in rows))


def expectations(measured: Figures) -> dict[str, dict[str, list[float]]]:
  """What `compare` reads, made from figures that were found to be right."""
  return {
    pair: {
      metric: [round(value, 6), _tolerance(pair, metric)]
      for metric, value in metrics.items()
    }
    for pair, metrics in measured.items()
  }


def _tolerance(pair: str, metric: str) -> float:
  """A clip equals itself exactly; the rest hangs on codec and judge."""
  exact = pair == ITSELF and metric not in ALONE
  return EXACT if exact else TOLERANCES[metric]


def h264(
  frames: UInt8[np.ndarray, "n h w 3"],
) -> UInt8[np.ndarray, "m h w 3"]:
  """Through H.264 (libx264, crf 18, yuv420p, 25 fps) in memory and back."""
  file = io.BytesIO()
  with av.open(file, "w", format="mp4") as out:
    stream = out.add_stream("libx264", rate=25)
    stream.height, stream.width = frames.shape[1:3]
    stream.pix_fmt = "yuv420p"
    # One thread: the bytes must not depend on the machine.
    stream.options = {"crf": str(CRF), "preset": "veryfast", "threads": "1"}
    for frame in frames:
      picture = av.VideoFrame.from_ndarray(
        np.ascontiguousarray(frame), format="rgb24"
      )
      out.mux(stream.encode(picture))
    out.mux(stream.encode(None))
  file.seek(0)
  with av.open(file, "r") as back:
    decoded = back.decode(video=0)
    return np.stack([frame.to_ndarray(format="rgb24") for frame in decoded])


def measure(
  clips: Sequence[Clip], read: Reader, compress: Compress = h264
) -> Figures:
  """All figures of all pairs; of frames that do not pair, only their number.

  Args:
    clips: Rendered clips of 40 frames or more.
    read: The judge's reader.
    compress: A codec, there and back.
  """
  booked: dict[str, dict[str, list[Sum]]] = defaultdict(
    lambda: defaultdict(list)
  )
  for clip in clips:
    real = comparison.side(clip.frames, read(clip.frames))
    _book(booked["judge"], _judged(real.seen, clip))
    for pair, frames, at in _pairs(clip, compress):
      lost = np.array(len(at) - len(frames))
      _book(booked[pair], {"frames_lost": Sum(sums.mean_row(lost))})
      if not lost:
        made = comparison.side(frames, read(frames))
        _book(booked[pair], _compared(made, real.part(at), clip, at))
  return {
    pair: {
      name: found[0].statistic(np.stack([x.row for x in found]))
      for name, found in metrics.items()
    }
    for pair, metrics in booked.items()
  }


def _book(metrics: dict[str, list[Sum]], found: Sums) -> None:
  for name, total in found.items():
    metrics[name].append(total)


def _pairs(
  clip: Clip, compress: Compress
) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
  """(name, damaged frames, the true frames' places that they stand for)."""
  every = np.arange(len(clip.frames))
  yield ITSELF, clip.frames, every
  yield f"H.264 crf {CRF}", compress(clip.frames), every
  yield "1 px to the right", np.roll(clip.frames, 1, axis=2), every
  yield f"{LATE} frames late", clip.frames[:-LATE], every[LATE:]


def _compared(made: Side, true: Side, clip: Clip, at: np.ndarray) -> Sums:
  """Every figure of a pair; both sides are read by the judge."""
  size = clip.frames.shape[1]
  box = mouth.mouth_box(clip.landmarks[at], size)
  hushed = mouth.silent(clip.audio, len(clip.frames), spec.FPS)[at]
  gaussian = image.gaussian_ssim(made.frames, true.frames)
  found = {
    **comparison.pictures(made.frames, true.frames, box, spec.FPS),
    **comparison.crops(made.upright, true.upright),
    **comparison.faces(made.seen, true.seen, size),
    **comparison.motions(made.seen, spec.FPS),
    **comparison.silence(made.seen, hushed),
    "gaussian_ssim": Sum(sums.mean_row(gaussian)),
  }
  if made.seen.identity is not None and true.seen.identity is not None:
    row = features.frechet_row(made.seen.identity, true.seen.identity)
    found["frechet_identity"] = Sum(row, features.frechet)
  # The openings of five frames are a code of lips and of sound alike.
  lips, sound = _windows(made.seen.opening), _windows(clip.opening[at])
  offset = sync.score(sync.distances(lips, sound)).offset
  found["sync_offset"] = Sum(sums.mean_row(np.array(offset)))
  return found


def _judged(seen: Reading, clip: Clip) -> Sums:
  """The judge against what the renderer knows."""
  known = Reading(
    found=np.ones(len(clip.frames), bool),
    landmarks=clip.landmarks,
    pose=clip.pose,
    opening=clip.opening,
    emotion=None,
    identity=None,
  )
  return {
    **comparison.faces(seen, known, clip.frames.shape[1]),
    **comparison.emotions(seen, clip.emotion),
  }


def _windows(opening: Float[np.ndarray, "n"]) -> Float[np.ndarray, "t w"]:
  """Every stretch of five values."""
  return np.lib.stride_tricks.sliding_window_view(opening, WINDOW)
