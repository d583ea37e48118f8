"""Pixel losses of stages 2 and 3; all ours, the paper's stage 3 has none.

Frames are float RGB in [-1, 1]. Landmarks are x, y in pixels of those frames.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp
from einops import reduce
from jaxtyping import Array, Float

from speak_jax import spec


def weighted_l1(
  pred: Float[Array, "b h w c"],
  target: Float[Array, "b h w c"],
  weight: Float[Array, "b h w 1"] | None = None,
) -> Float[Array, "b"]:
  """Mean absolute error under a map, in [0, 2]; the map's scale drops out."""
  error = _absolute(pred, target).mean(-1)
  if weight is None:
    return error.mean((1, 2))
  weight = weight.astype(jnp.float32)[..., 0]
  return (error * weight).sum((1, 2)) / weight.sum((1, 2))


def pyramid_l1(
  pred: Float[Array, "b h w c"],
  target: Float[Array, "b h w c"],
  weight: Float[Array, "b h w 1"] | None = None,
  levels: int = 3,
) -> Float[Array, "b"]:
  """`weighted_l1` averaged over the frame and its 2x2 means, 4x4 means, ...

  Coarse levels pull colours and outlines into place while fine detail is
  still misaligned.

  Raises:
    ValueError: a side does not halve `levels - 1` times.
  """
  block = 2 ** (levels - 1)
  if pred.shape[1] % block or pred.shape[2] % block:
    raise ValueError(
      f"frames {pred.shape[1:3]} do not halve {levels - 1} times"
    )
  total = weighted_l1(pred, target, weight)
  for _ in range(levels - 1):
    pred, target = _halve(pred), _halve(target)
    weight = None if weight is None else _halve(weight)
    total += weighted_l1(pred, target, weight)
  return total / levels


def gradient_l1(
  pred: Float[Array, "b h w c"],
  target: Float[Array, "b h w c"],
  weight: Float[Array, "b h w 1"] | None = None,
) -> Float[Array, "b"]:
  """Mean absolute error of neighbour differences, rows plus columns.

  Stands in for perceptual features where there are none: it is blind to a
  constant offset and punishes blur.
  """
  error = pred.astype(jnp.float32) - target.astype(jnp.float32)
  down = jnp.abs(error[:, 1:] - error[:, :-1])
  right = jnp.abs(error[:, :, 1:] - error[:, :, :-1])
  zeros = jnp.zeros_like
  if weight is None:
    return weighted_l1(down, zeros(down)) + weighted_l1(right, zeros(right))
  return weighted_l1(down, zeros(down), weight[:, 1:]) + weighted_l1(
    right, zeros(right), weight[:, :, 1:]
  )


def ssim_loss(
  pred: Float[Array, "b h w c"],
  target: Float[Array, "b h w c"],
  side: int = 7,
) -> Float[Array, "b"]:
  """1 - SSIM over every `side` x `side` window wholly inside, in [0, 2].

  Where a target cannot be known to the pixel, L1 asks for the median of what
  it may be, which is flat; this also asks for its contrast.

  Source: Wang et al. 2004, with a uniform window; as a loss Zhao et al. 2017.
  """
  x, y = ((frames.astype(jnp.float32) + 1) / 2 for frames in (pred, target))
  means = jnp.concatenate([x, y, x * x, y * y, x * y], -1)
  for window in ((side, 1), (1, side)):
    means = nn.avg_pool(means, window)
  x, y, xx, yy, xy = jnp.split(means, 5, -1)
  c1, c2 = (k**2 for k in spec.SSIM_K)  # L = 1
  shade = (2 * x * y + c1) / (x * x + y * y + c1)
  detail = (2 * (xy - x * y) + c2) / (xx - x * x + yy - y * y + c2)
  return 1 - (shade * detail).mean((1, 2, 3))


def region_weight(
  landmarks: Float[Array, "b 68 2"], size: int, mouth: float, face: float
) -> Float[Array, "b h w 1"]:
  """1 + `mouth` x Gaussian round the mouth + `face` x Gaussian round the face.

  Widths follow the face's size in the picture, so one setting serves every
  resolution and framing.
  """
  scale = _face_scale(landmarks)
  lips = landmarks[:, spec.MOUTH].mean(1)
  middle = landmarks[:, spec.BROWS.start :].mean(1)
  return (
    1.0
    + mouth * _gaussian(lips, 0.45 * scale, 0.35 * scale, size)
    + face * _gaussian(middle, 1.0 * scale, 1.0 * scale, size)
  )


def mouth_box(
  landmarks: Float[Array, "b 68 2"], size: int, edge: float = 0.08
) -> Float[Array, "b h w 1"]:
  """Soft box round the lips: 1 inside, falling to 0 over `edge` face sizes.

  It spans the lip landmarks plus a margin for lips that open further than
  the target's.
  """
  scale = _face_scale(landmarks)
  lips = landmarks[:, spec.MOUTH]
  low = lips.min(1) - scale[:, None] * jnp.array([0.12, 0.15])
  high = lips.max(1) + scale[:, None] * jnp.array([0.12, 0.25])
  along = jnp.arange(size, dtype=jnp.float32)
  soft = (edge * scale)[:, None]

  def ramp(axis: int) -> Float[Array, "b n"]:
    rise = (along - low[:, axis, None]) / soft
    fall = (high[:, axis, None] - along) / soft
    return jax.nn.sigmoid(4 * rise) * jax.nn.sigmoid(4 * fall)

  return (ramp(1)[:, :, None] * ramp(0)[:, None, :])[..., None]


def mouth_box_l1(
  pred: Float[Array, "b h w c"],
  target: Float[Array, "b h w c"],
  landmarks: Float[Array, "b 68 2"],
) -> Float[Array, "b"]:
  """`weighted_l1` inside the soft mouth box of the target's landmarks."""
  return weighted_l1(pred, target, mouth_box(landmarks, pred.shape[1]))


def _absolute(pred, target):
  return jnp.abs(pred.astype(jnp.float32) - target.astype(jnp.float32))


def _halve(image: Float[Array, "b h w c"]) -> Float[Array, "b h/2 w/2 c"]:
  image = image.astype(jnp.float32)
  return reduce(image, "b (h i) (w j) c -> b h w c", "mean", i=2, j=2)


def _face_scale(landmarks: Float[Array, "b 68 2"]) -> Float[Array, "b"]:
  """Inter-ocular and eye-to-mouth distance, root mean square: yaw shrinks the
  first alone and pitch the second, so the two together hardly move."""
  eyes = landmarks[:, spec.LEFT_EYE.start : spec.RIGHT_EYE.stop].mean(1)
  drop = ((eyes - landmarks[:, spec.MOUTH].mean(1)) ** 2).sum(-1)
  return jnp.sqrt((spec.interocular(landmarks) ** 2 + drop) / 2 + 1.0)


def _gaussian(centre, sigma_x, sigma_y, size: int) -> Float[Array, "b h w 1"]:
  along = jnp.arange(size, dtype=jnp.float32)
  x = ((along - centre[:, 0, None]) / sigma_x[:, None]) ** 2
  y = ((along - centre[:, 1, None]) / sigma_y[:, None]) ** 2
  return jnp.exp(-0.5 * (y[:, :, None] + x[:, None, :]))[..., None]
