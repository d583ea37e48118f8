"""What each pixel of a frame shows of a mesh: attributes of its vertices.

A z-buffer in a loop of numba, on the CPU.
"""

from typing import NamedTuple, no_type_check

import numpy as np
from jaxtyping import Float, Float32, Float64, Int32
from numba import njit


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
