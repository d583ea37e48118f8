"""The generators: codes or an edited latent in, frames out.

`Generator` is the synthesis network that G_d (IRFD) and G_g (SPEAK) share in
shape, so that the second can start from the first. Both move the identity
picture's feature maps to the new frame's shape before they enter the blocks.
"""

from typing import NamedTuple

import flax.linen as nn
import jax.numpy as jnp
from einops import repeat
from jax import Array
from jax.typing import DTypeLike
from jaxtyping import Float

from speak_jax.models.geometry import (
  NEAR_ZERO,
  FaceGeometry,
  Geometry,
  landmark_heatmaps,
  mouth_interior_mask,
)
from speak_jax.models.irfd import Codes, IdentityFeatures
from speak_jax.nn import resize
from speak_jax.nn.conv import LECUN, Conv, Mlp, leaky, scaled
from speak_jax.nn.modulation import StyleConv
from speak_jax.nn.resize import upsample2x
from speak_jax.nn.warp import resize_flow, warp

HEATMAPS_UP_TO = 64  # px; finer blocks see no landmarks, for memory's sake
# How a block doubles its picture, see `Generator`.
UPS = ("bilinear", "transposed")

# A resolution and its channels, coarse to fine.
Channels = tuple[tuple[int, int], ...]


class Drawing(NamedTuple):
  """What a generator draws, and what losses want to know of how."""

  frames: Float[Array, "b h w 3"]  # about [-1, 1], not clipped, float32
  geometry: FaceGeometry | None  # None: no identity maps are moved
  # The shape-free picture that f_I stands for; None: there is none.
  appearance: Float[Array, "b s s 3"] | None


class GeneratorBlock(nn.Module):
  """One resolution: (conv, up), add the identity map, conv, RGB.

  Attributes:
    up: One of `UPS`; None in the first block, which starts at its size.
  """

  channels: int
  up: str | None
  dtype: DTypeLike

  @nn.compact
  def __call__(
    self,
    x: Float[Array, "b h w c"],
    latent: Float[Array, "b d"],
    maps: Float[Array, "b i i e"] | None,
  ) -> tuple[Float[Array, "b i i o"], Float[Array, "b i i 3"]]:
    """The block's features and its share of the picture (float32)."""
    if self.up:
      transposed = self.up == "transposed"
      x = StyleConv(
        self.channels, 3, up=transposed, dtype=self.dtype, name="conv0"
      )(x, latent)
      x = leaky(x) if transposed else upsample2x(leaky(x))
    if maps is not None:
      x = x + Conv(
        self.channels, 1, kernel_init=LECUN, dtype=self.dtype, name="maps"
      )(maps)
    x = StyleConv(self.channels, 3, dtype=self.dtype, name="conv1")(x, latent)
    x = leaky(x)
    rgb = StyleConv(
      3,
      1,
      demodulate=False,
      kernel_init=scaled(LECUN, 0.1),  # every block adds its share: start grey
      dtype=self.dtype,
      name="rgb",
    )(x, latent)
    return x, rgb.astype(jnp.float32)


