"""StyleGAN's way to resize, one step after the other."""

import numpy as np


def upfirdn(x, up=1, down=1, pad=(0, 0), gain=1.0):
  """Zeros between the pixels, padding, [1, 3, 3, 1]^2, every `down`th."""
  taps = np.array([1, 3, 3, 1]) / 8 * gain**0.5
  x = np.asarray(x, np.float64)
  for axis in (1, 2):
    shape = list(x.shape)
    shape[axis] *= up
    wide = np.zeros(shape)
    wide[(slice(None),) * axis + (slice(None, None, up),)] = x
    margin = [(0, 0)] * 4
    margin[axis] = pad
    lines = np.pad(wide, margin)
    x = np.apply_along_axis(np.convolve, axis, lines, taps, "valid")
    x = x[(slice(None),) * axis + (slice(None, None, down),)]
  return x
