"""A made clip against the true one and others: rows of sums, by metric.

`talking` books them for every line of its tables, `self_test` for clips whose
figures are known: what the self-test vouches for is what tables are made of.

A frame in which no face is found is a failure and not left out: it counts in
`undetected`, its landmarks as `landmarks.counted` says and its aligned crop as
black. Pose, the mouth's opening, identity and emotion cannot be read there;
read them beside `undetected`.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, UInt8

from speak_jax.evaluation.ledger import difference
from speak_jax.evaluation.readers.aligned import Aligned, align
from speak_jax.evaluation.readers.reading import Reading
from speak_jax.metrics import (
  emotion,
  identity,
  image,
  landmarks,
  motion,
  pose,
  sums,
)


class Sum(NamedTuple):
  """One clip's row under a metric, and what reads the rows of all clips."""

  row: Float[np.ndarray, "k"]
  statistic: Callable[[sums.Rows], float] = sums.mean


Sums = dict[str, Sum]


class Side(NamedTuple):
  """One of two clips that are compared frame by frame."""

  frames: UInt8[np.ndarray, "n h w 3"]
  seen: Reading  # of the true side: what is known of it
  upright: Aligned  # its faces, cut by the reader's landmarks

  def part(self, at: slice | np.ndarray) -> "Side":
    """Some of the frames."""
    upright = Aligned(*(x[at] for x in self.upright))
    return Side(self.frames[at], self.seen.part(at), upright)


def side(frames: UInt8[np.ndarray, "n h w 3"], seen: Reading) -> Side:
  """A clip of which nothing is known but what a reader sees."""
  return Side(frames, seen, align(frames, seen.landmarks))


def pictures(
  frames: UInt8[np.ndarray, "n h w 3"],
  true: UInt8[np.ndarray, "n h w 3"],
  box: Bool[np.ndarray, "n h w"],
  fps: float,
) -> Sums:
  """What pixels tell; `box` is round the true mouth."""
  ours, theirs = (image.gradient_energy(x) for x in (frames, true))
  lips = [image.gradient_energy(x, box).sum() for x in (frames, true)]
  sharp = motion.sharpness(ours, theirs)
  return {
    "psnr": _mean(image.psnr(frames, true)),
    "ssim": _mean(image.ssim(frames, true)),
    "mouth_box_psnr": _mean(image.psnr(frames, true, box)),
    "gradient_energy": Sum(np.array([ours.sum(), theirs.sum()]), sums.ratio),
    "mouth_gradient_energy": Sum(np.array(lips), sums.ratio),
    "sharpness": _mean(sharp),
    "sharpness_slope": Sum(sums.slope_row(sharp, fps), sums.ratio),
    "flicker": _mean(motion.flicker(frames)),
  }


def crops(made: Aligned, true: Aligned) -> Sums:
  """The same in the aligned crop, and landmark distances in its pixels.

  Frames whose true face the reader cannot find have no crop to compare with.
  """
  known = true.found
  ours, theirs = made.frames[known], true.frames[known]
  # No scale: these are pixels of the crop as it is.
  apart = landmarks.counted(
    made.landmarks[known], true.landmarks[known], landmarks.REFERENCE
  )
  return {
    "aligned_psnr": _mean(image.psnr(ours, theirs)),
    "aligned_ssim": _mean(image.ssim(ours, theirs)),
    "aligned_f_lmd": Sum(sums.found_row(apart.f_lmd)),
    "aligned_m_lmd": Sum(sums.found_row(apart.m_lmd)),
  }


def faces(seen: Reading, true: Reading, size: int) -> Sums:
  """What a reader sees in the made frames against the truth.

  Args:
    seen: Of the made frames.
    true: What is known of the true ones; its identities are those that the
      made faces should have.
    size: Side of the frames in pixels.
  """
  apart = landmarks.counted(seen.landmarks, true.landmarks, size)
  found = {
    metric: Sum(sums.found_row(values))
    for metric, values in apart._asdict().items()
  }
  found["found"], found["undetected"] = _mean(seen.found), _mean(~seen.found)
  ok = seen.found & true.found
  if not ok.any():
    return found
  seen, true = seen.part(ok), true.part(ok)
  found |= {
    "pose_error": _mean(pose.error(seen.pose, true.pose)),
    "pose_r": Sum(pose.correlation_row(seen.pose, true.pose), pose.correlation),
    "pose_r2": Sum(sums.r2_row(seen.pose, true.pose), sums.r2),
    "mouth_r": Sum(sums.pearson_row(seen.opening, true.opening), sums.pearson),
  }
  if seen.identity is not None and true.identity is not None:
    cosine = identity.cosine(seen.identity, true.identity)
    found["identity_cosine"] = _mean(cosine)
  return found


