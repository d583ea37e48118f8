"""Whether lips fit their own sound better than another one, by a SyncNet."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int16

from data_pipelines.faces.tracker import IBUG
from speak_jax import spec
from speak_jax.evaluation.photographs.judges import Seen
from speak_jax.evaluation.readers.own_syncnet import OwnSyncNet
from speak_jax.metrics import sync as scores

SPAN_S = 1.0  # of which windows are judged together
SPANS_APART = 13  # frames between two places of a clip, half a second


class TwoWay(NamedTuple):
  """How often the own sound is the nearer one; guessing gives 0.5.

  Beside sounds elsewhere in the clip, and beside another's at the same place;
  by windows of 0.2 s, and by spans of SPAN_S whose windows' distances are
  averaged first.
  """

  elsewhere: Float[np.ndarray, "t"]
  elsewhere_spans: Float[np.ndarray, "u"]
  other: Float[np.ndarray, "v"]
  other_spans: Float[np.ndarray, "w"]


NONE = TwoWay(*[np.zeros(0)] * len(TwoWay._fields))


def two_way(
  sync: OwnSyncNet,
  seen: Seen,
  own: Int16[np.ndarray, "s"],
  other: Int16[np.ndarray, "u"],
) -> TwoWay:
  """Asks which of two sounds lips fit better.

  Args:
    sync: A SyncNet that other people taught.
    seen: The frames; FaceMesh says where their lips are.
    own: Their sound, 16 kHz.
    other: Somebody else's; windows beyond its end are left out.
  """
  lips = sync.lip_codes(seen.frames, seen.mesh[:, IBUG, :2])
  if lips is None:
    return NONE
  near, far = (sync.sound_codes(x, len(seen.frames)) for x in (own, other))
  each = round(SPAN_S * sync.fps) - sync.frames + 1  # windows of a span
  heard = int(len(other) * sync.fps / spec.SAMPLE_RATE_HZ)
  count = max(min(len(seen.frames), heard) - sync.frames + 1, 0)
  apart = [np.linalg.norm(lips - x, axis=-1)[:count] for x in (near, far)]
  return TwoWay(
    scores.two_way(lips, near),
    _elsewhere(lips, near, each),
    _wins(*apart),
    _wins(*(_means(x, each) for x in apart)),
  )


def _elsewhere(
  lips: Float[np.ndarray, "t d"], sound: Float[np.ndarray, "t d"], each: int
) -> Float[np.ndarray, "u"]:
  """`metrics.sync.two_way` of spans: none where a clip is too short."""
  full = np.linalg.norm(lips[:, None] - sound[None], axis=-1)
  count = len(full) - each + 1
  if count <= SPANS_APART:
    return np.zeros(0)
  spans = np.mean(
    [full[i : i + count, i : i + count] for i in range(each)], axis=0
  )
  places = np.arange(count)
  fair = np.abs(places[:, None] - places) >= SPANS_APART
  wins = _wins(np.diagonal(spans)[:, None], spans)
  some = fair.any(1)
  return (wins * fair).sum(1)[some] / fair.sum(1)[some]


def _means(x: Float[np.ndarray, "t"], each: int) -> Float[np.ndarray, "u"]:
  """Means of so many neighbours; none where there are fewer."""
  if len(x) < each:
    return np.zeros(0)
  return np.convolve(x, np.full(each, 1 / each), "valid")


def _wins(near: np.ndarray, far: np.ndarray) -> np.ndarray:
  """1 where `near` is less, 0.5 where both are as much, else 0."""
  return (near < far) + 0.5 * (near == far)
