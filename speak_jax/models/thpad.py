"""TH-PAD: lips follow the sound, all else is drawn by a diffusion prior.

Yu et al., "Talking Head Generation with Probabilistic Audio-to-Visual Diffusion
Priors" (ICCV 2023, arXiv 2212.04248). Neither code nor weights are public: the
spaces and the losses are the paper's, the networks are SPEAK's parts, and their
sizes are ours.

  E_id(picture) -> f_id                    who it is
  E_v(frame) -> f_cl                       what of a frame goes with its sound
  E_v(frame) -> f_ol -> f_nl               and what does not: head, eyes, mood
  E_a(sound) -> f_a -> f_l                 what the sound does to lips
  G(f_id, f_nl, f_l)                       the frame
  P(f_a, noise) -> f_nl                    where there is no frame to look at
"""

import math
from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
from einops import rearrange
from jax import Array
from jax.typing import DTypeLike
from jaxtyping import Bool, Float, Int

from speak_jax.models.generator import Channels, Decoder, Drawing
from speak_jax.models.irfd import (
  MAP_CHANNELS,
  Codes,
  IdentityFeatures,
  identity_map,
)
from speak_jax.models.wav2lip import Chain, audio_layers
from speak_jax.nn.attention import TransformerLayer
from speak_jax.nn.conv import LECUN, Conv, Dense, Mlp, leaky
from speak_jax.nn.face import normalize_landmarks
from speak_jax.nn.lip_mel import HOP
from speak_jax.nn.norm import standardize
from speak_jax.nn.resnet import ResNet

STEPS = 16  # of the spectrum that a frame hears, 0.2 s
SAMPLES = 640  # of a frame: 25 a second
CONTEXT = 3  # frames of sound on each side of those that hear, at least
PLACES = 8  # channels of E_v's last map that are read place by place
PERIOD = 1e4  # of the slowest wave that a number is written in


def heard(
  spectra: Float[Array, "b n 80"], frames: int, context: int
) -> Float[Array, "b t 80 16"]:
  """What each frame hears: the sixteen steps about its middle.

  Args:
    spectra: `nn.lip_mel.lip_mel` of the frames and of `context` frames on
      either side.
    frames: t.
    context: `CONTEXT` or more.

  Raises:
    ValueError: too little context.
  """
  if context < CONTEXT:
    raise ValueError(f"{context} frames of context are fewer than {CONTEXT}")
  middle = (context + np.arange(frames) + 0.5) * SAMPLES / HOP
  first = np.floor(middle - (STEPS - 1) / 2 + 0.5).astype(int)
  windows = spectra[:, first[:, None] + np.arange(STEPS)]
  return rearrange(windows, "b t n m -> b t m n")


class Encoder(nn.Module):
  """A residual network and what is read off it: E_id's or E_v's trunk."""

  stages: tuple[int, ...]
  width: int
  bottleneck: bool
  stem: str
  dtype: DTypeLike = jnp.float32
  remat: bool = False

  @nn.compact
  def __call__(
    self, frames: Float[Array, "b h w 3"]
  ) -> tuple[tuple[Float[Array, "b r r c"], ...], Float[Array, "b d"]]:
    """The maps of its stages, and one vector, float32.

    The vector is the mean over the last map and eight channels of each of its
    places: a mean hardly tells where a head is.
    """
    net = ResNet(
      self.stages,
      self.width,
      self.bottleneck,
      self.stem,
      dtype=self.dtype,
      remat=self.remat,
      name="net",
    )
    features = net(frames)
    squeeze = Conv(PLACES, 1, dtype=self.dtype, name="squeeze")
    places = leaky(squeeze(features.stages[-1]))
    places = rearrange(places, "b h w c -> b (h w c)").astype(jnp.float32)
    return features.stages, jnp.concatenate([features.pooled, places], -1)


class Head(nn.Module):
  """One hidden layer between an encoder and a code."""

  width: int
  out: int

  @nn.compact
  def __call__(self, x: Float[Array, "*b d"]) -> Float[Array, "*b e"]:
    """The code, float32."""
    return Dense(self.out, name="out")(Mlp(self.width, 1, name="hidden")(x))


