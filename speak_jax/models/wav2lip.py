"""Wav2Lip: a generator that repaints mouths, its sync expert, and a critic.

Prajwal et al., "A Lip Sync Expert Is All You Need for Speech to Lip Generation
In the Wild" (arXiv 2008.10010), written from a description of the networks;
of its code nothing is used. Modules and parameters are named as in the public
files, "a.0.b" being a/0/b here, so that a converter only transposes.

Faces are blue, green, red in [0, 1], of `size` px; `below` their lower halves.
Kernels of the middle are `size` / 32 wide: 3 at 96 px as published, 2 at 64.
"""

from collections.abc import Sequence
from typing import NamedTuple

import flax.linen as nn
import jax.numpy as jnp
from jax import Array, lax
from jax.scipy.special import logit
from jax.typing import DTypeLike
from jaxtyping import Float

from speak_jax.nn import conv as convs
from speak_jax.nn.conv import PYTORCH, add_bias, conv_double

FRAMES = 5  # that the expert sees at once
STEPS = 16  # of the spectrum that belong to them
BANDS = 80
STRIDE = 32  # px of a face that become one in the middle
EDGE = 0.02  # pictures that are added to end so far from 0 and 1


class Layer(NamedTuple):
  """A convolution and what follows it."""

  features: int
  size: int = 3
  stride: tuple[int, int] = (1, 1)  # rows, columns
  pad: int = 1
  # "conv": batch norm and ReLU; "residual": its input is added before the
  # ReLU; "up": transposed to twice the size, "grow": from one place to `size`,
  # both as "conv" then; "leaky": without norm; "plain": nothing follows.
  kind: str = "conv"


def conv(
  x: Float[Array, "b h w c"],
  kernel: Float[Array, "k l c d"],
  stride: tuple[int, int],
  pad: int,
) -> Float[Array, "b i j d"]:
  """A convolution with zeros on all sides alike, as PyTorch has it."""
  if stride == (1, 1) and 2 * pad + 1 == len(kernel):
    return convs.conv(x, kernel)
  return lax.conv_general_dilated(
    x,
    kernel,
    stride,
    ((pad, pad), (pad, pad)),
    dimension_numbers=("NHWC", "HWIO", "NHWC"),
  )


def grow(
  x: Float[Array, "b 1 1 c"], kernel: Float[Array, "k l c d"]
) -> Float[Array, "b k l d"]:
  """A transposed convolution of one place: its kernel, weighed."""
  return jnp.einsum("bc,ijcd->bijd", x[:, 0, 0], kernel)


class Convolve(nn.Module):
  """The convolution of a `Layer`: parameters `kernel` (k, k, c, d), `bias`."""

  layer: Layer
  dtype: DTypeLike

  @nn.compact
  def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b i j d"]:
    """Convolves `x`."""
    layer = self.layer
    shape = (layer.size, layer.size, x.shape[-1], layer.features)
    kernel = self.param("kernel", PYTORCH, shape).astype(self.dtype)
    bias = self.param("bias", nn.initializers.zeros, (layer.features,))
    x = x.astype(self.dtype)
    if layer.kind == "up":
      y = conv_double(x, kernel)
    elif layer.kind == "grow":
      y = grow(x, kernel)
    else:
      y = conv(x, kernel, layer.stride, layer.pad)
    return add_bias(y, bias)


class ConvBlock(nn.Module):
  """Convolution "0" and batch norm "1", which a leaky layer is without."""

  layer: Layer
  dtype: DTypeLike

  @nn.compact
  def __call__(self, x: Float[Array, "b h w c"], train: bool) -> Array:
    """What comes before the activation."""
    y = Convolve(self.layer, self.dtype, name="0")(x)
    if self.layer.kind == "leaky":
      return y
    return nn.BatchNorm(
      use_running_average=not train,
      momentum=0.9,
      epsilon=1e-5,
      dtype=self.dtype,
      name="1",
    )(y)


class Block(nn.Module):
  """One layer with its activation."""

  layer: Layer
  dtype: DTypeLike

  @nn.compact
  def __call__(self, x: Float[Array, "b h w c"], train: bool) -> Array:
    """Runs the layer; `train` takes the batch's statistics."""
    y = ConvBlock(self.layer, self.dtype, name="conv_block")(x, train)
    if self.layer.kind == "leaky":
      return nn.leaky_relu(y, 0.01)
    return nn.relu(y + x if self.layer.kind == "residual" else y)


