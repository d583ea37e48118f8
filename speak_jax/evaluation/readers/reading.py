"""What is read off frames, real or generated, and by whom.

On synthetic faces the judge reads (`models/judge.py`); on all others the face
tracker does, with a public network for who it is where there is one. What
nobody can tell is left out.
"""

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple, Protocol, runtime_checkable

import cv2
import jax
import numpy as np
from jaxtyping import Bool, Float, Int16, UInt8

from data_pipelines.faces import face
from data_pipelines.faces.lips import cut_lips
from speak_jax import spec
from speak_jax.evaluation.methods import Track
from speak_jax.evaluation.readers.aligned import align
from speak_jax.metrics import sync
from speak_jax.models import judge

BATCH = 64  # frames or windows that go through a network at a time
WINDOW_SAMPLES = 3200  # 0.2 s, SyncNet's


class Take(NamedTuple):
  """A held-out clip with all that is known of it."""

  clip: str
  person: str
  emotion: int  # index into spec.EMOTIONS, -1 unknown
  level: int
  frames: UInt8[np.ndarray, "n h w 3"]
  landmarks: Float[np.ndarray, "n 68 2"]
  pose: Float[np.ndarray, "n 3"]  # degrees
  opening: Float[np.ndarray, "n"]  # of the mouth, exact where rendered
  audio: Int16[np.ndarray, "s"]
  fps: float
  emotion_track: Track  # some frames of the clip


class Reading(NamedTuple):
  """What a reader sees in n frames; rows of frames without a face are NaN."""

  found: Bool[np.ndarray, "n"]
  landmarks: Float[np.ndarray, "n 68 2"]  # in the frames' pixels
  pose: Float[np.ndarray, "n 3"]
  opening: Float[np.ndarray, "n"]
  emotion: Float[np.ndarray, "n 8"] | None  # logits; None: cannot tell
  identity: Float[np.ndarray, "n d"] | None

  def part(self, at: slice | np.ndarray) -> "Reading":
    """Of some frames."""
    known = {k: x[at] for k, x in self._asdict().items() if x is not None}
    return self._replace(**known)


Reader = Callable[[UInt8[np.ndarray, "n h w 3"]], Reading]


@runtime_checkable
class Tracker(Protocol):
  """What `data_pipelines.faces.face.Tracker` does."""

  def track(self, frames: Iterable[np.ndarray]) -> Any:
    """Landmarks, pose and found of every frame."""
    ...


def judge_reader(params: Any) -> Reader:
  """Reads by the judge; frames of another size are brought to its own."""
  run = jax.jit(judge.apply)

  def read(frames: UInt8[np.ndarray, "n h w 3"]) -> Reading:
    size = frames.shape[1]
    if size != judge.SIZE:
      side = (judge.SIZE, judge.SIZE)
      way = cv2.INTER_AREA if size > judge.SIZE else cv2.INTER_LINEAR
      frames = np.stack(
        [cv2.resize(x, side, interpolation=way) for x in frames]
      )
    seen = judge.Judgement(*in_batches(lambda x: run(params, x), frames))
    points = (seen.landmarks + 0.5) * (size / judge.SIZE) - 0.5
    found = np.ones(len(frames), bool)
    return Reading(
      found, points, seen.pose, seen.opening, seen.emotion, seen.identity
    )

  return read


def tracker_reader(
  tracker: Tracker,
  look: Callable[[UInt8[np.ndarray, "n s s 3"]], Float[np.ndarray, "n d"]]
  | None = None,
) -> Reader:
  """Reads by the face tracker that also made the records.

  Args:
    tracker: Finds landmarks and head pose.
    look: Features of aligned faces (`aligned.align`), whose cosine then says
      how alike two people are; None: it cannot be told.
  """

  def read(frames: UInt8[np.ndarray, "n h w 3"]) -> Reading:
    seen = tracker.track(frames)
    identity = None
    if look is not None:
      identity = look(align(frames, seen.landmarks).frames)
      identity = np.where(seen.found[:, None], identity, np.nan)
    return Reading(
      seen.found,
      seen.landmarks,
      seen.pose,
      spec.mouth_opening(seen.landmarks),
      None,
      identity,
    )

  return read


