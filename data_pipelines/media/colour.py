"""Colours of other spaces as sRGB, which is what everything behind expects.

High dynamic range (HLG, PQ) becomes standard range: the white of paper, 203
nits of PQ and 75 % of HLG's signal (ITU-R BT.2408), becomes white; what is
brighter is rolled off; what is darker stays as it was. HLG is read as scene
light. Wide gamuts (BT.2020, P3, Adobe RGB) lose what sRGB cannot show.

The whole of it is one table from R'G'B' to R'G'B', `NODES` a side: on average
it is a level of 255 off, and costs a third of ffmpeg's `haldclut`.
"""

import functools
from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np
from jaxtyping import Float, UInt8, UInt32

# Code points of ITU-T H.273, as files have them.
BT709, UNKNOWN, GAMMA22, GAMMA28, LINEAR, PQ, HLG = 1, 2, 4, 5, 8, 16, 18
BT2020, P3_DCI, P3 = 9, 11, 12
ADOBE = 22  # in the range that H.273 leaves to everybody

_BITS = 7
NODES = 1 << _BITS
PAPER_NITS, PAPER_HLG = 203.0, 0.75  # of white paper, ITU-R BT.2408
SRGB_GAMMA = 1 / 2.2  # as PNG has it: pixels are light to this power
ALIKE = 0.05  # of gammas, by libpng; coordinates of primaries: a fifth
KNEE = 0.85  # linear light of the brightest that stays as it was

# x, y of red, green, blue and white.
_XY = {
  BT709: ((0.64, 0.33), (0.30, 0.60), (0.15, 0.06), (0.3127, 0.3290)),
  BT2020: ((0.708, 0.292), (0.170, 0.797), (0.131, 0.046), (0.3127, 0.3290)),
  P3_DCI: ((0.680, 0.320), (0.265, 0.690), (0.150, 0.060), (0.314, 0.351)),
  P3: ((0.680, 0.320), (0.265, 0.690), (0.150, 0.060), (0.3127, 0.3290)),
  ADOBE: ((0.64, 0.33), (0.21, 0.71), (0.15, 0.06), (0.3127, 0.3290)),
}


class Space(NamedTuple):
  """What a file says of its colours, as H.273's code points."""

  transfer: int
  primaries: int

  @property
  def is_hdr(self) -> bool:
    """Whether it is brighter than a screen's white."""
    return self.transfer in (PQ, HLG)

  @property
  def is_srgb(self) -> bool:
    """Whether sRGB shows it as it is (BT.601's primaries nearly agree)."""
    return not self.is_hdr and self.primaries not in (
      *(BT2020, P3_DCI, P3),
      ADOBE,
    )

  @property
  def gamma(self) -> float | None:
    """The power of light that pixels are, if far from sRGB's."""
    return {LINEAR: 1.0, GAMMA28: 1 / 2.8}.get(self.transfer)

  @property
  def name(self) -> str:
    """For people."""
    return {PQ: "HDR (PQ)", HLG: "HDR (HLG)"}.get(self.transfer, "a wide gamut")


ADOBE_RGB = Space(GAMMA22, ADOBE)


def nearest(chromaticity: Sequence[float] | None) -> Space | None:
  """The space that has these primaries: x, y of white, red, green, blue."""
  if chromaticity is None or len(chromaticity) != 8:
    return None
  white, *rgb = zip(chromaticity[::2], chromaticity[1::2], strict=True)
  there = np.array([*rgb, white])
  for primaries, xy in _XY.items():
    if np.abs(there - np.array(xy)).max() < ALIKE / 5:
      return Space(UNKNOWN, primaries)
  return None


def from_power(
  pixels: UInt8[np.ndarray, "h w 3"], gamma: float
) -> UInt8[np.ndarray, "h w 3"]:
  """SRGB of pixels that are light to a power, such as linear ones.

  A gamma near sRGB's means sRGB, and one out of reason nothing.
  """
  if abs(gamma / SRGB_GAMMA - 1) < ALIKE or not 0.1 <= gamma <= 10:
    return pixels
  light = np.linspace(0, 1, 256) ** (1 / gamma)
  return (255 * encode(light)).round().astype(np.uint8)[pixels]


