"""Samplers of every kind, as small as they get, for several folders."""

import numpy as np

from data_pipelines.sampling import augment
from data_pipelines.sampling.clips import sample_clips
from data_pipelines.sampling.pairs import robust_mix, sample_pairs
from data_pipelines.sampling.stretches import sample_stretches
from data_pipelines.sampling.sync_windows import sample_sync_windows

TREATED = augment.Treatment(True, 0.08, True, 0.5)
# Nothing by which a picture could no longer be told.
LEGIBLE = augment.Treatment(True, 0.0, False, 0.0)
PAIR = dict(size=32, mouth_size=12, same_session=True, treatment=LEGIBLE)
CLIP = dict(
  size=32,
  frames=5,
  context=2,
  emotion_frames=3,
  same_session=True,
  treatment=LEGIBLE,
)
STRETCH = dict(size=32, frames=5, context=2, others=3, apart=4)


def equal(a, b) -> bool:
  return all(np.array_equal(x, y) for x, y in zip(a, b, strict=True))


SAMPLERS = {
  "sync": lambda data, seed, **more: sample_sync_windows(
    data, size=32, seed=seed, **more
  ),
  "pairs": lambda data, seed, **more: sample_pairs(
    data, mix=robust_mix(data), seed=seed, **PAIR, **more
  ),
  "clips": lambda data, seed, **more: sample_clips(
    data, seed=seed, **CLIP, **more
  ),
  "stretches": lambda data, seed, **more: sample_stretches(
    data, seed=seed, **STRETCH, **more
  ),
  "treated pairs": lambda data, seed, **more: sample_pairs(
    data,
    mix=robust_mix(data),
    seed=seed,
    **(PAIR | {"treatment": TREATED}),
    **more,
  ),
  "treated clips": lambda data, seed, **more: sample_clips(
    data, seed=seed, **(CLIP | {"treatment": TREATED}), **more
  ),
}
