"""Where the new frame's face is, and where to read in the identity picture.

Ours. Speech and emotion say how the 68 landmarks of the identity picture are
drawn, then the pose where they come to lie; the picture is moved from its own
landmarks to these. So lips, brows and lids move by construction, and landmarks
teach them to. What the picture cannot show, the inside of an opening mouth, is
left blank.

All of it is float32 with products of full precision, whatever the rest of the
network computes in: its networks are small, and half a percent of a turning
head's way is a pixel.
"""

from functools import partial
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from speak_jax.models.irfd import IdentityFeatures
from speak_jax.nn.conv import LECUN, Mlp, leaky, scaled
from speak_jax.nn.warp import flow_from_landmarks, pixel_centers, resize_flow

COARSE, FINE = 16, 64  # of flows at most; a quarter and a half of the picture
HEATMAP_STD = 1.2  # cells, standard deviation of a drawn landmark
HEATMAP_LANDMARKS = slice(17, 68)  # all but the jaw, which hair and neck hide
UPPER_EDGE = (60, 61, 62, 63, 64)  # of the gap between the lips, left to right
LOWER_EDGE = (60, 67, 66, 65, 64)
SHEER = 1e-3  # least width of an edge between two points; an eighth of a pixel
NEAR_ZERO = scaled(LECUN, 0.05)  # of layers that start near zero
EXACT = lax.Precision.HIGHEST


class FaceGeometry(NamedTuple):
  """How the identity picture comes to lie in the frame to be made."""

  flow: Float[Array, "b s s 2"]  # backward (`nn.warp`)
  # Of the frame to be made, which spans -1 to 1; None: none are predicted.
  landmarks: Float[Array, "b 68 2"] | None


