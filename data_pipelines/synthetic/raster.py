"""The picture loop: vertices to pixels, one z-buffer, textured Gouraud.

Everything here is numba on plain arrays, and in one file: numba compiles a
function anew when its own file changes, not when the file of one that it calls
does. Axes: x to the picture's right, y up, z to the camera; one unit is about
9.5 cm.
"""

from typing import NamedTuple, no_type_check

import numpy as np
from jaxtyping import Float32, Int8, Int32, UInt8
from numba import njit


@njit(cache=True, fastmath=True, nogil=True)
@no_type_check
def transform(
  points: Float32[np.ndarray, "v 3"],
  weight: Float32[np.ndarray, "v"],
  rotation: Float32[np.ndarray, "3 3"],
  torso: Float32[np.ndarray, "3 3"],
  pivot: Float32[np.ndarray, "3"],
  out: Float32[np.ndarray, "v 3"],
):
  """Turns vertices by a blend of the head's and the torso's rotation."""
  for i in range(points.shape[0]):
    w = weight[i]
    x = points[i, 0] - pivot[0]
    y = points[i, 1] - pivot[1]
    z = points[i, 2] - pivot[2]
    for k in range(3):
      a = rotation[k, 0] * x + rotation[k, 1] * y + rotation[k, 2] * z
      b = torso[k, 0] * x + torso[k, 1] * y + torso[k, 2] * z
      out[i, k] = a * w + b * (1 - w) + pivot[k]


@njit(cache=True, fastmath=True, nogil=True)
@no_type_check
def normals(
  points: Float32[np.ndarray, "v 3"],
  triangles: Int32[np.ndarray, "t 3"],
  out: Float32[np.ndarray, "v 3"],
):
  """Area-weighted vertex normals, unit length."""
  for i in range(out.shape[0]):
    out[i, 0] = 0.0
    out[i, 1] = 0.0
    out[i, 2] = 0.0
  for t in range(triangles.shape[0]):
    a = triangles[t, 0]
    b = triangles[t, 1]
    c = triangles[t, 2]
    ux = points[b, 0] - points[a, 0]
    uy = points[b, 1] - points[a, 1]
    uz = points[b, 2] - points[a, 2]
    vx = points[c, 0] - points[a, 0]
    vy = points[c, 1] - points[a, 1]
    vz = points[c, 2] - points[a, 2]
    nx = uy * vz - uz * vy
    ny = uz * vx - ux * vz
    nz = ux * vy - uy * vx
    for j in (a, b, c):
      out[j, 0] += nx
      out[j, 1] += ny
      out[j, 2] += nz
  for i in range(out.shape[0]):
    length = np.sqrt(
      out[i, 0] * out[i, 0] + out[i, 1] * out[i, 1] + out[i, 2] * out[i, 2]
    )
    scale = 1.0 / (length + 1e-9)
    out[i, 0] *= scale
    out[i, 1] *= scale
    out[i, 2] *= scale


@njit(cache=True, fastmath=True, nogil=True)
@no_type_check
def shade(
  points: Float32[np.ndarray, "v 3"],
  normal: Float32[np.ndarray, "v 3"],
  albedo: Float32[np.ndarray, "v"],
  material: Float32[np.ndarray, "v 3"],
  both: Int8[np.ndarray, "v"],
  key: Float32[np.ndarray, "3"],
  colours: Float32[np.ndarray, "3 3"],
  out: Float32[np.ndarray, "v 4"],
):
  """Light of every vertex: RGB factor and an added highlight.

  Args:
    points: Turned vertices.
    normal: Their unit normals.
    albedo: Occlusion factor of each vertex.
    material: Wrap of the light, highlight strength, sharpness.
    both: Nonzero where a surface shows its two sides.
    key: Direction to the main light, unit.
    colours: Ambient, key and rim light.
    out: RGB factor and highlight.
  """
  hx = key[0]
  hy = key[1]
  hz = key[2] + 1.0
  length = np.sqrt(hx * hx + hy * hy + hz * hz)
  hx /= length
  hy /= length
  hz /= length
  for i in range(points.shape[0]):
    nx = normal[i, 0]
    ny = normal[i, 1]
    nz = normal[i, 2]
    if both[i] != 0 and nz < 0:
      nx, ny, nz = -nx * 0.6, -ny * 0.6, -nz * 0.6
    lit = nx * key[0] + ny * key[1] + nz * key[2]
    wrap = material[i, 0]
    sky = 0.80 + 0.20 * ny
    edge = 1.0 - nz
    if edge < 0:
      edge = 0.0
    rim = edge * edge * edge
    side = -nx * key[0] * 0.5 + 0.5
    for k in range(3):
      # Red light goes further round an edge: skin is a little translucent.
      wide = wrap * (1.25 - 0.25 * k)
      d = (lit + wide) / (1.0 + wide)
      if d < 0:
        d = 0.0
      value = colours[0, k] * sky + colours[1, k] * d
      value += colours[2, k] * rim * side
      out[i, k] = value * albedo[i]
    shine = nx * hx + ny * hy + nz * hz
    if shine > 0 and material[i, 1] > 0:
      out[i, 3] = 255.0 * material[i, 1] * shine ** material[i, 2] * albedo[i]
    else:
      out[i, 3] = 0.0