@runtime_checkable
class Sync(Protocol):
  """A SyncNet: codes of a clip's 0.2 s windows, and what they say of it."""

  def lips(
    self,
    frames: UInt8[np.ndarray, "n h w 3"],
    landmarks: Float[np.ndarray, "n 68 2"],
  ) -> Float[np.ndarray, "t d"] | None:
    """Codes of windows of the picture; None where there is no face to judge.

    Args:
      frames: The clip.
      landmarks: In the frames' pixels, NaN where there is no face.
    """
    ...

  def sound(
    self, audio: Int16[np.ndarray, "s"], frames: int
  ) -> Float[np.ndarray, "t d"]:
    """Codes of the same windows of the sound of so many frames."""
    ...

  def figures(
    self, seen: Float[np.ndarray, "t d"], sound: Float[np.ndarray, "u d"]
  ) -> dict[str, Float[np.ndarray, "n"]]:
    """Figures of one clip, each as the values whose mean it is."""
    ...


class OwnSync(NamedTuple):
  """Our own SyncNet: windows of lips or of sound to vectors."""

  see: Callable[[UInt8[np.ndarray, "n f h w c"]], tuple]
  hear: Callable[[Int16[np.ndarray, "n s"]], tuple]
  frames: int  # of a window, 0.2 s
  fps: float
  mouth: int = 0  # px, side of the grey mouths; 0: it sees lower halves
  square: tuple[float, float] = spec.LIPS_SQUARE  # what of the face they show
  unit: bool = True  # whether the vectors have length 1

  def lips(
    self,
    frames: UInt8[np.ndarray, "n h w 3"],
    landmarks: Float[np.ndarray, "n 68 2"],
  ) -> Float[np.ndarray, "t d"] | None:
    """Codes of the windows that start at frames 0, 1, ...

    It learned from aligned mouths; or from the lower half of the frames,
    wherever the face is in them. Frames without a face have their mouths where
    their neighbours have them; None if no frame has one.
    """
    if self.mouth:
      known = np.asarray(~np.isnan(landmarks).any((1, 2)))
      if not known.any():
        return None
      track = face.bridge(
        face.Track(landmarks, np.zeros((len(frames), 3)), known, 1)
      )
      shown = np.stack(
        [
          cut_lips(frame, points, self.mouth, self.square)
          for frame, points in zip(frames, track.landmarks, strict=True)
        ]
      )[..., None]
    else:
      shown = frames[:, frames.shape[1] // 2 :]
    count = len(frames) - self.frames + 1
    windows = np.stack([shown[i : i + self.frames] for i in range(count)])
    return in_batches(self.see, windows)[0]

  def sound(
    self, audio: Int16[np.ndarray, "s"], frames: int
  ) -> Float[np.ndarray, "t d"]:
    """Codes of the windows that start with frames 0, 1, ..."""
    step = spec.samples_per_frame(self.fps)
    starts = [round(i * step) for i in range(frames - self.frames + 1)]
    lack = starts[-1] + WINDOW_SAMPLES - len(audio)
    audio = np.pad(audio, (0, max(lack, 0)))
    windows = np.stack([audio[s : s + WINDOW_SAMPLES] for s in starts])
    return in_batches(self.hear, windows)[0]

  def figures(
    self, seen: Float[np.ndarray, "t d"], sound: Float[np.ndarray, "u d"]
  ) -> dict[str, Float[np.ndarray, "n"]]:
    """sync_confidence, sync_distance, sync_offset and two_way."""
    found = sync.score(sync.distances(seen, sound))
    scores = {
      f"sync_{name}": np.array([value], float)
      for name, value in found._asdict().items()
    }
    return scores | {"two_way": sync.two_way(seen, sound)}


def in_batches(
  run: Callable, *arrays: np.ndarray, size: int = BATCH
) -> list[np.ndarray]:
  """Runs a function over rows in batches of one size, the last one padded.

  Args:
    run: Arrays of `size` rows in, a sequence of such arrays out.
    *arrays: Of equal length.
    size: Rows of a batch.

  Returns:
    The outputs, of the inputs' length.
  """
  parts, n = [], len(arrays[0])
  for start in range(0, n, size):
    rows = [a[start : start + size] for a in arrays]
    lack = size - len(rows[0])
    rows = [
      np.pad(r, [(0, lack)] + [(0, 0)] * (r.ndim - 1), mode="edge")
      for r in rows
    ]
    parts.append([np.asarray(x)[: size - lack] for x in run(*rows)])
  return [np.concatenate(column) for column in zip(*parts, strict=True)]