class Geometry(nn.Module):
  """The flow that both generators use, and the landmarks that it follows.

  Attributes:
    image: Side of the picture.
    width: Of the MLPs.
    landmarks: Predict landmarks; else the coarse flow is all.
  """

  image: int
  width: int
  landmarks: bool = True

  @nn.compact
  def __call__(
    self,
    features: IdentityFeatures,
    pose: Float[Array, "b p"],
    emotion: Float[Array, "b e"],
    drive: Float[Array, "b d"],
  ) -> FaceGeometry:
    """Predicts the geometry of the frame to be made.

    Args:
      features: The identity picture, encoded.
      pose: Pose code of the frame to be made.
      emotion: Its emotion code.
      drive: What moves its lips: the mouth code, or the speech code.
    """
    # Names are paths of parameters in checkpoints and bundles.
    coarse = CoarseFlow(min(COARSE, self.image // 4), self.width, name="Flow_0")
    flow = coarse(features.pose, pose)
    if not self.landmarks:
      return FaceGeometry(flow, None)
    expressed = ExpressionTransform(self.width, name="Expression_0")(
      features, emotion, drive
    )
    landmarks = PoseTransform(self.width, name="Turn_0")(
      expressed, features.pose, pose
    )
    fine = min(FINE, self.image // 2)
    by_landmarks = flow_from_landmarks(landmarks, features.landmarks, fine)
    return FaceGeometry(resize_flow(flow, fine) + by_landmarks, landmarks)


class CoarseFlow(nn.Module):
  """Coarse backward flow from the identity picture to the frame to be made.

  For what has no landmarks: hair, neck, shoulders. A linear term in the
  difference of the pose codes plus an MLP. Starts near zero.
  """

  size: int
  width: int

  @nn.compact
  def __call__(
    self, source: Float[Array, "b p"], target: Float[Array, "b p"]
  ) -> Float[Array, "b s s 2"]:
    """Flow in normalised coordinates (the picture is 2 wide), float32.

    Args:
      source: Pose code of the identity picture.
      target: Pose code of the frame to be made.
    """
    turn, poses = _turn(source, target)
    outputs = self.size * self.size * 2
    near = partial(nn.Dense, kernel_init=NEAR_ZERO, precision=EXACT)
    linear = near(outputs, use_bias=False, name="linear")(turn)
    hidden = Mlp(self.width, 2, precision=EXACT, name="mlp")(poses)
    flow = linear + near(outputs, name="out")(hidden)
    return flow.reshape(-1, self.size, self.size, 2)


class ExpressionTransform(nn.Module):
  """Landmarks of the identity picture with another expression.

  It does not see the pose code, which is read off frames that show a mouth:
  what lips do must come from `drive`. Starts near the identity picture's.
  """

  width: int

  @nn.compact
  def __call__(
    self,
    features: IdentityFeatures,
    emotion: Float[Array, "b e"],
    drive: Float[Array, "b d"],
  ) -> Float[Array, "b 68 2"]:
    """Landmarks in a picture from -1 to 1, float32; args as `Geometry`'s."""
    points = features.landmarks
    outputs = points.shape[1] * 2
    # The face's shape, wherever it is; of about unit size.
    shape = 4 * (points - points.mean(1, keepdims=True)).reshape(-1, outputs)
    felt = emotion.astype(jnp.float32)
    inputs = [features.identity, felt, felt - features.emotion, shape]
    dense = partial(nn.Dense, precision=EXACT)
    hidden = dense(self.width, name="face")(
      jnp.concatenate([x.astype(jnp.float32) for x in inputs], -1)
    )
    if drive.shape[-1]:
      # By itself: of all layers this alone differs between G_d and G_g.
      drive = drive.astype(jnp.float32)
      hidden += dense(self.width, use_bias=False, name="drive")(drive)
    hidden = dense(self.width, name="hidden")(leaky(hidden))
    move = dense(outputs, kernel_init=NEAR_ZERO, name="out")(leaky(hidden))
    return points + move.reshape(points.shape)


class PoseTransform(nn.Module):
  """Landmarks of a head that turns: a smooth field moves them.

  Its 14 numbers are the pose's: for x and y a polynomial of second degree of
  the landmark's place, and a share of its depth, which is learned. It can turn
  a head but not part its lips.
  """

  width: int

  @nn.compact
  def __call__(
    self,
    points: Float[Array, "b 68 2"],
    source: Float[Array, "b p"],
    target: Float[Array, "b p"],
  ) -> Float[Array, "b 68 2"]:
    """Landmarks in a picture from -1 to 1, float32; args as `CoarseFlow`'s."""
    _, poses = _turn(source, target)
    hidden = Mlp(self.width // 2, 2, precision=EXACT, name="mlp")(poses)
    poses = jnp.concatenate([poses, hidden], -1)
    field = nn.Dense(14, kernel_init=NEAR_ZERO, precision=EXACT, name="field")(
      poses
    )
    x, y = points[..., 0], points[..., 1]
    depth = self.param("depth", nn.initializers.zeros, points.shape[1:2])
    depth = jnp.broadcast_to(depth, x.shape)
    one = jnp.ones_like(x)
    basis = jnp.stack([one, x, y, x * x, x * y, y * y, depth], -1)
    field = field.reshape(-1, 7, 2)
    return points + jnp.matmul(basis, field, precision=EXACT)


def landmark_heatmaps(
  landmarks: Float[Array, "b 68 2"], size: int
) -> Float[Array, "b s s k"]:
  """A map of each landmark in `HEATMAP_LANDMARKS`: a Gaussian where it is."""
  points = landmarks[:, HEATMAP_LANDMARKS]
  away = (pixel_centers(size)[:, None, None] - points[:, None]) * (
    size / 2 / HEATMAP_STD
  )
  blob = jnp.exp(-0.5 * away**2)  # b s k 2
  return blob[:, :, None, :, 1] * blob[:, None, :, :, 0]


def mouth_interior_mask(
  landmarks: Float[Array, "b 68 2"], size: int
) -> Float[Array, "b s s 1"]:
  """1 where the mouth is open, falling to 0 over the last cell."""
  cells = pixel_centers(size)
  edges = landmarks[:, jnp.array((UPPER_EDGE, LOWER_EDGE))]
  lines = jax.vmap(outline, (1, None), 1)(edges, cells)
  top, bottom = lines[:, :1], lines[:, 1:]
  y = cells[:, None]
  depth = jnp.minimum(y - top, bottom - y) * (size / 2)
  return depth.clip(0, 1)[..., None]


def outline(
  edge: Float[Array, "b k 2"], x: Float[Array, "s"]
) -> Float[Array, "b s"]:
  """y of a line through points, left to right; level beyond its ends.

  `jnp.interp`, with a ramp for each part instead of a search, which is a loop
  on the device. It takes points whose x does not rise as well: in profile a
  corner of the mouth lies behind the lip, at large roll all points lie above
  each other. From the middle outwards no point lies further in than the one
  before it; where two share a place, the line is upright.
  """
  at, y = edge[..., 0], edge[..., 1]
  middle = at.shape[1] // 2
  left = lax.cummin(at[:, : middle + 1], 1, reverse=True)
  right = lax.cummax(at[:, middle:], 1)
  at = jnp.concatenate([left, right[:, 1:]], 1)
  width = jnp.maximum(at[:, 1:] - at[:, :-1], SHEER)
  done = (x[:, None] - at[:, None, :-1]) / width[:, None]  # b s parts
  steps = (y[:, 1:] - y[:, :-1])[:, None] * done.clip(0, 1)
  return y[:, :1] + steps.sum(-1)


def _turn(
  source: Float[Array, "b p"], target: Float[Array, "b p"]
) -> tuple[Float[Array, "b p"], Float[Array, "b q"]]:
  """The difference of two pose codes, and what tells of the turn: it, and the
  pose that it leads to."""
  target = target.astype(jnp.float32)
  turn = target - source.astype(jnp.float32)
  return turn, jnp.concatenate([turn, target], -1)
