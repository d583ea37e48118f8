"""PSNR, SSIM and sharpness of uint8 RGB frames, one value per frame.

Frame i is compared with frame i: frames that were dropped or resampled on the
way are an error, and so are frames in another range than 0 to 255.
"""

from collections.abc import Callable

import cv2
import numpy as np
from jaxtyping import Bool, Float, UInt8

from speak_jax import spec

PSNR_CEILING = 100.0  # dB, of identical frames
SIGMA, REACH = 1.5, 5  # px, of the Gaussian window: 11 x 11


def psnr(
  pred: UInt8[np.ndarray, "n h w c"],
  true: UInt8[np.ndarray, "n h w c"],
  mask: Bool[np.ndarray, "n h w"] | None = None,
) -> Float[np.ndarray, "n"]:
  """10 log10(255^2 / MSE) in dB, at most 100; inside `mask` if given.

  Raises:
    ValueError: frames that do not pair, or are not uint8.
  """
  x, y = _paired(pred, true)
  error = (x - y) ** 2
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

  Raises:
    ValueError: frames that do not pair, or are not uint8.
  """
  return _similarity(*_paired(pred, true), _window_mean, 49 / 48)


def gaussian_ssim(
  pred: UInt8[np.ndarray, "n h w c"], true: UInt8[np.ndarray, "n h w c"]
) -> Float[np.ndarray, "n"]:
  """`ssim` as first published: 11x11 Gaussian window of sigma 1.5.

  Population covariance, channels averaged. Wang et al. 2004; not what
  tables of talking heads call SSIM.

  Raises:
    ValueError: frames that do not pair, or are not uint8.
  """
  return _similarity(*_paired(pred, true), _gaussian_mean, 1.0)


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


def _paired(
  pred: np.ndarray, true: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
  """Both as float64: a difference of uint8 would wrap around."""
  if pred.shape != true.shape:
    raise ValueError(f"frames {pred.shape} against {true.shape} do not pair")
  for frames in (pred, true):
    if frames.dtype != np.uint8:
      raise ValueError(f"{frames.dtype} frames; want uint8, 0 to 255")
  return pred.astype(np.float64), true.astype(np.float64)


def _similarity(
  x: Float[np.ndarray, "n h w c"],
  y: Float[np.ndarray, "n h w c"],
  mean: Callable[[np.ndarray], np.ndarray],
  sample: float,
) -> Float[np.ndarray, "n"]:
  """SSIM with windows that `mean` averages over.

  Args:
    x: One side's frames.
    y: The other's.
    mean: Averages over every window that lies wholly inside a frame.
    sample: Factor from the windows' (co)variance to the one wanted.
  """
  c1, c2 = ((k * 255) ** 2 for k in spec.SSIM_K)

  def of(a, b):
    ma, mb = mean(a), mean(b)
    va = sample * (mean(a * a) - ma * ma)
    vb = sample * (mean(b * b) - mb * mb)
    vab = sample * (mean(a * b) - ma * mb)
    value = (2 * ma * mb + c1) * (2 * vab + c2)
    return (value / ((ma**2 + mb**2 + c1) * (va + vb + c2))).mean()

  # Frame by frame: a clip's worth of windows does not stay in the cache.
  return np.array([of(a, b) for a, b in zip(x, y, strict=True)], np.float64)


def _window_mean(
  frame: Float[np.ndarray, "h w c"], side: int = 7
) -> Float[np.ndarray, "i j ..."]:
  """Mean of every side x side window that lies wholly inside."""
  edge = side // 2
  return cv2.blur(frame, (side, side))[edge:-edge, edge:-edge]


def _gaussian_mean(
  frame: Float[np.ndarray, "h w c"],
) -> Float[np.ndarray, "i j ..."]:
  """Gaussian mean about every pixel whose window lies wholly inside."""
  side = 2 * REACH + 1
  means = cv2.GaussianBlur(frame, (side, side), SIGMA)
  return means[REACH:-REACH, REACH:-REACH]