class Generator(nn.Module):
  """StyleGAN2's synthesis network with skip RGB and optional identity maps.

  Source: arXiv 1912.04958 section 2; maps and flow are ours, and
  there is no noise: frames of one clip must agree.

  Weights are stored as they are used. StyleGAN2 scales them at run time
  (equalized learning rates): the same function at the start, but Adam moves a
  plain weight by the learning rate and an equalized one by the learning rate
  times its initial deviation, 1/68 in a 3x3 layer of 512 channels. So 1e-4,
  SPEAK's, does to plain weights what 7e-3 does to equalized ones, StyleGAN2's
  being 2e-3. Learning rates here are tuned to plain weights.

  Attributes:
    channels: (resolution, channels) from the first block to the picture.
    remat: Recompute blocks in the backward pass.
    up: How a block doubles. "transposed": StyleGAN2's transposed convolution
      and [1, 3, 3, 1]. "bilinear", ours: convolve and activate before that
      filter, a third less work on the CPU.
  """

  channels: Channels
  dtype: DTypeLike = jnp.float32
  remat: bool = False
  up: str = "bilinear"

  @nn.compact
  def __call__(
    self,
    latents: Float[Array, "b l d"],
    maps: tuple[Float[Array, "b _ _ _"], ...] = (),
    geometry: FaceGeometry | None = None,
  ) -> Float[Array, "b h w 3"]:
    """Draws frames, about [-1, 1], not clipped, float32.

    Args:
      latents: One level for each resolution, coarse to fine.
      maps: Identity maps; each enters the block of its size.
      geometry: How the maps are moved, and where the landmarks are; None
        leaves them in place.

    Raises:
      ValueError: as many latents as resolutions are needed; a map has a
        size that no block has; or an unknown `up`.
    """
    if self.up not in UPS:
      raise ValueError(f"up {self.up!r} is not one of {', '.join(UPS)}")
    if latents.shape[1] != len(self.channels):
      raise ValueError(
        f"{latents.shape[1]} latents for {len(self.channels)} resolutions"
      )
    by_size = {entry.shape[1]: entry for entry in maps}
    unknown = set(by_size) - {size for size, _ in self.channels}
    if unknown:
      raise ValueError(f"identity maps of size {sorted(unknown)} fit no block")
    block = nn.remat(GeneratorBlock) if self.remat else GeneratorBlock
    first, width = self.channels[0]
    start = self.param(
      "start", nn.initializers.normal(1.0), (first, first, width)
    )
    # Cast last, as its gradient is a sum over the examples.
    x = jnp.broadcast_to(start, (latents.shape[0], *start.shape))
    x = x.astype(self.dtype)
    frames, entry = jnp.zeros(()), None
    for i, (size, width) in enumerate(self.channels):
      entry = by_size.get(size)
      if entry is not None:
        # The last map is the picture itself, which goes into the frame: in
        # bfloat16 it would be off by about a level of 255.
        whole = i + 1 == len(self.channels)
        kept = jnp.float32 if whole else self.dtype
        entry = _moved(entry.astype(kept), geometry)
      x, rgb = block(
        channels=width,
        up=self.up if i else None,
        dtype=self.dtype,
        name=f"block{size}",
      )(x, latents[:, i], _with_landmarks(entry, geometry))
      frames = upsample2x(frames) + rgb if i else rgb
    if entry is not None:
      # ours: the blocks draw what the identity picture, as it lies after the
      # warp, lacks; all of it where the map is blank.
      frames += entry[..., :3]
    return frames


def _moved(
  entry: Float[Array, "b i i e"], geometry: FaceGeometry | None
) -> Float[Array, "b i i e"]:
  """An identity map where its face is to be, blank between open lips."""
  if geometry is None:
    return entry
  size = entry.shape[1]
  entry = warp(entry, resize_flow(geometry.flow, size))
  if geometry.landmarks is None:
    return entry
  gap = mouth_interior_mask(geometry.landmarks, size).astype(entry.dtype)
  content = entry[..., :-1] * (1 - gap)
  blank = jnp.maximum(entry[..., -1:], gap)
  return jnp.concatenate([content, blank], -1)


def _with_landmarks(
  entry: Float[Array, "b i i e"] | None, geometry: FaceGeometry | None
) -> Float[Array, "b i i s"] | None:
  """What a block sees: its identity map, with the landmarks if coarse."""
  if entry is None or geometry is None or geometry.landmarks is None:
    return entry
  size = entry.shape[1]
  if size > HEATMAPS_UP_TO:
    return entry
  blobs = landmark_heatmaps(geometry.landmarks, size).astype(entry.dtype)
  return jnp.concatenate([entry, blobs], -1)


def _geometry(
  module: "Decoder | GlobalGenerator",
  features: IdentityFeatures,
  pose: Float[Array, "b p"],
  emotion: Float[Array, "b e"],
  drive: Float[Array, "b d"],
) -> FaceGeometry | None:
  """The geometry of both, under the same name and shapes; None without."""
  if not module.flow or not features.maps:
    return None
  predict = Geometry(
    module.channels[-1][0],
    module.latent,
    module.landmarks,
    name="geometry",
  )
  return predict(features, pose, emotion, drive)


def _generator(module: "Decoder | GlobalGenerator") -> Generator:
  """The synthesis network of both, under the same name and shapes."""
  return Generator(
    module.channels,
    module.dtype,
    module.remat,
    module.up,
    name="generator",
  )


