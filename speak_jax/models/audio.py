"""The audio encoder: speech in, one vector for each video frame out."""

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
from einops import rearrange
from jax import Array
from jax.typing import DTypeLike
from jaxtyping import Float

from speak_jax import spec
from speak_jax.nn import mel
from speak_jax.nn.attention import TransformerLayer
from speak_jax.nn.conv import Conv1d
from speak_jax.nn.norm import standardize

# Kernel and stride of wav2vec 2.0's feature extractor: 320 samples a step.
WAVE_LAYERS = ((10, 5), (3, 2), (3, 2), (3, 2), (3, 2), (2, 2), (2, 2))
WAVE_CHANNELS = 512
POSITION_KERNEL, POSITION_GROUPS = 128, 16


def resample(x: Float[Array, "b n d"], steps: int) -> Float[Array, "b t d"]:
  """Linear interpolation over time, ends aligned (as FaceFormer does)."""
  if x.shape[1] == steps:
    return x
  at = np.linspace(0, x.shape[1] - 1, steps)
  low = np.minimum(at.astype(int), max(x.shape[1] - 2, 0))
  part = jnp.asarray(at - low, x.dtype)[:, None]
  high = np.minimum(low + 1, x.shape[1] - 1)
  return x[:, low] * (1 - part) + x[:, high] * part


class MelFront(nn.Module):
  """Log-mel, then two strided convolutions: four steps become one frame."""

  width: int
  dtype: DTypeLike

  @nn.compact
  def __call__(self, audio: Float[Array, "b s"]) -> Float[Array, "b n w"]:
    """One vector for each 40 ms, with a sinusoidal position."""
    x = mel.normalized_log_mel(audio)
    for i in range(2):
      x = Conv1d(self.width, 3, 2, 1, dtype=self.dtype, name=f"conv{i}")(x)
      x = nn.gelu(x)
    x = nn.LayerNorm(dtype=self.dtype, name="norm")(x)
    return x + jnp.asarray(_sinusoids(x.shape[1], self.width), x.dtype)


class WaveFront(nn.Module):
  """wav2vec 2.0 / HuBERT (base): TCN, projection, positional convolution.

  Parameter names follow the public checkpoints where they can.
  """

  width: int
  dtype: DTypeLike

  @nn.compact
  def __call__(
    self, audio: Float[Array, "b s"], steps: int
  ) -> Float[Array, "b t w"]:
    """`steps` vectors; features are resampled before the projection."""
    x = standardize(audio)[..., None]
    for i, (size, stride) in enumerate(WAVE_LAYERS):
      x = Conv1d(
        WAVE_CHANNELS,
        size,
        stride,
        use_bias=False,
        dtype=self.dtype,
        name=f"conv_layers_{i}",
      )(x)
      if i == 0:
        x = nn.GroupNorm(
          WAVE_CHANNELS, epsilon=1e-5, dtype=self.dtype, name="group_norm"
        )(x)
      x = nn.gelu(x, approximate=False)
    x = resample(x, steps)
    x = nn.LayerNorm(1e-5, dtype=self.dtype, name="projection_norm")(x)
    x = nn.Dense(self.width, dtype=self.dtype, name="projection")(x)
    pad = POSITION_KERNEL // 2
    position = Conv1d(
      self.width,
      POSITION_KERNEL,
      pad=pad,
      groups=POSITION_GROUPS,
      dtype=self.dtype,
      name="pos_conv_embed",
    )(x)
    x = x + nn.gelu(position[:, :-1], approximate=False)
    return nn.LayerNorm(1e-5, dtype=self.dtype, name="layer_norm")(x)


class AudioEncoder(nn.Module):
  """E_a: speech to one vector a frame, with context from both sides.

  Attributes:
    front: "mel" or "waveform".
    width: Of the transformer; a multiple of `heads`.
    layers: Transformer layers.
    out: Width of the speech code f_a.
    fps: Frames a second of the output.
  """

  front: str
  width: int
  layers: int
  heads: int
  out: int
  fps: float = spec.FPS
  dtype: DTypeLike = jnp.float32

  @nn.compact
  def __call__(self, audio: Float[Array, "b s"]) -> Float[Array, "b t a"]:
    """Speech codes, float32; t = s * fps / 16000 (s / 640 at 25 fps).

    Args:
      audio: 16 kHz in [-1, 1]; "mel" needs a multiple of 160 samples.

    Raises:
      ValueError: an unknown front.
    """
    steps = round(audio.shape[1] * self.fps / spec.SAMPLE_RATE_HZ)
    if self.front == "mel":
      x = MelFront(self.width, self.dtype, name="front")(audio)
      x = resample(x, steps)
    elif self.front == "waveform":
      x = WaveFront(self.width, self.dtype, name="front")(audio, steps)
    else:
      raise ValueError(f"front {self.front!r} is not one of mel, waveform")
    for i in range(self.layers):
      x = TransformerLayer(
        self.heads, 4 * self.width, self.dtype, name=f"layers_{i}"
      )(x)
    return nn.Dense(self.out, name="out")(x.astype(jnp.float32))


def _sinusoids(steps: int, width: int) -> np.ndarray:
  """Fixed sinusoidal positions (steps, width)."""
  rate = 1e3 ** (-np.arange(width // 2) / (width // 2))
  angle = np.arange(steps)[:, None] * rate
  table = np.stack([np.sin(angle), np.cos(angle)], -1).astype(np.float32)
  return rearrange(table, "t d two -> t (d two)")
