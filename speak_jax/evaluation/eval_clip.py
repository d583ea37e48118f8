"""A held-out clip as the evaluation asks for it."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int16, UInt8

from data_pipelines.sampling.held_out import EvaluationClip
from data_pipelines.synthetic.factors import FACTORS
from speak_jax import spec
from speak_jax.methods.base import ShownFrames

MAX_FRAMES = 100  # of a clip that are measured
EMOTION_FRAMES = 4


class EvalClip(NamedTuple):
  """A held-out clip with all that is known of it."""

  name: str
  person: str
  emotion: int  # index into spec.EMOTIONS, -1 unknown
  level: int  # of the emotion, 1 to 3
  frames: UInt8[np.ndarray, "n h w 3"]
  landmarks: Float[np.ndarray, "n 68 2"]  # in the frames' pixels
  pose: Float[np.ndarray, "n 3"]  # degrees
  opening: Float[np.ndarray, "n"]  # of the mouth, exact where rendered
  audio: Int16[np.ndarray, "s"]  # 16 kHz
  fps: float
  emotion_track: ShownFrames  # some frames of the clip


def eval_clip(whole: EvaluationClip) -> EvalClip:
  """What is measured of a held-out clip, no longer than MAX_FRAMES."""
  short = shorten(whole)
  return EvalClip(
    name=whole.clip,
    person=whole.person,
    emotion=whole.emotion_label,
    level=whole.level,
    frames=short.frames,
    landmarks=short.landmarks,
    pose=short.pose,
    opening=mouth_opening(short),
    audio=short.audio,
    fps=whole.fps,
    emotion_track=emotion_track(whole),
  )


def shorten(whole: EvaluationClip) -> EvaluationClip:
  """The first MAX_FRAMES frames of a clip at most."""
  n = min(len(whole.frames), MAX_FRAMES)
  return whole._replace(
    frames=whole.frames[:n],
    landmarks=whole.landmarks[:n],
    pose=whole.pose[:n],
    factors=whole.factors[:n],
    audio=whole.audio[: round(n * spec.samples_per_frame(whole.fps))],
  )


def mouth_opening(whole: EvaluationClip) -> Float[np.ndarray, "n"]:
  """The renderer's own where there is one, else read off the landmarks.

  Only the renderer's is independent of how the head is turned.
  """
  if len(whole.factors):
    return whole.factors[:, FACTORS.index("mouth_open")]
  return spec.mouth_opening(whole.landmarks)


def emotion_track(whole: EvaluationClip) -> ShownFrames:
  """EMOTION_FRAMES frames of the whole clip, evenly spaced."""
  last = len(whole.frames) - 1
  times = np.linspace(0, last, EMOTION_FRAMES).round().astype(int)
  return ShownFrames(whole.frames[times], whole.landmarks[times])
