"""What training does to the pictures of E_p, the mouth and E_e.

Pose must not tell of lips, emotion not of pose, and neither of skin or light:
`config.data.augment`. Pure functions of pictures in [-1, 1]; what changes one
example depends on its place in the key's draws and on nothing of the others.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from einops import rearrange
from jaxtyping import Array, Bool, Float, PRNGKeyArray

from speak_jax import spec
from speak_jax.nn import similarity
from speak_jax.nn.align import align_face
from speak_jax.nn.warp import sample

MEAN = 110.0  # of 255; about that of real crops, whose channels have 40 to 150
BLURRED = 0.3  # share of the examples
BLUR = (0.4 / 64, 1.0 / 64)  # standard deviation, of the side
# Of an aligned face, which holds the face at a known place; SHIFT of the side.
TURN_DEG, ZOOM, SHIFT = 6.0, 0.06, 0.03
# A disc below the lips, in inter-ocular distances: all another's within the
# first radius, nothing beyond the second. Chin and jaw lie inside: with the
# lips alone (.65, .85, not below them) the jaw still told of the opening.
PASTED, BELOW = (0.85, 1.1), 0.25


class Lender(NamedTuple):
  """Whose mouth each example's pose pictures get."""

  picture: Float[Array, "b d d 3"]  # of any size, best in a like pose
  landmarks: Float[Array, "b 68 2"]  # its own, in its pixels
  lends: Bool[Array, "b"] | None = None  # whether it does; None: all do


class Colours(NamedTuple):
  """A change of an example's colours, and how much it is blurred."""

  gain: Float[Array, "b 3"]
  mean: Float[Array, "b 3"]  # what each channel's mean becomes, in [-1, 1]
  blur: Float[Array, "b"]  # standard deviation over the side; 0 = none


def pose(
  frames: Float[Array, "b t h w 3"],
  landmarks: Float[Array, "b t 68 2"],
  lender: Lender,
  key: PRNGKeyArray,
  *,
  colours: bool,
  most: float,
) -> Float[Array, "b t h w 3"]:
  """What E_p sees of frames; all of an example's get one and the same change.

  Args:
    frames: Of one clip each.
    landmarks: Their own, in their pixels.
    lender: Of mouths.
    key: Of all draws.
    colours: Whether mouths are lent and colours changed.
    most: Largest change of width over height, such as .08 for +- 8 %.
  """
  colour_key, stretch_key = jax.random.split(key)
  examples = len(frames)
  if colours:
    frames = lend_mouth(frames, landmarks, lender)
    frames = recolour(frames, draw_colours(colour_key, examples))
  if most:
    ratio = draw_ratio(stretch_key, examples, most)
    frames = stretch(frames, landmarks[:, 0], ratio)
  return frames


def colours(
  pictures: Float[Array, "b h w 3"], key: PRNGKeyArray
) -> Float[Array, "b h w 3"]:
  """Mouths or faces, each in colours of its own."""
  drawn = draw_colours(key, len(pictures))
  return recolour(pictures[:, None], drawn)[:, 0]


def faces(
  frames: Float[Array, "b h w 3"],
  landmarks: Float[Array, "b 68 2"] | None,
  size: int,
  key: PRNGKeyArray,
  *,
  most: float,
) -> Float[Array, "b s s 3"]:
  """What E_e sees of frames, each changed in its own way.

  Args:
    frames: Whole ones.
    landmarks: Theirs: aligned faces are cut by them; None leaves frames whole.
    size: Side of what is seen.
    key: Of all draws.
    most: Largest change of width over height.
  """
  move_key, colour_key = jax.random.split(key)
  x, y = moved(draw_moves(move_key, len(frames), most), size)
  if landmarks is None:
    pictures = sample(frames, _reflected(x, size), _reflected(y, size))
  else:  # cut and moved at once: what lies beyond the cut's border is there
    pictures = align_face(frames, landmarks, size, (x, y))
  return colours(pictures, colour_key)


def where(flags: Bool[Array, "b"], changed: Array, plain: Array) -> Array:
  """The changed pictures of the examples that are flagged."""
  shape = (-1, *[1] * (changed.ndim - 1))
  return jnp.where(flags.reshape(shape), changed, plain)


