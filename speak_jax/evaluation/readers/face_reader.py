"""What is read off frames, real or generated, and by whom.

On synthetic faces the judge reads (`models/judge.py`); on all others the face
tracker does, with a public network for who it is where there is one. What
nobody can tell is left out.
"""

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple, Protocol, runtime_checkable

import jax
import numpy as np
from jaxtyping import Bool, Float, UInt8

from data_pipelines.dataset.pictures import resize
from speak_jax import spec
from speak_jax.common.batching import in_batches
from speak_jax.evaluation.readers.aligned import align
from speak_jax.models import judge


class Reading(NamedTuple):
  """What a reader sees in n frames; rows of frames without a face are NaN."""

  found: Bool[np.ndarray, "n"]  # whether the frame has a face
  landmarks: Float[np.ndarray, "n 68 2"]  # in the frames' pixels
  pose: Float[np.ndarray, "n 3"]  # degrees
  opening: Float[np.ndarray, "n"]  # of the mouth
  emotion: Float[np.ndarray, "n 8"] | None  # logits; None: cannot tell
  identity: Float[np.ndarray, "n d"] | None

  def part(self, frames: slice | np.ndarray) -> "Reading":
    """The reading of some of the frames."""
    known = {k: x[frames] for k, x in self._asdict().items() if x is not None}
    return self._replace(**known)


def known_reading(
  landmarks: Float[np.ndarray, "n 68 2"],
  pose: Float[np.ndarray, "n 3"],
  opening: Float[np.ndarray, "n"],
  identity: Float[np.ndarray, "n d"] | None = None,
) -> Reading:
  """What is known of n frames, each with a face, as a reader would see it.

  Args:
    landmarks: Landmarks in the frames' pixels.
    pose: Head pose in degrees.
    opening: How open the mouth is.
    identity: Embedding of each face; None where there is none.
  """
  return Reading(
    found=np.ones(len(landmarks), bool),
    landmarks=landmarks,
    pose=pose,
    opening=opening,
    emotion=None,
    identity=identity,
  )


Reader = Callable[[UInt8[np.ndarray, "n h w 3"]], Reading]


@runtime_checkable
class LandmarkTracker(Protocol):
  """What `data_pipelines.faces.tracker.Tracker` does."""

  def track(self, frames: Iterable[np.ndarray]) -> Any:
    """Landmarks, pose and found of every frame."""
    ...


def judge_reader(params: Any) -> Reader:
  """Reads by the judge; frames of another size are resized to its own.

  Args:
    params: The judge's weights, which `judge.load` gives.
  """
  apply = jax.jit(judge.apply)

  def read(frames: UInt8[np.ndarray, "n h w 3"]) -> Reading:
    size = frames.shape[1]
    if size != judge.SIZE:
      frames = np.stack([resize(x, judge.SIZE) for x in frames])
    outputs = in_batches(lambda x: apply(params, x), frames)
    judged = judge.Judgement(*outputs)
    landmarks = (judged.landmarks + 0.5) * (size / judge.SIZE) - 0.5
    return Reading(
      found=np.ones(len(frames), bool),
      landmarks=landmarks,
      pose=judged.pose,
      opening=judged.opening,
      emotion=judged.emotion,
      identity=judged.identity,
    )

  return read


def tracker_reader(
  tracker: LandmarkTracker,
  embed: Callable[[UInt8[np.ndarray, "n s s 3"]], Float[np.ndarray, "n d"]]
  | None = None,
) -> Reader:
  """Reads by the face tracker that also made the records.

  Args:
    tracker: Finds landmarks and head pose.
    embed: Features of aligned faces (`aligned.align`), whose cosine then says
      how alike two people are; None: it cannot be told.
  """

  def read(frames: UInt8[np.ndarray, "n h w 3"]) -> Reading:
    track = tracker.track(frames)
    identity = None
    if embed is not None:
      identity = embed(align(frames, track.landmarks).frames)
      identity = np.where(track.found[:, None], identity, np.nan)
    return Reading(
      found=track.found,
      landmarks=track.landmarks,
      pose=track.pose,
      opening=spec.mouth_opening(track.landmarks),
      emotion=None,
      identity=identity,
    )

  return read
