"""Changes of what is heard, in training: other throats, rooms, microphones.

All on log-mel spectra, on the device; one draw a clip.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

SPREAD = 0.5  # of a noise's level about its mean, as `mel.normalized_log_mel`


class Changes(NamedTuple):
  """How much, in units of `mel.normalized_log_mel`; 0 leaves it."""

  stretch: float  # std of the logarithm by which bands are moved: throats
  tilt: float  # std of the slope over the bands: microphones
  colour: float  # std of a wave over the bands
  noise: float  # share of the clips with a floor of noise
  noise_level: tuple[float, float]  # of the floor, from and to


def changes_any(changes: Changes) -> bool:
  """Whether anything changes."""
  return any(changes[:4])  # the level is of the noise, if there is any


def change(
  spectra: Float[Array, "b n 80"], key: PRNGKeyArray, changes: Changes
) -> Float[Array, "b n 80"]:
  """Changes each clip's spectra by one draw.

  Source of the stretch: vocal tract length perturbation (Jaitly and Hinton
  2013).
  """
  b, steps, bands = spectra.shape
  throat, microphone, size, phase, floor, hiss, who = jax.random.split(key, 7)
  normal, uniform = jax.random.normal, jax.random.uniform
  at = jnp.arange(bands) * jnp.exp(changes.stretch * normal(throat, (b, 1)))
  low = jnp.floor(at).clip(0, bands - 2).astype(jnp.int32)
  part = (at.clip(0, bands - 1) - low)[:, None]
  pick = jax.vmap(lambda x, i: x[:, i])
  moved = pick(spectra, low) * (1 - part) + pick(spectra, low + 1) * part
  place = jnp.linspace(-1, 1, bands)
  wave = jnp.sin(2 * jnp.pi * (place + uniform(phase, (b, 1))))
  moved += (
    changes.tilt * normal(microphone, (b, 1)) * place
    + changes.colour * normal(size, (b, 1)) * wave
  )[:, None]
  least, most = changes.noise_level
  level = uniform(floor, (b, 1, 1), minval=least, maxval=most)
  noise = level + SPREAD / 4 * normal(hiss, (b, steps, bands))
  heard = jax.random.bernoulli(who, changes.noise, (b, 1, 1))
  # Powers add up; spectra are a quarter of their natural logarithm.
  return jnp.where(heard, jnp.logaddexp(4 * moved, 4 * noise) / 4, moved)
