"""Diffusion of sequences: noise in, and out again by what a network predicts.

The network predicts the clean sequence. Steps are numbered from 0, which is
almost clean, to the last, which is noise. Everything is a pure function; the
sampler is one `lax.scan`, so that its program is as large as a single step.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Bool, Float, Int

OFFSET = 0.008  # of the schedule, so that the first step is not too small

# (noisy (b, t, d), step ()) -> the clean sequence.
Predict = Callable[[Array, Array], Array]


class Given(NamedTuple):
  """Frames that are known, such as the last ones of the window before."""

  frames: Float[Array, "b t d"]  # what `known` leaves out may be anything
  known: Bool[Array, "b t"]


def cosine_schedule(steps: int) -> Float[np.ndarray, "n"]:
  """Share of the signal's power that is left after each step, falling.

  Source: Nichol and Dhariwal 2021 (arXiv 2102.09672), Eq. 17.
  """
  time = (np.arange(steps) + 1) / steps
  power = np.cos((time + OFFSET) / (1 + OFFSET) * np.pi / 2) ** 2
  start = np.cos(OFFSET / (1 + OFFSET) * np.pi / 2) ** 2
  return (power / start).clip(1e-5, 1.0).astype(np.float32)


def noised(
  clean: Float[Array, "b t d"],
  noise: Float[Array, "b t d"],
  share: Float[Array, "#b"],
) -> Float[Array, "b t d"]:
  """A sequence of which a share of the power is left, the rest being noise."""
  share = jnp.asarray(share)[:, None, None]
  return jnp.sqrt(share) * clean + jnp.sqrt(1 - share) * noise


def put_back(x: Float[Array, "b t d"], given: Given) -> Float[Array, "b t d"]:
  """The sequence with its known frames as they are known."""
  return jnp.where(given.known[..., None], given.frames, x)


def guided(
  told: Float[Array, "b t d"], untold: Float[Array, "b t d"], scale: float
) -> Float[Array, "b t d"]:
  """Classifier-free guidance: away from what is predicted of nothing.

  Source: Ho and Salimans 2022 (arXiv 2207.12598).

  Args:
    told: Predicted from the condition.
    untold: Predicted without it.
    scale: 1 is `told` itself, 0 the other.
  """
  return untold + scale * (told - untold)


def sampler_steps(steps: int, count: int) -> Int[np.ndarray, "n"]:
  """So many of all steps, evenly, from the last one down to step 0.

  Raises:
    ValueError: there are not so many.
  """
  if not 1 <= count <= steps:
    raise ValueError(f"{count} of {steps} steps cannot be chosen")
  return np.linspace(steps - 1, 0, count).round().astype(np.int32)


def ddim(
  predict: Predict,
  noise: Float[Array, "b t d"],
  given: Given,
  schedule: Float[np.ndarray, "n"],
  count: int,
) -> Float[Array, "b t d"]:
  """Draws sequences; all that is random in them is their noise.

  Source: Song et al. 2021 (arXiv 2010.02502) at eta = 0. Known frames are put
  back before each prediction and after it, as editing does.

  Args:
    predict: The network.
    noise: Of unit variance.
    given: Known frames, which come out exactly as they are.
    schedule: See `cosine_schedule`.
    count: Predictions; fewer are faster.

  Raises:
    ValueError: more predictions than steps.
  """
  steps = sampler_steps(len(schedule), count)
  left = schedule[steps]
  after = np.append(left[1:], np.float32(1))

  def refine(x, at):
    step, here, there = at
    x = put_back(x, given)
    clean = put_back(predict(x, step), given)
    rest = (x - jnp.sqrt(here) * clean) / jnp.sqrt(1 - here)
    return jnp.sqrt(there) * clean + jnp.sqrt(1 - there) * rest, None

  at = tuple(jnp.asarray(x) for x in (steps, left, after))
  drawn, _ = lax.scan(refine, noise, at)
  return put_back(drawn, given)
