"""The toy's network."""

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float


class ToyNet(nn.Module):
  """Lights the lower half of a picture.

  Attributes:
    width: Hidden units.
    quiet: Log of the loudness that counts as none.
  """

  width: int
  quiet: float

  @nn.compact
  def __call__(
    self,
    identity: Float[Array, "n h w 3"],
    sound: Float[Array, "n s"],
  ) -> Float[Array, "n h w 3"]:
    """Frames in [-1, 1] of pictures in [-1, 1] and each frame's own sound."""
    power = (sound**2).mean(1, keepdims=True)
    loud = jnp.log(jnp.sqrt(power) + jnp.exp(self.quiet)) - self.quiet
    light = nn.Dense(3, name="light")(
      nn.relu(nn.Dense(self.width, name="hear")(loud))
    )
    height = identity.shape[1]
    below = (jnp.arange(height) >= height // 2)[None, :, None, None]
    return identity + light[:, None, None] * below
