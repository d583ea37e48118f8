"""Irises and lids of a face: MediaPipe's iris network in the box of each eye.

Left and right are in the picture. Coordinates are px of it, with integers at
pixel centres.
"""

import os
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from jaxtyping import Bool, Float, Float32, UInt8

from data_pipelines.faces import topology
from data_pipelines.faces.nets import IRIS, Network, checked, models_dir
from data_pipelines.media.warp import transform, warp
from speak_jax import spec

CORNERS = np.array([[33, 133], [362, 263]])  # of each eye, left and right
LOOPS = np.stack([topology.LEFT_EYE, topology.RIGHT_EYE])
_PX, _WIDE = 64, 2.3  # side of the network's input, and that over the eye's
# The network's own order, from the inner corner along the lower lid to the
# outer one, then the upper lid from there on inward of the points between.
_INWARD = [133, 155, 154, 153, 145, 144, 163, 7, 33,
           173, 157, 158, 159, 160, 161, 246]  # fmt: skip
_ORDERS = (
  [_INWARD.index(i) for i in topology.LEFT_EYE],
  [_INWARD.index(i) for i in topology.MIRROR[topology.RIGHT_EYE]],
)

# What is taken for an eye. An iris is 0.2 of its eye wide on each side.
LEAST_PX = 10  # between an eye's corners
RADIUS = (0.11, 0.30)  # over that distance
OPEN = 0.12  # of it between the lids; less hides the iris
CONTRAST = 1.1  # of what surrounds an iris over it; dark glasses have none
ASIDE = 0.45  # of the distance: how far an iris is from the middle at most


class Eyes(NamedTuple):
  """Both eyes of a face."""

  irises: Float32[np.ndarray, "2 2"]  # their centres
  radii: Float32[np.ndarray, "2"]
  lids: Float32[np.ndarray, "2 16 2"]  # edges of the openings, as `LOOPS`


class EyeReader:
  """Finds irises and lids where FaceMesh has found a face."""

  def __init__(self, models: str | os.PathLike | None = None):
    """Loads the network from a folder, by default `nets.models_dir()`.

    Raises:
      MissingModelError: says how to fetch it.
    """
    folder = models_dir() if models is None else Path(models)
    self._net = Network(checked(folder / IRIS))

  def __call__(
    self,
    frame: UInt8[np.ndarray, "h w 3"],
    mesh: Float[np.ndarray, "468 3"],
  ) -> Eyes:
    """Finds them, whatever there is to be seen.

    Args:
      frame: RGB.
      mesh: FaceMesh's points in it, px.
    """
    irises, radii, lids = [], [], []
    for side, corners in enumerate(CORNERS):
      matrix = _square(mesh[corners, :2], mirrored=side == 0)
      crop = _cut(frame, matrix)
      contour, iris = self._net(crop.astype(np.float32) / 255)
      inverse = cv2.invertAffineTransform(matrix)
      contour, iris = (
        transform(points.reshape(-1, 3)[:, :2] - 0.5, inverse)
        for points in (contour, iris)
      )
      irises.append(iris[0])
      radii.append(np.linalg.norm(iris[1:] - iris[0], axis=1).mean())
      lids.append(contour[_ORDERS[side]])
    return Eyes(
      *(np.stack(x).astype(np.float32) for x in (irises, radii, lids))
    )


def readable(
  frame: UInt8[np.ndarray, "h w 3"],
  mesh: Float[np.ndarray, "468 3"],
  eyes: Eyes,
  least: float = LEAST_PX,
) -> Bool[np.ndarray, "2"]:
  """Says of each eye whether it is open, and shows an iris.

  Args:
    frame: RGB.
    mesh: FaceMesh's points in it, px.
    eyes: What `EyeReader` has found there.
    least: px between an eye's corners.
  """
  return np.array(
    [_is_readable(frame, mesh, eyes, side, least) for side in (0, 1)]
  )


