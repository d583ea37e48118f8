"""Where lips are, and when they ought to rest."""

import numpy as np
from jaxtyping import Bool, Float, Int16

from speak_jax import spec

SILENCE_DB = -35.0  # under the loudest frame
HUSH = 32.0  # of 32768; a clip with nothing louder is silent throughout


def mouth_box(
  landmarks: Float[np.ndarray, "n 68 2"], size: int
) -> Bool[np.ndarray, "n h w"]:
  """Rectangle round the lips plus a tenth to a fifth of the eye distance.

  Take it from the true frames' landmarks, so that every row is measured in
  one place. At least one pixel is inside.
  """
  return box_mask(landmarks, landmarks[:, spec.MOUTH], size)


def box_mask(
  landmarks: Float[np.ndarray, "n 68 2"],
  points: Float[np.ndarray, "n k 2"],
  size: int,
) -> Bool[np.ndarray, "n h w"]:
  """The pixels round some points, whatever lies within a margin of them.

  The margin is a tenth of the eye distance, a fifth below.

  Args:
    landmarks: Landmarks of each frame, x and y in pixels; they give the eye
      distance.
    points: Those that the box holds.
    size: Side of the frames in pixels.
  """
  eyes = spec.interocular(landmarks)[:, None]
  low = np.floor(points.min(1) - eyes * [0.1, 0.1]).clip(0, size - 1)
  high = np.ceil(points.max(1) + eyes * [0.1, 0.2]).clip(low, size - 1)
  pixels = np.arange(size)
  inside = (pixels >= low[..., None]) & (pixels <= high[..., None])
  return inside[:, 1, :, None] & inside[:, 0, None, :]


def silent(
  audio: Int16[np.ndarray, "s"], frames: int, fps: float
) -> Bool[np.ndarray, "n"]:
  """Which frames nothing is heard in, nor in the frames beside them.

  A frame is quiet if its sound's RMS is 35 dB under the loudest frame's, or
  next to nothing. Lips move before and after a sound, hence the neighbours.
  Sound beyond the end counts as silence. The mean mouth opening over these
  frames, less the real clip's, is what a mouth that babbles would show.
  """
  step = spec.samples_per_frame(fps)
  edges = (np.arange(frames + 1) * step).round().astype(int)
  lack = max(edges[-1] - len(audio), 0)
  sound = np.pad(audio.astype(np.float64), (0, lack))
  power = np.concatenate([[0.0], (sound**2).cumsum()])
  loud = np.sqrt(np.diff(power[edges]).clip(0) / np.diff(edges))
  quiet = loud <= max(loud.max(initial=0) * 10 ** (SILENCE_DB / 20), HUSH)
  near = np.pad(quiet, 1, constant_values=True)
  return near[:-2] & near[1:-1] & near[2:]
