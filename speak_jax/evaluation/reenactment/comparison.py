"""A generated clip against the true one and others: rows of sums, by metric.

`self_driven` adds them up for every line of its tables, `tools.self_test` for
clips whose values are known: it vouches for what the tables are made of.

A frame in which no face is found is a failure and not left out: it counts in
`undetected`, its landmarks as `landmarks.counted` says and its aligned crop as
black. Pose, the mouth's opening, identity and emotion cannot be read there;
read them beside `undetected`.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, UInt8

from speak_jax.evaluation.metric_table import Statistic, difference
from speak_jax.evaluation.readers.aligned import Aligned, align
from speak_jax.evaluation.readers.face_reader import Reading
from speak_jax.metrics import (
  emotion,
  identity,
  image,
  landmarks,
  motion,
  pose,
  sums,
)


class ClipSum(NamedTuple):
  """One clip's row of a metric, and what reads the rows of all clips."""

  row: Float[np.ndarray, "k"]
  statistic: Statistic = sums.mean


ClipSums = dict[str, ClipSum]  # by metric


class Side(NamedTuple):
  """One of two clips that are compared frame by frame."""

  frames: UInt8[np.ndarray, "n h w 3"]
  reading: Reading  # of the true side: what is known of it
  aligned: Aligned  # its faces, cut by the reader's landmarks

  def part(self, frames: slice | np.ndarray) -> "Side":
    """The same of some of the frames."""
    aligned = Aligned(*(x[frames] for x in self.aligned))
    return Side(self.frames[frames], self.reading.part(frames), aligned)


def read_side(frames: UInt8[np.ndarray, "n h w 3"], reading: Reading) -> Side:
  """A clip of which nothing is known but what a reader sees.

  Args:
    frames: The clip.
    reading: What the reader sees in all its frames.
  """
  return Side(frames, reading, align(frames, reading.landmarks))


def clip_metrics(
  side: Side,
  true: Side,
  *,
  box: Bool[np.ndarray, "n h w"],
  silent: Bool[np.ndarray, "n"],
  fps: float,
) -> ClipSums:
  """All metrics of a generated clip against the true one, but its emotion.

  Args:
    side: The generated clip.
    true: What is known of the true one.
    box: The pixels round the true mouth.
    silent: Frames in which nothing is heard.
    fps: Frames/s of both.
  """
  return {
    **pixel_metrics(side.frames, true.frames, box, fps),
    **aligned_metrics(side.aligned, true.aligned),
    **face_metrics(side.reading, true.reading, true.frames.shape[1]),
    **motion_metrics(side.reading, fps),
    **silence_metrics(side.reading, silent),
  }


def pixel_metrics(
  frames: UInt8[np.ndarray, "n h w 3"],
  true: UInt8[np.ndarray, "n h w 3"],
  box: Bool[np.ndarray, "n h w"],
  fps: float,
) -> ClipSums:
  """PSNR, SSIM, sharpness and flicker, in the whole frame and at the mouth.

  Args:
    frames: Generated.
    true: True frames of the same times.
    box: The pixels round the true mouth.
    fps: Frames/s of both.
  """
  energy, true_energy = (image.gradient_energy(x) for x in (frames, true))
  mouth = [image.gradient_energy(x, box).sum() for x in (frames, true)]
  sharpness = motion.sharpness(energy, true_energy)
  return {
    "psnr": _mean(image.psnr(frames, true)),
    "ssim": _mean(image.ssim(frames, true)),
    "mouth_box_psnr": _mean(image.psnr(frames, true, box)),
    "gradient_energy": ClipSum(
      np.array([energy.sum(), true_energy.sum()]), sums.ratio
    ),
    "mouth_gradient_energy": ClipSum(np.array(mouth), sums.ratio),
    "sharpness": _mean(sharpness),
    "sharpness_slope": ClipSum(sums.slope_row(sharpness, fps), sums.ratio),
    "flicker": _mean(motion.flicker(frames)),
  }


def aligned_metrics(generated: Aligned, true: Aligned) -> ClipSums:
  """PSNR, SSIM and landmark distances (px) in the aligned 128 px crop.

  Frames whose true face the reader cannot find have no crop to compare with.
  """
  known = true.found
  frames, true_frames = generated.frames[known], true.frames[known]
  # No scale: these are pixels of the crop as it is.
  distances = landmarks.counted(
    generated.landmarks[known], true.landmarks[known], landmarks.REFERENCE
  )
  return {
    "aligned_psnr": _mean(image.psnr(frames, true_frames)),
    "aligned_ssim": _mean(image.ssim(frames, true_frames)),
    "aligned_f_lmd": ClipSum(sums.found_row(distances.f_lmd)),
    "aligned_m_lmd": ClipSum(sums.found_row(distances.m_lmd)),
  }


