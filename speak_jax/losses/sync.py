"""Lip synchronisation: stage 1's losses and the generator's L_sync.

Codes are SyncNet's: unit vectors, whose distances lie in [0, 2], or, as
Chung and Zisserman have them, of any length.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from speak_jax import spec


def pair_distance(
  speech: Float[Array, "*b d"], mouth: Float[Array, "*b d"]
) -> Float[Array, "*b"]:
  """Euclidean distance between two codes; its gradient is finite at zero."""
  return jnp.sqrt(_squared(speech, mouth) + 1e-12)


def contrastive(
  speech: Float[Array, "*b d"],
  mouth: Float[Array, "*b d"],
  matching: Bool[Array, "*b"],
  margin: float = 1.0,
) -> Float[Array, "*b"]:
  """Eq. 11: d^2 / 2 for pairs that match, max(margin - d, 0)^2 / 2 else.

  With unit codes it stalls at a distance of margin / 2 for every pair when
  trained from scratch (loss 0.125 at margin 1); start with `info_nce`.
  """
  distance = pair_distance(speech, mouth)
  apart = jnp.maximum(margin - distance, 0.0) ** 2
  return 0.5 * jnp.where(matching, _squared(speech, mouth), apart)


def info_nce(
  speech: Float[Array, "b n d"],
  mouth: Float[Array, "b n d"],
  temperature: float = 0.07,
) -> Float[Array, "b"]:
  """Cross-entropy of finding each window's partner among its clip's windows.

  Ours: negatives of the same clip leave nothing but timing to tell a pair
  apart. Both directions are averaged; log(n) is chance.
  """
  similarity = jnp.einsum(
    "bid,bjd->bij", speech.astype(jnp.float32), mouth.astype(jnp.float32)
  )
  logits = similarity / temperature
  both = jax.nn.log_softmax(logits, -1) + jax.nn.log_softmax(logits, -2)
  return -0.5 * jnp.diagonal(both, axis1=-2, axis2=-1).mean(-1)


def sync_distance(
  code: Float[Array, "*b d"], other: Float[Array, "*b d"]
) -> Float[Array, "*b"]:
  """Eq. 11 at y = 1: half the squared distance, the generator's L_sync.

  Speech against generated mouth is the text's reading of Eq. 12; generated
  against real mouth is the equation as printed.
  """
  return 0.5 * _squared(code, other)


def cosine_cross_entropy(
  cosine: Float[Array, "*b"], matching: Bool[Array, "#*b"]
) -> Float[Array, "*b"]:
  """Wav2Lip's: cosines of codes without negative numbers, as probabilities.

  Source: arXiv 2008.10010, section 3.1; the same with `matching` True is its
  generator's sync loss.

  Args:
    cosine: In [0, 1].
    matching: Whether each pair belongs together.
  """
  likely = jnp.where(matching, cosine, 1 - cosine).astype(jnp.float32)
  return -jnp.log(likely.clip(1e-6))  # finite, and without slope below


def mouth_opening_loss(
  pred: Float[Array, "b t"], landmarks: Float[Array, "b t 68 2"]
) -> Float[Array, "b"]:
  """Squared error of the mouth opening heard in speech, mean over time.

  Ours: it teaches the audio code what lips do before any lip is drawn.
  """
  error = pred.astype(jnp.float32) - spec.mouth_opening(landmarks)
  return (error**2).mean(-1)


def _squared(a, b):
  return ((a.astype(jnp.float32) - b.astype(jnp.float32)) ** 2).sum(-1)
