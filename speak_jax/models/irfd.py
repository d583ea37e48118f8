"""IRFD's encoders: identity, head pose, emotion and mouth of a frame.

Frames in, narrow codes out. The identity encoder also gives feature maps of
the identity picture (ours), its lips blanked, for the generator to warp.
"""

from typing import Any, NamedTuple

import flax.linen as nn
import jax.numpy as jnp
from einops import rearrange
from jax import Array
from jax.typing import DTypeLike
from jaxtyping import Bool, Float

from speak_jax import spec
from speak_jax.nn.align import align_face
from speak_jax.nn.conv import LECUN, Conv, leaky
from speak_jax.nn.face import (
  mean_face,
  normalize_landmarks,
  position_map,
  warp_to_mean_face,
)
from speak_jax.nn.norm import imagenet, standardize
from speak_jax.nn.resnet import Features, ResNet

MAP_CHANNELS = 64  # wider maps are projected to as many


class IdentityFeatures(NamedTuple):
  """The identity picture, encoded: all that is kept of it."""

  identity: Float[Array, "b i"]  # f_I
  pose: Float[Array, "b p"]  # f_P of the identity picture itself
  # Coarse to fine; the last three channels are aligned face coordinates
  # (u, v) and whether `drop_maps` left nothing there, 0 or 1. The full-size map
  # is the picture itself.
  maps: tuple[Float[Array, "b r r c"], ...]
  # The next two are for a geometry with landmarks, else None.
  landmarks: Any = None  # b 68 2, in a picture from -1 to 1
  emotion: Any = None  # b e, f_E of the picture itself
  dropped: Any = None  # b, where `drop_maps` left nothing but codes


def identity_map(
  entry: Float[Array, "b r r c"], landmarks: Float[Array, "b 68 2"], image: int
) -> Float[Array, "b r r d"]:
  """A map of the identity picture with the last three channels of all maps.

  Args:
    entry: What an encoder sees, or the picture itself.
    landmarks: In pixels of the picture.
    image: Its side.
  """
  position = position_map(landmarks, image, entry.shape[1]).astype(entry.dtype)
  blank = jnp.zeros_like(position[..., :1])  # `drop_maps` alone blanks
  return jnp.concatenate([entry, position, blank], -1)


def drop_maps(
  features: IdentityFeatures, dropped: Bool[Array, "b"]
) -> IdentityFeatures:
  """Takes all but their codes from some examples.

  What is dropped has blank maps and the landmarks of the mean face.

  Args:
    features: Of b identity pictures.
    dropped: Which of them lose their maps.
  """

  def unless(x, plain):
    mask = dropped.reshape(-1, *[1] * (x.ndim - 1))
    return jnp.where(mask, plain.astype(x.dtype), x)

  def blank(entry):
    return jnp.zeros(entry.shape[-1:], entry.dtype).at[-1].set(1)

  maps = tuple(unless(entry, blank(entry)) for entry in features.maps)
  features = features._replace(maps=maps, dropped=dropped)
  if features.landmarks is None:
    return features
  landmarks = unless(features.landmarks, mean_face())
  return features._replace(landmarks=landmarks)


class Codes(NamedTuple):
  """What a frame says besides who it is."""

  pose: Float[Array, "b p"]  # f_P
  emotion: Float[Array, "b e"]  # f_E
  mouth: Float[Array, "b m"]  # f_M, ours: keeps lips out of the other codes


