"""The aligned face, cut on the device: differentiable in the picture.

The same cut as data_pipelines.media.face.align_face, for pictures that exist
on the device alone.
"""

import jax
import jax.numpy as jnp
from jax.scipy.ndimage import map_coordinates
from jaxtyping import Array, Float

from speak_jax import spec

# Left eye, right eye, mouth centre in the unit square of an aligned face.
TEMPLATE = ((0.30, 0.23), (0.70, 0.23), (0.50, 0.66))


def align_face(
  frames: Float[Array, "b h w 3"],
  landmarks: Float[Array, "b 68 2"],
  size: int,
) -> Float[Array, "b s s 3"]:
  """Cuts each face upright, bilinearly; borders are replicated.

  Args:
    frames: Whole pictures.
    landmarks: x, y in their pixels; no gradient reaches them.
    size: Side of the cut.
  """
  landmarks = jax.lax.stop_gradient(landmarks)
  anchors = jnp.stack(
    [
      landmarks[:, spec.LEFT_EYE].mean(1),
      landmarks[:, spec.RIGHT_EYE].mean(1),
      (landmarks[:, 48] + landmarks[:, 54]) / 2,
    ],
    1,
  )
  # Least squares from picture to cut, as the cutting of records has it, and
  # inverted: as complex numbers, w = a z + b.
  z = jax.lax.complex(anchors[..., 0], anchors[..., 1])
  goal = jnp.asarray(TEMPLATE) * size - 0.5
  w = jax.lax.complex(goal[:, 0], goal[:, 1])
  z0, w0 = z.mean(1, keepdims=True), w.mean()
  a = (jnp.conj(z - z0) * (w - w0)).sum(1, keepdims=True)
  a /= (jnp.abs(z - z0) ** 2).sum(1, keepdims=True).clip(1e-6)
  side = jnp.arange(size, dtype=jnp.float32)
  grid = jax.lax.complex(*jnp.meshgrid(side, side)).ravel()
  source = (grid[None] - w0) / a + z0

  def cut(frame, at):
    take = lambda plane: map_coordinates(  # noqa: E731
      plane, [at.imag, at.real], order=1, mode="nearest"
    )
    return jax.vmap(take, -1, -1)(frame).reshape(size, size, -1)

  return jax.vmap(cut)(frames, source)
