"""Pixels and samples: integers on the way to a device, floats on it."""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int16, UInt8


def as_frames(pixels: UInt8[Array, "*b h w c"]) -> Float[Array, "*b h w c"]:
  """Turns bytes, RGB or grey, into float32 in [-1, 1]."""
  return pixels.astype(jnp.float32) / 127.5 - 1.0


def as_bytes(frames: Float[Array, "*b h w 3"]) -> UInt8[Array, "*b h w 3"]:
  """Turns float RGB into bytes; what lies outside [-1, 1] is clipped."""
  scaled = jnp.round((frames.astype(jnp.float32) + 1.0) * 127.5)
  return jnp.clip(scaled, 0.0, 255.0).astype(jnp.uint8)


def as_audio(samples: Int16[Array, "*b s"]) -> Float[Array, "*b s"]:
  """Turns 16-bit samples into float32 in [-1, 1)."""
  return samples.astype(jnp.float32) / 32768.0


def with_frames(batch: Any) -> Any:
  """Turns all pictures of a batch into floats; the rest is untouched.

  Args:
    batch: A tree of arrays; those of type uint8 are its pictures.
  """
  return jax.tree.map(
    lambda x: as_frames(x) if x.dtype == jnp.uint8 else x, batch
  )
