"""StyleGAN2's modulated convolution, in the form that XLA runs fast."""

from collections.abc import Callable

import flax.linen as nn
import jax.numpy as jnp
from jax import Array, lax
from jax.typing import DTypeLike
from jaxtyping import Float

from speak_jax.nn import conv as convs


class StyleConv(nn.Module):
  """Convolution whose input channels are scaled by a style of each example.

  Scales the activations, convolves with shared weights and demodulates
  afterwards: exactly the per-example weights of StyleGAN2 (arXiv 1912.04958,
  section 2.2), without a grouped convolution. Styles and demodulation are
  float32; styles are normalised first when demodulated, which changes nothing
  but keeps bfloat16 in range.

  Attributes:
    features: Channels of the result.
    size: Of the kernel; 3 with `up`.
    demodulate: Divide by the norm of each example's weights.
    kernel_init: Of the shared weights.
    up: Convolve to twice the size (`conv.conv_up`).
  """

  features: int
  size: int = 3
  demodulate: bool = True
  dtype: DTypeLike = jnp.float32
  kernel_init: Callable = convs.LECUN
  up: bool = False

  @nn.compact
  def __call__(
    self, x: Float[Array, "b h w c"], latent: Float[Array, "b d"]
  ) -> Float[Array, "b i j e"]:
    """Convolves `x`, same or twice the size; with bias, no activation."""
    channels = x.shape[-1]
    style = convs.Dense(channels, bias_init=nn.initializers.ones, name="style")(
      latent
    )
    shape = (self.size, self.size, channels, self.features)
    kernel = self.param("kernel", self.kernel_init, shape)
    bias = self.param("bias", nn.initializers.zeros, (self.features,))
    if self.demodulate:
      style = style * lax.rsqrt((style**2).mean(-1, keepdims=True) + 1e-8)
    # In float32 and rounded once: gradients of styles are sums over places.
    x = (x.astype(jnp.float32) * style[:, None, None]).astype(self.dtype)
    convolve = convs.conv_up if self.up else convs.conv
    y = convolve(x, kernel.astype(self.dtype)).astype(jnp.float32)
    if self.demodulate:
      energy = (style**2) @ (kernel**2).sum((0, 1))
      y = y * lax.rsqrt(energy + 1e-8)[:, None, None]
    return (y + bias).astype(self.dtype)
