"""The five losses of IRFD (paper v1, Eq. 1 to 8) and what keeps codes alive.

Eq. 5 to 7, self reconstruction, are pixel losses (`pixel.py`).
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

NORMS = ("sum", "mean")  # how a printed || . ||^2 is read


def squared_distance(
  one: Float[Array, "b ..."], other: Float[Array, "b ..."], norm: str = "sum"
) -> Float[Array, "b"]:
  """||one - other||^2 of codes or of pictures, whatever their shape.

  Eq. 3 to 7 print the same norm for both; read alike, a picture of n values
  and a code of d weigh n : d. Reading one as a sum and the other as a mean
  makes codes n times as dear, and they shrink to a constant.

  Args:
    one: Codes or pictures.
    other: The same shape.
    norm: "sum" over all but the batch, as printed, or "mean", for which no
      width and no resolution matters.
  """
  error = (one.astype(jnp.float32) - other.astype(jnp.float32)) ** 2
  error = error.reshape(error.shape[0], -1)
  return error.sum(-1) if norm == "sum" else error.mean(-1)


def cycle(
  reencoded: Float[Array, "b d"], fed: Float[Array, "b d"], norm: str = "sum"
) -> Float[Array, "b"]:
  """Eq. 3 and 4: the code read from a generated image equals the code fed.

  Ours: the fed code is a constant here, or both sides shrink to agree.
  """
  return squared_distance(reencoded, jax.lax.stop_gradient(fed), norm)


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
  other identity, and the rule holds for source and target alike. Distances
  are sums whatever `norm` the other terms have: alpha is in their unit, and
  unit vectors are 0 to 4 apart at any width.

  Args:
    source: E_i(S), unit vectors unless the config says otherwise.
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

  Ours: pins what a pose code means across people (D2 in PAPER.md).

  Args:
    pred: In units of 30 degrees, as the encoders' head gives it.
    degrees: The true angles, in degrees.
  """
  return ((pred.astype(jnp.float32) - degrees / 30.0) ** 2).mean(-1)


# Examples from which sampling noise no longer drowns what two codes share.
ENOUGH = 64


def cross_correlation(
  code: Float[Array, "b d"], other: Float[Array, "b e"]
) -> Float[Array, ""]:
  """How much the numbers of two codes say of each other: 0 nothing, 1 all.

  The mean squared correlation of a number of one with a number of the other
  over the batch, each less what chance gives it (adjusted R^2). So neither the
  widths nor the number of examples matter to what is expected, and codes gain
  nothing by shrinking.

  Ours, after the cross-covariance of Cheung et al. 2014, which is a sum of
  squared covariances: of 4 examples and 512 x 64 numbers its sampling noise
  alone is thousands, and shrinking a code is the way to lessen it. A property
  of the batch, hence one value; `ENOUGH` examples at least.
  """
  n = code.shape[0]
  squared = jnp.einsum("bd,be->de", _centred(code), _centred(other)) ** 2
  return (1 - (1 - squared) * (n - 1) / max(n - 2, 1)).mean()


def squared_cosine(
  code: Float[Array, "b d"], other: Float[Array, "b d"]
) -> Float[Array, "b"]:
  """Squared cosine of the angle between two codes: 0 = at right angles.

  Only `code` learns from it. A rotation alone can meet it, so what a code
  really lost must be probed; `cross_correlation` has no such way out.
  """
  other = jax.lax.stop_gradient(other.astype(jnp.float32))
  code = code.astype(jnp.float32)
  product = (code * other).sum(-1) ** 2
  return product / ((code**2).sum(-1) * (other**2).sum(-1) + 1e-8)


def _centred(code: Float[Array, "b d"]) -> Float[Array, "b d"]:
  """Columns of mean 0 and length 1; those that do not vary are near 0."""
  code = code.astype(jnp.float32)
  code -= code.mean(0)
  variance = (code**2).mean(0) + 1e-6
  return code * jax.lax.rsqrt(code.shape[0] * variance)


def variance_floor(
  code: Float[Array, "b d"], floor: float = 1.0
) -> Float[Array, ""]:
  """Mean over the width of max(floor - std over the batch, 0) (VICReg).

  Ours: zero until a code begins to collapse. One value for the batch.
  """
  variance = code.astype(jnp.float32).var(0)
  return jnp.maximum(floor - jnp.sqrt(variance + 1e-6), 0.0).mean()
