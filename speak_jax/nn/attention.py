"""A post-norm transformer layer, as wav2vec 2.0 and HuBERT (base) have it."""

import flax.linen as nn
import jax
import jax.numpy as jnp
from einops import rearrange
from jax import Array
from jax.typing import DTypeLike
from jaxtyping import Float


class Attention(nn.Module):
  """Multi-head self-attention over all steps; softmax in float32."""

  heads: int
  dtype: DTypeLike = jnp.float32

  @nn.compact
  def __call__(self, x: Float[Array, "b n d"]) -> Float[Array, "b n d"]:
    """Attends; parameters q_proj, k_proj, v_proj, out_proj."""
    width = x.shape[-1]

    def project(name: str) -> Array:
      y = nn.Dense(width, dtype=self.dtype, name=name)(x)
      return rearrange(y, "b n (h d) -> b n h d", h=self.heads)

    query, key, value = map(project, ("q_proj", "k_proj", "v_proj"))
    query = query * (width // self.heads) ** -0.5
    scores = jnp.einsum(
      "bnhd,bmhd->bhnm", query, key, preferred_element_type=jnp.float32
    )
    weights = jax.nn.softmax(scores, -1).astype(self.dtype)
    y = jnp.einsum("bhnm,bmhd->bnhd", weights, value)
    y = rearrange(y, "b n h d -> b n (h d)")
    return nn.Dense(width, dtype=self.dtype, name="out_proj")(y)


class TransformerLayer(nn.Module):
  """Attention and a GELU feed-forward net, each added, then normalised."""

  heads: int
  hidden: int
  dtype: DTypeLike = jnp.float32

  @nn.compact
  def __call__(self, x: Float[Array, "b n d"]) -> Float[Array, "b n d"]:
    """One layer, same shape."""
    x = x + Attention(self.heads, self.dtype, name="attention")(x)
    x = nn.LayerNorm(1e-5, dtype=self.dtype, name="layer_norm")(x)
    y = nn.Dense(self.hidden, dtype=self.dtype, name="intermediate")(x)
    y = nn.gelu(y, approximate=False)
    y = nn.Dense(x.shape[-1], dtype=self.dtype, name="output")(y)
    return nn.LayerNorm(1e-5, dtype=self.dtype, name="final_layer_norm")(x + y)
