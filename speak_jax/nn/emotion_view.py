"""What EAMM's emotion network sees of frames: no mouth, held in any way.

Ji et al. 2022, section 3.3. Speech must not pass, so noise covers the mouth;
nor how the head is held, so that in training clips are mirrored, turned and
seen in perspective. Pictures are in [0, 1]. Ours: boxes go by the landmarks,
as heads lie anywhere in our crops, and outside of training nothing is drawn.
"""

import jax
import jax.numpy as jnp
from einops import rearrange
from jaxtyping import Array, Float, PRNGKeyArray

from speak_jax.nn.warp import sample

# Of the box, in distances between the outer corners of the eyes: its width and
# height, and how far its middle is below the corners of the mouth.
BOX, BELOW = (1.22, 0.73), 0.12
TURN_DEG = 30.0
# By how much the lower edge is drawn in or out at either end, and how far
# outside of the picture that edge is or how far inside, of the picture's side.
KEYSTONE, ENLARGED = (20 / 256, 30 / 256), (20 / 256, 40 / 256)


def covered(
  pictures: Float[Array, "b s s 3"],
  landmarks: Float[Array, "b 68 2"],
  noise: Float[Array, "#b s s 3"],
) -> Float[Array, "b s s 3"]:
  """Pictures with noise over their mouths, in a box turned with the eyes.

  Args:
    pictures: Whole ones.
    landmarks: Theirs, in their pixels.
    noise: What is shown in the box.
  """
  eyes = landmarks[:, 45] - landmarks[:, 36]
  apart = jnp.linalg.norm(eyes, axis=-1, keepdims=True).clip(1e-3)
  right = eyes / apart
  down = right[:, ::-1] * jnp.array([-1.0, 1.0])
  middle = landmarks[:, jnp.array([48, 54])].mean(1) + BELOW * apart * down
  side = jnp.arange(pictures.shape[1], dtype=jnp.float32)
  x = side - middle[:, 0, None, None]
  y = side[:, None] - middle[:, 1, None, None]
  apart = apart[..., None]
  inside = jnp.ones((), bool)
  for axis, reach in ((right, BOX[0] / 2), (down, BOX[1] / 2)):
    along = x * axis[:, 0, None, None] + y * axis[:, 1, None, None]
    inside &= jnp.abs(along) <= reach * apart
  return jnp.where(inside[..., None], noise, pictures)


def still(
  pictures: Float[Array, "b s s 3"], landmarks: Float[Array, "b 68 2"]
) -> Float[Array, "b s s 3"]:
  """The view outside of training: the same noise always, nothing moves."""
  noise = jax.random.uniform(jax.random.key(0), (1, *pictures.shape[1:]))
  return covered(pictures, landmarks, noise)


def shaken(
  pictures: Float[Array, "b t s s 3"],
  landmarks: Float[Array, "b t 68 2"],
  key: PRNGKeyArray,
) -> Float[Array, "b t s s 3"]:
  """The view in training: mirror and turn are a clip's, all else a frame's.

  Args:
    pictures: Frames of clips.
    landmarks: Theirs, in their pixels.
    key: Of all draws.
  """
  b, t, size = pictures.shape[:3]
  keys = jax.random.split(key, 5)
  frames = rearrange(pictures, "b t h w c -> (b t) h w c")
  points = rearrange(landmarks, "b t k c -> (b t) k c")
  frames = covered(frames, points, jax.random.uniform(keys[0], frames.shape))
  mirror = jnp.where(jax.random.bernoulli(keys[1], 0.5, (b, 1, 1, 1)), -1, 1)
  turn = jnp.deg2rad(TURN_DEG) * jax.random.uniform(
    keys[2], (b, 1, 1, 1), minval=-1, maxval=1
  )
  drawn_in = _either(keys[3], (b, t, 1, 1), KEYSTONE)
  beyond = _either(keys[4], (b, t, 1, 1), ENLARGED)
  # Where each pixel is read, backwards: perspective, turn, mirror. The plane
  # tilts so that its lower edge, at 1, becomes `narrow` as wide.
  reach = 1 + 2 * beyond
  narrow = 1 - 2 * drawn_in / reach
  tilt = (1 - narrow) / (1 + narrow)
  place = (2 * jnp.arange(size) - (size - 1)) / size / reach
  u, v = place, rearrange(place, "b t i w -> b t w i")
  far = 1 - tilt * v
  u, v = u * (1 + tilt) / far, (v - tilt) / far
  cos, sin = jnp.cos(turn), jnp.sin(turn)
  x = mirror * (cos * u + sin * v)
  y = cos * v - sin * u
  x, y = (
    rearrange(z * reach * size / 2 + (size - 1) / 2, "b t h w -> (b t) h w")
    for z in (x, y)
  )
  frames = sample(frames, x, y)
  return rearrange(frames, "(b t) h w c -> b t h w c", t=t)


def _either(
  key: PRNGKeyArray, shape: tuple[int, ...], span: tuple[float, float]
) -> Array:
  """Numbers whose size is in a span, of either sign."""
  size, sign = jax.random.split(key)
  drawn = jax.random.uniform(size, shape, minval=span[0], maxval=span[1])
  return jnp.where(jax.random.bernoulli(sign, 0.5, shape), drawn, -drawn)
