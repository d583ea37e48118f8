"""VGG-19 features for the perceptual loss, as torchvision lays them out."""

import flax.linen as nn
import jax.numpy as jnp
from jax import Array
from jax.typing import DTypeLike
from jaxtyping import Float

from speak_jax.nn.conv import Conv
from speak_jax.nn.norm import imagenet
from speak_jax.nn.resize import max_pool2x

# Channels of the convolutions at each size, up to relu5_1.
WIDTHS = ((64,) * 2, (128,) * 2, (256,) * 4, (512,) * 4, (512,))


class Vgg(nn.Module):
  """relu1_1, relu2_1, relu3_1, relu4_1 and relu5_1 of VGG-19.

  Attributes:
    dtype: Of the convolutions.
    widths: Channels of the convolutions at each size, in order.
  """

  dtype: DTypeLike = jnp.float32
  widths: tuple[tuple[int, ...], ...] = WIDTHS

  @nn.compact
  def __call__(
    self, frames: Float[Array, "b h w 3"]
  ) -> tuple[Float[Array, "b _ _ _"], ...]:
    """A map after the first convolution of each size, of frames in [-1, 1].

    Each size is half the one before, rounded down.
    """
    x = imagenet(frames)
    maps = []
    for i, channels in enumerate(self.widths, 1):
      for j, features in enumerate(channels, 1):
        x = Conv(features, 3, dtype=self.dtype, name=f"conv{i}_{j}")(x)
        x = nn.relu(x)
        if j == 1:
          maps.append(x)
      if i < len(self.widths):
        # Of an odd side, pooling leaves out the last row.
        even = x.shape[1] // 2 * 2, x.shape[2] // 2 * 2
        x = max_pool2x(x[:, : even[0], : even[1]])
    return tuple(maps)
