"""SyncNet: do these lips belong to this sound?"""

from collections.abc import Callable

import flax.linen as nn
import jax.numpy as jnp
from einops import rearrange
from jax import Array
from jax.typing import DTypeLike
from jaxtyping import Float

from speak_jax.nn import mel
from speak_jax.nn.conv import Conv
from speak_jax.nn.norm import GroupNorm, unit

Change = Callable[[Float[Array, "b n m"]], Float[Array, "b n m"]]

WINDOW_S = 0.2  # of sound and picture that a code is of
LEAST_CONTRAST = 0.05  # of a picture in [-1, 1]; what is fainter stays faint


def window_frames(fps: float) -> int:
  """Frames of one window: 5 at 25 frames a second, 6 at 30."""
  return round(WINDOW_S * fps)


class Tower(nn.Module):
  """Convolutions that halve the picture until few rows are left."""

  width: int
  out: int
  unit: bool
  dtype: DTypeLike

  @nn.compact
  def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b d"]:
    """A code, float32; a unit vector if asked.

    Else the last layer's outputs over the root of their number: then a fresh
    network's codes are about 1 apart, as far as the margin of Eq. 11.
    """
    halvings = max(1, (x.shape[1] - 1).bit_length() - 2)
    for i in range(halvings):
      features = self.width * min(2**i, 8)
      for j, stride in enumerate((2, 1)):
        name = f"stage{i}_{j}"
        x = Conv(features, 3, stride, False, self.dtype, name=f"{name}_conv")(x)
        x = GroupNorm(self.dtype, name=f"{name}_norm")(x)
        x = nn.relu(x)
    x = rearrange(x, "b h w c -> b (h w c)").astype(jnp.float32)
    x = nn.Dense(self.out, name="out")(x)
    return unit(x) if self.unit else x * self.out**-0.5


def motion(
  mouth: Float[Array, "b t h w c"],
) -> Float[Array, "b h w 2*t-1"]:
  """What moves in a window, whoever's mouth it is and in whatever light.

  Grey frames less their common mean, over their common deviation, then the
  differences of neighbours. Ours: what one speaker teaches then holds for
  people whom no training saw (docs/results/2026-11-29-real-speech.md).

  Args:
    mouth: Frames of one window in [-1, 1].
  """
  grey = mouth.astype(jnp.float32).mean(-1)
  window = (1, 2, 3)
  grey = grey - grey.mean(window, keepdims=True)
  variance = (grey**2).mean(window, keepdims=True)
  grey = grey / jnp.sqrt(variance + LEAST_CONTRAST**2)  # smooth where flat
  # Neighbours differ by about a third of what the pixels do.
  steps = 3 * (grey[:, 1:] - grey[:, :-1])
  return rearrange(jnp.concatenate([grey, steps], 1), "b t h w -> b h w t")


class SyncNet(nn.Module):
  """Two towers on 0.2 s: five aligned mouths, and their log-mel.

  Source: SPEAK Eq. 11-12, after Chung and Zisserman's SyncNet; ours: grey
  mouths, lower halves in RGB or `motion`, log-mel, group normalisation, and
  unit vectors where theirs are the last layer's outputs as they are.

  Attributes:
    width: Channels of the first convolutions.
    out: Of a code.
    moving: The lips' tower sees `motion`, not the colours.
    unit: Codes have length 1.
  """

  width: int
  out: int
  dtype: DTypeLike = jnp.float32
  moving: bool = False
  unit: bool = True

  def setup(self) -> None:
    """Names both towers."""
    self.lips = Tower(self.width, self.out, self.unit, self.dtype)
    self.sound = Tower(self.width, self.out, self.unit, self.dtype)

  def see(self, mouth: Float[Array, "b t h w c"]) -> Float[Array, "b d"]:
    """Codes of 5 consecutive mouths (or lower halves), [-1, 1].

    Parameters are those of the channels that it was initialised with, unless
    it sees `motion`.
    """
    if self.moving:
      return self.lips(motion(mouth))
    return self.lips(rearrange(mouth, "b t h w c -> b h w (t c)"))

  def hear(
    self, audio: Float[Array, "b s"], change: Change | None = None
  ) -> Float[Array, "b d"]:
    """Codes of the same 0.2 s of sound (3200 samples), [-1, 1].

    Args:
      audio: Of b windows.
      change: Of their spectra, in training; None: they are heard as they are.
    """
    spectra = mel.normalized_log_mel(audio)
    if change is not None:
      spectra = change(spectra)
    return self.sound(rearrange(spectra, "b n m -> b n m 1"))

  def __call__(
    self,
    mouth: Float[Array, "b t h w c"],
    audio: Float[Array, "b s"],
    change: Change | None = None,
  ) -> tuple[Float[Array, "b d"], Float[Array, "b d"]]:
    """Lips' and sound's codes; arguments of `see` and `hear`."""
    return self.see(mouth), self.hear(audio, change)
