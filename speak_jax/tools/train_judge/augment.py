"""Augmentation of the judge's frames, with landmarks and pose that follow."""

from functools import partial

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from data_pipelines.sampling.augment import MIRROR
from speak_jax.models import judge as models
from speak_jax.nn.pixels import as_frames
from speak_jax.tools.train_judge.faces import Faces


def augment(
  key: PRNGKeyArray, batch: Faces
) -> tuple[
  Float[Array, "b h w 3"], Float[Array, "b 68 2"], Float[Array, "b 3"]
]:
  """Mirrors, turns, zooms, shifts, recolours, blurs and adds noise.

  Blur matters most: what the judge is for is often soft.

  Args:
    key: Draws what happens to each frame.
    batch: Rendered faces.

  Returns:
    Float frames in [-1, 1], and landmarks and pose that follow.
  """
  keys = iter(jax.random.split(key, 8))
  n, size = batch.frames.shape[0], models.SIZE
  frames = as_frames(batch.frames)
  draw = partial(jax.random.uniform, minval=-1.0, maxval=1.0)

  flip = jax.random.bernoulli(next(keys), 0.5, (n,))
  across = jnp.array([size - 1.0, 0.0])
  mirrored = across + batch.landmarks[:, MIRROR] * jnp.array([-1.0, 1.0])
  points = jnp.where(flip[:, None, None], mirrored, batch.landmarks)
  frames = jnp.where(flip[:, None, None, None], frames[:, :, ::-1], frames)
  sign = jnp.where(flip[:, None], jnp.array([-1.0, 1.0, -1.0]), 1.0)
  pose = batch.pose * sign

  roll = 8.0 * draw(next(keys), (n,))
  zoom = jnp.exp(0.12 * draw(next(keys), (n,)))
  radians = jnp.deg2rad(roll)
  turn = jnp.stack([jnp.cos(radians), jnp.sin(radians)], -1) * zoom[:, None]
  middle = jnp.full((n, 2), (size - 1) / 2)
  moved = middle + 3.0 * draw(next(keys), (n, 2))
  # Rotation about the picture's middle, as a map of the picture onto itself.
  about = models.Similarity(turn, moved)
  points = models.to_picture(about, points - middle[:, None])
  along = jnp.arange(size, dtype=jnp.float32)
  grid = jnp.stack(jnp.meshgrid(along, along), -1).reshape(1, -1, 2)
  places = models.to_face(about, jnp.broadcast_to(grid, (n, size**2, 2)))
  places = (places + middle[:, None]).reshape(n, size, size, 2)
  frames = models.sample(frames, places)
  pose = pose.at[:, 2].add(roll)

  gain = 1 + 0.2 * draw(next(keys), (n, 1, 1, 3))
  frames = frames * gain + 0.12 * draw(next(keys), (n, 1, 1, 3))
  soft = jnp.maximum(draw(next(keys), (n, 1, 1, 1)), 0.0)
  frames += soft * (_blur(frames) - frames)
  frames += 0.03 * jax.random.normal(next(keys), frames.shape)
  return frames.clip(-1, 1), points, pose


def misplace(
  key: PRNGKeyArray, points: Float[Array, "b 68 2"]
) -> Float[Array, "b 68 2"]:
  """Landmarks as wrong as a first guess: the pieces are cut along these.

  Args:
    key: Draws the errors.
    points: True landmarks in pixels.
  """
  keys = jax.random.split(key, 4)
  n = points.shape[0]
  middle = points.mean(1, keepdims=True)
  angle = jnp.deg2rad(4.0) * jax.random.normal(keys[0], (n,))
  zoom = jnp.exp(0.05 * jax.random.normal(keys[1], (n,)))
  turn = jnp.stack([jnp.cos(angle), jnp.sin(angle)], -1) * zoom[:, None]
  shift = middle[:, 0] + 0.8 * jax.random.normal(keys[2], (n, 2))
  wobble = 0.4 * jax.random.normal(keys[3], points.shape)
  return (
    models.to_picture(models.Similarity(turn, shift), points - middle) + wobble
  )


def _blur(frames: Float[Array, "b h w 3"]) -> Float[Array, "b h w 3"]:
  """3x3 binomial blur, twice; borders are replicated."""
  for _ in range(2):
    for axis in (1, 2):
      pad = [(0, 0)] * 4
      pad[axis] = (1, 1)
      x = jnp.pad(frames, pad, mode="edge")
      size = frames.shape[axis]
      low, mid, high = (
        jax.lax.slice_in_dim(x, i, i + size, axis=axis) for i in range(3)
      )
      frames = 0.25 * low + 0.5 * mid + 0.25 * high
  return frames
