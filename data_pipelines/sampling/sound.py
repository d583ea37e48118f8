"""Sound of windows of a clip, as samples show it."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Int16

from data_pipelines.dataset.offsets import Moved
from data_pipelines.dataset.ranges import Rows
from speak_jax import spec


def sound_window(
  audio: Int16[np.ndarray, "s"] | Rows | Moved,
  start: int,
  count: int,
  fps: float,
) -> Int16[np.ndarray, "..."]:
  """Samples of frames start to start + count; silence outside the clip.

  Frame t owns the samples from round(t * 16000 / fps). The length depends on
  `count` and `fps` alone, so that windows stack.
  """
  return sound_windows(audio, [start], count, fps)[0]


def sound_windows(
  audio: Int16[np.ndarray, "s"] | Rows | Moved,
  starts: Sequence[int],
  count: int,
  fps: float,
) -> Int16[np.ndarray, "n ..."]:
  """`sound_window` of several starts, read at once."""
  step = spec.samples_per_frame(fps)
  length, end = round(count * step), len(audio)
  firsts = [round(start * step) for start in starts]
  # Where they lie in the clip.
  lows = [min(max(first, 0), end) for first in firsts]
  highs = [min(max(first + length, 0), end) for first in firsts]
  spans = list(zip(lows, highs, strict=True))
  parts = (
    audio.spans(spans)
    if isinstance(audio, Rows)
    else [audio[low:high] for low, high in spans]
  )
  out = np.zeros((len(firsts), length), np.int16)
  for window, first, low, part in zip(out, firsts, lows, parts, strict=True):
    window[low - first : low - first + len(part)] = part
  return out
