"""The public SyncNet v2, which the field's lip-sync figures come from.

For evaluation alone; what we train is `syncnet.py`.
Source: joonson/syncnet_python (SyncNetModel.py), the network of Chung and
Zisserman, "Out of time: automated lip sync in the wild" (2016).
"""

from typing import NamedTuple

import flax.linen as nn
import jax.numpy as jnp
from einops import rearrange
from jax import Array, lax
from jaxtyping import Float

from speak_jax.nn.conv import KAIMING, pad_edges
from speak_jax.nn.norm import Norm

FRAMES, SIDE = 5, 224  # of a clip, 0.2 s at 25 fps
STEPS = 20  # of the same 0.2 s of sound
FEW_CHANNELS = 32


class Layer(NamedTuple):
  """A convolution, and the maximum over 3 x 3 after it where there is one."""

  size: tuple[int, int] | None  # None: all of the map, as attribute `last`
  stride: int = 1
  pad: int = 0
  pool: tuple[int, int] | None = None  # its strides
  pool_pad: int = 0


# Rows and columns of a picture. The first kernel also spans all 5 frames, and
# nothing after it does: it is the only 3-D one, and equals a 2-D one that
# takes the frames as channels.
LIPS = (
  Layer((7, 7), stride=2, pool=(2, 2)),
  Layer((5, 5), stride=2, pad=1, pool=(2, 2), pool_pad=1),
  Layer((3, 3), pad=1),
  Layer((3, 3), pad=1),
  Layer((3, 3), pad=1, pool=(2, 2)),
  Layer(None),
)
# Rows are coefficients, columns are time.
SOUND = (
  Layer((3, 3), pad=1),
  Layer((3, 3), pad=1, pool=(1, 2)),
  Layer((3, 3), pad=1),
  Layer((3, 3), pad=1),
  Layer((3, 3), pad=1, pool=(2, 2)),
  Layer((5, 4)),
)


class Embedding(NamedTuple):
  """What one tower makes of its input."""

  features: Float[Array, "b f"]  # after the last convolution ("lip_feat")
  code: Float[Array, "b d"]  # what distances are taken of; not normalised


class Convolution(nn.Module):
  """A convolution without padding."""

  features: int
  size: tuple[int, int]
  stride: int

  @nn.compact
  def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b i j d"]:
    """Convolves `x`; parameters as those of `flax.linen.Conv`."""
    rows, columns = self.size
    shape = (rows, columns, x.shape[-1], self.features)
    kernel = self.param("kernel", KAIMING, shape)
    bias = self.param("bias", nn.initializers.zeros, (self.features,))
    if x.shape[-1] >= FEW_CHANNELS:
      strides = (self.stride, self.stride)
      layout = ("NHWC", "HWIO", "NHWC")
      y = lax.conv_general_dilated(
        x, kernel, strides, "VALID", dimension_numbers=layout
      )
      return y + bias
    # One matrix product for each row of the kernel. The lips' first layer is
    # half of the network's work, and XLA's own convolution on the CPU takes
    # more than twice as long for it.
    last = x.shape[1] - rows, x.shape[2] - columns
    taps = [x[:, :, i : i + last[1] + 1 : self.stride] for i in range(columns)]
    wide = jnp.concatenate(taps, -1)
    kernel = rearrange(kernel, "h w c d -> h (w c) d")
    products = [
      wide[:, i : i + last[0] + 1 : self.stride] @ kernel[i]
      for i in range(rows)
    ]
    return sum(products, bias)


class Tower(nn.Module):
  """Six convolutions with batch normalisation, then two dense layers."""

  layers: tuple[Layer, ...]
  widths: tuple[int, ...]  # of the convolutions
  hidden: int
  out: int
  last: tuple[int, int] = (1, 1)  # size of the kernel whose layer has none

  @nn.compact
  def __call__(self, x: Float[Array, "b h w c"]) -> Embedding:
    """Codes of pictures or spectra."""
    for i, (layer, width) in enumerate(
      zip(self.layers, self.widths, strict=True)
    ):
      x = pad_edges(x, layer.pad, layer.pad)
      size = layer.size or self.last
      x = Convolution(width, size, layer.stride, name=f"conv{i}")(x)
      x = nn.relu(Norm("batch", name=f"norm{i}")(x))
      if layer.pool:
        x = _max_pool(x, layer.pool, layer.pool_pad)
    features = rearrange(x, "b 1 1 c -> b c")
    x = nn.Dense(self.hidden, name="hidden")(features)
    x = nn.relu(Norm("batch", name="hidden_norm")(x))
    return Embedding(features, nn.Dense(self.out, name="out")(x))


def _max_pool(x: Array, strides: tuple[int, int], pad: int) -> Array:
  """Maximum over 3 x 3."""
  padding = ((0, 0), (pad, pad), (pad, pad), (0, 0))
  window, steps = (1, 3, 3, 1), (1, *strides, 1)
  return lax.reduce_window(x, -jnp.inf, lax.max, window, steps, padding)


class SyncNetV2(nn.Module):
  """Lips and sound to codes that lie close together when they belong so.

  Attributes:
    lip_widths: Channels of the lips' convolutions; (96, 256, 256, 256, 256,
      512) in the public file.
    lip_last: Rows and columns of the lips' last kernel, which sees the whole
      map; (6, 6), for pictures of 224 px.
    lip_hidden: Width of the lips' dense layer; 512.
    sound_widths: (64, 192, 384, 256, 256, 512).
    sound_hidden: 512.
    out: Length of a code; 1024.
  """

  lip_widths: tuple[int, ...]
  lip_last: tuple[int, int]
  lip_hidden: int
  sound_widths: tuple[int, ...]
  sound_hidden: int
  out: int

  def setup(self) -> None:
    """Names both towers."""
    self.lips = Tower(
      LIPS, self.lip_widths, self.lip_hidden, self.out, self.lip_last
    )
    self.sound = Tower(SOUND, self.sound_widths, self.sound_hidden, self.out)

  def see(self, clip: Float[Array, "b t h w 3"]) -> Embedding:
    """Codes of 5 consecutive face crops at 25 fps.

    Args:
      clip: Blue, green, red in 0..255, not scaled; 224 px.
    """
    return self.lips(rearrange(clip, "b t h w c -> b h w (t c)"))

  def hear(self, mfcc: Float[Array, "b n m"]) -> Embedding:
    """Codes of the same 0.2 s of sound, 20 rows of `nn.mfcc.mfcc`."""
    return self.sound(rearrange(mfcc, "b n m -> b m n 1"))

  def __call__(
    self, clip: Float[Array, "b t h w 3"], mfcc: Float[Array, "b n m"]
  ) -> tuple[Embedding, Embedding]:
    """Lips' and sound's codes."""
    return self.see(clip), self.hear(mfcc)
