"""How soon a photograph speaks, how fast, and whether silence is quiet."""

import time
from typing import NamedTuple

import numpy as np
from jaxtyping import Int16

from speak_jax import spec
from speak_jax.evaluation.photographs.clips import Clip
from speak_jax.evaluation.photographs.methods import Method
from speak_jax.inference.emotion_label import strengths
from speak_jax.inference.motion_model import MotionModel

SILENCE_S = 2.0


class Speed(NamedTuple):
  """What was timed."""

  first_frame_s: float  # from what was read to the first frame
  frames_per_s: float  # one after the other, without reading or writing files


def speed(method: Method, clip: Clip) -> Speed:
  """Times a method that has made nothing yet, on a clip's own speech and head.

  The first frame has all that must be prepared and compiled before it, as far
  as no cache on disk has it.
  """
  start = time.monotonic()
  frames = method.frames(clip, clip.speech, clip)
  next(frames)
  first = time.monotonic() - start
  for _ in frames:  # until all is compiled
    pass
  again = time.monotonic()
  count = len([*method.frames(clip, clip.speech, clip)])
  return Speed(first, count / (time.monotonic() - again))


def silence(model: MotionModel, speech: Int16[np.ndarray, "s"]) -> float:
  """Measures the opening in silence over that in speech, of the model itself.

  Args:
    model: What speech does to a face.
    speech: Some; as much silence follows it.
  """
  fps = model.settings.fps
  spoken = model.length(speech)
  quiet = round(SILENCE_S * fps)
  sound = np.pad(speech, (0, round(quiet * spec.samples_per_frame(fps))))
  frames = [0.0] * (spoken + quiet)
  points = np.stack(list(model.stream(sound, frames, strengths("neutral"))))
  upper, lower = spec.MESH_GAP
  gap = np.abs(points[:, lower, 1] - points[:, upper, 1])
  return float(gap[-quiet // 2 :].mean() / gap[:spoken].mean())