def draw_colours(key: PRNGKeyArray, examples: int) -> Colours:
  """A mean and a gain of each channel, and now and then a blur."""
  keys = jax.random.split(key, 6)

  def draw(i: int, low: float, high: float, channels: int = 3):
    shape = (examples, channels)
    return jax.random.uniform(keys[i], shape, minval=low, maxval=high)

  gain = draw(0, 0.7, 1.35, 1) * draw(1, 0.85, 1.15)
  mean = MEAN + draw(2, -40, 40, 1) + draw(3, -12, 12)
  some = jax.random.bernoulli(keys[4], BLURRED, (examples,))
  blur = jnp.where(some, draw(5, *BLUR, 1)[:, 0], 0.0)
  return Colours(gain, mean / 127.5 - 1, blur)


def recolour(
  frames: Float[Array, "b t h w 3"], colours: Colours
) -> Float[Array, "b t h w 3"]:
  """Pictures in other colours, all of an example alike.

  For pose, mouth and emotion inputs: what skin and light look like must not
  pass, so that nothing is left of the channels' own means.

  Args:
    frames: In [-1, 1]; of the first one the channels' means are taken.
    colours: From `draw_colours`.
  """
  usual = frames[:, :1].mean((2, 3), keepdims=True)
  gain, mean = (x[:, None, None, None] for x in (colours.gain, colours.mean))
  recoloured = (gain * (frames - usual) + mean).clip(-1, 1)
  height, width = frames.shape[2:4]
  deviation = colours.blur * height
  # As products of matrices: an accelerator has those for nothing, and the
  # width of the blur is the example's own. Two rounded numbers of bfloat16
  # would be a grey level.
  highest = jax.lax.Precision.HIGHEST
  rows, columns = (_kernel(deviation, side) for side in (height, width))
  recoloured = jnp.einsum(
    "bij,btjwc->btiwc", rows, recoloured, precision=highest
  )
  return jnp.einsum("bij,bthjc->bthic", columns, recoloured, precision=highest)


def _kernel(deviation: Float[Array, "b"], side: int) -> Float[Array, "b n n"]:
  """A Gaussian along an axis of `side`, two deviations each way.

  What lies beyond the border is the picture's reflection, as in OpenCV.
  """
  deviation = deviation[:, None, None]
  place = jnp.arange(side, dtype=jnp.float32)
  to, last = place[:, None], side - 1

  def weight(away):
    density = jnp.exp(-0.5 * (away / deviation.clip(1e-3)) ** 2)
    return jnp.where(jnp.abs(away) <= jnp.ceil(2 * deviation), density, 0.0)

  weights = weight(to - place)
  weights += weight(to + place) * (place > 0)
  weights += weight(2 * last - to - place) * (place < last)
  return weights / weights.sum(-1, keepdims=True)


class Moves(NamedTuple):
  """Small changes of how an aligned face is held, and of its proportions."""

  turn: Float[Array, "b"]  # radians, clockwise in the picture
  scale: Float[Array, "b"]
  ratio: Float[Array, "b"]  # by which width grows and height shrinks
  shift: Float[Array, "b 2"]  # of the side
  mirrored: Bool[Array, "b"]


def draw_moves(key: PRNGKeyArray, examples: int, most: float) -> Moves:
  """A turn, zoom, shift and stretch each; half of them mirrored.

  For emotion inputs: how the head is held and what its proportions are must
  not pass.
  """
  keys = jax.random.split(key, 5)

  def draw(i: int, *shape: int):
    return jax.random.uniform(keys[i], (examples, *shape), minval=-1, maxval=1)

  return Moves(
    turn=jnp.deg2rad(TURN_DEG) * draw(0),
    scale=(1 + ZOOM) ** draw(1),
    ratio=draw_ratio(keys[2], examples, most),
    shift=SHIFT * draw(3, 2),
    mirrored=jax.random.bernoulli(keys[4], 0.5, (examples,)),
  )


def moved(
  moves: Moves, size: int
) -> tuple[Float[Array, "b s s"], Float[Array, "b s s"]]:
  """Where pictures of `size` that have been moved are read: x and y."""
  turn, scale, ratio, right, down = (
    x[:, None, None]
    for x in (moves.turn, moves.scale, moves.ratio, *moves.shift.T)
  )
  middle = (size - 1) / 2
  u = jnp.arange(size) - middle - right * size
  v = jnp.arange(size)[:, None] - middle - down * size
  cos, sin = jnp.cos(turn) / scale, jnp.sin(turn) / scale
  sign = jnp.where(moves.mirrored, -1.0, 1.0)[:, None, None]
  x = sign * (cos * u + sin * v) / ratio
  y = (cos * v - sin * u) * ratio
  return x + middle, y + middle


def draw_ratio(
  key: PRNGKeyArray, examples: int, most: float
) -> Float[Array, "b"]:
  """Changes of width for `stretch`; `most` of width over height."""
  draw = jax.random.uniform(key, (examples,), minval=-0.5, maxval=0.5)
  return (1 + most) ** draw


