"""Where the face is: aligned coordinates on a grid, by 68 landmarks.

They ride along with the identity maps: warped, they tell the generator where
lips must be drawn. And landmarks as geometry wants them, in a picture that
spans -1 to 1.
"""

import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float

from speak_jax import spec
from speak_jax.nn import resize, similarity
from speak_jax.nn.align import face_anchors
from speak_jax.nn.warp import flow_from_landmarks, resize_flow, warp

# Eye centres and mouth centre of the aligned face, in inter-ocular units:
# zero is half-way between the eyes' centre and the mouth's. The proportions
# are those of data_pipelines.faces.align.FACE_TEMPLATE.
ALIGNED = ((-0.5, -0.5375), (0.5, -0.5375), (0.0, 0.5375))


def aligned_coordinates(
  points: Float[Array, "#b n 2"], landmarks: Float[Array, "b 68 2"]
) -> Float[Array, "b n 2"]:
  """Points in the aligned face's frame: u to the right, v down.

  The frame is the least-squares similarity (rotation, scale, shift) that
  brings both eye centres and the mouth's centre to `ALIGNED`, as
  data_pipelines.faces.align.align_face does.
  """
  to_face = similarity.fit(face_anchors(landmarks), jnp.asarray(ALIGNED))
  return similarity.moved(to_face, points)


def position_map(
  landmarks: Float[Array, "b 68 2"], size: int, resolution: int
) -> Float[Array, "b r r 2"]:
  """Aligned coordinates (u, v) on a square grid.

  Args:
    landmarks: In pixels of a square picture of `size`; whole numbers are
      pixel centres.
    size: The picture's side.
    resolution: Side of the grid laid over the whole picture.
  """
  side = (jnp.arange(resolution) + 0.5) * (size / resolution) - 0.5
  x, y = jnp.meshgrid(side, side)
  grid = jnp.stack([x.ravel(), y.ravel()], -1)[None]
  landmarks = landmarks.astype(jnp.float32)
  coordinates = aligned_coordinates(grid, landmarks)
  return coordinates.reshape(landmarks.shape[0], resolution, resolution, 2)


def normalize_landmarks(
  landmarks: Float[Array, "*b 2"], size: int
) -> Float[Array, "*b 2"]:
  """Landmarks in pixels of a picture of `size`, as if it spanned -1 to 1."""
  return (landmarks.astype(jnp.float32) + 0.5) * (2 / size) - 1


def mean_face() -> Float[Array, "68 2"]:
  """Landmarks of nobody: frontal, closed lips, where crops have their face.

  The picture spans -1 to 1. Proportions and place are about those of the mean
  over drawn people in medium framing.
  """
  points = np.zeros((68, 2), np.float32)  # in eye distances, from between them
  turn = np.linspace(0, np.pi, 17)
  points[spec.JAW] = np.stack(
    [-1.12 * np.cos(turn), 0.05 + 2.08 * np.sin(turn)], -1
  )
  across = np.linspace(0.17, 0.83, 5)
  across = np.r_[-across[::-1], across]
  arch = 0.4 + 0.08 * np.cos((np.abs(across) - 0.5) * 4.5)
  points[spec.BROWS] = np.stack([across, -arch], -1)
  points[27:31, 1] = np.linspace(-0.07, 0.66, 4)
  points[31:36] = np.stack([np.linspace(-0.17, 0.17, 5), np.full(5, 0.82)], -1)
  # An eye or a lip is an ellipse: its first point, how many, middle, half
  # width and height.
  for first, count, x, y, wide, high in (
    (36, 6, -0.5, 0.0, 0.24, 0.08),
    (42, 6, 0.5, 0.0, 0.24, 0.08),
    (48, 12, 0.0, 1.28, 0.45, 0.19),
    (60, 8, 0.0, 1.26, 0.41, 0.0),
  ):
    turn = np.linspace(np.pi, 3 * np.pi, count, endpoint=False)
    points[first : first + count] = np.stack(
      [x + wide * np.cos(turn), y + high * np.sin(turn)], -1
    )
  return jnp.asarray(points * 0.42)


def warp_to_mean_face(
  frames: Float[Array, "b h w 3"], landmarks: Float[Array, "b 68 2"], size: int
) -> Float[Array, "b s s 3"]:
  """The picture with the plain face's shape: what remains is appearance.

  Source: active appearance models (Cootes, Edwards and Taylor 2001). They move
  triangles, this the whole picture (`warp.flow_from_landmarks`).

  Args:
    frames: Square.
    landmarks: In their pixels.
    size: Side of the result, even.
  """
  source = normalize_landmarks(landmarks, frames.shape[1])
  plain = jnp.broadcast_to(mean_face(), source.shape)
  flow = resize_flow(flow_from_landmarks(plain, source, size // 2), size)
  return warp(resize.linear(frames, size, size), flow)
