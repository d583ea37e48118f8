"""Convolution and dense layers in the forms that XLA runs fast.

Weight gradients of even or 1x1 kernels with `padding=` are up to 60 times
slower than the forward pass on the CPU, so both are padded by hand. Weight
gradients of convolutions that are dilated on the left are as slow, so there
are none: no transposed convolution, and no input gradient that is one where
R1 differentiates it again. `python -m tests.benchmarks.layers` measures.
"""

import functools
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from einops import rearrange
from jax import Array, lax
from jax.typing import DTypeLike
from jaxtyping import Float

from speak_jax.nn.resize import blur

KAIMING = nn.initializers.variance_scaling(2.0, "fan_in", "normal")
LECUN = nn.initializers.variance_scaling(1.0, "fan_in", "normal")
# Channels that XLA's convolutions on the CPU are slow for, and those that they
# are quick for with large kernels.
FEW, MANY = 20, 40
CROWD = 32  # examples with which XLA's weight gradient of large kernels is fast
# As PyTorch draws the weights of convolutions and dense layers.
PYTORCH = nn.initializers.variance_scaling(1 / 3, "fan_in", "uniform")


def scaled(init: Callable, factor: float) -> Callable:
  """An initialiser times a number."""
  return lambda *args: init(*args) * factor


def pad_edges(x: Float[Array, "b h w c"], before: int, after: int) -> Array:
  """Zero padding of both picture axes."""
  return jnp.pad(x, ((0, 0), (before, after), (before, after), (0, 0)))