class Chain(nn.Module):
  """Layers one after the other, "0", "1", ..."""

  layers: tuple[Layer, ...]
  dtype: DTypeLike

  @nn.compact
  def __call__(self, x: Float[Array, "b h w c"], train: bool) -> Array:
    """Runs all of them."""
    for i, layer in enumerate(self.layers):
      if layer.kind == "plain":
        x = Convolve(layer, self.dtype, name=str(i))(x)
      else:
        x = Block(layer, self.dtype, name=str(i))(x, train)
    return x


class Chains(nn.Module):
  """Chains one after the other, "0", "1", ..."""

  chains: tuple[tuple[Layer, ...], ...]
  dtype: DTypeLike

  @nn.compact
  def __call__(
    self,
    x: Float[Array, "b h w c"],
    train: bool,
    joined: Sequence[Array] = (),
  ) -> list[Array]:
    """What each chain makes.

    Args:
      x: Goes into the first.
      train: As in `Block`.
      joined: A map for each chain, which is put behind what it makes.
    """
    outputs = []
    for i, layers in enumerate(self.chains):
      x = Chain(layers, self.dtype, name=str(i))(x, train)
      if joined:
        x = jnp.concatenate([x, joined[i].astype(x.dtype)], -1)
      outputs.append(x)
    return outputs


def _residual(features: int, count: int) -> tuple[Layer, ...]:
  return (Layer(features, kind="residual"),) * count


def _down(features: int, residual: int) -> tuple[Layer, ...]:
  return (Layer(features, stride=(2, 2)), *_residual(features, residual))


def _middle(features: int, size: int) -> tuple[Layer, ...]:
  """From `size` places to one."""
  return (
    Layer(features, size, pad=0),
    Layer(features, 1, pad=0),
  )


def audio_layers(width: int, last: int) -> tuple[Layer, ...]:
  """An audio tower: 80 bands x 16 steps to one place.

  Args:
    width: Channels at first; sixteen times as many at the end.
    last: Residual layers of the coarsest maps: 1 in the generator, 2 in the
      expert.
  """
  return (
    Layer(width),
    *_residual(width, 2),
    Layer(2 * width, stride=(3, 1)),
    *_residual(2 * width, 2),
    Layer(4 * width, stride=(3, 3)),
    *_residual(4 * width, 2),
    Layer(8 * width, stride=(3, 2)),
    *_residual(8 * width, last),
    *_middle(16 * width, 3),
  )


class Generator(nn.Module):
  """Repaints the lower halves of faces after a sound.

  Attributes:
    size: Of a face in pixels; a multiple of 32.
    width: Channels at full size; 16 as published.
    skips: Ours: what is painted is added, before the sigmoid, to what the
      network is shown: the face's upper half above the reference's lower one.
      Copying a face through the network takes days.
    dtype: Of the computations.
  """

  size: int
  width: int
  skips: bool = False
  dtype: DTypeLike = jnp.float32

  @nn.compact
  def __call__(
    self,
    faces: Float[Array, "b s s 6"],
    mel: Float[Array, "b 80 16"],
    train: bool = False,
  ) -> Float[Array, "b s s 3"]:
    """Faces in [0, 1], float32.

    Args:
      faces: The face with its lower half at 0, then a reference.
      mel: Spectrum of the sound about the frame.
      train: Takes the batch's statistics, and changes `batch_stats`.
    """
    w, middle = self.width, self.size // STRIDE
    deep = 32 * w
    encoder = (
      (Layer(w, 7, pad=3),),
      _down(2 * w, 2),
      _down(4 * w, 3),
      _down(8 * w, 2),
      _down(16 * w, 2),
      _down(deep, 1),
      _middle(deep, middle),
    )
    decoder = (
      (Layer(deep, 1, pad=0),),
      (Layer(deep, middle, kind="grow"), *_residual(deep, 1)),
      *(
        (Layer(features, kind="up"), *_residual(features, 2))
        for features in (deep, 24 * w, 16 * w, 8 * w, 4 * w)
      ),
    )
    sound = Chain(audio_layers(2 * w, 1), self.dtype, name="audio_encoder")(
      mel[..., None], train
    )
    maps = Chains(encoder, self.dtype, name="face_encoder_blocks")(faces, train)
    *_, drawn = Chains(decoder, self.dtype, name="face_decoder_blocks")(
      sound, train, maps[::-1]
    )
    last = (Layer(2 * w), Layer(3, 1, pad=0, kind="plain"))
    drawn = Chain(last, self.dtype, name="output_block")(drawn, train)
    drawn = drawn.astype(jnp.float32)
    if self.skips:
      half = self.size // 2
      given = jnp.concatenate(
        [faces[:, :half, :, :3], faces[:, half:, :, 3:]], 1
      )
      drawn += logit(given.astype(jnp.float32).clip(EDGE, 1 - EDGE))
    return nn.sigmoid(drawn)