@njit(cache=True, fastmath=True, nogil=True)
@no_type_check
def project(
  points: Float32[np.ndarray, "v 3"],
  camera: Float32[np.ndarray, "3"],
  distance: np.float32,
  factor: int,
):
  """Turns x and y of vertices into pixels, in place; z stays.

  Args:
    points: Turned vertices.
    camera: x, y of the head's origin and the scale, in the picture's pixels.
    distance: Of the camera, head units.
    factor: Supersampling: a pixel of the picture is so many across.
  """
  for j in range(points.shape[0]):
    near = camera[2] * distance / (distance - points[j, 2])
    points[j, 0] = factor * (camera[0] + points[j, 0] * near)
    points[j, 1] = factor * (camera[1] - points[j, 1] * near)


@njit(cache=True, fastmath=True, nogil=True, inline="always")
@no_type_check
def _covered(a, b, c, size):
  """First and last pixel of an axis whose middles lie within a triangle."""
  low = int(np.ceil(min(a, b, c) - 0.5))
  high = int(np.floor(max(a, b, c) - 0.5))
  return max(low, 0), min(high, size - 1)


@njit(cache=True, fastmath=True, nogil=True, inline="always")
@no_type_check
def _clamped(value, last):
  """A place on the atlas, kept so far within it that a texel follows."""
  if value < 0:
    value = 0.0
  elif value > last:
    value = float(last)
  return value


@njit(cache=True, fastmath=True, nogil=True, inline="always")
@no_type_check
def _bilinear(atlas, row, column, channel, weights):
  """A channel of the atlas between four texels."""
  return (
    weights[0] * atlas[row, column, channel]
    + weights[1] * atlas[row, column + 1, channel]
    + weights[2] * atlas[row + 1, column, channel]
    + weights[3] * atlas[row + 1, column + 1, channel]
  )


@njit(cache=True, fastmath=True, nogil=True, inline="always")
@no_type_check
def _blend(image, y, x, atlas, u, v, light, corners, shares):
  """Blends the atlas at (u, v) into pixel (x, y); returns its cover.

  Args:
    image: Float RGB.
    y: Row of the pixel.
    x: Column of the pixel.
    atlas: Colour and cover.
    u: Column in the atlas.
    v: Row in the atlas.
    light: RGB factor and highlight of every vertex.
    corners: Numbers of the triangle's vertices a, b, c.
    shares: Barycentric weights of b and c.
  """
  a, b, c = corners
  wb, wc = shares
  iu = int(u)
  iv = int(v)
  fu = u - iu
  fv = v - iv
  weights = ((1 - fu) * (1 - fv), fu * (1 - fv), (1 - fu) * fv, fu * fv)
  cover = _bilinear(atlas, iv, iu, 3, weights) * (1 / 255.0)
  if cover > 0.01:
    wa = 1 - wb - wc
    shine = wa * light[a, 3] + wb * light[b, 3] + wc * light[c, 3]
    for k in range(3):
      colour = _bilinear(atlas, iv, iu, k, weights)
      lit = wa * light[a, k] + wb * light[b, k] + wc * light[c, k]
      value = colour * lit + shine
      if cover > 0.99:
        image[y, x, k] = value
      else:
        old = image[y, x, k]
        image[y, x, k] = old + cover * (value - old)
  return cover


