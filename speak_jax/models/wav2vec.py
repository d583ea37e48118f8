"""wav2vec 2.0 and HuBERT as published: sound in, every hidden state out.

Two styles. Base: group norm after the first convolution, no convolution bias,
transformer layers that normalise their sums. Large: layer norm after every
convolution, biases, layers that normalise their inputs and one norm at the
end. Source: Baevski et al. 2020, Hsu et al. 2021, and the layout of the public
checkpoints.
"""

import math
from typing import Any, NamedTuple

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
from einops import reduce
from jax import Array, lax
from jax.typing import DTypeLike
from jaxtyping import Bool, Float, Int

from speak_jax.nn.attention import EPSILON, TransformerLayer
from speak_jax.nn.conv import Conv1d


class Hidden(NamedTuple):
  """What the network heard."""

  # After the convolutions, before the projection.
  conv_features: Float[Array, "b n c"]
  # Into the first layer, and out of each. In large style the final norm is in
  # `last` alone, and the last of these is what goes into it.
  states: tuple[Float[Array, "b n w"], ...]
  last: Float[Array, "b n w"]


class ConvLayer(nn.Module):
  """Convolution, a norm or none, exact GELU.

  Attributes:
    norm: "group" (one channel a group: statistics over time), "layer" (over
      channels) or "none".
  """

  channels: int
  size: int
  stride: int
  bias: bool
  norm: str
  dtype: DTypeLike = jnp.float32

  @nn.compact
  def __call__(
    self,
    x: Float[Array, "b n c"],
    covariance: Float[Array, "b k"] | None = None,
  ) -> Float[Array, "b m d"]:
    """No padding: m = (n - size) // stride + 1.

    Args:
      x: A waveform (c = 1), or what a layer before made of it.
      covariance: Of the whole waveform that `x` is a part of, whose mean is 0:
        its autocovariance by lag in samples, for the group norm's statistics;
        None: those of `x`.

    Raises:
      ValueError: an unknown norm, or fewer lags than the filters have taps.
    """
    conv = Conv1d(
      self.channels,
      self.size,
      self.stride,
      use_bias=self.bias,
      dtype=self.dtype,
      name="conv",
    )
    x = conv(x)
    if self.norm == "group":
      moments = None
      if covariance is not None:
        moments = _filtered(conv.variables["params"], covariance)
      x = ChannelNorm(dtype=self.dtype, name="layer_norm")(x, moments)
    elif self.norm == "layer":
      x = nn.LayerNorm(EPSILON, dtype=self.dtype, name="layer_norm")(x)
    elif self.norm != "none":
      raise ValueError(f"norm {self.norm!r} is not one of group, layer, none")
    return nn.gelu(x, approximate=False)


class ChannelNorm(nn.Module):
  """Group norm of one channel a group: each channel's mean and variance.

  In two passes: in one, the variance of quiet sound drowns in rounding.
  """

  dtype: DTypeLike = jnp.float32

  @nn.compact
  def __call__(
    self,
    x: Float[Array, "b n c"],
    moments: tuple[Float[Array, "c"], Float[Array, "b c"]] | None = None,
  ) -> Float[Array, "b n c"]:
    """Over time, each example by itself; parameters scale and bias.

    Args:
      x: Of one example or of a part of it.
      moments: Mean and variance of the whole; None: those of `x`.
    """
    scale = self.param("scale", nn.initializers.ones, x.shape[-1:])
    bias = self.param("bias", nn.initializers.zeros, x.shape[-1:])
    wide = x.astype(jnp.float32)
    if moments is None:
      centred = wide - wide.mean(1, keepdims=True)
      variance = reduce(centred**2, "b n c -> b 1 c", "mean")
    else:
      centred, variance = wide - moments[0], moments[1][:, None]
    gain = scale / jnp.sqrt(variance + EPSILON)
    return (centred * gain + bias).astype(self.dtype)


