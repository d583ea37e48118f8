"""VGG-19 features for the perceptual loss, as torchvision lays them out."""

import flax.linen as nn
import jax.numpy as jnp
from jax import Array
from jax.typing import DTypeLike
from jaxtyping import Float

from speak_jax.nn.conv import Conv
from speak_jax.nn.resize import halve_max

# Convolutions of each size up to relu5_1, and their channels.
LAYERS = ((2, 64), (2, 128), (4, 256), (4, 512), (1, 512))
# ImageNet's mean and deviation, of pictures in [0, 1].
MEAN = (0.485, 0.456, 0.406)
DEVIATION = (0.229, 0.224, 0.225)


class Vgg(nn.Module):
  """relu1_1, relu2_1, relu3_1, relu4_1 and relu5_1 of VGG-19."""

  dtype: DTypeLike = jnp.float32

  @nn.compact
  def __call__(
    self, frames: Float[Array, "b h w 3"]
  ) -> tuple[Float[Array, "b _ _ _"], ...]:
    """Five feature maps of frames in [-1, 1]; sides a multiple of 16."""
    mean, deviation = jnp.asarray(MEAN), jnp.asarray(DEVIATION)
    x = ((frames + 1) / 2 - mean) / deviation
    features = []
    for i, (depth, channels) in enumerate(LAYERS, 1):
      for j in range(1, depth + 1):
        x = Conv(channels, 3, dtype=self.dtype, name=f"conv{i}_{j}")(x)
        x = nn.relu(x)
        if j == 1:
          features.append(x)
      if i < len(LAYERS):
        x = halve_max(x)
    return tuple(features)