def to_srgb(
  pixels: UInt8[np.ndarray, "h w 3"], space: Space
) -> UInt8[np.ndarray, "h w 3"]:
  """A picture of another space in sRGB, to the nearest entry of the table."""
  nearest = (pixels >> (8 - _BITS)).astype(np.int32)
  place = nearest[..., 0] << (2 * _BITS)
  place |= nearest[..., 1] << _BITS
  place |= nearest[..., 2]
  # Four bytes an entry: one look for all three colours.
  shown = np.take(_table(space), place).view(np.uint8)
  return cv2.cvtColor(shown.reshape(*place.shape, 4), cv2.COLOR_RGBA2RGB)


@functools.cache
def _table(space: Space) -> UInt32[np.ndarray, "t"]:
  """The sRGB pixels, as RGBA, of the middle of each cell of the space."""
  steps = (np.arange(NODES, dtype=np.float32) + 0.5) / NODES
  light = _TRANSFERS.get(space.transfer, decode)(steps)
  columns = _to_linear_srgb(space).astype(np.float32)
  # A matrix times (r, g, b) is a sum of three columns: one a colour.
  red, green, blue = (
    (light[:, None] * columns[:, i]).astype(np.float32) for i in range(3)
  )
  mixed = red[:, None, None] + green[:, None] + blue
  mixed = np.maximum(mixed, 0, out=mixed)
  if space.is_hdr:
    # All three by the brightest, so that the hue stays.
    peak = np.maximum(mixed.max(-1), 1e-9)
    rolled = KNEE + (1 - KNEE) * -np.expm1((KNEE - peak) / (1 - KNEE))
    mixed *= (np.where(peak > KNEE, rolled, peak) / peak)[..., None]
  # As fine as 8 bits need it: a step is .4 of one where sRGB is steepest.
  fine = 255 * encode(np.linspace(0, 1, 8192))
  place = (np.minimum(mixed, 1) * 8191 + 0.5).astype(np.int16)
  table = np.full((*mixed.shape[:3], 4), 255, np.uint8)
  table[..., :3] = fine.round().astype(np.uint8)[place]
  return table.view(np.uint32).reshape(-1)


def _to_linear_srgb(space: Space) -> Float[np.ndarray, "3 3"]:
  """Linear light of a space to linear sRGB."""
  primaries = space.primaries if space.primaries in _XY else BT709
  return np.linalg.inv(_to_xyz(BT709)) @ _to_xyz(primaries)


def decode(encoded: Float[np.ndarray, "*n"]) -> Float[np.ndarray, "*n"]:
  """SRGB's linear light."""
  low = encoded / 12.92
  return np.where(encoded <= 0.04045, low, ((encoded + 0.055) / 1.055) ** 2.4)


def encode(light: Float[np.ndarray, "*n"]) -> Float[np.ndarray, "*n"]:
  """The inverse of `decode`."""
  high = 1.055 * np.maximum(light, 1e-9) ** (1 / 2.4) - 0.055
  return np.where(light <= 0.0031308, light * 12.92, high)


def decode_hlg(encoded: Float[np.ndarray, "*n"]) -> Float[np.ndarray, "*n"]:
  """HLG's scene light, 1 for white paper (ITU-R BT.2100, table 5)."""

  def scene(e):
    high = (np.exp((e - 0.55991073) / 0.17883277) + 0.28466892) / 12
    return np.where(e <= 0.5, e * e / 3, high)

  return scene(encoded) / scene(PAPER_HLG)


def decode_pq(encoded: Float[np.ndarray, "*n"]) -> Float[np.ndarray, "*n"]:
  """PQ's light, 1 for white paper (ITU-R BT.2100, table 4)."""
  power = encoded ** (32 / 2523)
  low = np.maximum(power - 3424 / 4096, 0)
  nits = 10_000 * (low / (2413 / 128 - 2392 / 128 * power)) ** (8192 / 1305)
  return nits / PAPER_NITS


_TRANSFERS = {
  PQ: decode_pq,
  HLG: decode_hlg,
  GAMMA22: lambda encoded: encoded**2.2,
}


@functools.cache
def _to_xyz(primaries: int) -> Float[np.ndarray, "3 3"]:
  """Linear RGB to CIE XYZ."""
  *rgb, white = (
    np.array([x / y, 1, (1 - x - y) / y]) for x, y in _XY[primaries]
  )
  matrix = np.stack(rgb, 1)
  return matrix * np.linalg.solve(matrix, white)