class Encoders(nn.Module):
  """E_i, E_p, E_e, the mouth encoder, the classifier C_m and a pose head.

  Codes are float32. Identity and emotion are standardised per example; pose
  and mouth are linear with a small scale (a tanh pose code collapses).

  Attributes:
    image: Side of the frames in pixels.
    codes: Widths (identity, pose, emotion, mouth); mouth 0 is no such code.
    stages, width, bottleneck, stem, norm, remat: See `ResNet`.
    maps: Sizes of the identity maps, coarse to fine; () for none.
    landmarks: Give what a geometry with landmarks needs.
    face: Side of the aligned faces that E_e sees, 0 for whole frames.
    bare_codes: Codes are the encoders' pooled vectors as they are, without
      heads: the plainest reading of the paper. Their widths are then ours.
    ablate: The code that is left out, 0 for everybody: "identity", "pose",
      "emotion" (Table III) or "".
    pose_spatial_channels: Channels of E_p's last map that are read place by
      place, beside its mean: a mean hardly tells where the head is. 0: the
      mean alone, as in the paper.
    appearance: Side of the shape-free picture that f_I is read from, beside
      E_i's mean; 0 for none.
  """

  image: int
  codes: tuple[int, int, int, int]
  stages: tuple[int, ...]
  width: int
  bottleneck: bool
  stem: str
  maps: tuple[int, ...]
  landmarks: bool = True
  face: int = 0
  bare_codes: bool = False
  ablate: str = ""
  pose_spatial_channels: int = 0
  appearance: int = 0
  norm: str = "group"
  dtype: DTypeLike = jnp.float32
  remat: bool = False

  def setup(self) -> None:
    """Names every network."""
    identity, pose, emotion, mouth = self.codes
    backbone: dict[str, Any] = dict(
      bottleneck=self.bottleneck,
      norm=self.norm,
      dtype=self.dtype,
      remat=self.remat,
    )
    whole: dict[str, Any] = dict(
      stages=self.stages, width=self.width, stem=self.stem
    )
    if self.ablate != "identity":
      self.identity_net = ResNet(**whole, **backbone)
      if not self.bare_codes:
        self.identity_head = nn.Dense(identity)
    if self.ablate != "pose":
      self.pose_net = ResNet(**whole, **backbone)
      if self.pose_spatial_channels:
        self.pose_squeeze = Conv(
          self.pose_spatial_channels, 1, dtype=self.dtype
        )
      if not self.bare_codes:
        self.pose_head = nn.Dense(pose)
    if self.ablate != "emotion":
      self.emotion_net = ResNet(**whole, **backbone)
      if not self.bare_codes:
        self.emotion_head = nn.Dense(emotion)
    self.classifier = nn.Dense(len(spec.EMOTIONS))  # C_m
    self.angle_head = nn.Dense(3)
    if mouth:
      # A patch of few pixels: half the width, and no deep stem.
      self.mouth_net = ResNet(
        stages=self.stages[:2], width=self.width // 2, stem="small", **backbone
      )
      self.mouth_head = nn.Dense(mouth)
    if self.maps:
      self.projections = {
        str(size): Conv(MAP_CHANNELS, 1, dtype=self.dtype, kernel_init=LECUN)
        for size in self._projected()
      }

  def _stage_sizes(self) -> tuple[int, ...]:
    """Side of each stage's map."""
    first = self.image // (4 if self.stem == "deep" else 2)
    return tuple(first // 2**i for i in range(len(self.stages)))

  def _projected(self) -> tuple[int, ...]:
    """Maps from the encoder that are too wide to carry along."""
    scale = 4 if self.bottleneck else 1
    wide = {
      size: self.width * 2**i * scale > MAP_CHANNELS
      for i, size in enumerate(self._stage_sizes())
    }
    return tuple(size for size in self.maps if wide.get(size, False))

  def features(
    self, frames: Float[Array, "b h w 3"], train: bool = False
  ) -> Features:
    """What E_i sees in frames in [-1, 1], stage by stage."""
    return self.identity_net(self._prepared(frames), train)

  def _prepared(self, frames: Array) -> Array:
    """Frames as the ResNets take them: as published with norm "batch"."""
    return imagenet(frames) if self.norm == "batch" else frames

  def portrait(
    self,
    frames: Float[Array, "b h w 3"],
    landmarks: Float[Array, "b 68 2"],
    train: bool = False,
  ) -> IdentityFeatures:
    """Encodes the identity picture.

    Args:
      frames: The identity picture, [-1, 1].
      landmarks: Its 68 landmarks in its pixels.
      train: Update batch statistics (norm "batch" alone).

    Raises:
      ValueError: a map size that is neither a stage's nor the picture's.
    """
    pose = self.pose(frames, train)
    if self.ablate == "identity":
      identity = jnp.zeros((frames.shape[0], self.codes[0]))
      return IdentityFeatures(identity, pose, ())
    features = self.features(frames, train)
    identity = features.pooled
    if self.appearance:
      warped = warp_to_mean_face(frames, landmarks, self.appearance)
      warped = rearrange(warped, "b h w c -> b (h w c)")
      identity = jnp.concatenate([identity, warped], -1)
    if not self.bare_codes:
      identity = standardize(self.identity_head(identity))
    by_size = dict(zip(self._stage_sizes(), features.stages, strict=True))
    by_size[self.image] = frames
    maps = []
    for size in self.maps:
      if size not in by_size:
        raise ValueError(f"no identity map of {size}, only {sorted(by_size)}")
      entry = by_size[size]
      if size in self._projected():
        entry = self.projections[str(size)](entry)
      maps.append(identity_map(entry, landmarks, frames.shape[1]))
    if not self.landmarks or not maps:
      return IdentityFeatures(identity, pose, tuple(maps))
    cut = align_face(frames, landmarks, self.face) if self.face else frames
    return IdentityFeatures(
      identity,
      pose,
      tuple(maps),
      normalize_landmarks(landmarks, frames.shape[1]),
      self.emotion(cut, train),
    )

  def pose(
    self, frames: Float[Array, "b h w 3"], train: bool = False
  ) -> Float[Array, "b p"]:
    """Pose code f_P of whole frames."""
    if self.ablate == "pose":
      return jnp.zeros((frames.shape[0], self.codes[1]))
    features = self.pose_net(self._prepared(frames), train)
    inputs = features.pooled
    if self.pose_spatial_channels:
      places = leaky(self.pose_squeeze(features.stages[-1]))
      places = rearrange(places, "b h w c -> b (h w c)")
      inputs = jnp.concatenate([inputs, places.astype(jnp.float32)], -1)
    return inputs if self.bare_codes else self.pose_head(inputs)

  def emotion(
    self, faces: Float[Array, "b f f 3"], train: bool = False
  ) -> Float[Array, "b e"]:
    """Emotion code f_E of aligned faces (or whole frames), any size."""
    if self.ablate == "emotion":
      return jnp.zeros((faces.shape[0], self.codes[2]))
    pooled = self.emotion_net(self._prepared(faces), train).pooled
    if self.bare_codes:
      return pooled
    return standardize(self.emotion_head(pooled))

  def mouth(
    self, patches: Float[Array, "b s s 3"], train: bool = False
  ) -> Float[Array, "b m"]:
    """Mouth code of aligned mouth patches; (b, 0) without such a code."""
    if not self.codes[3]:
      return jnp.zeros((patches.shape[0], 0))
    return self.mouth_head(self.mouth_net(patches, train).pooled)

  def classify(self, emotion: Float[Array, "b e"]) -> Float[Array, "b 8"]:
    """C_m: logits of spec.EMOTIONS from the emotion code."""
    return self.classifier(emotion)

  def angles(self, pose: Float[Array, "b p"]) -> Float[Array, "b 3"]:
    """Yaw, pitch and roll from the pose code, in units of 30 degrees."""
    return self.angle_head(pose)

  def __call__(
    self, pair: spec.Pair, train: bool = False
  ) -> tuple[IdentityFeatures, Codes]:
    """Encodes a pair's donors; pictures in [-1, 1]. Also used to initialise."""
    identity, landmarks = map(
      jnp.asarray, (pair.identity, pair.identity_landmarks)
    )
    pose, emotion, mouth = map(
      jnp.asarray, (pair.pose, pair.emotion, pair.mouth)
    )
    features = self.portrait(identity, landmarks, train)
    codes = Codes(
      self.pose(pose, train),
      self.emotion(emotion, train),
      self.mouth(mouth, train),
    )
    if self.is_initializing():
      self.classify(codes.emotion)
      self.angles(codes.pose)
    return features, codes
