"""A multi-scale patch discriminator, conditional on the identity frame."""

from typing import NamedTuple

import flax.linen as nn
import jax.numpy as jnp
from jax import Array
from jax.typing import DTypeLike
from jaxtyping import Float

from speak_jax.nn.conv import LECUN, add_bias, conv, leaky
from speak_jax.nn.resize import downsample2x


class Judgement(NamedTuple):
  """Logits of each scale, and the features behind them, fine to coarse."""

  logits: tuple[Float[Array, "b h w"], ...]
  features: tuple[tuple[Float[Array, "b h w c"], ...], ...]


class PatchConv(nn.Module):
  """4x4 or 3x3 convolution."""

  features: int
  size: int
  stride: int
  dtype: DTypeLike

  @nn.compact
  def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b i j d"]:
    """Convolves."""
    shape = (self.size, self.size, x.shape[-1], self.features)
    kernel = self.param("kernel", LECUN, shape)
    bias = self.param("bias", nn.initializers.zeros, (self.features,))
    y = conv(x.astype(self.dtype), kernel.astype(self.dtype), self.stride)
    return add_bias(y, bias)


class Discriminator(nn.Module):
  """PatchGANs on the frame and its halvings (pix2pixHD's arrangement).

  Source: SPEAK Eq. 10, D(x, y): x the identity frame, y the judged frame. Ours:
  3x3 after the halvings, where pix2pixHD has 4x4, so that maps keep their
  size; frames halved by StyleGAN2's [1, 3, 3, 1]. StyleGAN2's own residual
  discriminator, which costs 3.5 times as much, is not used, and so neither is
  its deviation over the batch: every example is judged by itself. No
  normalisation either: R1 alone holds it (`losses.adversarial.r1`).

  Attributes:
    width: Channels of the first layer, doubled by each up to 8 times.
    scales: How many sizes are judged.
    layers: Halvings at each scale.
  """

  width: int
  scales: int
  layers: int
  dtype: DTypeLike = jnp.float32

  @nn.compact
  def __call__(
    self,
    frame: Float[Array, "b h w 3"],
    condition: Float[Array, "b h w 3"],
  ) -> Judgement:
    """Judges frames given the identity frame; all logits are float32."""
    x = jnp.concatenate([frame, condition], -1)
    logits, features = [], []
    for scale in range(self.scales):
      y, kept = x, []
      for i in range(self.layers + 1):
        # The last layer before the logits keeps its size.
        last = i == self.layers
        y = PatchConv(
          self.width * min(2**i, 8),
          3 if last else 4,
          1 if last else 2,
          self.dtype,
          name=f"scale{scale}_conv{i}",
        )(y)
        y = leaky(y)
        kept.append(y)
      y = PatchConv(1, 3, 1, self.dtype, name=f"scale{scale}_logit")(y)
      logits.append(y[..., 0].astype(jnp.float32))
      features.append(tuple(kept))
      if scale + 1 < self.scales:
        x = downsample2x(x)
    return Judgement(tuple(logits), tuple(features))