class Decoder(nn.Module):
  """G_d: I_d = G_d(mlp(f_I, f_P, f_E)), section "IRFD"; ours: mouth, maps.

  Attributes:
    channels: (resolution, channels), coarse to fine.
    latent: Width of the style latent.
    flow: Warp the identity maps (`Geometry`); without maps it does nothing.
    landmarks: The flow follows predicted landmarks, which the blocks see.
    appearance: Side of the shape-free picture that stands in for a hidden one;
      0 for none.
    remat, up: See `Generator`.
  """

  channels: Channels
  latent: int
  flow: bool = True
  landmarks: bool = True
  appearance: int = 0
  dtype: DTypeLike = jnp.float32
  remat: bool = False
  up: str = "bilinear"

  @nn.compact
  def __call__(self, features: IdentityFeatures, codes: Codes) -> Drawing:
    """Draws the identity picture's person with the pose (...) of `codes`."""
    # Identity and pose first: FacialCode, which has these two alone, starts
    # from the same rows.
    code = jnp.concatenate(
      [features.identity, codes.pose, codes.emotion, codes.mouth], -1
    )
    latent = Mlp(self.latent, 2, name="mlp")(code)
    appearance = None
    if self.appearance:
      appearance = Appearance(self.appearance, name="appearance")(
        features.identity
      )
      features = _fill_dropped(features, appearance)
    geometry = _geometry(self, features, codes.pose, codes.emotion, codes.mouth)
    latents = repeat(latent, "b d -> b l d", l=len(self.channels))
    frames = _generator(self)(latents, features.maps, geometry)
    return Drawing(frames, geometry, appearance)


class Appearance(nn.Module):
  """A person's shape-free picture, linear in f_I: few numbers say most of it.

  Source: active appearance models (Cootes, Edwards and Taylor 2001). The
  geometry then moves it as it moves an identity picture. Styles alone, which
  scale channels of a constant, needed ten times the steps to say as much.
  """

  size: int

  @nn.compact
  def __call__(self, identity: Float[Array, "b i"]) -> Float[Array, "b s s 3"]:
    """The picture on `nn.face.mean_face`, about [-1, 1], float32."""
    linear = nn.Dense(self.size**2 * 3, kernel_init=NEAR_ZERO, name="linear")
    return linear(identity).reshape(-1, self.size, self.size, 3)


def _fill_dropped(
  features: IdentityFeatures, appearance: Float[Array, "b s s 3"]
) -> IdentityFeatures:
  """Puts `appearance` where `drop_maps` took the identity picture itself."""
  if features.dropped is None:
    return features
  *coarse, picture = features.maps
  added = resize.linear(appearance, *picture.shape[1:3])
  added = jnp.where(features.dropped[:, None, None, None], added, 0)
  picture = picture.at[..., :3].add(added.astype(picture.dtype))
  return features._replace(maps=(*coarse, picture))


class GlobalGenerator(nn.Module):
  """G_g (Eq. 9): edited latent F, and mlp(f_I, f_P) at each block.

  The style of level l is Affine_l(F_l + B_l(f_R')); Affine_l lives in the
  block's convolutions. B_l starts as the identity, so that a network that
  starts from G_d draws a face from the first step. Attributes as `Decoder`'s.
  """

  channels: Channels
  latent: int
  flow: bool = True
  landmarks: bool = True
  dtype: DTypeLike = jnp.float32
  remat: bool = False
  up: str = "bilinear"

  @nn.compact
  def __call__(
    self,
    features: IdentityFeatures,
    pose: Float[Array, "b p"],
    emotion: Float[Array, "b e"],
    speech: Float[Array, "b a"],
    facial: Float[Array, "b d"],
    latent: Float[Array, "b l d"],
  ) -> Drawing:
    """Draws the identity picture's person.

    Args:
      features: The identity picture, encoded; its batch equals the others'.
      pose: Pose code of the frame to be made.
      emotion: Its emotion code, for the geometry alone.
      speech: Its speech code, likewise.
      facial: f_R' = mlp(f_I, f_P).
      latent: F of the editing module.
    """
    levels = len(self.channels)
    # B_l for all levels: (l, d, d).
    base = self.param("base", _identities, (levels, self.latent, self.latent))
    gain = self.param("gain", nn.initializers.constant(0.3), (levels, 1))
    facial = facial.astype(jnp.float32)
    latents = gain * latent.astype(jnp.float32)
    latents = latents + jnp.einsum("bd,lde->ble", facial, base)
    geometry = _geometry(self, features, pose, emotion, speech)
    frames = _generator(self)(latents, features.maps, geometry)
    return Drawing(frames, geometry, None)


def _identities(key: Array, shape: tuple[int, ...]) -> Array:
  """One identity matrix a level."""
  del key
  return jnp.broadcast_to(jnp.eye(shape[1], shape[2]), shape)