def _filtered(
  params: Any, covariance: Float[Array, "b k"]
) -> tuple[Float[Array, "c"], Float[Array, "b c"]]:
  """Mean and variance of what a convolution makes of a waveform of mean 0.

  Args:
    params: Of the `Conv1d`, of one input channel.
    covariance: The waveform's, by lag.

  Raises:
    ValueError: fewer lags than taps.
  """
  taps = params["kernel"][:, 0].astype(jnp.float32)
  size, channels = taps.shape
  if covariance.shape[-1] < size:
    raise ValueError(f"{covariance.shape[-1]} lags for filters of {size} taps")
  lags = abs(np.subtract.outer(np.arange(size), np.arange(size)))
  variance = jnp.einsum(
    "kc,bkl,lc->bc",
    taps,
    covariance[:, lags],
    taps,
    precision=lax.Precision.HIGHEST,
  )
  mean = params.get("bias", jnp.zeros(channels)).astype(jnp.float32)
  return mean, jnp.maximum(variance, 0)


class FeatureExtractor(nn.Module):
  """The temporal convolutional network (TCN): one vector for each 20 ms."""

  channels: tuple[int, ...]
  sizes: tuple[int, ...]
  strides: tuple[int, ...]
  bias: bool
  norm: str
  dtype: DTypeLike = jnp.float32

  @nn.compact
  def __call__(
    self,
    audio: Float[Array, "b s"],
    covariance: Float[Array, "b k"] | None = None,
  ) -> Float[Array, "b n c"]:
    """Features of the waveform, as many as `frames_of` says.

    Args:
      audio: 16 kHz.
      covariance: See `ConvLayer`; the large style has no use for it.
    """
    x = audio[..., None]
    layers = zip(self.channels, self.sizes, self.strides, strict=True)
    for i, (channels, size, stride) in enumerate(layers):
      # Only the first convolution of the base style is normalised.
      norm = "none" if self.norm == "group" and i else self.norm
      x = ConvLayer(
        channels,
        size,
        stride,
        self.bias,
        norm,
        self.dtype,
        name=f"conv_layers_{i}",
      )(x, None if i else covariance)
    return x


class FeatureProjection(nn.Module):
  """From the convolutions' width to the transformer's.

  Attributes:
    norm: Normalise first; some HuBERT variants do not.
  """

  width: int
  norm: bool
  dtype: DTypeLike = jnp.float32

  @nn.compact
  def __call__(self, x: Float[Array, "b n c"]) -> Float[Array, "b n w"]:
    """Projects every vector."""
    if self.norm:
      x = nn.LayerNorm(EPSILON, dtype=self.dtype, name="layer_norm")(x)
    return nn.Dense(self.width, dtype=self.dtype, name="projection")(x)


class Encoder(nn.Module):
  """Positional convolution and transformer; attributes as in `Wav2vec`."""

  layers: int
  heads: int
  hidden: int
  pre_norm: bool
  position_size: int
  position_groups: int
  dtype: DTypeLike = jnp.float32

  @nn.compact
  def __call__(
    self, x: Float[Array, "b n w"], valid: Bool[Array, "b n"] | None
  ) -> tuple[tuple[Array, ...], Array]:
    """All states and the last one, see `Hidden`."""
    norm = nn.LayerNorm(EPSILON, dtype=self.dtype, name="layer_norm")
    if valid is not None:
      x = jnp.where(valid[..., None], x, 0)
    steps = x.shape[1]
    position = Conv1d(
      x.shape[-1],
      self.position_size,
      pad=self.position_size // 2,
      groups=self.position_groups,
      dtype=self.dtype,
      name="pos_conv_embed",
    )(x)
    # An even kernel gives one step too many, which is dropped at the end.
    x = x + nn.gelu(position[:, :steps], approximate=False)
    if not self.pre_norm:
      x = norm(x)
    states = [x]
    for i in range(self.layers):
      x = TransformerLayer(
        self.heads,
        self.hidden,
        self.dtype,
        self.pre_norm,
        name=f"layers_{i}",
      )(x, valid)
      states.append(x)
    return tuple(states), norm(x) if self.pre_norm else x


