"""The editing module: speech and emotion edit the face into a latent F."""

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import DTypeLike
from jaxtyping import Float

from speak_jax.nn.conv import Mlp, leaky
from speak_jax.nn.norm import standardize


class FacialCode(nn.Module):
  """f_R' = mlp(f_I, f_P), which Eq. 9 adds at each block of G_g."""

  width: int

  @nn.compact
  def __call__(
    self, identity: Float[Array, "*b i"], pose: Float[Array, "*b p"]
  ) -> Float[Array, "*b d"]:
    """The facial code of every frame; leading axes must agree."""
    code = jnp.concatenate([identity, pose], -1)
    return Mlp(self.width, 2, name="mlp")(code)


class EditingModule(nn.Module):
  """Levels of fully connected layer, noise, AdaIN by f_R', leaky ReLU.

  Source: SPEAK section "editing module". AdaIN normalises over channels: over
  time or space it would erase the speech of a single frame. Noise has a
  learned strength that starts at 0 and is drawn in training alone, from the
  random stream "noise".
  """

  levels: int
  width: int
  dtype: DTypeLike = jnp.float32

  @nn.compact
  def __call__(
    self,
    speech: Float[Array, "b t a"],
    emotion: Float[Array, "b e"],
    facial: Float[Array, "b t d"],
    train: bool = False,
  ) -> Float[Array, "b t l w"]:
    """F: the output of every level, coarse to fine, float32."""
    emotion = jnp.broadcast_to(
      emotion[:, None], (*speech.shape[:2], emotion.shape[-1])
    )
    x = jnp.concatenate([speech, emotion], -1)
    x = leaky(nn.Dense(self.width, dtype=self.dtype, name="enter")(x))
    # Gains and offsets of all levels at once.
    styles = nn.Dense(
      self.levels * 2 * self.width, dtype=self.dtype, name="style"
    )(facial)
    strength = self.param("noise", nn.initializers.zeros, (self.levels,))
    latents = []
    for i, style in enumerate(jnp.split(styles, self.levels, -1)):
      x = nn.Dense(self.width, dtype=self.dtype, name=f"level{i}")(x)
      if train:
        noise = jax.random.normal(self.make_rng("noise"), x.shape, x.dtype)
        # In float32: the gradient of a strength is a sum over all of it.
        x = (x.astype(jnp.float32) + strength[i] * noise).astype(x.dtype)
      gain, offset = jnp.split(style, 2, -1)
      x = (1 + gain) * standardize(x).astype(self.dtype) + offset
      x = leaky(x)
      latents.append(x.astype(jnp.float32))
    return jnp.stack(latents, 2)
