"""Several sounds at once, as one."""

import itertools
from collections.abc import Callable, Iterator, Sequence

import numpy as np
from jaxtyping import Float32

from data_pipelines.media.audio import Sound


def together(reads: Callable[[], Sequence[Sound]]) -> Sound:
  """Adds sounds of one rate that begin at the same time.

  It is mono if all are, else stereo; of more channels than two the mean is
  heard. It lasts as long as the longest. Where the sum would be above full
  scale, all of it is that much softer, for which it is read twice.

  Args:
    reads: Gives the sounds, each time anew.
  """
  first = reads()
  mono = all(sound.layout == "mono" for sound in first)
  channels = 1 if mono else 2
  peak = max(
    (float(np.abs(x).max(initial=0)) for x in _sums(first, channels)),
    default=0.0,
  )
  scale = np.float32(1 / max(peak, 1.0))
  return Sound(
    first[0].rate,
    "mono" if mono else "stereo",
    (scale * x for x in _sums(reads(), channels)),
  )


def _sums(
  sounds: Sequence[Sound], channels: int
) -> Iterator[Float32[np.ndarray, "c n"]]:
  """Yields the sum, a second at a time."""
  pieces = (_seconds(sound, channels) for sound in sounds)
  for parts in itertools.zip_longest(*pieces):
    known = [part for part in parts if part is not None]
    longest = max(part.shape[1] for part in known)
    total = np.zeros((channels, longest), np.float32)
    for part in known:
      total[:, : part.shape[1]] += part
    yield total


def _seconds(
  sound: Sound, channels: int
) -> Iterator[Float32[np.ndarray, "c n"]]:
  """Yields a sound in pieces of a second, the last of which may be shorter."""
  kept: list[np.ndarray] = []
  samples = 0
  for chunk in sound.chunks:
    if len(chunk) != channels:
      chunk = np.repeat(chunk.mean(0, keepdims=True), channels, 0)
    kept.append(chunk)
    samples += chunk.shape[1]
    while samples >= sound.rate:
      whole = np.concatenate(kept, 1)
      yield whole[:, : sound.rate]
      kept, samples = [whole[:, sound.rate :]], samples - sound.rate
  if samples:
    yield np.concatenate(kept, 1)
