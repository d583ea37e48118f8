"""Supervision of the geometry by landmarks; ours, the paper has no flow."""

import jax.numpy as jnp
from jaxtyping import Array, Float

from speak_jax import spec
from speak_jax.nn.warp import sample


def landmark_flow(
  flow: Float[Array, "b s s 2"],
  source: Float[Array, "b k 2"],
  target: Float[Array, "b k 2"],
  size: int,
) -> Float[Array, "b"]:
  """How far the flow misses the landmarks of the identity picture.

  A backward flow says for each place of the new frame where to read in the
  identity picture; at the frame's landmarks the answer is known. It gives the
  pose code a gradient that is not a matter of overlapping pixels.

  Args:
    flow: (x, y), the picture is 2 wide; any grid, as `nn.warp` reads it.
    source: Landmarks of the identity picture in pixels.
    target: The same landmarks in the frame to be made.
    size: Side of both pictures in pixels.

  Returns:
    Mean |dx| + |dy| over the landmarks, the picture 2 wide.
  """
  cells = flow.shape[1]
  place = ((target + 0.5) * (cells / size) - 0.5)[:, :, None]
  moved = sample(flow.astype(jnp.float32), place[..., 0], place[..., 1])[
    :, :, 0
  ]
  wanted = (source - target) * (2 / size)
  return jnp.abs(moved - wanted).sum(-1).mean(-1)


def landmark_error(
  landmarks: Float[Array, "b k 2"], target: Float[Array, "b k 2"], size: int
) -> Float[Array, "b"]:
  """How far predicted landmarks are from those of the frame to be made.

  Args:
    landmarks: In a picture from -1 to 1.
    target: In pixels of a picture of `size`.
    size: Side of the picture in pixels.

  Returns:
    Mean |dx| + |dy| over the landmarks, the picture 2 wide.
  """
  wanted = (target + 0.5) * (2 / size) - 1
  return jnp.abs(landmarks - wanted).sum(-1).mean(-1)


def geometry_loss(
  flow: Float[Array, "b s s 2"],
  landmarks: Float[Array, "b k 2"] | None,
  source: Float[Array, "b k 2"],
  target: Float[Array, "b k 2"],
  size: int,
) -> Float[Array, "b"]:
  """How far a generator's geometry misses the landmarks.

  Args:
    flow: Its backward flow, see `landmark_flow`; asked where it predicts no
      landmarks.
    landmarks: Those that it predicts, see `landmark_error`.
    source: Landmarks of the identity picture in pixels.
    target: Landmarks of the frame to be made in pixels.
    size: Side of both pictures in pixels.

  Returns:
    Mean |dx| + |dy| over the landmarks, the picture 2 wide.
  """
  if landmarks is None:
    return landmark_flow(flow, source, target, size)
  return landmark_error(landmarks, target, size)


def expression_error(
  landmarks: Float[Array, "b 68 2"], target: Float[Array, "b 68 2"], size: int
) -> Float[Array, "b"]:
  """How far lips, and eyes with brows, are from the shape they should have.

  Each about its own middle: as long as a head is a pixel out of place, the
  sign of `landmark_error` says nothing of how its mouth is drawn.

  Args:
    landmarks, target, size: As in `landmark_error`.

  Returns:
    Mean |dx| + |dy| over each part's landmarks, both added up, the picture 2
    wide.
  """
  away = landmarks - ((target + 0.5) * (2 / size) - 1)
  eyes = slice(spec.LEFT_EYE.start, spec.RIGHT_EYE.stop)
  upper = jnp.concatenate([away[:, spec.BROWS], away[:, eyes]], 1)
  return _about_its_middle(upper) + _about_its_middle(away[:, spec.MOUTH])


def _about_its_middle(away: Float[Array, "b k 2"]) -> Float[Array, "b"]:
  away = away - away.mean(1, keepdims=True)
  return jnp.abs(away).sum(-1).mean(-1)
