"""Aligned face and mouth, cut on the device: differentiable in the picture.

The same cuts as data_pipelines.faces has them (`align.align_face` and
`lips.cut_lips`), for pictures that exist on the device alone.
"""

import jax
import jax.numpy as jnp
from einops import reduce
from jaxtyping import Array, Float

from speak_jax import spec
from speak_jax.nn import similarity
from speak_jax.nn.warp import sample

# Left eye, right eye, mouth centre in the unit square of an aligned face.
TEMPLATE = ((0.30, 0.23), (0.70, 0.23), (0.50, 0.66))


def face_anchors(landmarks: Float[Array, "b 68 2"]) -> Float[Array, "b 3 2"]:
  """Left eye centre, right eye centre and middle of the mouth's corners.

  As data_pipelines.faces.align.anchors has them.
  """
  return jnp.stack(
    [
      landmarks[:, spec.LEFT_EYE].mean(1),
      landmarks[:, spec.RIGHT_EYE].mean(1),
      (landmarks[:, 48] + landmarks[:, 54]) / 2,
    ],
    1,
  )


def align_face(
  frames: Float[Array, "b h w 3"],
  landmarks: Float[Array, "b 68 2"],
  size: int,
  at: tuple[Array, Array] | None = None,
) -> Float[Array, "b s s 3"]:
  """Cuts each face upright, bilinearly; borders are replicated.

  Args:
    frames: Whole pictures.
    landmarks: x, y in their pixels; no gradient reaches them.
    size: Side of the cut.
    at: x and y of the cut's cells, shape (b, s, s), in cells of an upright one
      if they are not that one's own.
  """
  anchors = face_anchors(jax.lax.stop_gradient(landmarks))
  # From picture to cut, as the cutting of records has it; then inverted.
  to_cut = similarity.fit(anchors, jnp.asarray(TEMPLATE) * size - 0.5)
  side = jnp.arange(size, dtype=jnp.float32)
  column, row = (side, side[:, None]) if at is None else at
  return sample(frames, *similarity.read_at(to_cut, column, row))


def align_lips(
  frames: Float[Array, "b h h 3"],
  landmarks: Float[Array, "b 68 2"],
  size: int,
  square: tuple[float, float] = spec.LIPS_SQUARE,
) -> Float[Array, "b s s 1"]:
  """Cuts `spec.lips_square` of each picture, grey (`spec.LUMA`), bilinearly.

  Edges are replicated.

  Args:
    frames: Whole square pictures.
    landmarks: x, y in their pixels; no gradient reaches them.
    size: Side of the cut.
    square: As in `spec.lips_square`.
  """
  fold = spec.lips_fold(frames.shape[1], size)
  landmarks = jax.lax.stop_gradient(landmarks.astype(jnp.float32))
  middle, side = spec.lips_square(landmarks, square)
  u = (jnp.arange(size * fold) + 0.5) / (size * fold) - 0.5  # in the square
  v = u[:, None]
  a, b = side[:, :1, None], side[:, 1:, None]
  x = middle[:, :1, None] + u * a - v * b
  y = middle[:, 1:, None] + u * b + v * a
  grey = (frames.astype(jnp.float32) * jnp.array(spec.LUMA)).sum(-1)
  fine = sample(grey[..., None], x, y)
  return reduce(fine, "b (h f) (w g) c -> b h w c", "mean", f=fold, g=fold)
