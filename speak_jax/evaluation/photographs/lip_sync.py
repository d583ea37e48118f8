"""Whether lips fit their own sound better than another's, by a SyncNet."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int16

from data_pipelines.faces.tracker import IBUG
from speak_jax import spec
from speak_jax.evaluation.photographs.judges import Seen
from speak_jax.evaluation.readers.own_syncnet import OwnSyncNet

SPAN_S = 1.0  # of which windows are judged together


class TwoWay(NamedTuple):
  """Where the own sound is the nearer one: 1; 0.5 if both are as near, or 0."""

  windows: Float[np.ndarray, "t"]  # of 0.2 s
  spans: Float[np.ndarray, "u"]  # of SPAN_S, or of the clip if it is shorter


NONE = TwoWay(np.zeros(0), np.zeros(0))


def two_way(
  sync: OwnSyncNet,
  seen: Seen,
  own: Int16[np.ndarray, "s"],
  other: Int16[np.ndarray, "u"],
) -> TwoWay:
  """Asks which of two sounds lips fit better; guessing gives 0.5.

  The other sound is heard at the same place; windows beyond its end are left
  out.

  Args:
    sync: A SyncNet that other people taught.
    seen: The frames; FaceMesh says where their lips are.
    own: Their sound, 16 kHz.
    other: Somebody else's.
  """
  lips = sync.lip_codes(seen.frames, seen.mesh[:, IBUG, :2])
  heard = int(len(other) * sync.fps / spec.SAMPLE_RATE_HZ)
  count = min(len(seen.frames), heard) - sync.frames + 1
  if lips is None or count < 1:
    return NONE
  near, far = (
    np.linalg.norm(
      lips[:count] - sync.sound_codes(sound, len(seen.frames))[:count], axis=-1
    )
    for sound in (own, other)
  )
  each = min(round(SPAN_S * sync.fps) - sync.frames + 1, count)
  mean = np.full(each, 1 / each)
  together = (np.convolve(x, mean, "valid") for x in (near, far))
  return TwoWay(_wins(near, far), _wins(*together))


def _wins(
  near: Float[np.ndarray, "t"], far: Float[np.ndarray, "t"]
) -> Float[np.ndarray, "t"]:
  return np.where(near == far, 0.5, near < far).astype(np.float64)