def conv(
  x: Float[Array, "b h w c"],
  kernel: Float[Array, "k k c d"],
  stride: int = 1,
  *,
  valid: bool = False,
) -> Float[Array, "b i j d"]:
  """Square convolution with zero padding of (k - 1) / 2, PyTorch's centres.

  Even kernels get one row less before than after at stride 1 and equal
  padding at stride 2, so the size is h / stride for even h. `valid` pads
  nothing: only places whose whole kernel lies inside are left.
  """
  size, features = kernel.shape[0], kernel.shape[-1]
  large = size > 3 and min(kernel.shape[2:]) <= FEW
  small = size == 3 and features > 1 and _places(x, kernel) > 1
  if size % 2 and stride == 1 and (large or small):
    return _wide(x, kernel, 0 if valid else size // 2)
  if valid:
    return _convolve(x, kernel, stride)
  if size == 1:
    return _pointwise(x[:, ::stride, ::stride], kernel[0, 0])
  even = not (x.shape[1] % 2 or x.shape[2] % 2)
  if size % 2 and stride == 1 and features == 1:
    return _taps(x, kernel)
  if size == 3 and stride == 1 and x.shape[1:3] == (2, 2):
    return _four(x, kernel)
  if size % 2:
    return _convolve(x, kernel, stride, size // 2)
  if size == 4 and stride == 2 and even:
    return _halving(x, kernel)
  before = (size - stride) // 2
  return _convolve(pad_edges(x, before, size - stride - before), kernel, stride)


def _convolve(x: Array, kernel: Array, stride: int = 1, pad: int = 0) -> Array:
  """XLA's convolution, NHWC and HWIO."""
  return lax.conv_general_dilated(
    x,
    kernel,
    (stride, stride),
    ((pad, pad), (pad, pad)),
    dimension_numbers=("NHWC", "HWIO", "NHWC"),
  )


@jax.custom_vjp
def _pointwise(x: Array, kernel: Array) -> Array:
  """A matrix product at every place.

  Its own gradient, as that of `einsum` multiplies in an order that makes the
  weights' half as fast.
  """
  return jnp.einsum("bhwc,cd->bhwd", x, kernel)


def _pointwise_backward(
  saved: tuple[Array, Array], slope: Array
) -> tuple[Array, Array]:
  x, kernel = saved
  back = jnp.einsum("bhwd,cd->bhwc", slope, kernel)
  if kernel.shape[1] > 4:
    return back, jnp.einsum("bhwc,bhwd->cd", x, slope)
  # A product of few columns: row by row, it is 2 to 12 times as fast.
  rows = jnp.einsum("bhwd,bhwc->bhdc", slope, x)
  return back, rearrange(rows.sum((0, 1)), "d c -> c d")


_pointwise.defvjp(
  lambda x, kernel: (_pointwise(x, kernel), (x, kernel)), _pointwise_backward
)


def _taps(x: Array, kernel: Array) -> Array:
  """Every tap's picture by one matrix product, then their shifted sum.

  For one output channel, where a convolution's weight gradient is 80 times
  slower.
  """
  size, (height, width) = kernel.shape[0], x.shape[1:3]
  flat = rearrange(kernel, "i j c d -> c (i j d)")
  maps = pad_edges(_pointwise(x, flat), size // 2, size // 2)
  maps = rearrange(maps, "b h w (i j d) -> i j b h w d", i=size, j=size)
  return sum(
    (
      maps[i, j, :, i : i + height, j : j + width]
      for i in range(size)
      for j in range(size)
    ),
    start=jnp.zeros((), x.dtype),
  )


def _four(x: Array, kernel: Array) -> Array:
  """3x3 on a map of 2x2 places, each of which sees all four: one product.

  XLA's convolution takes 4 to 15 times as long, and so does its input gradient.
  """
  seen = [kernel[1 - i : 3 - i, 1 - j : 3 - j] for i in (0, 1) for j in (0, 1)]
  y = jnp.einsum("bhwc,nhwcd->bnd", x, jnp.stack(seen))
  return rearrange(y, "b (h w) d -> b h w d", h=2)


def _places(x: Array, kernel: Array) -> int:
  """How many places of a row a convolution is to take at a time."""
  size, most = len(kernel), max(kernel.shape[2:])
  if size > 3:
    return 4 if most <= MANY else 1
  # Where 3x3 kernels read small maps, the kernels' own folding is felt.
  return 1 if most > 16 or x.shape[2] < 16 else 2 if most > 8 else 4


def _folded(x: Array, kernel: Array, pad: int, places: int) -> Array:
  """An odd kernel at stride 1, some places of a row at a time.

  They lie in the channels before and behind, for which nothing has to move: of
  four, two thirds more products of a 7x7 kernel, and four times the channels.
  """
  size, width = len(kernel), x.shape[2] + 2 * pad - len(kernel) + 1
  read = -(-(size - 1) // places) + 1  # of the folded columns
  columns = places * (-(-width // places) + read - 1)
  x = jnp.pad(x, ((0, 0), (0, 0), (pad, columns - x.shape[2] - pad), (0, 0)))
  # Each makes its place by the same kernel, further right in a wider one: its
  # tap t for place q is of what lies at q + t, place p of folded column j.
  column, read_at, made = np.ogrid[:read, :places, :places]
  taps = np.arange(size)[:, None, None, None]
  lies = (places * column + read_at == made + taps).astype(kernel.dtype)
  kernel = jnp.einsum("itcd,tjpq->ijpcqd", kernel, lies, precision="highest")
  # Of a convolution that pads nothing, XLA makes one 2 to 6 times slower: where
  # no row is wanted, one is padded and its result taken away.
  above = max(pad, 1)
  y = lax.conv_general_dilated(
    rearrange(x, "b h (w q) c -> b h w (q c)", q=places),
    rearrange(kernel, "i j p c q d -> i j (p c) (q d)"),
    (1, 1),
    ((above, pad), (0, 0)),
    dimension_numbers=("NHWC", "HWIO", "NHWC"),
  )
  y = rearrange(y, "b h w (q d) -> b h (w q) d", q=places)
  return y[:, above - pad :, :width]


@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def _wide(x: Array, kernel: Array, pad: int) -> Array:
  """A kernel that reads or makes few channels, 3x3 that does both.

  Folded, 5x5 and 7x7 take a third to a fifth of the time, 3x3 half.
  """
  places = _places(x, kernel)
  if places > 1:
    return _folded(x, kernel, pad, places)
  if kernel.shape[3] == 1 and 2 * pad + 1 == len(kernel):
    return _taps(x, kernel)
  return _convolve(x, kernel, 1, pad)


def _wide_backward(
  pad: int, saved: tuple[Array, Array], slope: Array
) -> tuple[Array, Array]:
  x, kernel = saved
  size, features = len(kernel), kernel.shape[3]
  back = rearrange(kernel[::-1, ::-1], "i j c d -> i j d c")
  # Folded, those of 5x5 and 7x7 take a half to a tenth of the time; of many
  # examples four times, as those of 3x3.
  if size > 3 and len(x) < CROWD and features <= MANY:
    slide = functools.partial(_folded, x, pad=pad, places=4)
  else:
    slide = functools.partial(_convolve, x, pad=pad)
  weights = jax.vjp(slide, kernel)[1](slope)[0]
  return _wide(slope, back, size - 1 - pad), weights


_wide.defvjp(
  lambda x, kernel, pad: (_wide(x, kernel, pad), (x, kernel)), _wide_backward
)


def _strided(x: Array, kernel: Array) -> Array:
  """4x4 at stride 2, both sides even."""
  return _convolve(pad_edges(x, 1, 1), kernel, 2)


@jax.custom_vjp
def _halving(x: Array, kernel: Array) -> Array:
  """The same, whose input gradient is a plain convolution.

  XLA's is dilated on the left: half as fast, and R1, which takes the weight
  gradient of this gradient, 20 to 30 times slower.
  """
  return _strided(x, kernel)


def _halving_backward(
  saved: tuple[Array, Array], slope: Array
) -> tuple[Array, Array]:
  x, kernel = saved
  # 2x2 on a picture whose 2x2 places lie in the channels.
  back = rearrange(kernel, "(i p) (j q) c d -> i j d (p q c)", p=2, q=2)
  places = _convolve(pad_edges(slope, 1, 1), back[::-1, ::-1])
  padded = rearrange(places, "b h w (p q c) -> b (h p) (w q) c", p=2, q=2)
  weights = jax.vjp(lambda kernel: _strided(x, kernel), kernel)[1](slope)[0]
  return padded[:, 1:-1, 1:-1], weights


_halving.defvjp(
  lambda x, kernel: (_halving(x, kernel), (x, kernel)), _halving_backward
)


def conv_up(
  x: Float[Array, "b h w c"], kernel: Float[Array, "3 3 c d"]
) -> Float[Array, "b 2*h 2*w d"]:
  """StyleGAN2's convolution to twice the size: transposed, then smoothed.

  `kernel` spreads each place over 3 x 3 of twice the size; `resize.blur`
  (the filter [1, 3, 3, 1], gain 4) follows; zeros beyond the edges. Source:
  arXiv 1912.04958, the public code's `upsample_conv_2d`.

  Four small convolutions, one for each of the 2 x 2 places that a place
  becomes: as many products as a 3x3 convolution before doubling, and a weight
  gradient 60 times faster than that of a transposed convolution.
  """
  x = pad_edges(x, 1, 1)
  right, below, both = x[:, :, 1:], x[:, 1:], x[:, 1:, 1:]
  parts = [
    _convolve(x, kernel[::-2, ::-2]),
    _convolve(right, kernel[::-2, 1:2]),
    _convolve(below, kernel[1:2, ::-2]),
    _pointwise(both, kernel[1, 1]),
  ]
  return blur(
    rearrange(jnp.stack(parts), "(p q) b h w d -> b (h p) (w q) d", p=2, q=2)
  )


def conv_double(
  x: Float[Array, "b h w c"], kernel: Float[Array, "k k c d"]
) -> Float[Array, "b 2*h 2*w d"]:
  """PyTorch's transposed convolution of stride 2 and padding 1.

  A 3x3 kernel has an output padding of 1: on each axis, place 2 i is w1 x[i]
  and place 2 i + 1 is w2 x[i] + w0 x[i + 1]. Of a 4x4 kernel they are
  w1 x[i] + w3 x[i - 1] and w2 x[i] + w0 x[i + 1]. Four small convolutions, for
  the reasons of `conv_up`.
  """
  if kernel.shape[0] == 3:
    wide = jnp.pad(x, ((0, 0), (0, 1), (0, 1), (0, 0)))
    parts = [
      _pointwise(x, kernel[1, 1]),
      _convolve(wide[:, :-1], kernel[1:2, ::-2]),
      _convolve(wide[:, :, :-1], kernel[::-2, 1:2]),
      _convolve(wide, kernel[::-2, ::-2]),
    ]
  else:
    height, width = x.shape[1:3]
    wide = pad_edges(x, 1, 1)
    parts = [
      _convolve(
        wide[:, p : p + height + 1, q : q + width + 1],
        kernel[3 - p :: -2, 3 - q :: -2],
      )
      for p in (0, 1)
      for q in (0, 1)
    ]
  return rearrange(
    jnp.stack(parts), "(p q) b h w d -> b (h p) (w q) d", p=2, q=2
  )


def add_bias(y: Float[Array, "*n c"], bias: Float[Array, "c"]) -> Array:
  """Adds a bias in float32; the result is of `y`'s type.

  The bias's gradient is a sum over all places of all examples, which half
  precision has no room for.
  """
  return (y.astype(jnp.float32) + bias).astype(y.dtype)


class Conv(nn.Module):
  """A square 2-D convolution, same padding unless `valid`, NHWC."""

  features: int
  size: int = 3
  stride: int = 1
  use_bias: bool = True
  dtype: DTypeLike = jnp.float32
  kernel_init: Callable = KAIMING
  bias_init: Callable = nn.initializers.zeros
  valid: bool = False  # see `conv`

  @nn.compact
  def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b i j d"]:
    """Convolves `x`; parameters `kernel` (k, k, c, d) and `bias` (d,)."""
    shape = (self.size, self.size, x.shape[-1], self.features)
    kernel = self.param("kernel", self.kernel_init, shape)
    x, kernel = x.astype(self.dtype), kernel.astype(self.dtype)
    y = conv(x, kernel, self.stride, valid=self.valid)
    if self.use_bias:
      y = add_bias(y, self.param("bias", self.bias_init, shape[-1:]))
    return y


def _slide(
  x: Array, kernel: Array, stride: int, pad: int, groups: int
) -> Array:
  """XLA's convolution over time, NWC and WIO."""
  return lax.conv_general_dilated(
    x,
    kernel,
    (stride,),
    ((pad, pad),),
    dimension_numbers=("NWC", "WIO", "NWC"),
    feature_group_count=groups,
  )


def _grouped(x: Array, kernel: Array, pad: int, groups: int) -> Array:
  """A grouped 1-D convolution of stride 1 that also trains fast.

  XLA's weight gradient of it takes 60 times as long as the forward pass on the
  CPU; that of each group by itself takes as long as the forward pass.
  """
  return _grouped_rule(x, kernel, pad, groups)


@functools.partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def _grouped_rule(x: Array, kernel: Array, pad: int, groups: int) -> Any:
  return _slide(x, kernel, 1, pad, groups)


def _grouped_forward(
  x: Array, kernel: Array, pad: int, groups: int
) -> tuple[Array, tuple[Array, Array]]:
  return _slide(x, kernel, 1, pad, groups), (x, kernel)


def _grouped_backward(
  pad: int, groups: int, saved: tuple[Array, Array], slope: Array
) -> tuple[Array, Array]:
  x, kernel = saved
  (to_x,) = jax.linear_transpose(
    lambda x: _slide(x, kernel, 1, pad, groups), x
  )(slope)
  x = jnp.pad(x, ((0, 0), (pad, pad), (0, 0)))
  to_kernel = []
  for part, weights, back in zip(
    jnp.split(x, groups, -1),
    jnp.split(kernel, groups, -1),
    jnp.split(slope, groups, -1),
    strict=True,
  ):
    slide = functools.partial(_slide, part, stride=1, pad=0, groups=1)
    to_kernel.extend(jax.linear_transpose(slide, weights)(back))
  return to_x, jnp.concatenate(to_kernel, -1)


_grouped_rule.defvjp(_grouped_forward, _grouped_backward)


class Conv1d(nn.Module):
  """A 1-D convolution over time; zero padding given by `pad`.

  More than one group goes with stride 1 alone.
  """

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
    """Convolves `x`; parameters `kernel` (k, c / groups, d), `bias` (d,).

    Raises:
      ValueError: groups at another stride than 1.
    """
    shape = (self.size, x.shape[-1] // self.groups, self.features)
    kernel = self.param("kernel", self.kernel_init, shape)
    x, kernel = x.astype(self.dtype), kernel.astype(self.dtype)
    if self.groups == 1:
      x = jnp.pad(x, ((0, 0), (self.pad, self.pad), (0, 0)))
      y = _slide(x, kernel, self.stride, 0, 1)
    elif self.stride == 1:
      y = _grouped(x, kernel, self.pad, self.groups)
    else:
      raise ValueError(f"{self.groups} groups at stride {self.stride}")
    if self.use_bias:
      bias = self.param("bias", nn.initializers.zeros, (self.features,))
      y = add_bias(y, bias)
    return y


def leaky(x: Array) -> Array:
  """Leaky ReLU of slope .2 that keeps the variance of a unit normal."""
  return nn.leaky_relu(x, 0.2) * 2**0.5


class Dense(nn.Module):
  """`nn.Dense`, which adds its bias in float32."""

  features: int
  dtype: DTypeLike = jnp.float32
  bias_init: Callable = nn.initializers.zeros
  precision: lax.Precision | None = None  # of the product; None: the platform's
  kernel_init: Callable = nn.initializers.lecun_normal()

  @nn.compact
  def __call__(self, x: Float[Array, "*b c"]) -> Float[Array, "*b d"]:
    """Parameters `kernel` (c, d) and `bias` (d,)."""
    shape = (x.shape[-1], self.features)
    kernel = self.param("kernel", self.kernel_init, shape)
    bias = self.param("bias", self.bias_init, shape[1:])
    x, kernel = x.astype(self.dtype), kernel.astype(self.dtype)
    return add_bias(jnp.matmul(x, kernel, precision=self.precision), bias)


class Mlp(nn.Module):
  """`depth` dense layers of one width, each followed by a leaky ReLU."""

  width: int
  depth: int = 2
  dtype: DTypeLike = jnp.float32
  precision: lax.Precision | None = None  # see `Dense`

  @nn.compact
  def __call__(self, x: Float[Array, "*b d"]) -> Float[Array, "*b w"]:
    """Maps the last axis to `width`."""
    for i in range(self.depth):
      x = Dense(
        self.width,
        self.dtype,
        precision=self.precision,
        name=f"dense{i}",
      )(x)
      x = leaky(x)
    return x
