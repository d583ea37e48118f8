"""Transformer layers as wav2vec 2.0 and HuBERT have them, base and large."""

import flax.linen as nn
import jax
import jax.numpy as jnp
from einops import rearrange
from jax import Array
from jax.typing import DTypeLike
from jaxtyping import Bool, Float

EPSILON = 1e-5  # of every layer norm in the public networks


class Attention(nn.Module):
  """Multi-head self-attention over all steps; softmax in float32."""

  heads: int
  dtype: DTypeLike = jnp.float32

  @nn.compact
  def __call__(
    self,
    x: Float[Array, "b n d"],
    valid: Bool[Array, "b n"] | None = None,
  ) -> Float[Array, "b n d"]:
    """Attends; parameters q_proj, k_proj, v_proj, out_proj.

    Args:
      x: Any number of steps; its width is a multiple of `heads`.
      valid: Steps to attend to; None: all of them.
    """
    width = x.shape[-1]

    def project(name: str) -> Array:
      y = nn.Dense(width, dtype=self.dtype, name=name)(x)
      return rearrange(y, "b n (h d) -> b n h d", h=self.heads)

    query, key, value = map(project, ("q_proj", "k_proj", "v_proj"))
    mask = None if valid is None else valid[:, None, None]
    if query.dtype == jnp.float16:
      # Its products of float16 with sums of float32 do not exist on the CPU.
      query, key, value = (x.astype(jnp.float32) for x in (query, key, value))
    y = jax.nn.dot_product_attention(query, key, value, mask=mask)
    y = rearrange(y, "b n h d -> b n (h d)")
    return nn.Dense(width, dtype=self.dtype, name="out_proj")(y)


class TransformerLayer(nn.Module):
  """Attention and an exact-GELU feed-forward net, each added to its input.

  Attributes:
    heads: Divide the width.
    hidden: Width inside the feed-forward net.
    pre_norm: Normalise what goes into each of the two (large style) and not
      what comes out of the sum (base style).
  """

  heads: int
  hidden: int
  dtype: DTypeLike = jnp.float32
  pre_norm: bool = False

  @nn.compact
  def __call__(
    self,
    x: Float[Array, "b n d"],
    valid: Bool[Array, "b n"] | None = None,
  ) -> Float[Array, "b n d"]:
    """One layer, same shape; `valid` as in `Attention`."""
    attend = Attention(self.heads, self.dtype, name="attention")
    first = nn.LayerNorm(EPSILON, dtype=self.dtype, name="layer_norm")
    widen = nn.Dense(self.hidden, dtype=self.dtype, name="intermediate")
    narrow = nn.Dense(x.shape[-1], dtype=self.dtype, name="output")
    last = nn.LayerNorm(EPSILON, dtype=self.dtype, name="final_layer_norm")

    def feed(y: Array) -> Array:
      return narrow(nn.gelu(widen(y), approximate=False))

    if self.pre_norm:
      x = x + attend(first(x), valid)
      return x + feed(last(x))
    x = first(x + attend(x, valid))
    return last(x + feed(x))
