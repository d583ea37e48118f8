"""Convolution and dense layers in the forms that XLA runs fast.

Weight gradients of even or 1x1 kernels with `padding=` are up to 60 times
slower than the forward pass on the CPU, so both are padded by hand.
"""

from collections.abc import Callable

import flax.linen as nn
import jax.numpy as jnp
from jax import Array, lax
from jax.typing import DTypeLike
from jaxtyping import Float

KAIMING = nn.initializers.variance_scaling(2.0, "fan_in", "normal")
LECUN = nn.initializers.variance_scaling(1.0, "fan_in", "normal")


def pad_edges(x: Float[Array, "b h w c"], before: int, after: int) -> Array:
  """Zero padding of both picture axes."""
  return jnp.pad(x, ((0, 0), (before, after), (before, after), (0, 0)))


def conv(
  x: Float[Array, "b h w c"],
  kernel: Float[Array, "k k c d"],
  stride: int = 1,
) -> Float[Array, "b i j d"]:
  """Square convolution with zero padding of (k - 1) / 2, PyTorch's centres.

  Even kernels get one row less before than after at stride 1 and equal
  padding at stride 2, so the size is h / stride for even h.
  """
  size = kernel.shape[0]
  if size == 1:
    return jnp.einsum("bhwc,cd->bhwd", x[:, ::stride, ::stride], kernel[0, 0])
  if size % 2:
    padding = ((size // 2, size // 2),) * 2
  else:
    before = (size - stride) // 2
    x = pad_edges(x, before, size - stride - before)
    padding = ((0, 0), (0, 0))
  return lax.conv_general_dilated(
    x,
    kernel,
    (stride, stride),
    padding,
    dimension_numbers=("NHWC", "HWIO", "NHWC"),
  )


class Conv(nn.Module):
  """A square 2-D convolution, same padding, NHWC."""

  features: int
  size: int = 3
  stride: int = 1
  use_bias: bool = True
  dtype: DTypeLike = jnp.float32
  kernel_init: Callable = KAIMING

  @nn.compact
  def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b i j d"]:
    """Convolves `x`; parameters `kernel` (k, k, c, d) and `bias` (d,)."""
    shape = (self.size, self.size, x.shape[-1], self.features)
    kernel = self.param("kernel", self.kernel_init, shape)
    y = conv(x.astype(self.dtype), kernel.astype(self.dtype), self.stride)
    if self.use_bias:
      bias = self.param("bias", nn.initializers.zeros, (self.features,))
      y = y + bias.astype(self.dtype)
    return y


class Conv1d(nn.Module):
  """A 1-D convolution over time; zero padding given by `pad`."""

  features: int
  size: int
  stride: int = 1
  pad: int = 0
  groups: int = 1
  use_bias: bool = True
  dtype: DTypeLike = jnp.float32
  kernel_init: Callable = KAIMING

  @nn.compact
  def __call__(self, x: Float[Array, "b n c"]) -> Float[Array, "b m d"]:
    """Convolves `x`; parameters `kernel` (k, c / groups, d), `bias` (d,)."""
    shape = (self.size, x.shape[-1] // self.groups, self.features)
    kernel = self.param("kernel", self.kernel_init, shape)
    x = jnp.pad(x.astype(self.dtype), ((0, 0), (self.pad, self.pad), (0, 0)))
    y = lax.conv_general_dilated(
      x,
      kernel.astype(self.dtype),
      (self.stride,),
      ((0, 0),),
      dimension_numbers=("NWC", "WIO", "NWC"),
      feature_group_count=self.groups,
    )
    if self.use_bias:
      bias = self.param("bias", nn.initializers.zeros, (self.features,))
      y = y + bias.astype(self.dtype)
    return y


def leaky(x: Array) -> Array:
  """Leaky ReLU of slope .2 that keeps the variance of a unit normal."""
  return nn.leaky_relu(x, 0.2) * 2**0.5


class Mlp(nn.Module):
  """`depth` dense layers of one width, each followed by a leaky ReLU."""

  width: int
  depth: int = 2
  dtype: DTypeLike = jnp.float32

  @nn.compact
  def __call__(self, x: Float[Array, "*b d"]) -> Float[Array, "*b w"]:
    """Maps the last axis to `width`."""
    for i in range(self.depth):
      x = nn.Dense(self.width, dtype=self.dtype, name=f"dense{i}")(x)
      x = leaky(x)
    return x
