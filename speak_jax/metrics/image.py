"""PSNR, SSIM and sharpness of uint8 RGB frames, one value per frame."""

import numpy as np
from jaxtyping import Bool, Float, UInt8

PSNR_CEILING = 100.0  # dB, of identical frames


def psnr(
  pred: UInt8[np.ndarray, "n h w c"],
  true: UInt8[np.ndarray, "n h w c"],
  mask: Bool[np.ndarray, "n h w"] | None = None,
) -> Float[np.ndarray, "n"]:
  """10 log10(255^2 / MSE) in dB, at most 100; inside `mask` if given."""
  error = (pred.astype(np.float64) - true) ** 2
  if mask is None:
    mse = error.mean((1, 2, 3))
  else:
    mse = (error.mean(-1) * mask).sum((1, 2)) / mask.sum((1, 2)).clip(1)
  return np.minimum(10 * np.log10(255**2 / mse.clip(1e-12)), PSNR_CEILING)


def ssim(
  pred: UInt8[np.ndarray, "n h w c"], true: UInt8[np.ndarray, "n h w c"]
) -> Float[np.ndarray, "n"]:
  """Structural similarity, 1 for identical frames.

  7x7 uniform window, sample covariance, channels averaged, L = 255: what the
  tables of this field use (scikit-image's defaults).
  """
  x, y = pred.astype(np.float64), true.astype(np.float64)
  sample = 49 / 48  # population to sample covariance
  mx, my = _window_mean(x), _window_mean(y)
  vx = sample * (_window_mean(x * x) - mx * mx)
  vy = sample * (_window_mean(y * y) - my * my)
  vxy = sample * (_window_mean(x * y) - mx * my)
  c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
  value = (2 * mx * my + c1) * (2 * vxy + c2)
  value /= (mx**2 + my**2 + c1) * (vx + vy + c2)
  return value.mean((1, 2, 3))


def gradient_energy(
  frames: UInt8[np.ndarray, "n h w c"],
  mask: Bool[np.ndarray, "n h w"] | None = None,
) -> Float[np.ndarray, "n"]:
  """Mean squared difference of neighbours, to right and below; 0 is flat.

  Divide by the real frames' to see how much detail is left. Inside `mask`
  if given.
  """
  x = frames.astype(np.float64)
  energy = ((x[:, 1:, :-1] - x[:, :-1, :-1]) ** 2).mean(-1)
  energy += ((x[:, :-1, 1:] - x[:, :-1, :-1]) ** 2).mean(-1)
  if mask is None:
    return energy.mean((1, 2))
  inside = mask[:, :-1, :-1]
  return (energy * inside).sum((1, 2)) / inside.sum((1, 2)).clip(1)


def _window_mean(
  x: Float[np.ndarray, "n h w c"], side: int = 7
) -> Float[np.ndarray, "n i j c"]:
  """Mean of every side x side window that lies wholly inside."""
  x = np.pad(x, ((0, 0), (1, 0), (1, 0), (0, 0)))
  x = x.cumsum(1).cumsum(2)
  rows = x[:, side:] - x[:, :-side]
  return (rows[:, :, side:] - rows[:, :, :-side]) / side**2
