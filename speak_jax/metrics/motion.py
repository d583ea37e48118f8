"""What only shows from frame to frame: jitter, flicker, blur that grows."""

import numpy as np
from jaxtyping import Float, UInt8

from speak_jax import spec
from speak_jax.metrics import image


def jitter(
  landmarks: Float[np.ndarray, "n 68 2"], fps: float
) -> Float[np.ndarray, "m"]:
  """Mean length of the points' acceleration, m = n - 2 values.

  In eye distances per second squared, the clip's own mean eye distance, so
  that neither the picture's size nor the frame rate matters; 0 for points
  that rest or move evenly. NaN where one of three frames has no face. Read
  it against the real clip's.
  """
  eyes = np.nanmean(spec.interocular(landmarks))
  bend = landmarks[2:] - 2 * landmarks[1:-1] + landmarks[:-2]
  return np.linalg.norm(bend, axis=-1).mean(-1) / eyes * fps**2


def flicker(
  frames: UInt8[np.ndarray, "n h w c"],
) -> Float[np.ndarray, "m"]:
  """Mean |x[t+1] - 2 x[t] + x[t-1]| over pixels, 0 to 510, m = n - 2 values.

  0 for a still picture and for one that fades evenly.
  """
  x = frames.astype(np.int16)
  return np.abs(x[2:] - 2 * x[1:-1] + x[:-2]).mean((1, 2, 3))


def sharpness(
  pred: UInt8[np.ndarray, "n h w c"], true: UInt8[np.ndarray, "n h w c"]
) -> Float[np.ndarray, "n"]:
  """Natural log of each frame's gradient energy over the real frame's.

  0 is as sharp as the truth. `sums.slope_row` of it tells whether a clip
  blurs as it goes on.
  """
  ours, theirs = image.gradient_energy(pred), image.gradient_energy(true)
  return np.log(ours.clip(1e-6)) - np.log(theirs.clip(1e-6))
