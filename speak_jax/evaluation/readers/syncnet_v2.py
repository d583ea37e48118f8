"""Sync-C and Sync-D as the field measures them: the public SyncNet v2.

After joonson/syncnet_python (SyncNetInstance.py, run_pipeline.py): 25 frames/s,
face crops of 224 px, windows of 5 frames and 20 steps of MFCC.
Where ours differs: the official pipeline finds faces by S3FD, here the box is
made from landmarks; and its frames pass through XVID and JPEG on the way.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import cv2
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int, Int16, UInt8

from speak_jax.common.batching import in_batches
from speak_jax.metrics import sync
from speak_jax.models.syncnet_v2 import FRAMES, SIDE, STEPS, SyncNetV2
from speak_jax.nn.mfcc import mfcc

FPS = 25
SAMPLES = 640  # of a frame
ROWS = 4  # of MFCC in a frame
BATCH = 8  # windows; each is 3.8 GFLOP, so that padding is dear

# Forehead above the brows that a face detector's box holds, over the height
# from brows to chin. Ours: WIDER FACE, on which S3FD was trained, asks for
# "forehead, chin and cheek", which makes boxes about 1.3 times as high as wide.
FOREHEAD = 0.3
MARGIN = 0.4  # of the box's larger side; run_pipeline.py's crop_scale
SMOOTHED = 13  # frames of the median over boxes
GREY = 110  # outside the picture


class OfficialSyncNet(NamedTuple):
  """The official SyncNet v2; an `own_syncnet.SyncScorer`."""

  lip_tower: Callable[[UInt8[np.ndarray, "n 5 224 224 3"]], tuple]  # BGR
  sound_tower: Callable[[Float[np.ndarray, "n 20 13"]], tuple]
  fps: float  # of the frames that are scored

  def lip_codes(
    self,
    frames: UInt8[np.ndarray, "n h w 3"],
    landmarks: Float[np.ndarray, "n 68 2"],
  ) -> Float[np.ndarray, "t d"] | None:
    """Codes of the windows that start at frames 0, 1, ... of 25 a second.

    Raises:
      ValueError: the clip has less than 6 frames.
    """
    count = _windows(len(frames), self.fps)
    if np.isnan(landmarks).any((1, 2)).all():
      return None  # where the official pipeline finds no track
    times = resampled(len(frames), self.fps)
    boxes = face_boxes(landmarks)[times]
    faces = crops(frames[times], boxes)[..., ::-1]
    windows = np.lib.stride_tricks.sliding_window_view(faces, FRAMES, axis=0)
    windows = np.moveaxis(windows, -1, 1)[:count]
    return in_batches(self.lip_tower, windows, size=BATCH)[0]

  def sound_codes(
    self, audio: Int16[np.ndarray, "s"], frames: int
  ) -> Float[np.ndarray, "t d"]:
    """Codes of the windows that start with frames 0, 1, ... of 25 a second.

    Raises:
      ValueError: the sound is shorter than 6 frames.
    """
    count = min(
      _windows(frames, self.fps), _windows(len(audio) // SAMPLES, FPS)
    )
    rows = mfcc(audio).astype(np.float32)
    windows = np.stack(
      [rows[i * ROWS : i * ROWS + STEPS] for i in range(count)]
    )
    return in_batches(self.sound_tower, windows, size=BATCH)[0]

  def metrics(
    self, lips: Float[np.ndarray, "t d"], sound: Float[np.ndarray, "u d"]
  ) -> dict[str, Float[np.ndarray, "1"]]:
    """sync_c, sync_d and sync_offset of one clip."""
    count = min(len(lips), len(sound))
    score = sync.score(sync.padded_distances(lips[:count], sound[:count]))
    return {
      "sync_c": np.array([score.confidence]),
      "sync_d": np.array([score.distance]),
      "sync_offset": np.array([float(score.offset)]),
    }


def official_syncnet(
  variables: dict[str, Any], sizes: dict[str, Any], fps: float
) -> OfficialSyncNet:
  """The official SyncNet v2, compiled.

  Args:
    variables: The network's, which `pretrained.syncnet.convert` gives.
    sizes: The network's fields, from there too.
    fps: Frames/s of the clips that are scored.

  Raises:
    ValueError: it is not for pictures of 224 px.
  """
  if sizes["lip_last"] != (6, 6):
    raise ValueError(
      f"SyncNet v2's last kernel is {sizes['lip_last']}, not (6, 6): it is not"
      f" for pictures of {SIDE} px"
    )
  net = SyncNetV2(**sizes)

  def tower(method: str) -> Callable:
    @jax.jit
    def run(variables, x):
      with jax.default_matmul_precision("highest"):
        output: Any = net.apply(variables, x.astype(jnp.float32), method=method)
      return (output.code,)

    return lambda x: run(variables, x)

  variables = jax.device_put(variables)
  return OfficialSyncNet(tower("see"), tower("hear"), fps)


def resampled(frames: int, fps: float) -> Int[np.ndarray, "m"]:
  """Which frame is nearest to each time of the 25 frames/s grid."""
  count = _at_25(frames, fps)
  return (
    (np.arange(count) * (fps / FPS)).round().astype(int).clip(0, frames - 1)
  )


def face_boxes(
  landmarks: Float[np.ndarray, "n 68 2"],
) -> Float[np.ndarray, "n 3"]:
  """Where a detector would see the face: centre x, centre y, half larger side.

  An approximation of S3FD's boxes, see `FOREHEAD`. Frames without a face (NaN)
  lie between their neighbours, as in the official pipeline.

  Args:
    landmarks: In the frames' pixels, some of them found.
  """
  low, high = landmarks.min(1), landmarks.max(1)
  low[:, 1] -= FOREHEAD * (high - low)[:, 1]
  half = (high - low).max(-1, keepdims=True) / 2
  boxes = np.concatenate([(low + high) / 2, half], -1).astype(np.float64)
  times = np.arange(len(boxes))
  known = ~np.isnan(boxes).any(-1)
  return np.stack(
    [np.interp(times, times[known], column[known]) for column in boxes.T], -1
  )


def crops(
  frames: UInt8[np.ndarray, "n h w 3"], boxes: Float[np.ndarray, "n 3"]
) -> UInt8[np.ndarray, "n 224 224 3"]:
  """Face crops framed as the official pipeline frames them.

  The box of the median over 13 frames, half its larger side s: from the box's
  top (s above the centre) to 1.8 s below, 1.4 s to either side; grey outside.
  Ours: the median repeats the ends, where the official one takes in zeros.

  Args:
    frames: Frames of 25 a second.
    boxes: What `face_boxes` gives.
  """
  reach = SMOOTHED // 2
  padded = np.pad(boxes, ((reach, reach), (0, 0)), mode="edge")
  smooth = np.median(
    np.lib.stride_tricks.sliding_window_view(padded, SMOOTHED, axis=0), -1
  )
  height, width = frames.shape[1:3]
  faces = []
  for frame, (x, y, half) in zip(frames, smooth, strict=True):
    half = max(half, 1.0)
    x, y = x.clip(0, width), y.clip(0, height)
    border = int(half * (1 + 2 * MARGIN))
    edge = (border, border)
    wide = np.pad(frame, (edge, edge, (0, 0)), constant_values=GREY)
    x, y, side = x + border, y + border, half * (1 + MARGIN)
    cut = wide[
      int(y - half) : int(y + half * (1 + 2 * MARGIN)),
      int(x - side) : int(x + side),
    ]
    faces.append(cv2.resize(cut, (SIDE, SIDE)))
  return np.stack(faces)


def _at_25(frames: int, fps: float) -> int:
  """Frames that 25 a second make of so many; rounding must not cost one."""
  return int(frames * FPS / fps + 1e-6)


def _windows(frames: int, fps: float) -> int:
  """Windows of a clip: one less than fit, whose last MFCC rows are missing.

  Raises:
    ValueError: the clip is shorter than a window and a frame.
  """
  count = _at_25(frames, fps) - FRAMES
  if count < 1:
    raise ValueError(
      f"{frames} frames at {fps:g} frames/s are too few for SyncNet v2, which"
      f" needs {FRAMES + 1} at {FPS}"
    )
  return count
