"""Perceptual loss L_vgg (paper Eq. 13): distances between feature maps."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

# pix2pixHD's weights for VGG-19 relu1_1, relu2_1, ..., relu5_1.
VGG_WEIGHTS = (1 / 32, 1 / 16, 1 / 8, 1 / 4, 1.0)


def feature_l1(
  pred: Sequence[Float[Array, "b ..."]],
  target: Sequence[Float[Array, "b ..."]],
  weights: Sequence[float] = VGG_WEIGHTS,
) -> Float[Array, "b"]:
  """Sum over layers of weight x mean absolute difference.

  No gradient reaches `target`'s features.

  Raises:
    ValueError: features and weights differ in number.
  """
  if not len(pred) == len(target) == len(weights):
    raise ValueError(
      f"{len(pred)} and {len(target)} feature maps, {len(weights)} weights"
    )
  total = jnp.zeros(pred[0].shape[0], jnp.float32)
  for ours, theirs, weight in zip(pred, target, weights, strict=True):
    theirs = jax.lax.stop_gradient(theirs.astype(jnp.float32))
    error = jnp.abs(ours.astype(jnp.float32) - theirs)
    total += weight * error.reshape(error.shape[0], -1).mean(-1)
  return total