def stretch(
  frames: Float[Array, "b t h w 3"],
  landmarks: Float[Array, "b 68 2"],
  ratio: Float[Array, "b"],
) -> Float[Array, "b t h w 3"]:
  """Changes a face's proportions, in all pictures of an example alike.

  For pose inputs: whose skull it is must not pass. Width grows as height
  shrinks, along and across the line of the eyes and about the face's middle:
  the face's place, its size (as an area), and its roll remain. Source: PC-AVS
  and LPD change the proportions of their pose pictures too.

  Args:
    frames: What enters at the edge is their own reflection.
    landmarks: The face in the first, in its pixels.
    ratio: By which width grows; 1 changes nothing.
  """
  eyes = landmarks[:, spec.RIGHT_EYE].mean(1) - landmarks[
    :, spec.LEFT_EYE
  ].mean(1)
  along = eyes / jnp.linalg.norm(eyes, axis=-1, keepdims=True).clip(1e-6)
  # No jaw: it would tell of the lips.
  middle = landmarks[:, spec.NOSE].mean(1)
  t, height, width = frames.shape[1:4]
  cx, cy, ax, ay, ratio = (
    x[:, None, None] for x in (*middle.T, *along.T, ratio)
  )
  u, v = jnp.arange(width) - cx, jnp.arange(height)[:, None] - cy
  # Read from where: `ratio` along the eyes and 1 / ratio across, undone.
  far = (1 / ratio - ratio) * (ax * u + ay * v)
  x = _reflected(cx + ratio * u + far * ax, width)
  y = _reflected(cy + ratio * v + far * ay, height)
  maps = rearrange(frames, "b t h w c -> b h w (t c)")
  return rearrange(sample(maps, x, y), "b h w (t c) -> b t h w c", t=t)


def _reflected(at: Float[Array, "b h w"], size: int) -> Float[Array, "b h w"]:
  """Places near a row of cells, those beyond its ends mirrored by the last."""
  return (size - 1) - jnp.abs((size - 1) - jnp.abs(at))


def lend_mouth(
  frames: Float[Array, "b t h w 3"],
  landmarks: Float[Array, "b t 68 2"],
  lender: Lender,
) -> Float[Array, "b t h w 3"]:
  """Gives frames the mouth and chin of another picture, softly pasted.

  For pose inputs: what lips do must not pass. Source: the idea is EDTalk's.

  Args:
    frames: Keep their pose and all but the mouth.
    landmarks: Their own, in their pixels.
    lender: Of mouths, one to all frames of an example.
  """
  t, height, width = frames.shape[1:4]
  # By what does not move with the jaw, and about the donor's lips: the place
  # of the own ones would tell how far they are open.
  still, source = _still(landmarks), _still(lender.landmarks)[:, None]
  # From the lender's pixels to own ones; below it is inverted.
  to_own = similarity.fit(source, still)
  lips = lender.landmarks[:, None, spec.MOUTH].mean(-2, keepdims=True)
  lips = similarity.moved(to_own, lips)[..., 0, :]
  apart = spec.interocular(landmarks)
  down = still[..., 2, :] - (still[..., 0, :] + still[..., 1, :]) / 2
  down /= jnp.linalg.norm(down, axis=-1, keepdims=True).clip(1e-6)
  middle = lips + BELOW * apart[..., None] * down

  def spread(x):
    return x[..., None, None]

  column, row = jnp.arange(width), jnp.arange(height)[:, None]
  x, y = similarity.read_at(to_own, column, row)
  x, y = (rearrange(z, "b t h w -> b (t h) w") for z in (x, y))
  moved = sample(lender.picture, x, y)
  moved = rearrange(moved, "b (t h) w c -> b t h w c", t=t)
  away = jnp.hypot(
    column - spread(middle[..., 0]), row - spread(middle[..., 1])
  )
  near, far = (spread(radius * apart) for radius in PASTED)
  share = ((far - away) / (far - near).clip(1e-6)).clip(0, 1)[..., None]
  pasted = frames * (1 - share) + moved * share
  return pasted if lender.lends is None else where(lender.lends, pasted, frames)


def _still(landmarks: Float[Array, "*n 68 2"]) -> Float[Array, "*n 3 2"]:
  """Both eyes and the nose's lower end, which lips and jaw do not move."""
  parts = (spec.LEFT_EYE, spec.RIGHT_EYE, slice(31, 36))
  return jnp.stack([landmarks[..., part, :].mean(-2) for part in parts], -2)
