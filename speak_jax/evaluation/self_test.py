"""Does the evaluator work here? The ground truth against copies of itself.

Every figure of every pair has a stored expectation, made once on rendered
clips: an evaluator that pairs frames wrongly, wraps bytes around, swaps
channels or loses frames in the codec misses some of them. `speak_jax.self_test`
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
from jaxtyping import Float, UInt8

from speak_jax import spec
from speak_jax.evaluation import aligned
from speak_jax.evaluation.reading import Reader, Reading
from speak_jax.metrics import (
  emotion,
  features,
  identity,
  image,
  landmarks,
  motion,
  mouth,
  pose,
  sums,
  sync,
)

EXPECTED = Path(__file__).parents[1] / "assets" / "self_test.json"
ITSELF = "itself"
EXACT = 1e-6
LATE = 10  # frames
CRF = 18  # of H.264, what `generate` writes
WINDOW = 5  # frames of mouth opening that stand in for a SyncNet's code


class Measure(NamedTuple):
  """How a metric is read from its rows, and how far it may be off."""

  tolerance: float
  statistic: Callable[[sums.Rows], float] = sums.mean


# Other builds of the codec and other arithmetic move figures by less than
# these tolerances; nothing else should move them.
MEASURES = {
  "frames_lost": Measure(0.0),
  "psnr": Measure(0.3),
  "ssim": Measure(0.005),
  "gaussian_ssim": Measure(0.005),
  "mouth_box_psnr": Measure(0.4),
  "aligned_psnr": Measure(0.4),
  "gradient_energy": Measure(0.03, sums.ratio),
  "sharpness_slope": Measure(0.03, sums.ratio),
  "flicker": Measure(0.2),
  "f_lmd": Measure(0.15),
  "m_lmd": Measure(0.15),
  "f_lmd_eyes": Measure(0.003),
  "m_lmd_eyes": Measure(0.003),
  "missed": Measure(0.0, sums.missed),
  "pose_error": Measure(0.2),
  "pose_r": Measure(0.03, pose.correlation),
  "mouth_r": Measure(0.03, sums.pearson),
  "jitter": Measure(4.0),
  "identity_cosine": Measure(0.02),
  "frechet_identity": Measure(0.03, features.frechet),
  "emotion": Measure(0.08, emotion.accuracy),
  "sync_offset": Measure(0.5),
}

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
  exact = pair == ITSELF and metric not in ("flicker", "jitter")
  return EXACT if exact else MEASURES[metric].tolerance


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
  booked: dict[str, dict[str, list]] = defaultdict(lambda: defaultdict(list))
  for clip in clips:
    truth = read(clip.frames)
    _book(booked["judge"], _judged(truth, clip))
    for pair, frames, at in _pairs(clip, compress):
      lost = np.array(len(at) - len(frames))
      _book(booked[pair], {"frames_lost": sums.mean_row(lost)})
      if not lost:
        true, seen = clip.frames[at], read(frames)
        real = _part(truth, at)
        _book(booked[pair], _pictures(frames, true, clip.landmarks[at]))
        _book(booked[pair], _aligned(frames, true, seen, real))
        _book(booked[pair], _readings(seen, real, clip, at))
  return {
    pair: {
      name: MEASURES[name].statistic(np.stack(rows))
      for name, rows in metrics.items()
    }
    for pair, metrics in booked.items()
  }


def _book(metrics: dict[str, list], rows: Mapping[str, np.ndarray]) -> None:
  for name, row in rows.items():
    metrics[name].append(row)


def _pairs(
  clip: Clip, compress: Compress
) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
  """(name, damaged frames, the true frames' places that they stand for)."""
  every = np.arange(len(clip.frames))
  yield ITSELF, clip.frames, every
  yield f"H.264 crf {CRF}", compress(clip.frames), every
  yield "1 px to the right", np.roll(clip.frames, 1, axis=2), every
  yield f"{LATE} frames late", clip.frames[:-LATE], every[LATE:]


def _part(seen: Reading, at: np.ndarray) -> Reading:
  """The reading of some frames."""
  known = {k: x[at] for k, x in seen._asdict().items() if x is not None}
  return seen._replace(**known)


def _pictures(
  frames: np.ndarray, true: np.ndarray, points: np.ndarray
) -> dict[str, np.ndarray]:
  """Rows of what is measured on pixels, by metric."""
  box = mouth.mouth_box(points, true.shape[1])
  energy = [image.gradient_energy(x).sum() for x in (frames, true)]
  return {
    "psnr": sums.mean_row(image.psnr(frames, true)),
    "ssim": sums.mean_row(image.ssim(frames, true)),
    "gaussian_ssim": sums.mean_row(image.gaussian_ssim(frames, true)),
    "mouth_box_psnr": sums.mean_row(image.psnr(frames, true, box)),
    "gradient_energy": np.array(energy),
    "sharpness_slope": sums.slope_row(motion.sharpness(frames, true), spec.FPS),
    "flicker": sums.mean_row(motion.flicker(frames)),
  }


def _aligned(
  frames: np.ndarray, true: np.ndarray, seen: Reading, real: Reading
) -> dict[str, np.ndarray]:
  ours = aligned.align(frames, seen.landmarks).frames
  theirs = aligned.align(true, real.landmarks).frames
  return {"aligned_psnr": sums.mean_row(image.psnr(ours, theirs))}


def _readings(
  seen: Reading, real: Reading, clip: Clip, at: np.ndarray
) -> dict[str, np.ndarray]:
  """Rows of what the judge reads off both sides, by metric."""
  distances = landmarks.distances(
    seen.landmarks, real.landmarks, clip.frames.shape[1]
  )
  rows = {
    name: sums.found_row(values) for name, values in distances._asdict().items()
  }
  rows["missed"] = sums.found_row(np.where(seen.found, 0.0, np.nan))
  rows["pose_error"] = sums.mean_row(pose.error(seen.pose, real.pose))
  rows["pose_r"] = pose.correlation_row(seen.pose, real.pose)
  rows["mouth_r"] = sums.pearson_row(seen.opening, real.opening)
  rows["jitter"] = sums.mean_row(motion.jitter(seen.landmarks, spec.FPS))
  if seen.identity is not None and real.identity is not None:
    cosine = identity.cosine(seen.identity, real.identity)
    rows["identity_cosine"] = sums.mean_row(cosine)
    rows["frechet_identity"] = features.frechet_row(
      seen.identity, real.identity
    )
  # The openings of five frames are a code of lips and of sound alike.
  lips, sound = _windows(seen.opening), _windows(clip.opening[at])
  found = sync.score(sync.distances(lips, sound))
  rows["sync_offset"] = sums.mean_row(np.array(found.offset))
  return rows


def _judged(truth: Reading, clip: Clip) -> dict[str, np.ndarray]:
  """Rows of the judge against what the renderer knows."""
  distances = landmarks.distances(
    truth.landmarks, clip.landmarks, clip.frames.shape[1]
  )
  rows = {
    "f_lmd": sums.found_row(distances.f_lmd),
    "m_lmd": sums.found_row(distances.m_lmd),
    "pose_error": sums.mean_row(pose.error(truth.pose, clip.pose)),
    "mouth_r": sums.pearson_row(truth.opening, clip.opening),
  }
  if truth.emotion is not None:
    rows["emotion"] = emotion.confusion_row(truth.emotion, clip.emotion)
  return rows


def _windows(opening: Float[np.ndarray, "n"]) -> Float[np.ndarray, "t w"]:
  """Every stretch of five values."""
  return np.lib.stride_tricks.sliding_window_view(opening, WINDOW)
