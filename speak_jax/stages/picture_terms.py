"""Loss terms on generated frames that IRFD and SPEAK share; all ours."""

from typing import Any, NamedTuple

from jaxtyping import Array, Float

from speak_jax.losses import flow, pixel
from speak_jax.models.geometry import FaceGeometry
from speak_jax.stages.base import Terms


class Truth(NamedTuple):
  """What n frames should look like."""

  frames: Float[Array, "n h w 3"]  # in [-1, 1]
  landmarks: Float[Array, "n 68 2"]  # of the frames, in their pixels
  identity_landmarks: Float[Array, "n 68 2"]  # of the pictures drawn from


def of(
  frames: Float[Array, "n h w 3"],
  geometry: FaceGeometry | None,
  truth: Truth,
  region: Any,
) -> Terms:
  """Names the terms on pixels and landmarks: {name: function of nothing}.

  Args:
    frames: Generated ones, in [-1, 1].
    geometry: Of the faces as the generator moves them; of None no term that
      asks for it is called.
    truth: What they should look like.
    region: config.STAGE.region: how much more a face weighs than a room.
  """
  moved: Any = geometry
  true, points, source_points, size = *truth, frames.shape[-2]
  weight = pixel.region_weight(points, size, **region)
  return {
    "pixel": lambda: pixel.pyramid_l1(frames, true, weight),
    "gradient": lambda: pixel.gradient_l1(frames, true, weight),
    "structure": lambda: pixel.ssim_loss(frames, true),
    "flow": lambda: flow.geometry_loss(
      moved.flow, moved.landmarks, source_points, points, size
    ),
    "expression": lambda: flow.expression_error(moved.landmarks, points, size),
    "mouth_box": lambda: pixel.mouth_box_l1(frames, true, points),
  }
