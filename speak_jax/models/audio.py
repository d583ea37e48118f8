"""The audio encoder: speech in, one vector for each video frame out."""

from typing import Any

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
from einops import rearrange
from jax import Array, lax
from jax.typing import DTypeLike
from jaxtyping import Float

from speak_jax import spec
from speak_jax.models.wav2vec import Wav2vec
from speak_jax.nn import mel
from speak_jax.nn.attention import TransformerLayer
from speak_jax.nn.conv import Conv1d
from speak_jax.nn.norm import standardize

# The fronts that hear the waveform: attributes of `Wav2vec` by style.
WAVE_FRONTS: dict[str, dict[str, Any]] = {
  "waveform": {},
  "waveform_large": dict(conv_bias=True, conv_norm="layer", pre_norm=True),
}
# What the published feature extractors add to a clip's variance.
WAVE_EPSILON = 1e-7


def wave_sizes(
  front: str, width: int, layers: int, heads: int
) -> dict[str, Any]:
  """Attributes of the `Wav2vec` inside an `AudioEncoder` of these sizes."""
  return dict(
    width=width,
    layers=layers,
    heads=heads,
    hidden=4 * width,
    **WAVE_FRONTS[front],
  )


def resample(x: Float[Array, "b n d"], steps: int) -> Float[Array, "b t d"]:
  """Linear interpolation over time, ends aligned (as FaceFormer does)."""
  return read_at(x, np.linspace(0, x.shape[1] - 1, steps))


def read_at(
  x: Float[Array, "b n d"], at: Float[np.ndarray, "t"]
) -> Float[Array, "b t d"]:
  """`x` at places between its steps; beyond the ends it is held."""
  if np.array_equal(at, np.arange(x.shape[1])):
    return x
  at = at.clip(0, x.shape[1] - 1)
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
    """One vector for each begun 40 ms, with a sinusoidal position."""
    # Frames of 1/30 s are no whole number of hops: silence fills the last one.
    rest = -audio.shape[1] % mel.HOP
    x = mel.normalized_log_mel(jnp.pad(audio, ((0, 0), (0, rest))))
    for i in range(2):
      x = Conv1d(self.width, 3, 2, 1, dtype=self.dtype, name=f"conv{i}")(x)
      x = nn.gelu(x)
    x = nn.LayerNorm(dtype=self.dtype, name="norm")(x)
    return x + jnp.asarray(_sinusoids(x.shape[1], self.width), x.dtype)


class AudioEncoder(nn.Module):
  """E_a: speech to one vector a frame, with context from both sides.

  The waveform fronts are wav2vec 2.0 or HuBERT whole. Sound is brought to zero
  mean and unit variance as the published feature extractors do. FaceFormer,
  which the paper follows, resamples the TCN's features to the frame rate and
  attends to these; ours attends to the steps of 20 ms that the transformer
  was trained on, and resamples what comes out. Parameters lie under "front" in
  the layout of `Wav2vec`; the TCN, which FaceFormer freezes, is
  "front/feature_extractor".

  Attributes:
    front: "mel", "waveform" (base style) or "waveform_large".
    width: Of the transformer; a multiple of `heads`.
    layers: Transformer layers.
    out: Width of the speech code f_a.
    steps: Of the waveform fronts' transformer: "frame" as in FaceFormer, or
      "published", one each 20 ms.
    level: What a waveform front normalises by: "clip", the level of the whole
      clip; or "window", that of the sound that is heard at once, whose pauses
      are then as loud as speech. "mel" hears the sound as it is.
    fps: Frames a second of the output.
    freeze_features: Give the TCN no gradient; "mel" has none.
  """

  front: str
  width: int
  layers: int
  heads: int
  out: int
  steps: str
  level: str
  fps: float = spec.FPS
  dtype: DTypeLike = jnp.float32
  freeze_features: bool = False

  @nn.compact
  def __call__(
    self,
    audio: Float[Array, "b s"],
    level: Float[Array, "b 11"] | None = None,
  ) -> Float[Array, "b t a"]:
    """Speech codes, float32; t = s * fps / 16000 (s / 640 at 25 fps).

    Args:
      audio: 16 kHz in [-1, 1].
      level: `spec.sound_level` of the clip that it is a part of; must be there
        where `self.level` is "clip", and is of no use elsewhere.

    Raises:
      ValueError: an unknown word, or no level where there must be one.
    """
    if self.steps not in ("frame", "published"):
      raise ValueError(f"steps {self.steps!r} is not frame or published")
    if self.level not in ("window", "clip"):
      raise ValueError(f"level {self.level!r} is not window or clip")
    steps = round(audio.shape[1] * self.fps / spec.SAMPLE_RATE_HZ)
    if self.front == "mel":
      x = MelFront(self.width, self.dtype, name="front")(audio)
      # Step k is about the 40 ms from 40 k on: a frame at 25 fps.
      x = read_at(x, (np.arange(steps) + 0.5) * spec.FPS / self.fps - 0.5)
      for i in range(self.layers):
        x = TransformerLayer(
          self.heads, 4 * self.width, self.dtype, name=f"layers_{i}"
        )(x)
    elif self.front in WAVE_FRONTS:
      sizes = wave_sizes(self.front, self.width, self.layers, self.heads)
      front = Wav2vec(**sizes, dtype=self.dtype, name="front")
      if self.level == "window":
        features = front.features(standardize(audio, WAVE_EPSILON))
      else:
        features = front.features(*_levelled(audio, level))
      if self.freeze_features:
        features = lax.stop_gradient(features)
      if self.steps == "frame":
        x = front.encode(resample(features, steps)).last
      else:
        # From the middle of each frame to that of what a step hears.
        middle = (np.arange(steps) + 0.5) * spec.samples_per_frame(self.fps)
        at = (middle - front.reach / 2) / front.stride
        x = read_at(front.encode(features).last, at)
    else:
      known = ", ".join(("mel", *WAVE_FRONTS))
      raise ValueError(f"front {self.front!r} is not one of {known}")
    return nn.Dense(self.out, name="out")(x.astype(jnp.float32))


def _levelled(
  audio: Float[Array, "b s"], level: Float[Array, "b 11"] | None
) -> tuple[Float[Array, "b s"], Float[Array, "b 10"]]:
  """Sound as if its clip had zero mean and unit variance, and the
  autocovariance of that clip.

  Raises:
    ValueError: no level.
  """
  if level is None:
    raise ValueError("level 'clip' needs the level of the clip")
  mean, covariance = level[:, :1], level[:, 1:]
  power = jnp.maximum(covariance[:, :1], 0) + WAVE_EPSILON
  return (audio - mean) * lax.rsqrt(power), covariance / power


def _sinusoids(steps: int, width: int) -> np.ndarray:
  """Fixed sinusoidal positions (steps, width)."""
  rate = 1e3 ** (-np.arange(width // 2) / (width // 2))
  angle = np.arange(steps)[:, None] * rate
  table = np.stack([np.sin(angle), np.cos(angle)], -1).astype(np.float32)
  return rearrange(table, "t d two -> t (d two)")