def gaps(eyes: Eyes) -> Float[np.ndarray, "2"]:
  """Measures how far the lids of each eye are apart, px."""
  apart = eyes.lids[:, 1:8] - eyes.lids[:, :8:-1]
  return np.linalg.norm(apart, axis=-1).max(1)


def refined(
  mesh: Float[np.ndarray, "468 3"], eyes: Eyes, seen: Bool[np.ndarray, "2"]
) -> Float[np.ndarray, "468 3"]:
  """Puts FaceMesh's lids where the iris network sees them; corners stay.

  Args:
    mesh: FaceMesh's points, px.
    eyes: Of the same picture.
    seen: Which of them are `readable`; the others stay.
  """
  mesh = mesh.copy()
  for side in np.flatnonzero(seen):
    between = ~np.isin(LOOPS[side], CORNERS[side])
    mesh[LOOPS[side][between], :2] = eyes.lids[side][between]
  return mesh


def _square(
  corners: Float[np.ndarray, "2 2"], mirrored: bool
) -> Float[np.ndarray, "2 3"]:
  """Picture to the network's input, which shows a right eye, upright."""
  across = corners[1] - corners[0]
  wide = max(float(np.hypot(*across)), 1.0)
  cos, sin = _PX / (_WIDE * wide) * across / wide
  linear = np.array([[cos, sin], [-sin, cos]])
  if mirrored:
    linear[0] *= -1
  shift = (_PX - 1) / 2 - linear @ corners.mean(0)
  return np.concatenate([linear, shift[:, None]], 1)


def _cut(
  frame: UInt8[np.ndarray, "h w 3"], matrix: Float[np.ndarray, "2 3"]
) -> UInt8[np.ndarray, "s s 3"]:
  """Cuts the network's input; of a large picture only that part is read."""
  edge = np.array([[-1, -1], [-1, _PX], [_PX, -1], [_PX, _PX]], np.float32)
  there = transform(edge, cv2.invertAffineTransform(matrix))
  limit = np.array(frame.shape[1::-1]) - 1
  low = np.floor(there.min(0)).astype(int).clip(0, limit)
  high = np.ceil(there.max(0)).astype(int).clip(0, limit) + 1
  part = frame[low[1] : high[1], low[0] : high[0]]
  shift = matrix[:, 2] + matrix[:, :2] @ low
  return warp(part, np.column_stack([matrix[:, :2], shift]), _PX)


def _is_readable(
  frame: UInt8[np.ndarray, "h w 3"],
  mesh: Float[np.ndarray, "468 3"],
  eyes: Eyes,
  side: int,
  least: float,
) -> bool:
  """`readable` of one eye."""
  left, right = mesh[CORNERS[side], :2].astype(np.float64)
  wide = float(np.linalg.norm(right - left))
  if wide < least:
    return False
  lids, iris, radius = (x[side] for x in (eyes.lids, eyes.irises, eyes.radii))
  off = (iris - (left + right) / 2) / wide
  if not (
    RADIUS[0] <= radius / wide <= RADIUS[1]
    and gaps(eyes)[side] >= OPEN * wide
    and np.hypot(*off) <= ASIDE
  ):
    return False
  low = np.floor(lids.min(0)).astype(int).clip(0)
  high = np.ceil(lids.max(0)).astype(int) + 1
  patch = frame[low[1] : high[1], low[0] : high[0]]
  inside = np.zeros(patch.shape[:2], np.uint8)
  if not patch.size:
    return False
  cv2.fillPoly(inside, [(lids - low).round().astype(np.int32)], 1)
  rows, columns = np.indices(inside.shape)
  away = np.hypot(*(np.stack([columns, rows]).T + low - iris).T) / radius
  luma = patch @ spec.LUMA
  within = luma[(inside > 0) & (away < 0.8)]
  around = luma[(inside > 0) & (away > 1.2)]
  if not within.size or not around.size:
    return False
  bright = np.quantile(around, 0.75)
  return bool(bright + 1 > CONTRAST * (np.median(within) + 1))