class Senses(nn.Module):
  """E_v with MLP_cl, and E_a: frames and sounds in one space.

  Attributes:
    encoder: Of `Encoder`.
    code: Width of f_cl and of f_a.
    hears: Channels of E_a's first layers; 32 as in SyncNet_color.
    dtype: Of the computations.
  """

  encoder: Mapping[str, Any]
  code: int
  hears: int
  dtype: DTypeLike = jnp.float32

  def setup(self) -> None:
    """Names the networks."""
    self.see_net = Encoder(**self.encoder, dtype=self.dtype)
    self.contrast = Head(self.code, self.code)
    self.hear_net = Chain(audio_layers(self.hears, 2), self.dtype)
    # Ours: without it no number of f_a is below 0.
    self.heard = Dense(self.code)

  def see(self, frames: Float[Array, "b h w 3"]) -> Float[Array, "b v"]:
    """What E_v sees in frames in [-1, 1]."""
    return self.see_net(frames)[1]

  def lips(self, seen: Float[Array, "b v"]) -> Float[Array, "b d"]:
    """f_cl of what E_v sees, zero mean and unit variance."""
    return standardize(self.contrast(seen))

  def hear(
    self, spectra: Float[Array, "b 80 16"], train: bool = False
  ) -> Float[Array, "b d"]:
    """f_a, zero mean and unit variance.

    Args:
      spectra: `heard` of b frames.
      train: Takes the batch's statistics, and changes `batch_stats`.
    """
    x = self.hear_net(spectra[..., None], train)[:, 0, 0]
    return standardize(self.heard(x))

  def __call__(
    self,
    frames: Float[Array, "b h w 3"],
    spectra: Float[Array, "b 80 16"],
    train: bool = False,
  ) -> tuple[Float[Array, "b v"], Float[Array, "b d"], Float[Array, "b d"]]:
    """What E_v sees, f_cl, and f_a."""
    seen = self.see(frames)
    return seen, self.lips(seen), self.hear(spectra, train)


class Space(nn.Module):
  """E_id, MLP_ol, MLP_nl, MLP_a2l and G: the frame of its three codes.

  f_nl is narrow: what it has no room for must come from the sound. Its first
  numbers turn the head, the others change the face (6, and 6 + 30, in what
  came after TH-PAD from the same laboratory). Of the identity picture E_v need
  not be asked: its own f_nl is told by its landmarks, which are ours, as are
  the identity's maps and how landmarks move them (`models.geometry`).

  Attributes:
    image: Side of the frames in pixels.
    encoder: Of `Encoder`.
    identity, other, head, face, lips: Widths of f_id, f_ol, the two parts of
      f_nl, and f_l.
    maps: Sizes of the identity maps, coarse to fine.
    channels, latent, up, remat: Of `Decoder`.
    dtype: Of the computations.
  """

  image: int
  encoder: Mapping[str, Any]
  identity: int
  other: int
  head: int
  face: int
  lips: int
  maps: tuple[int, ...]
  channels: Channels
  latent: int
  up: str
  dtype: DTypeLike = jnp.float32
  remat: bool = False

  def setup(self) -> None:
    """Names the networks."""
    self.person_net = Encoder(**self.encoder, dtype=self.dtype)
    self.person = Dense(self.identity)
    self.projections = {
      str(size): Conv(MAP_CHANNELS, 1, dtype=self.dtype, kernel_init=LECUN)
      for size in self.maps
      if size != self.image
    }
    self.source = Head(self.latent, self.head + self.face)
    self.other_head = Head(self.other, self.other)
    self.motion_head = Head(self.other, self.head + self.face)
    self.lips_head = Head(self.lips, self.lips)
    self.draw_net = Decoder(
      self.channels,
      self.latent,
      dtype=self.dtype,
      remat=self.remat,
      up=self.up,
    )

  def portrait(
    self,
    frames: Float[Array, "b h w 3"],
    landmarks: Float[Array, "b 68 2"],
  ) -> IdentityFeatures:
    """Encodes identity pictures: all that G needs of them.

    Args:
      frames: In [-1, 1].
      landmarks: Theirs, in their pixels.

    Raises:
      ValueError: a map size that is neither a stage's nor the picture's.
    """
    stages, seen = self.person_net(frames)
    by_size = {entry.shape[1]: entry for entry in stages}
    maps = []
    for size in self.maps:
      if size == self.image:
        entry = frames
      elif size in by_size:
        entry = self.projections[str(size)](by_size[size])
      else:
        raise ValueError(f"no identity map of {size}, only {sorted(by_size)}")
      maps.append(identity_map(entry, landmarks, self.image))
    points = normalize_landmarks(landmarks, self.image)
    moved = self.source(2 * rearrange(points, "b k d -> b (k d)"))
    return IdentityFeatures(
      standardize(self.person(seen)),
      moved[:, : self.head],
      tuple(maps),
      points,
      moved[:, self.head :],
    )

  def motion(
    self, seen: Float[Array, "b v"]
  ) -> tuple[Float[Array, "b o"], Float[Array, "b n"]]:
    """f_ol and f_nl of what E_v sees."""
    other = self.other_head(seen)
    return other, self.motion_head(leaky(other))

  def speak(self, sound: Float[Array, "b d"]) -> Float[Array, "b l"]:
    """f_l of f_a."""
    return self.lips_head(sound)

  def draw(
    self,
    features: IdentityFeatures,
    motion: Float[Array, "b n"],
    lips: Float[Array, "b l"],
  ) -> Drawing:
    """Frames of encoded pictures, f_nl and f_l."""
    codes = Codes(motion[:, : self.head], motion[:, self.head :], lips)
    return self.draw_net(features, codes)

  def __call__(
    self,
    frames: Float[Array, "b h w 3"],
    landmarks: Float[Array, "b 68 2"],
    seen: Float[Array, "b v"],
    sound: Float[Array, "b d"],
  ) -> Drawing:
    """Everything once, to initialise."""
    features = self.portrait(frames, landmarks)
    return self.draw(features, self.motion(seen)[1], self.speak(sound))


