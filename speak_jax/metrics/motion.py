"""What only shows from frame to frame: jitter, speed, flicker, growing blur."""

import numpy as np
from jaxtyping import Float, UInt8

from speak_jax import spec


def jitter(
  landmarks: Float[np.ndarray, "n 68 2"], fps: float
) -> Float[np.ndarray, "m"]:
  """Mean length of the points' acceleration, m = n - 2 values.

  In eye distances per second squared, the clip's own mean eye distance, so
  that neither the picture's size nor the frame rate matters; 0 for points
  that rest or move evenly. NaN where one of three frames has no face. Read
  it against the real clip's.
  """
  bend = landmarks[2:] - 2 * landmarks[1:-1] + landmarks[:-2]
  return _length(bend, landmarks) * fps**2


def head_speed(
  landmarks: Float[np.ndarray, "n 68 2"], fps: float
) -> Float[np.ndarray, "m"]:
  """Mean length of the points' velocity, m = n - 1 values.

  In eye distances per second, as `jitter` has them; NaN where one of two
  frames has no face. A head that does not move has 0.
  """
  return _length(np.diff(landmarks, axis=0), landmarks) * fps


def lip_speed(
  landmarks: Float[np.ndarray, "n 68 2"], fps: float
) -> Float[np.ndarray, "m"]:
  """`head_speed` of the mouth's points about their own mean, frame by frame.

  Lips that keep their shape have 0, however the head moves to and fro.
  """
  lips = landmarks[:, spec.MOUTH]
  lips = lips - lips.mean(1, keepdims=True)
  return _length(np.diff(lips, axis=0), landmarks) * fps


def flicker(
  frames: UInt8[np.ndarray, "n h w c"],
) -> Float[np.ndarray, "m"]:
  """Mean |x[t+1] - 2 x[t] + x[t-1]| over pixels, 0 to 510, m = n - 2 values.

  0 for a still picture and for one that fades evenly.
  """
  x = frames.astype(np.int16)
  return np.abs(x[2:] - 2 * x[1:-1] + x[:-2]).mean((1, 2, 3))


def sharpness(
  pred: Float[np.ndarray, "n"], true: Float[np.ndarray, "n"]
) -> Float[np.ndarray, "n"]:
  """Natural log of each frame's gradient energy over the real frame's.

  0 is as sharp as the truth. `sums.slope_row` of it tells whether a clip
  blurs as it goes on.

  Args:
    pred: `image.gradient_energy` of the generated frames.
    true: The same of the real frames.
  """
  return np.log(pred.clip(1e-6)) - np.log(true.clip(1e-6))


def _length(
  vectors: Float[np.ndarray, "m k 2"], landmarks: Float[np.ndarray, "n 68 2"]
) -> Float[np.ndarray, "m"]:
  """Mean length, in eye distances of the clip."""
  eyes = np.nanmean(spec.interocular(landmarks)).clip(1e-3)
  return np.linalg.norm(vectors, axis=-1).mean(-1) / eyes
