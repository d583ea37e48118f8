"""Where the new frame's face is, and where to read in the identity picture.

Ours. Speech, pose and emotion say where the 68 landmarks of the new frame
lie; the identity picture is moved from its own landmarks to these. So lips,
brows and lids move by construction, and landmarks teach them to. What the
picture cannot show, the inside of an opening mouth, is left blank.
"""

from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from speak_jax.models.irfd import Portrait
from speak_jax.nn.conv import LECUN, Mlp, scaled
from speak_jax.nn.warp import resize_flow

COARSE, FINE = 16, 64  # of flows at most; a quarter and a half of the picture
NEAR = 0.03  # the picture is 2 wide; nearer than this all points weigh alike
BLOB = 1.2  # cells, standard deviation of a drawn landmark
DRAWN = slice(17, 68)  # all but the jaw, which hair and neck hide
UPPER_EDGE = (60, 61, 62, 63, 64)  # of the gap between the lips, left to right
LOWER_EDGE = (60, 67, 66, 65, 64)


class Shape(NamedTuple):
  """How the identity picture comes to lie in the frame to be made."""

  flow: Float[Array, "b s s 2"]  # backward (`nn.warp`)
  # Of the frame to be made, which spans -1 to 1; () where none are predicted.
  landmarks: Any  # b 68 2


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
  dtype: DTypeLike = jnp.float32

  @nn.compact
  def __call__(
    self,
    portrait: Portrait,
    pose: Float[Array, "b p"],
    emotion: Float[Array, "b e"],
    context: Float[Array, "b d"],
  ) -> Shape:
    """The shape of the frame to be made.

    Args:
      portrait: The identity picture, encoded.
      pose: Pose code of the frame to be made.
      emotion: Its emotion code.
      context: Mean of its latents, which know the mouth or the speech.
    """
    coarse = Flow(min(COARSE, self.image // 4), self.width, self.dtype)
    flow = coarse(portrait.pose, pose, context)
    if not self.landmarks:
      return Shape(flow, ())
    landmarks = Landmarks(self.width, self.dtype)(
      portrait, pose, emotion, context
    )
    fine = min(FINE, self.image // 2)
    followed = follow(landmarks, portrait.landmarks, fine)
    return Shape(resize_flow(flow, fine) + followed, landmarks)


class Flow(nn.Module):
  """Coarse backward flow from the identity picture to the frame to be made.

  A linear term in the difference of the pose codes, which carries the bulk of
  a head turn, plus an MLP that also sees the latent, so that speech and
  emotion can move the jaw. Starts near zero.
  """

  size: int
  width: int
  dtype: DTypeLike = jnp.float32

  @nn.compact
  def __call__(
    self,
    source: Float[Array, "b p"],
    target: Float[Array, "b p"],
    context: Float[Array, "b d"],
  ) -> Float[Array, "b s s 2"]:
    """Flow in normalised coordinates (the picture is 2 wide), float32.

    Args:
      source: Pose code of the identity picture.
      target: Pose code of the frame to be made.
      context: Mean of the latents.
    """
    target = target.astype(jnp.float32)
    turn = target - source.astype(jnp.float32)
    outputs = self.size * self.size * 2
    start = scaled(LECUN, 0.05)
    linear = nn.Dense(outputs, False, kernel_init=start, name="linear")(turn)
    seen = jnp.concatenate([turn, target, context.astype(jnp.float32)], -1)
    hidden = Mlp(self.width, 2, self.dtype, name="mlp")(seen)
    out = nn.Dense(outputs, kernel_init=start, name="out")(hidden)
    flow = linear + out.astype(jnp.float32)
    return flow.reshape(-1, self.size, self.size, 2)


class Landmarks(nn.Module):
  """The 68 landmarks of the frame to be made.

  Those of the identity picture, moved: by a linear term in the differences of
  the pose and emotion codes, and by an MLP that also sees the latent. Starts
  near the identity picture's.
  """

  width: int
  dtype: DTypeLike = jnp.float32

  @nn.compact
  def __call__(
    self,
    portrait: Portrait,
    pose: Float[Array, "b p"],
    emotion: Float[Array, "b e"],
    context: Float[Array, "b d"],
  ) -> Float[Array, "b 68 2"]:
    """Landmarks in a picture from -1 to 1, float32; args as `Geometry`'s."""
    turn = jnp.concatenate(
      [pose - portrait.pose, emotion - portrait.emotion], -1
    )
    turn = turn.astype(jnp.float32)
    start = scaled(LECUN, 0.05)
    outputs = portrait.landmarks.shape[1] * 2
    linear = nn.Dense(outputs, False, kernel_init=start, name="linear")(turn)
    flat = portrait.landmarks.reshape(-1, outputs)
    seen = jnp.concatenate(
      [x.astype(jnp.float32) for x in (turn, pose, flat, context)], -1
    )
    hidden = Mlp(self.width, 2, self.dtype, name="mlp")(seen)
    out = nn.Dense(outputs, kernel_init=start, name="out")(hidden)
    move = linear + out.astype(jnp.float32)
    return portrait.landmarks + move.reshape(-1, outputs // 2, 2)


def follow(
  landmarks: Float[Array, "b k 2"], source: Float[Array, "b k 2"], size: int
) -> Float[Array, "b s s 2"]:
  """Backward flow that reads at `source` what is to lie at `landmarks`.

  Between landmarks it is their mean by inverse distance to the fourth power
  (Shepard 1968). Pictures span -1 to 1.
  """
  x, y = jnp.meshgrid(*[_along(size)] * 2)
  grid = jnp.stack([x.ravel(), y.ravel()], -1)
  away = (
    (grid**2).sum(-1)[:, None]
    + (landmarks**2).sum(-1)[:, None]
    - 2 * jnp.einsum("gd,bkd->bgk", grid, landmarks)
  )
  weight = 1 / (away.clip(0) + NEAR**2) ** 2
  moved = jnp.einsum("bgk,bkd->bgd", weight, source - landmarks)
  flow = moved / weight.sum(-1, keepdims=True)
  return flow.reshape(-1, size, size, 2)


def drawn(
  landmarks: Float[Array, "b 68 2"], size: int
) -> Float[Array, "b s s k"]:
  """A map for each landmark of `DRAWN`, with a Gaussian blob where it is."""
  points = landmarks[:, DRAWN]
  away = (_along(size)[:, None, None] - points[:, None]) * (size / 2 / BLOB)
  blob = jnp.exp(-0.5 * away**2)  # b s k 2
  return blob[:, :, None, :, 1] * blob[:, None, :, :, 0]


def between_lips(
  landmarks: Float[Array, "b 68 2"], size: int
) -> Float[Array, "b s s 1"]:
  """1 where the mouth is open, falling to 0 over the last cell."""
  along = _along(size)
  read = jax.vmap(lambda edge: jnp.interp(along, edge[:, 0], edge[:, 1]))
  top = read(landmarks[:, jnp.array(UPPER_EDGE)])[:, None]
  bottom = read(landmarks[:, jnp.array(LOWER_EDGE)])[:, None]
  y = along[:, None]
  depth = jnp.minimum(y - top, bottom - y) * (size / 2)
  return depth.clip(0, 1)[..., None]


def _along(size: int) -> Float[Array, "s"]:
  """Centres of a row's cells, the row spanning -1 to 1."""
  return (jnp.arange(size) + 0.5) * (2 / size) - 1
