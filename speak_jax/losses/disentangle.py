"""The five losses of IRFD (paper v1, Eq. 1 to 8) and what keeps codes alive.

Eq. 5 to 7, self reconstruction, are pixel losses (`pixel.py`).
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int


def squared_distance(
  code: Float[Array, "b d"], other: Float[Array, "b d"]
) -> Float[Array, "b"]:
  """||code - other||^2, summed over the width: Eq. 3 and 4 as printed."""
  return ((code.astype(jnp.float32) - other.astype(jnp.float32)) ** 2).sum(-1)


def cycle(
  reencoded: Float[Array, "b d"], fed: Float[Array, "b d"]
) -> Float[Array, "b"]:
  """Eq. 3 and 4: the code read from a generated image equals the code fed.

  Ours: the fed code is a constant here, or both sides shrink to agree.
  """
  return squared_distance(reencoded, jax.lax.stop_gradient(fed))


def identity_triplet(
  source: Float[Array, "b d"],
  target: Float[Array, "b d"],
  like_source: Float[Array, "b d"],
  like_target: Float[Array, "b d"],
  same: Bool[Array, "b"],
  margin: float,
) -> Float[Array, "b"]:
  """Eq. 1 as its text means it: near the own identity, far from the other.

  Ours: as printed, Eq. 1 compares nothing but items of one identity, and
  rewards a larger second distance; here the second distance crosses to the
  other identity, and the rule holds for source and target alike.

  Args:
    source: E_i(S), unit vectors.
    target: E_i(T).
    like_source: E_i of the image generated with S's identity.
    like_target: E_i of the image generated with T's identity.
    same: S and T show one person; then only the pull is left, no margin.
    margin: Alpha; the paper gives no value.
  """

  def side(anchor, positive, negative):
    near = squared_distance(anchor, positive)
    far = squared_distance(anchor, negative)
    return jnp.where(same, near, jnp.maximum(near - far + margin, 0.0))

  return side(source, like_source, like_target) + side(
    target, like_target, like_source
  )


def identity_printed(
  source: Float[Array, "b d"],
  target: Float[Array, "b d"],
  like_source: Float[Array, "b d"],
  like_target: Float[Array, "b d"],
  margin: float,
) -> Float[Array, "b"]:
  """Eq. 1 to the letter; arguments as in `identity_triplet`."""
  near = squared_distance(source, like_source)
  other = squared_distance(target, like_target)
  return jnp.maximum(near - other + margin, 0.0)


def classification(
  logits: Float[Array, "b n"], label: Int[Array, "b"], smoothing: float = 0.1
) -> Float[Array, "b"]:
  """Eq. 2: cross-entropy of C_m on an emotion code; 0 where label < 0.

  Ours: label smoothing (0 is the paper's), and the mask, because most video
  has no labels.
  """
  logp = jax.nn.log_softmax(logits.astype(jnp.float32), -1)
  wanted = jax.nn.one_hot(label, logits.shape[-1])
  wanted = (1 - smoothing) * wanted + smoothing / logits.shape[-1]
  return jnp.where(label >= 0, -(wanted * logp).sum(-1), 0.0)


def angles(
  pred: Float[Array, "b 3"], degrees: Float[Array, "b 3"]
) -> Float[Array, "b"]:
  """Mean squared error of yaw, pitch, roll read from a pose code.

  Ours: pins what a pose code means across people (D2 of the method notes).

  Args:
    pred: In units of 30 degrees, as the encoders' head gives it.
    degrees: The true angles, in degrees.
  """
  return ((pred.astype(jnp.float32) - degrees / 30.0) ** 2).mean(-1)


def cross_covariance(
  code: Float[Array, "b d"], other: Float[Array, "b e"]
) -> Float[Array, ""]:
  """Half the sum of squared covariances between two codes over the batch.

  Ours (Cheung et al. 2014): linear leaks alone, and it needs 32 examples or
  more. A property of the batch, hence one value.
  """
  code = code.astype(jnp.float32)
  other = other.astype(jnp.float32)
  code -= code.mean(0)
  other -= other.mean(0)
  covariance = jnp.einsum("bd,be->de", code, other) / code.shape[0]
  return 0.5 * (covariance**2).sum()


def variance_floor(
  code: Float[Array, "b d"], floor: float = 1.0
) -> Float[Array, ""]:
  """Mean over the width of max(floor - std over the batch, 0) (VICReg).

  Ours: zero until a code begins to collapse. One value for the batch.
  """
  variance = code.astype(jnp.float32).var(0)
  return jnp.maximum(floor - jnp.sqrt(variance + 1e-6), 0.0).mean()
