"""How a face moves: speech, an emotion and lids to the points of its mesh.

Ours. A photograph's own points are known, and so is its head's turn; what must
be learned is what speech does to lips and cheeks, and an emotion to the whole
face. Both are offsets of FaceMesh's points from the face at rest, and add up.
"""

import functools
import math
from functools import partial

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
from einops import rearrange
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from speak_jax import spec
from speak_jax.models.audio import read_at
from speak_jax.nn import mel
from speak_jax.nn.conv import LECUN, Conv1d, scaled

# Steps of 10 ms over which a band's mean level is taken away: voices and
# microphones differ in it.
LEVEL_STEPS = 201
STEPS_A_FRAME = 4  # of 10 ms in each 40 ms that the convolutions leave
NEAR_ZERO = scaled(LECUN, 0.1)


class MotionNet(nn.Module):
  """Offsets of a face's points, frame by frame.

  Attributes:
    width: Of the convolutions over time.
    layers: Residual convolutions at 25 steps a second, each of 5 steps.
    fps: Frames a second.
  """

  width: int
  layers: int
  fps: float = spec.FPS
  dtype: DTypeLike = jnp.float32

  @property
  def reach(self) -> int:
    """Frames before and after a frame whose sound it depends on."""
    # Two steps on each side of every convolution, at its own rate.
    front = 2 * (1 + 1 + 2)
    steps = LEVEL_STEPS // 2 + front + 2 * STEPS_A_FRAME * (self.layers + 1)
    return math.ceil(steps * mel.HOP / spec.SAMPLE_RATE_HZ * self.fps)

  @nn.compact
  def __call__(
    self,
    spectra: Float[Array, "b n 80"],
    lids: Float[Array, "b t"],
    emotion: Float[Array, "b 8"],
  ) -> Float[Array, "b t 468 3"]:
    """Predicts offsets from the face at rest, canonical, float32.

    Args:
      spectra: `spectra_of` the sound; the t frames are in its middle.
      lids: 0 as at rest, 1 shut.
      emotion: Strength of each of `spec.EMOTIONS`, 0 to 1.
    """
    convolve = partial(Conv1d, self.width, 5, pad=2, dtype=self.dtype)
    x = convolve(name="front0")(_levelled(spectra))
    for i in (1, 2):
      x = convolve(stride=2, name=f"front{i}")(nn.gelu(x))
    x = nn.gelu(x)
    for i in range(self.layers):
      x = x + nn.gelu(convolve(name=f"layer{i}")(x))
    frames = lids.shape[1]
    x = read_at(x, _middles(spectra.shape[1], frames, self.fps))
    points = partial(
      nn.Dense, spec.MESH * 3, use_bias=False, kernel_init=NEAR_ZERO
    )
    moved = points(name="speech")(x.astype(jnp.float32))
    moved += points(name="lids")(lids[..., None])
    moved += points(name="emotion")(emotion)[:, None]
    return rearrange(moved, "b t (v d) -> b t v d", d=3)


def spectra_of(audio: Float[Array, "b s"]) -> Float[Array, "b n 80"]:
  """Turns sound at 16 kHz in [-1, 1] into log-mel spectra, one each 10 ms."""
  rest = -audio.shape[1] % mel.HOP
  return mel.normalized_log_mel(jnp.pad(audio, ((0, 0), (0, rest))))


def _levelled(spectra: Float[Array, "b n 80"]) -> Float[Array, "b n 80"]:
  """Takes each band's mean over LEVEL_STEPS away; ends have what is there."""
  means = jnp.einsum("mn,bnk->bmk", _averages(spectra.shape[1]), spectra)
  return spectra - means


@functools.cache
def _averages(steps: int) -> Float[np.ndarray, "n n"]:
  """The matrix of moving averages; XLA's window of sums compiled for 36 s."""
  away = np.abs(np.subtract.outer(np.arange(steps), np.arange(steps)))
  near = (away <= LEVEL_STEPS // 2).astype(np.float32)
  return near / near.sum(1, keepdims=True)


def _middles(steps: int, frames: int, fps: float) -> Float[np.ndarray, "t"]:
  """Where frames in the middle of a sound lie among steps of 40 ms."""
  seconds = (np.arange(frames) + 0.5 - frames / 2) / fps
  middle = steps / 2 * mel.HOP / spec.SAMPLE_RATE_HZ + seconds
  # Step k of the convolutions is centred on step 4 k of the spectra.
  per_step = STEPS_A_FRAME * mel.HOP / spec.SAMPLE_RATE_HZ
  return middle / per_step - 0.5 / STEPS_A_FRAME
