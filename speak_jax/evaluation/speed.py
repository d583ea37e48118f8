"""How long a method takes for a frame, once it is compiled.

A clip of one frame is what waits in a stream, one of 64 what a batch gains.
"""

import statistics
import time
from pathlib import Path

import numpy as np

from speak_jax import spec
from speak_jax.evaluation.eval_clip import EvalClip
from speak_jax.evaluation.reenactment import self_driven
from speak_jax.methods import base
from speak_jax.methods.base import Entry, Method, Request

BATCHES = (1, 64)  # frames of a clip
REPEATS = 3  # after the one that compiles


def measure(method: Method, path: Path, clip: EvalClip) -> dict[str, float]:
  """Times a method that speaks, on clips of each of `BATCHES`.

  Args:
    method: The method.
    path: Its run, bundle or weights.
    clip: Gives the inputs, over and over where it is too short.

  Returns:
    Milliseconds a frame, medians of `REPEATS`: "ms_1" of `Method.generate`
    alone, "ms_1_whole" with `prepare` and `place`; the same of 64.
  """
  values = {}
  for frames in BATCHES:
    entry = Entry(method.name, method, method.restore(path, frames))
    request = _request(clip, frames)
    runs = [_timed(entry, request) for _ in range(REPEATS + 1)][1:]
    for name, seconds in zip(
      ("", "_whole"), zip(*runs, strict=True), strict=True
    ):
      value = 1_000 * statistics.median(seconds) / frames
      values[f"ms_{frames}{name}"] = value
  return values


def _timed(entry: Entry, request: Request) -> tuple[float, float]:
  """Seconds of `generate` alone, and of all from the inputs to the frames."""
  start = time.perf_counter()
  alone = base.timed(entry, request, 0).seconds
  return alone, time.perf_counter() - start


def _request(clip: EvalClip, frames: int) -> Request:
  """A self-driven request of so many frames."""
  times = np.arange(frames) % len(clip.frames)
  samples = round(frames * spec.samples_per_frame(clip.fps))
  long = clip._replace(
    frames=clip.frames[times],
    landmarks=clip.landmarks[times],
    audio=np.resize(clip.audio, samples),
  )
  return self_driven.request(long, long.audio)