@njit(cache=True, fastmath=True, nogil=True)
@no_type_check
def draw(
  screen: Float32[np.ndarray, "v 3"],
  light: Float32[np.ndarray, "v 4"],
  uv: Float32[np.ndarray, "v 2"],
  triangles: Int32[np.ndarray, "t 3"],
  bias: Float32[np.ndarray, "t"],
  sided: Int8[np.ndarray, "t"],
  atlas: UInt8[np.ndarray, "h w 4"],
  image: Float32[np.ndarray, "s s 3"],
  depth: Float32[np.ndarray, "s s"],
):
  """Draws triangles in order into `image` (float RGB), testing `depth`.

  Args:
    screen: x, y in pixels of `image`, z towards the camera.
    light: From `shade`.
    uv: Atlas pixel of each vertex.
    triangles: Indices; later ones blend over earlier ones.
    bias: How far behind the buffer a triangle still shows.
    sided: Nonzero: drawn from behind as well.
    atlas: Colour and cover.
    image: Holds the background at first.
    depth: Very negative at first.
  """
  size_y = image.shape[0]
  size_x = image.shape[1]
  atlas_h = atlas.shape[0] - 2
  atlas_w = atlas.shape[1] - 2
  for t in range(triangles.shape[0]):
    a = triangles[t, 0]
    b = triangles[t, 1]
    c = triangles[t, 2]
    ax, ay, az = screen[a, 0], screen[a, 1], screen[a, 2]
    bx, by = screen[b, 0], screen[b, 1]
    cx, cy = screen[c, 0], screen[c, 1]
    area = (bx - ax) * (cy - ay) - (by - ay) * (cx - ax)
    # y points down here, so a front face has negative area.
    if area > -1e-7 and (sided[t] == 0 or area < 1e-7):
      continue
    low_x, high_x = _covered(ax, bx, cx, size_x)
    low_y, high_y = _covered(ay, by, cy, size_y)
    if low_x > high_x or low_y > high_y:
      continue
    inverse = 1.0 / area
    # Barycentric weights are affine in the pixel; step them.
    step_bx = (cy - ay) * inverse
    step_by = -(cx - ax) * inverse
    step_cx = -(by - ay) * inverse
    step_cy = (bx - ax) * inverse
    px = low_x + 0.5 - ax
    py = low_y + 0.5 - ay
    row_b = px * step_bx + py * step_by
    row_c = px * step_cx + py * step_cy
    dbz = screen[b, 2] - az
    dcz = screen[c, 2] - az
    u0 = uv[a, 0]
    dbu = uv[b, 0] - u0
    dcu = uv[c, 0] - u0
    v0 = uv[a, 1]
    dbv = uv[b, 1] - v0
    dcv = uv[c, 1] - v0
    offset = bias[t]
    for y in range(low_y, high_y + 1):
      wb = row_b
      wc = row_c
      for x in range(low_x, high_x + 1):
        if wb >= 0 and wc >= 0 and wb + wc <= 1:
          z = az + wb * dbz + wc * dcz
          if z + offset > depth[y, x]:
            u = _clamped(u0 + wb * dbu + wc * dcu, atlas_w)
            v = _clamped(v0 + wb * dbv + wc * dcv, atlas_h)
            cover = _blend(image, y, x, atlas, u, v, light, (a, b, c), (wb, wc))
            if cover > 0.5 and z > depth[y, x]:
              depth[y, x] = z
        wb += step_bx
        wc += step_cx
      row_b += step_by
      row_c += step_cy


