"""A textured mesh on the device: which point of the picture a pixel shows.

The same as `speak_jax.photograph.rasterize`, for any device and with
gradients; that one is faster on a CPU.
"""

import jax
import jax.numpy as jnp
from einops import rearrange
from jax import lax
from jaxtyping import Array, Float, Int

from speak_jax.nn.warp import sample

CHUNK = 64  # triangles that all pixels look at together
FLAT = 1e-9  # twice the area of a triangle, px^2, that shows nothing


def sampling_map(
  vertices: Float[Array, "b v 3"],
  texture: Float[Array, "b v 2"],
  triangles: Int[Array, "t 3"],
  height: int,
  width: int,
) -> Float[Array, "b h w 2"]:
  """Rasterizes meshes; the nearest triangle wins.

  Which triangle a pixel shows has no gradient; where in it the pixel lies has.

  Args:
    vertices: Where the vertices lie in the frame, px; z grows away.
    texture: Where they lie in the picture, px.
    triangles: Indices of vertices, the same for all meshes.
    height, width: Of the frame, px.

  Returns:
    x, y in the picture of each pixel; its own place where no triangle is.
  """
  one = lambda v, t: _sampling_map(v, t, triangles, height, width)  # noqa: E731
  return jax.vmap(one)(vertices, texture)


def moved(
  pictures: Float[Array, "b h w c"],
  vertices: Float[Array, "b v 3"],
  texture: Float[Array, "b v 2"],
  triangles: Int[Array, "t 3"],
) -> Float[Array, "b h w c"]:
  """Moves pictures with their meshes; arguments as for `sampling_map`."""
  height, width = pictures.shape[1:3]
  read = sampling_map(vertices, texture, triangles, height, width)
  return sample(pictures, read[..., 0], read[..., 1])


def _sampling_map(
  vertices: Float[Array, "v 3"],
  texture: Float[Array, "v 2"],
  triangles: Int[Array, "t 3"],
  height: int,
  width: int,
) -> Float[Array, "h w 2"]:
  """`sampling_map` of one mesh."""
  y, x = jnp.mgrid[:height, :width].astype(jnp.float32)
  nearest = lax.stop_gradient(_nearest(vertices, triangles, x, y))
  shown = triangles[nearest.clip(0)]  # h w 3
  # A pixel that shows none must not take NaN from a flat one's gradient.
  none = (nearest < 0)[..., None]
  corners = jnp.where(none[..., None], jnp.eye(3), vertices[shown])
  weights = _weights(corners, x, y)
  read = jnp.einsum(
    "hwk,hwkd->hwd", weights, texture[shown], precision=lax.Precision.HIGHEST
  )
  return jnp.where(none, jnp.stack([x, y], -1), read)


def _nearest(
  vertices: Float[Array, "v 3"],
  triangles: Int[Array, "t 3"],
  x: Float[Array, "h w"],
  y: Float[Array, "h w"],
) -> Int[Array, "h w"]:
  """Number of the nearest triangle of each pixel, -1 where there is none."""
  rest = -len(triangles) % CHUNK
  # A triangle of one point three times has no area.
  chunks = rearrange(
    jnp.pad(triangles, ((0, rest), (0, 0))), "(n c) k -> n c k", c=CHUNK
  )

  def look(carry: tuple[Array, Array], chunk: tuple[Array, Array]):
    depth, nearest = carry
    first, members = chunk
    corners = vertices[members]  # c 3 3
    weights = _weights(corners[:, None, None], x, y)  # c h w 3
    z = (weights * corners[:, None, None, :, 2]).sum(-1)
    inside = (weights >= -1e-6).all(-1) & jnp.isfinite(z)
    z = jnp.where(inside, z, jnp.inf)
    best = z.argmin(0)
    z = jnp.take_along_axis(z, best[None], 0)[0]
    nearer = z < depth
    return (
      jnp.where(nearer, z, depth),
      jnp.where(nearer, first + best, nearest),
    ), None

  start = jnp.full(x.shape, jnp.inf), jnp.full(x.shape, -1)
  firsts = jnp.arange(len(chunks)) * CHUNK
  (_, nearest), _ = lax.scan(look, start, (firsts, chunks))
  return nearest


def _weights(
  corners: Float[Array, "*t 3 3"], x: Float[Array, "h w"], y: Array
) -> Float[Array, "*n 3"]:
  """Barycentric weights of pixels in triangles; not finite in flat ones."""
  a, b, c = (corners[..., i, :2] for i in range(3))
  bx, by = jnp.moveaxis(b - a, -1, 0)
  cx, cy = jnp.moveaxis(c - a, -1, 0)
  u, v = x - a[..., 0], y - a[..., 1]
  area = bx * cy - by * cx
  area = jnp.where(jnp.abs(area) < FLAT, jnp.nan, area)
  wb, wc = (u * cy - v * cx) / area, (bx * v - by * u) / area
  return jnp.stack([1 - wb - wc, wb, wc], -1)
