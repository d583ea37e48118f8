"""What each pixel of a frame shows of a mesh: attributes of its vertices.

A z-buffer in a loop of numba, on the CPU.
"""

from typing import NamedTuple, no_type_check

import numpy as np
from jaxtyping import Float, Float32, Float64, Int32, UInt8
from numba import njit

# px in the photograph between neighbours in the frame on both sides of an edge.
BROKEN = 3.0


class Rasterized(NamedTuple):
  """What the pixels of a rectangle of the frame show."""

  left: int  # px of the rectangle's first column and row
  top: int
  values: Float32[np.ndarray, "h w k"]


def rasterize(
  vertices: Float[np.ndarray, "v 3"],
  attributes: Float[np.ndarray, "v k"],
  triangles: Int32[np.ndarray, "t 3"],
  width: int,
  height: int,
) -> Rasterized:
  """Interpolates the vertices' attributes; the nearest triangle wins.

  Args:
    vertices: Where the vertices lie in the frame, px; z grows away.
    attributes: Of each; the first two are its place in the photograph, px.
    triangles: Indices of vertices.
    width, height: Of the frame, px.

  Returns:
    The least rectangle that holds all vertices' places, in the frame and in
    the photograph; empty where that is beyond the frame. Where no triangle is
    the first two are the pixel's own place, and the others 0.
  """
  places = np.concatenate([vertices[:, :2], attributes[:, :2]])
  low = np.floor(places.min(0)).astype(int).clip(0, (width, height))
  high = np.ceil(places.max(0)).astype(int) + 1
  high = high.clip(low, (width, height))
  (left, top), (right, bottom) = low.tolist(), high.tolist()
  values = np.zeros(
    (bottom - top, right - left, attributes.shape[1]), np.float32
  )
  values[..., 0] = np.arange(left, right)
  values[..., 1] = np.arange(top, bottom)[:, None]
  _fill(
    vertices - np.array([left, top, 0.0]),
    np.ascontiguousarray(attributes, np.float64),
    triangles,
    values,
    np.full(values.shape[:2], np.inf, np.float32),
  )
  return Rasterized(left, top, values)


def smooth_edges(
  frame: UInt8[np.ndarray, "h w c"], values: Float32[np.ndarray, "h w k"]
) -> None:
  """Takes the stairs from where a nearer part of the mesh hides another.

  A pixel shows one triangle alone, so the line between two is not smooth. What
  lies on it becomes the mean of 3 x 3 pixels.

  Args:
    frame: What `rasterize` found, read from the photograph; changed in place.
    values: What it found.
  """
  _smooth(frame, frame.copy(), values, BROKEN)


@njit(cache=True, nogil=True)
@no_type_check
def _smooth(
  frame: UInt8[np.ndarray, "h w c"],
  source: UInt8[np.ndarray, "h w c"],
  values: Float32[np.ndarray, "h w k"],
  broken: float,
):
  """Writes the means of source into frame where neighbours' places differ."""
  height, width = frame.shape[:2]
  for row in range(1, height - 1):
    for column in range(1, width - 1):
      x, y = values[row, column, 0], values[row, column, 1]
      apart = 0.0
      for i, k in ((-1, 0), (1, 0), (0, -1), (0, 1)):
        near = values[row + i, column + k]
        apart = max(apart, abs(near[0] - x), abs(near[1] - y))
      if apart > broken:
        for channel in range(frame.shape[2]):
          total = 0
          for i in range(-1, 2):
            for k in range(-1, 2):
              total += source[row + i, column + k, channel]
          frame[row, column, channel] = (total + 4) // 9


@njit(cache=True, nogil=True)
@no_type_check
def _fill(
  vertices: Float64[np.ndarray, "v 3"],
  attributes: Float64[np.ndarray, "v k"],
  triangles: Int32[np.ndarray, "t 3"],
  values: Float32[np.ndarray, "h w k"],
  depth: Float32[np.ndarray, "h w"],
):
  """Writes the nearest triangles' attributes into values, and their depth."""
  height, width, count = values.shape
  for t in range(triangles.shape[0]):
    a, b, c = triangles[t]
    ax, ay = vertices[a, 0], vertices[a, 1]
    bx, by = vertices[b, 0] - ax, vertices[b, 1] - ay
    cx, cy = vertices[c, 0] - ax, vertices[c, 1] - ay
    area = bx * cy - by * cx
    if abs(area) < 1e-9:
      continue
    top = max(int(np.ceil(ay + min(0.0, by, cy))), 0)
    bottom = min(int(np.floor(ay + max(0.0, by, cy))), height - 1)
    left = max(int(np.ceil(ax + min(0.0, bx, cx))), 0)
    right = min(int(np.floor(ax + max(0.0, bx, cx))), width - 1)
    for row in range(top, bottom + 1):
      v = row - ay
      for column in range(left, right + 1):
        u = column - ax
        wb = (u * cy - v * cx) / area
        wc = (bx * v - by * u) / area
        wa = 1.0 - wb - wc
        if wa < -1e-9 or wb < -1e-9 or wc < -1e-9:
          continue
        z = wa * vertices[a, 2] + wb * vertices[b, 2] + wc * vertices[c, 2]
        if z < depth[row, column]:
          depth[row, column] = z
          for k in range(count):
            values[row, column, k] = (
              wa * attributes[a, k]
              + wb * attributes[b, k]
              + wc * attributes[c, k]
            )