class Prior(nn.Module):
  """P: f_nl without its noise, of a whole window at once.

  Attributes:
    width: Of the tokens, a multiple of `heads`.
    layers: Of the transformer.
    heads: Of its attention.
    hidden: Of its feed-forward nets.
    dtype: Of the computations.
  """

  width: int
  layers: int
  heads: int
  hidden: int
  dtype: DTypeLike = jnp.float32

  @nn.compact
  def __call__(
    self,
    noisy: Float[Array, "b t n"],
    known: Bool[Array, "b t"],
    sound: Float[Array, "b t d"],
    told: Bool[Array, "b"],
    step: Int[Array, "b"],
  ) -> Float[Array, "b t n"]:
    """The clean codes, float32.

    Args:
      noisy: Codes with noise, but for those that are known.
      known: Frames that are clean.
      sound: f_a of the frames.
      told: Whether an example hears its sound.
      step: How much noise there is; see `nn.diffusion`.
    """
    frames, dtype = noisy.shape[1], self.dtype
    plain = nn.initializers.normal(0.02)
    silence = self.param("silence", plain, (self.width,))
    given = self.param("given", plain, (self.width,))
    x = nn.Dense(self.width, dtype=dtype, name="codes")(noisy)
    hears = nn.Dense(self.width, dtype=dtype, name="sound")(sound)
    x += jnp.where(told[:, None, None], hears, silence)
    x += jnp.where(known[..., None], given, 0)
    x += waves(jnp.arange(frames), self.width)
    noise = Mlp(self.width, 2, name="step")(waves(step, self.width))
    x = (x + noise[:, None]).astype(dtype)
    for i in range(self.layers):
      layer = TransformerLayer(
        self.heads, self.hidden, dtype, pre_norm=True, name=f"layer{i}"
      )
      x = layer(x)
    x = nn.LayerNorm(dtype=dtype, name="norm")(x)
    return nn.Dense(noisy.shape[-1], name="out")(x.astype(jnp.float32))


def waves(numbers: Int[Array, "n"], width: int) -> Float[Array, "n w"]:
  """Numbers as sines and cosines of many lengths, as transformers write them.

  Source: Vaswani et al. 2017.
  """
  rate = jnp.exp(-math.log(PERIOD) * jnp.arange(width // 2) / (width // 2))
  angle = numbers[:, None] * rate
  return jnp.concatenate([jnp.sin(angle), jnp.cos(angle)], -1)
