"""Adversarial losses of stage 3 (paper Eq. 10), non-saturating form.

A discriminator answers with one logit map per scale; D(x, y) here is the
mean over a map's patches, averaged over scales.
"""

from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

Logits = Sequence[Float[Array, "b ..."]]


def discriminator(real: Logits, fake: Logits) -> Float[Array, "b"]:
  """softplus(-D(real)) + softplus(D(fake)), Eq. 10's max over D."""
  return _average(real, lambda x: jax.nn.softplus(-x)) + _average(
    fake, jax.nn.softplus
  )


def generator(fake: Logits) -> Float[Array, "b"]:
  """softplus(-D(fake)): ours, Eq. 10's min over G without its flat start."""
  return _average(fake, lambda x: jax.nn.softplus(-x))


def r1(
  discriminate: Callable[[Float[Array, "b h w c"]], Logits],
  frames: Float[Array, "b h w c"],
  key: PRNGKeyArray,
) -> Float[Array, "b"]:
  """||d D_p(x) / d x||^2 of a real frame, mean over the patches p and scales.

  Weigh with gamma / 2. StyleGAN2's D has one logit, to which its gamma
  belongs; the gradient of a mean over n patches is some n times weaker in the
  square than that of one logit, as patches far apart share no pixel.

  The mean of P squared gradients needs no P backward passes: with a random
  sign s_p a patch, E ||d (sum_p s_p D_p) / d x||^2 = sum_p ||d D_p / d x||^2,
  since products of two signs cancel on average (Hutchinson 1990).

  Args:
    discriminate: Frames to logit maps; example i's logits must depend on
      frame i alone.
    frames: Real frames; the gradient is taken in float32.
    key: Draws the signs.
  """

  def projected(x: Float[Array, "b h w c"]) -> Float[Array, ""]:
    maps = discriminate(x)
    keys = jax.random.split(key, len(maps))
    total = jnp.zeros(())
    for logits, own in zip(maps, keys, strict=True):
      signs = jax.random.rademacher(own, logits.shape, jnp.float32)
      patches = logits[0].size * len(maps)
      total += (signs * _f32(logits)).sum() * patches**-0.5
    return total

  slope = jax.grad(projected)(frames.astype(jnp.float32))
  return jnp.square(slope).sum((1, 2, 3))


def feature_matching(
  real: Sequence[Float[Array, "b ..."]], fake: Sequence[Float[Array, "b ..."]]
) -> Float[Array, "b"]:
  """Mean absolute difference of D's features; the real side gets no gradient.

  Raises:
    ValueError: the two lists differ in length.
  """
  apart = [
    _mean(jnp.abs(_f32(f) - jax.lax.stop_gradient(_f32(r))))
    for r, f in zip(real, fake, strict=True)
  ]
  return jnp.stack(apart).mean(0)


def _average(maps: Logits, function) -> Float[Array, "b"]:
  return jnp.stack([_mean(function(_f32(m))) for m in maps]).mean(0)


def _mean(x: Float[Array, "b ..."]) -> Float[Array, "b"]:
  return x.reshape(x.shape[0], -1).mean(-1)


def _f32(x: Float[Array, "..."]) -> Float[Array, "..."]:
  return x.astype(jnp.float32)