def face_metrics(reading: Reading, true: Reading, size: int) -> ClipSums:
  """Landmarks, pose, mouth opening and identity against the truth.

  Args:
    reading: What the reader sees in the generated frames.
    true: What is known of the true ones; its identities are those that the
      generated faces should have.
    size: Side of the frames in pixels.
  """
  distances = landmarks.counted(reading.landmarks, true.landmarks, size)
  metrics = {
    metric: ClipSum(sums.found_row(values))
    for metric, values in distances._asdict().items()
  }
  metrics["found"] = _mean(reading.found)
  metrics["undetected"] = _mean(~reading.found)
  known = reading.found & true.found
  if not known.any():
    return metrics
  reading, true = reading.part(known), true.part(known)
  metrics |= {
    "pose_error": _mean(pose.error(reading.pose, true.pose)),
    "pose_r": ClipSum(
      pose.correlation_row(reading.pose, true.pose), pose.correlation
    ),
    "pose_r2": ClipSum(sums.r2_row(reading.pose, true.pose), sums.r2),
    "mouth_r": ClipSum(
      sums.pearson_row(reading.opening, true.opening), sums.pearson
    ),
  }
  if reading.identity is not None and true.identity is not None:
    cosine = identity.cosine(reading.identity, true.identity)
    metrics["identity_cosine"] = _mean(cosine)
  return metrics


def motion_metrics(reading: Reading, fps: float) -> ClipSums:
  """How landmarks move; read it against the true clip's.

  Args:
    reading: What the reader sees in the generated frames.
    fps: Frames/s.
  """
  if not reading.found.any():
    return {}
  return {
    metric: ClipSum(sums.found_row(run(reading.landmarks, fps)))
    for metric, run in (
      ("jitter", motion.jitter),
      ("head_speed", motion.head_speed),
      ("lip_speed", motion.lip_speed),
    )
  }


def silence_metrics(
  reading: Reading, silent: Bool[np.ndarray, "n"]
) -> ClipSums:
  """How open the mouth is where nothing is heard; {} if no frame is silent.

  Args:
    reading: What the reader sees in the generated frames.
    silent: From `mouth.silent`, of the sound that they were made from.
  """
  rest = silent & reading.found
  if not rest.any():
    return {}
  return {"silent_opening": _mean(reading.opening[rest])}


def emotion_metrics(reading: Reading, label: int) -> ClipSums:
  """Share of frames whose emotion is recognised.

  {} where the label is unknown or the reader cannot tell emotions.

  Args:
    reading: What the reader sees in the generated frames.
    label: Index into spec.EMOTIONS, -1 unknown.
  """
  if reading.emotion is None or label < 0 or not reading.found.any():
    return {}
  row = emotion.confusion_row(reading.emotion[reading.found], label)
  return {
    "emotion": ClipSum(row, emotion.accuracy),
    "emotion_balanced": ClipSum(row, emotion.balanced_accuracy),
  }


def gain_metrics(
  own: UInt8[np.ndarray, "n h w 3"],
  other: UInt8[np.ndarray, "n h w 3"],
  still: UInt8[np.ndarray, "n h w 3"],
  true: UInt8[np.ndarray, "n h w 3"],
  box: Bool[np.ndarray, "n h w"],
) -> ClipSums:
  """By how many dB a model beats a still picture and itself misled.

  Args:
    own: Made from the clip's own speech.
    other: Made from another clip's.
    still: The first frame repeated.
    true: The clip.
    box: The pixels round the true mouth.
  """
  frame = [image.psnr(x, true) for x in (own, still)]
  mouth = [image.psnr(x, true, box) for x in (own, other, still)]
  return {
    "psnr_over_static": _mean(frame[0] - frame[1]),
    "mouth_box_over_shuffled": _mean(mouth[0] - mouth[1]),
    "mouth_box_over_static": _mean(mouth[0] - mouth[2]),
  }


def silence_over_true(
  reading: Reading, true: Reading, silent: Bool[np.ndarray, "n"]
) -> ClipSums:
  """How much wider than the true mouth the generated one is in silence.

  Args:
    reading: What the reader sees in the generated frames.
    true: What the same reader sees in the true frames.
    silent: Frames in which nothing is heard.
  """
  rest = silent & reading.found & true.found
  if not rest.any():
    return {}
  wider = reading.opening[rest] - true.opening[rest]
  return {"silent_opening_over_true": _mean(wider)}


def speech_following(
  reading: Reading,
  driving: Float[np.ndarray, "n"],
  true: Float[np.ndarray, "n"],
) -> ClipSums:
  """Whose mouth the generated one follows when it hears another's speech.

  Args:
    reading: What the reader sees in the frames generated from that speech.
    driving: The mouth's opening in the clip that is heard.
    true: In the clip that is shown.
  """
  known = reading.found
  if not known.any():
    return {}
  to_driving, to_true = (
    sums.pearson_row(reading.opening[known], x[known]) for x in (driving, true)
  )
  return {
    "shuffled_driving_r": ClipSum(to_driving, sums.pearson),
    "shuffled_true_r": ClipSum(to_true, sums.pearson),
    "shuffled_driving_minus_true": ClipSum(
      np.concatenate([to_driving, to_true]), difference(sums.pearson, 3)
    ),
  }


def _mean(values: np.ndarray) -> ClipSum:
  return ClipSum(sums.mean_row(values))