class Wav2vec(nn.Module):
  """wav2vec 2.0 or HuBERT; the defaults are the base size of both.

  Parameters have the names and nesting of the public checkpoints, except the
  positional convolution, whose weight norm is folded into one kernel. The
  waveform is taken as it is: published networks want it at zero mean and unit
  variance, see `AudioEncoder`.

  Attributes:
    width: Of the transformer; a multiple of `heads`.
    layers: Transformer layers.
    hidden: Width inside the feed-forward nets.
    conv_channels, conv_sizes, conv_strides: Of each convolution; the product
      of the strides is the step in samples (320: 20 ms).
    conv_bias: Convolutions have biases.
    conv_norm: "group" = after the first convolution; "layer" = after each.
    projection_norm: See `FeatureProjection`.
    pre_norm: See `TransformerLayer`.
    position_size, position_groups: Of the positional convolution.
  """

  width: int = 768
  layers: int = 12
  heads: int = 12
  hidden: int = 3072
  conv_channels: tuple[int, ...] = (512,) * 7
  conv_sizes: tuple[int, ...] = (10, 3, 3, 3, 3, 2, 2)
  conv_strides: tuple[int, ...] = (5, 2, 2, 2, 2, 2, 2)
  conv_bias: bool = False
  conv_norm: str = "group"
  projection_norm: bool = True
  pre_norm: bool = False
  position_size: int = 128
  position_groups: int = 16
  dtype: DTypeLike = jnp.float32

  def setup(self) -> None:
    """Names the parts as the public checkpoints do."""
    self.feature_extractor = FeatureExtractor(
      self.conv_channels,
      self.conv_sizes,
      self.conv_strides,
      self.conv_bias,
      self.conv_norm,
      self.dtype,
    )
    self.feature_projection = FeatureProjection(
      self.width, self.projection_norm, self.dtype
    )
    self.encoder = Encoder(
      self.layers,
      self.heads,
      self.hidden,
      self.pre_norm,
      self.position_size,
      self.position_groups,
      self.dtype,
    )

  def __call__(
    self,
    audio: Float[Array, "b s"],
    mask: Bool[Array, "b s"] | None = None,
  ) -> Hidden:
    """Features and hidden states, n = `frames_of(s)`.

    Args:
      audio: 16 kHz.
      mask: True for sound, False for padding after it; None: all sound. What
        padded steps come out as means nothing.
    """
    features = self.features(audio)
    if mask is None:
      return self.encode(features)
    count = self.frames_of(mask.sum(-1))
    steps = jnp.arange(features.shape[1])
    return self.encode(features, steps < count[:, None])

  def features(
    self,
    audio: Float[Array, "b s"],
    covariance: Float[Array, "b k"] | None = None,
  ) -> Float[Array, "b n c"]:
    """The convolutions alone; arguments as in `FeatureExtractor`."""
    return self.feature_extractor(audio, covariance)

  def encode(
    self,
    features: Float[Array, "b n c"],
    valid: Bool[Array, "b n"] | None = None,
  ) -> Hidden:
    """Everything after the convolutions; the features may be resampled.

    Args:
      features: Of `features`.
      valid: Steps that are not padding; None: all.
    """
    x = self.feature_projection(features)
    return Hidden(features, *self.encoder(x, valid))

  @property
  def stride(self) -> int:
    """Samples from one step to the next: 320 as published."""
    return math.prod(self.conv_strides)

  @property
  def reach(self) -> int:
    """Samples that one step's features hear: 400 as published."""
    reach, stride = 1, 1
    for size, step in zip(self.conv_sizes, self.conv_strides, strict=True):
      reach += (size - 1) * stride
      stride *= step
    return reach

  def frames_of(self, samples: Int[Array, "*b"]) -> Int[Array, "*b"]:
    """Steps that the convolutions give for so many samples."""
    for size, stride in zip(self.conv_sizes, self.conv_strides, strict=True):
      samples = (samples - size) // stride + 1
    return samples