def motions(seen: Reading, fps: float) -> Sums:
  """How landmarks move; read it against the true clip's."""
  if not seen.found.any():
    return {}
  return {
    metric: Sum(sums.found_row(run(seen.landmarks, fps)))
    for metric, run in (
      ("jitter", motion.jitter),
      ("head_speed", motion.head_speed),
      ("lip_speed", motion.lip_speed),
    )
  }


def silence(seen: Reading, hushed: Bool[np.ndarray, "n"]) -> Sums:
  """How open the mouth is where nothing is heard; nothing if there is sound.

  Args:
    seen: Of the made frames.
    hushed: From `mouth.silent`, of the sound that they were made from.
  """
  rest = hushed & seen.found
  return {"silent_opening": _mean(seen.opening[rest])} if rest.any() else {}


def emotions(seen: Reading, label: int) -> Sums:
  """Share of frames recognised; nothing where the reader or label is mute.

  Args:
    seen: Of the made frames.
    label: Index into spec.EMOTIONS, -1 unknown.
  """
  if seen.emotion is None or label < 0 or not seen.found.any():
    return {}
  row = emotion.confusion_row(seen.emotion[seen.found], label)
  return {
    "emotion": Sum(row, emotion.accuracy),
    "emotion_balanced": Sum(row, emotion.balanced_accuracy),
  }


def gains(
  own: UInt8[np.ndarray, "n h w 3"],
  other: UInt8[np.ndarray, "n h w 3"],
  still: UInt8[np.ndarray, "n h w 3"],
  true: UInt8[np.ndarray, "n h w 3"],
  box: Bool[np.ndarray, "n h w"],
) -> Sums:
  """By how many dB a model beats a still picture and itself misled.

  Args:
    own: Made from the clip's own speech.
    other: Made from another clip's.
    still: The first frame repeated.
    true: The clip.
    box: Round the true mouth.
  """
  whole = [image.psnr(x, true) for x in (own, still)]
  lips = [image.psnr(x, true, box) for x in (own, other, still)]
  return {
    "psnr_over_static": _mean(whole[0] - whole[1]),
    "mouth_box_over_shuffled": _mean(lips[0] - lips[1]),
    "mouth_box_over_static": _mean(lips[0] - lips[2]),
  }


def wider(seen: Reading, real: Reading, hushed: Bool[np.ndarray, "n"]) -> Sums:
  """How much wider than the true mouth one stands open in silence."""
  rest = hushed & seen.found & real.found
  if not rest.any():
    return {}
  apart = seen.opening[rest] - real.opening[rest]
  return {"silent_opening_over_true": _mean(apart)}


def followed(
  seen: Reading,
  driving: Float[np.ndarray, "n"],
  true: Float[np.ndarray, "n"],
) -> Sums:
  """Whom the mouth follows when it hears another clip's speech.

  Args:
    seen: Of what is made from that speech.
    driving: The mouth's opening in the clip that is heard.
    true: In the clip that is shown.
  """
  ok = seen.found
  if not ok.any():
    return {}
  to_driving, to_true = (
    sums.pearson_row(seen.opening[ok], x[ok]) for x in (driving, true)
  )
  return {
    "shuffled_driving_r": Sum(to_driving, sums.pearson),
    "shuffled_true_r": Sum(to_true, sums.pearson),
    "shuffled_driving_minus_true": Sum(
      np.concatenate([to_driving, to_true]), difference(sums.pearson, 3)
    ),
  }


def _mean(values: np.ndarray) -> Sum:
  return Sum(sums.mean_row(values))
