"""Dynamic loss scaling, for what is computed in float16.

Source: Micikevicius et al., Mixed precision training (arXiv 1710.03740). A
loss is multiplied before it is differentiated, so that small gradients are not
rounded to zero on their way through float16, and the gradients are divided
after. Where they overflow the update is skipped and the factor halved; it
doubles after so many good updates. `flax.training.dynamic_scale` does the same
for one gradient of one batch on its own; here gradients are summed over
microbatches and devices first, and what an update leaves alone is decided where
all that it changes is at hand.
"""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from speak_jax.stages.base import Scaling

LEAST = 1.0  # the next overflow is no longer the factor's
MOST = 2.0**24  # losses of weight 0 would double it for ever


class LossScale(NamedTuple):
  """Of one optimizer; kept in checkpoints."""

  factor: Float[Array, ""]
  good: Int[Array, ""]  # updates since it changed


def initial(settings: Scaling) -> LossScale:
  """The scale of an optimizer that has not begun."""
  return LossScale(jnp.float32(settings.initial), jnp.zeros((), jnp.int32))


def can_shrink(scale: LossScale) -> Bool[Array, ""]:
  """Whether an overflow may be the scale's fault."""
  return scale.factor > LEAST


def adjusted(
  scale: LossScale, settings: Scaling, overflow: Bool[Array, ""]
) -> LossScale:
  """The scale after an update, or after one that overflowed."""
  grows = scale.good + 1 >= settings.growth
  larger = jnp.where(grows, 2 * scale.factor, scale.factor).clip(max=MOST)
  smaller = (scale.factor / 2).clip(min=LEAST)
  return LossScale(
    jnp.where(overflow, smaller, larger),
    jnp.where(overflow | grows, 0, scale.good + 1),
  )