class SyncExpert(nn.Module):
  """SyncNet_color: do these five mouths belong to this sound?

  Attributes:
    size: Of a face in pixels; a multiple of 32.
    width: Channels at first; 32 as published.
    dtype: Of the computations.
  """

  size: int
  width: int
  dtype: DTypeLike = jnp.float32

  @nn.compact
  def __call__(
    self,
    below: Float[Array, "n h w 15"],
    mel: Float[Array, "b 80 16"],
    train: bool = False,
  ) -> tuple[Float[Array, "n d"], Float[Array, "b d"]]:
    """Codes of the faces and of the sound: unit vectors, no number below 0.

    The towers know nothing of each other.

    Args:
      below: Lower halves of five frames, one frame's colours after another's.
      mel: Spectrum of the same 0.2 s.
      train: Takes the batch's statistics, and changes `batch_stats`.
    """
    w = self.width
    face = (
      Layer(w, 7, pad=3),
      Layer(2 * w, 5, (1, 2)),  # of 5 px and padding 1: two rows are lost
      *_residual(2 * w, 2),
      *_down(4 * w, 3),
      *_down(8 * w, 2),
      *_down(16 * w, 2),
      *_down(16 * w, 0),
      *_middle(16 * w, self.size // STRIDE),
    )
    seen = Chain(face, self.dtype, name="face_encoder")(below, train)
    heard = Chain(audio_layers(w, 2), self.dtype, name="audio_encoder")(
      mel[..., None], train
    )
    return _unit(seen), _unit(heard)


class Critic(nn.Module):
  """The quality critic: is this lower half of a face real?

  Attributes:
    size: Of a face in pixels; a multiple of 32.
    width: Channels at first; 32 as published.
    dtype: Of the computations.
  """

  size: int
  width: int
  dtype: DTypeLike = jnp.float32

  @nn.compact
  def __call__(self, below: Float[Array, "b h w 3"]) -> Float[Array, "b"]:
    """Logits of lower halves in [0, 1], float32; published as their sigmoid."""
    w = self.width

    def leaky(features: int, size: int, stride: tuple[int, int]) -> Layer:
      return Layer(features, size, stride, size // 2, "leaky")

    chains = (
      (leaky(w, 7, (1, 1)),),
      (leaky(2 * w, 5, (1, 2)), leaky(2 * w, 5, (1, 1))),
      (leaky(4 * w, 5, (2, 2)), leaky(4 * w, 5, (1, 1))),
      (leaky(8 * w, 5, (2, 2)), leaky(8 * w, 5, (1, 1))),
      (leaky(16 * w, 3, (2, 2)), leaky(16 * w, 3, (1, 1))),
      (leaky(16 * w, 3, (2, 2)), leaky(16 * w, 3, (1, 1))),
      tuple(
        layer._replace(kind="leaky")
        for layer in _middle(16 * w, self.size // STRIDE)
      ),
    )
    *_, x = Chains(chains, self.dtype, name="face_encoder_blocks")(below, False)
    plain = (Layer(1, 1, pad=0, kind="plain"),)
    logits = Chain(plain, self.dtype, name="binary_pred")(x, False)
    return logits[:, 0, 0, 0].astype(jnp.float32)


def _unit(x: Float[Array, "b 1 1 d"]) -> Float[Array, "b d"]:
  x = x[:, 0, 0].astype(jnp.float32)
  return x / jnp.maximum(jnp.linalg.norm(x, axis=-1, keepdims=True), 1e-12)
