"""Lip sync by a SyncNet: what any of them does, and our own."""

from collections.abc import Callable
from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float, Int16, UInt8

from data_pipelines.faces.lips import cut_lips
from data_pipelines.faces.tracker import interpolated
from speak_jax import spec
from speak_jax.common.batching import in_batches
from speak_jax.metrics import sync

WINDOW_SAMPLES = 3200  # 0.2 s, SyncNet's


@runtime_checkable
class SyncScorer(Protocol):
  """A SyncNet: codes of a clip's 0.2 s windows, and what they say of it."""

  def lip_codes(
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

  def sound_codes(
    self, audio: Int16[np.ndarray, "s"], frames: int
  ) -> Float[np.ndarray, "t d"]:
    """Codes of the same windows of the sound of so many frames."""
    ...

  def metrics(
    self, lips: Float[np.ndarray, "t d"], sound: Float[np.ndarray, "u d"]
  ) -> dict[str, Float[np.ndarray, "n"]]:
    """Metrics of one clip by name, each as the values whose mean it is."""
    ...


class OwnSyncNet(NamedTuple):
  """Our own SyncNet: windows of lips or of sound to vectors."""

  lip_tower: Callable[[UInt8[np.ndarray, "n f h w c"]], tuple]
  sound_tower: Callable[[Int16[np.ndarray, "n s"]], tuple]
  frames: int  # of a window, 0.2 s
  fps: float
  mouth: int = 0  # px, side of the grey mouths; 0: it sees lower halves
  square: tuple[float, float] = spec.LIPS_SQUARE  # what of the face they show
  unit: bool = True  # whether the vectors have length 1

  def lip_codes(
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
      rows = np.flatnonzero(known), np.flatnonzero(~known)
      filled = interpolated(landmarks, *rows)
      pictures = np.stack(
        [
          cut_lips(frame, points, self.mouth, self.square)
          for frame, points in zip(frames, filled, strict=True)
        ]
      )[..., None]
    else:
      pictures = frames[:, frames.shape[1] // 2 :]
    count = len(frames) - self.frames + 1
    windows = np.stack([pictures[i : i + self.frames] for i in range(count)])
    return in_batches(self.lip_tower, windows)[0]

  def sound_codes(
    self, audio: Int16[np.ndarray, "s"], frames: int
  ) -> Float[np.ndarray, "t d"]:
    """Codes of the windows that start with frames 0, 1, ..."""
    step = spec.samples_per_frame(self.fps)
    starts = [round(i * step) for i in range(frames - self.frames + 1)]
    missing = starts[-1] + WINDOW_SAMPLES - len(audio)
    audio = np.pad(audio, (0, max(missing, 0)))
    windows = np.stack([audio[s : s + WINDOW_SAMPLES] for s in starts])
    return in_batches(self.sound_tower, windows)[0]

  def metrics(
    self, lips: Float[np.ndarray, "t d"], sound: Float[np.ndarray, "u d"]
  ) -> dict[str, Float[np.ndarray, "n"]]:
    """sync_confidence, sync_distance, sync_offset and two_way."""
    score = sync.score(sync.distances(lips, sound))
    values = {
      f"sync_{name}": np.array([value], float)
      for name, value in score._asdict().items()
    }
    return values | {"two_way": sync.two_way(lips, sound)}
