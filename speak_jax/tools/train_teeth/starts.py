"""What learning teeth begins with: a drawing, or nothing."""

import numpy as np
from jaxtyping import Float32

from speak_jax.photograph.teeth import (
  COLUMNS,
  LOWER_ROWS,
  LOWER_TOP,
  TEXEL,
  UPPER_ROWS,
  UPPER_TOP,
  Teeth,
)

# Of half a row, from the middle: where teeth end, and how high they are. An
# upper front tooth is some 8.5 mm wide and 10.5 mm high.
UPPER_SEAMS = (0.0, 0.092, 0.160, 0.220, 0.268, 0.305, 0.34)
LOWER_SEAMS = (0.0, 0.058, 0.122, 0.192, 0.255, 0.31, 0.35)
UPPER_HEIGHTS = (0.115, 0.095, 0.11, 0.09, 0.08, 0.07)
LOWER_HEIGHTS = (0.09, 0.09, 0.1, 0.09, 0.08, 0.07)
SHORTER = 0.008  # by which the second upper tooth ends higher
ROUND = 0.012  # by which a tooth's corners do
TOOTH, GUM = (1.0, 0.97, 0.93), (0.75, 0.45, 0.42)
SEAM, SEAM_WIDTH = 0.25, 0.18  # darkness; share of half a tooth
GUM_EDGE, EDGE = 0.006, 0.004  # widths
OPAQUE = 4.5  # logit


def painted() -> Teeth:
  """Draws teeth in gums."""
  return _start(
    _row(UPPER_ROWS, UPPER_TOP, UPPER_SEAMS, UPPER_HEIGHTS),
    _row(LOWER_ROWS, LOWER_TOP, LOWER_SEAMS, LOWER_HEIGHTS),
  )


def blank() -> Teeth:
  """Two bands of the colour of teeth, with straight edges."""
  everything = (1.0,) * len(UPPER_HEIGHTS)
  bands = (
    _row(UPPER_ROWS, UPPER_TOP, (0.0,), everything[:1]),
    _row(LOWER_ROWS, LOWER_TOP, (0.0,), everything[:1]),
  )
  return _start(*bands)


def _start(
  upper: Float32[np.ndarray, "h w 4"], lower: Float32[np.ndarray, "k w 4"]
) -> Teeth:
  """Teeth in a mouth whose light and place are a guess."""
  depths, widths = (0.55, 0.3, 0.5, 2.0), (0.03, 0.03, 0.03)
  cooler = (1.1, 1.15)
  return Teeth(
    upper,
    lower,
    np.array([0.15, 0.06, 0.06], np.float32),
    np.log(np.array(depths + widths + cooler, np.float32)),
    np.array(0.3, np.float32),
    np.array([0.63, 0.25, 1.5], np.float32),
  )


def _row(
  rows: int, top: float, seams: tuple[float, ...], heights: tuple[float, ...]
) -> Float32[np.ndarray, "rows w 4"]:
  """Draws half a row of teeth; rows whose edge is above are the lower ones."""
  across = (np.arange(COLUMNS) + 0.5) * TEXEL
  down = top + (np.arange(rows) + 0.5) * TEXEL
  u, v = np.meshgrid(across, down)
  into = -v if top == UPPER_TOP else v
  row = np.empty((rows, COLUMNS, 4), np.float32)
  row[..., :3] = TOOTH
  if len(seams) > 1:
    ends, high = np.array(seams), np.array(heights)
    which = np.searchsorted(ends, u, side="right") - 1
    which = which.clip(0, len(high) - 1)
    half = (ends[which + 1] - ends[which]) / 2
    x = (u - ends[which] - half) / half  # -1 to 1 over a tooth
    into = into - ROUND * x**4
    if top == UPPER_TOP:
      into = into - np.where(which == 1, SHORTER, 0.0)
    neck = high[which] * (1 - 0.15 * x**2)
    gum = 1 / (1 + np.exp((neck - into) / GUM_EDGE))
    seam = 1 - SEAM * np.exp(-(((1 - np.abs(x)) / SEAM_WIDTH) ** 2))
    row[..., :3] *= seam[..., None]
    row[..., :3] += gum[..., None] * (np.array(GUM) - row[..., :3])
  row[..., 3] = (into / EDGE).clip(-OPAQUE, OPAQUE)
  return row