@njit(cache=True, fastmath=True, nogil=True)
@no_type_check
def spread(
  background: Float32[np.ndarray, "h w 3"],
  factor: int,
  image: Float32[np.ndarray, "s s 3"],
  depth: Float32[np.ndarray, "s s"],
):
  """Fills the enlarged buffers with the background and no depth."""
  for y in range(image.shape[0]):
    for x in range(image.shape[1]):
      depth[y, x] = -1e9
      for k in range(3):
        image[y, x, k] = background[y // factor, x // factor, k]


@njit(cache=True, fastmath=True, nogil=True)
@no_type_check
def shrink(
  image: Float32[np.ndarray, "s s 3"],
  factor: int,
  out: UInt8[np.ndarray, "h w 3"],
):
  """Box average down to `out`, uint8, with soft shoulders at the top."""
  scale = 1.0 / (factor * factor)
  for y in range(out.shape[0]):
    for x in range(out.shape[1]):
      for k in range(3):
        total = 0.0
        for j in range(factor):
          for i in range(factor):
            value = image[y * factor + j, x * factor + i, k]
            if value > 200.0:
              value = 200.0 + 55.0 * (1 - np.exp(-(value - 200.0) / 55.0))
            total += value
        out[y, x, k] = np.uint8(min(max(total * scale + 0.5, 0.0), 255.0))


@njit(cache=True, fastmath=True, nogil=True)
@no_type_check
def displace(
  still: Float32[np.ndarray, "m 3"],
  albedo: Float32[np.ndarray, "m"],
  fields: Float32[np.ndarray, "k m 3"],
  channels: Float32[np.ndarray, "k"],
  folds: Float32[np.ndarray, "f m"],
  depths: Float32[np.ndarray, "f"],
  points: Float32[np.ndarray, "m 3"],
  tone: Float32[np.ndarray, "m"],
):
  """Adds the expression's displacement to the skin and darkens its folds.

  Not a matrix product: its bits would depend on the number of threads.
  """
  m = still.shape[0]
  for i in range(m):
    for c in range(3):
      points[i, c] = still[i, c]
    tone[i] = 0.0
  for k in range(channels.shape[0]):
    weight = channels[k]
    if weight != 0:
      for i in range(m):
        for c in range(3):
          points[i, c] += weight * fields[k, i, c]
  for k in range(depths.shape[0]):
    weight = depths[k]
    if weight > 0:
      for i in range(m):
        tone[i] += weight * folds[k, i]
  for i in range(m):
    tone[i] = albedo[i] * (1.0 - min(tone[i], np.float32(0.6)))


class Mesh(NamedTuple):
  """All vertices of one person: v that no frame changes, then p of patches.

  The m vertices from `first_moving` on move and darken with the expression.
  """

  still: Float32[np.ndarray, "v 3"]
  first_moving: int
  fields: Float32[np.ndarray, "k m 3"]  # displacement by each channel
  folds: Float32[np.ndarray, "f m"]  # darkening by each fold
  albedo: Float32[np.ndarray, "v"]
  uv: Float32[np.ndarray, "v 2"]
  weight: Float32[np.ndarray, "v+p"]  # 1 turns with the head, 0 with the torso
  material: Float32[np.ndarray, "v+p 3"]
  both: Int8[np.ndarray, "v+p"]  # nonzero: lit on both sides
  triangles: Int32[np.ndarray, "t 3"]
  bias: Float32[np.ndarray, "t"]
  sided: Int8[np.ndarray, "t"]
  atlas: UInt8[np.ndarray, "h w 4"]
  marks: Int32[np.ndarray, "k"]  # vertices whose places are wanted


class Motion(NamedTuple):
  """What moves, one row a picture."""

  channels: Float32[np.ndarray, "n k"]  # of `Mesh.fields`
  depths: Float32[np.ndarray, "n f"]  # of `Mesh.folds`
  patches: Float32[np.ndarray, "n p 3"]  # vertices
  patch_albedo: Float32[np.ndarray, "n p"]
  patch_uv: Float32[np.ndarray, "n p 2"]
  rotation: Float32[np.ndarray, "n 3 3"]  # of the head
  torso: Float32[np.ndarray, "n 3 3"]
  pivot: Float32[np.ndarray, "3"]  # about which both turn


class View(NamedTuple):
  """Camera, light and room."""

  camera: Float32[np.ndarray, "n 3"]  # x, y of the head's origin; scale; px
  key: Float32[np.ndarray, "n 3"]  # direction to the key light
  colours: Float32[np.ndarray, "n 3 3"]
  background: Float32[np.ndarray, "b h w 3"]  # 1, or one a picture
  distance: np.float32  # of the camera, head units
  factor: int  # supersampling


class _Buffers(NamedTuple):
  """What is written anew for every picture; v + p vertices."""

  points: Float32[np.ndarray, "v+p 3"]
  turned: Float32[np.ndarray, "v+p 3"]
  normal: Float32[np.ndarray, "v+p 3"]
  light: Float32[np.ndarray, "v+p 4"]
  tone: Float32[np.ndarray, "v+p"]
  place: Float32[np.ndarray, "v+p 2"]  # on the atlas, in its pixels
  image: Float32[np.ndarray, "s s 3"]  # supersampled
  depth: Float32[np.ndarray, "s s"]


@njit(cache=True, fastmath=True, nogil=True)
@no_type_check
def _new_buffers(mesh: Mesh, patches: int, side: int):
  """Buffers for so many vertices of patches and pixels of a side."""
  plain = mesh.still.shape[0]
  v = plain + patches
  buffers = _Buffers(
    np.empty((v, 3), np.float32),
    np.empty((v, 3), np.float32),
    np.empty((v, 3), np.float32),
    np.empty((v, 4), np.float32),
    np.empty(v, np.float32),
    np.empty((v, 2), np.float32),
    np.empty((side, side, 3), np.float32),
    np.empty((side, side), np.float32),
  )
  buffers.points[:plain] = mesh.still
  buffers.place[:plain] = mesh.uv
  buffers.tone[:plain] = mesh.albedo
  return buffers


@njit(cache=True, fastmath=True, nogil=True)
@no_type_check
def _move(mesh: Mesh, motion: Motion, i: int, buffers: _Buffers):
  """Skin, patches and head as picture i has them, and their normals."""
  plain = mesh.still.shape[0]
  first = mesh.first_moving
  end = first + mesh.folds.shape[1]
  displace(
    mesh.still[first:end],
    mesh.albedo[first:end],
    mesh.fields,
    motion.channels[i],
    mesh.folds,
    motion.depths[i],
    buffers.points[first:end],
    buffers.tone[first:end],
  )
  buffers.points[plain:] = motion.patches[i]
  buffers.tone[plain:] = motion.patch_albedo[i]
  buffers.place[plain:] = motion.patch_uv[i]
  transform(
    buffers.points,
    mesh.weight,
    motion.rotation[i],
    motion.torso[i],
    motion.pivot,
    buffers.turned,
  )
  normals(buffers.turned, mesh.triangles, buffers.normal)


@njit(cache=True, fastmath=True, nogil=True)
@no_type_check
def frames(
  mesh: Mesh,
  motion: Motion,
  view: View,
  marked: Float32[np.ndarray, "n k 2"],
  out: UInt8[np.ndarray, "n h w 3"],
):
  """Draws n pictures of one person.

  Args:
    mesh: The person.
    motion: One row a picture.
    view: Camera, light and room.
    marked: Receives the places of `mesh.marks`, in pixels with the picture's
      corner at (0, 0).
    out: Receives the pictures.
  """
  size = out.shape[1] * view.factor
  buffers = _new_buffers(mesh, motion.patches.shape[1], size)
  for i in range(out.shape[0]):
    _move(mesh, motion, i, buffers)
    shade(
      buffers.turned,
      buffers.normal,
      buffers.tone,
      mesh.material,
      mesh.both,
      view.key[i],
      view.colours[i],
      buffers.light,
    )
    project(buffers.turned, view.camera[i], view.distance, view.factor)
    for j in range(mesh.marks.shape[0]):
      marked[i, j, 0] = buffers.turned[mesh.marks[j], 0] / view.factor
      marked[i, j, 1] = buffers.turned[mesh.marks[j], 1] / view.factor
    background = view.background[i % view.background.shape[0]]
    spread(background, view.factor, buffers.image, buffers.depth)
    draw(
      buffers.turned,
      buffers.light,
      buffers.place,
      mesh.triangles,
      mesh.bias,
      mesh.sided,
      mesh.atlas,
      buffers.image,
      buffers.depth,
    )
    shrink(buffers.image, view.factor, out[i])
