"""SPEAK: portrait, pose, emotion and speech in, talking frames out."""

from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from einops import rearrange
from flax.traverse_util import flatten_dict, unflatten_dict
from jax import Array
from jax.typing import DTypeLike
from jaxtyping import Float

from speak_jax import spec
from speak_jax.models.audio import AudioEncoder
from speak_jax.models.editing import EditingModule, FacialCode
from speak_jax.models.generator import Channels, GlobalGenerator
from speak_jax.models.geometry import FaceGeometry
from speak_jax.models.irfd import IdentityFeatures


class SpeakOutput(NamedTuple):
  """What `Speak` gives for a window of t frames of each of b clips."""

  frames: Float[Array, "b t h w 3"]  # about [-1, 1], not clipped
  opening: Float[Array, "b t"]  # mouth opening heard, spec.mouth_opening
  speech: Float[Array, "b t a"]  # f_a
  # Of the b t frames, one after the other; None: no identity maps are moved.
  geometry: FaceGeometry | None


class Speak(nn.Module):
  """The whole system of Eq. 9 but for the encoders of pictures.

  Attributes:
    channels: Of the generator: (resolution, channels), coarse to fine.
    latent: Width of F and f_R'.
    front, audio_width, audio_layers, audio_heads, audio_out, audio_steps,
      audio_level, fps, freeze_features: See `AudioEncoder`.
    flow, landmarks: Of the geometry, see `Decoder`.
    remat, up: See `Generator`.
  """

  channels: Channels
  latent: int
  front: str
  audio_width: int
  audio_layers: int
  audio_heads: int
  audio_out: int
  audio_steps: str
  audio_level: str
  fps: float = spec.FPS
  freeze_features: bool = False
  flow: bool = True
  landmarks: bool = True
  dtype: DTypeLike = jnp.float32
  remat: bool = False
  up: str = "bilinear"

  def setup(self) -> None:
    """Names every network."""
    self.audio = AudioEncoder(
      front=self.front,
      width=self.audio_width,
      layers=self.audio_layers,
      heads=self.audio_heads,
      out=self.audio_out,
      steps=self.audio_steps,
      level=self.audio_level,
      fps=self.fps,
      freeze_features=self.freeze_features,
      dtype=self.dtype,
    )
    self.facial = FacialCode(self.latent)
    self.editing = EditingModule(len(self.channels), self.latent, self.dtype)
    self.generator = GlobalGenerator(
      self.channels,
      self.latent,
      self.flow,
      self.landmarks,
      self.dtype,
      self.remat,
      self.up,
    )
    self.mouth = nn.Dense(1)

  def __call__(
    self,
    features: IdentityFeatures,
    pose: Float[Array, "b t p"],
    emotion: Float[Array, "b e"],
    audio: Float[Array, "b s"],
    level: Float[Array, "b 11"] | None = None,
    train: bool = False,
  ) -> SpeakOutput:
    """Frames for a window of pose codes and its sound.

    Args:
      features: The identity picture, encoded once.
      pose: Pose code of each of the t frames.
      emotion: One emotion code for the clip.
      audio: Sound of t + 2 k frames in [-1, 1]; the first and last k frames
        are context and give no frame.
      level: Of the clip that the sound is a part of, see `AudioEncoder`.
      train: Draw the editing module's noise (random stream "noise").

    Raises:
      ValueError: the sound is shorter than the frames, or its context has no
        middle.
    """
    speech = self.hear(audio, pose.shape[1], level)
    return self.draw(features, pose, emotion, speech, train)

  def hear(
    self,
    audio: Float[Array, "b s"],
    frames: int,
    level: Float[Array, "b 11"] | None = None,
  ) -> Float[Array, "b t a"]:
    """Speech codes of the t = `frames` frames in the middle of a sound.

    Raises:
      ValueError: the sound is shorter than the frames, or its context has no
        middle.
    """
    speech = self.audio(audio, level)
    extra = speech.shape[1] - frames
    if extra < 0 or extra % 2:
      raise ValueError(
        f"sound of {speech.shape[1]} frames does not surround {frames}"
      )
    return speech[:, extra // 2 : extra // 2 + frames]

  def draw(
    self,
    features: IdentityFeatures,
    pose: Float[Array, "b t p"],
    emotion: Float[Array, "b e"],
    speech: Float[Array, "b t a"],
    train: bool = False,
  ) -> SpeakOutput:
    """Frames of speech codes; the rest as for a call."""
    frames = pose.shape[1]
    identity = jnp.broadcast_to(
      features.identity[:, None],
      (*pose.shape[:2], features.identity.shape[-1]),
    )
    facial = self.facial(identity, pose)
    latent = self.editing(speech, emotion, facial, train)
    drawing = self.generator(
      jax.tree.map(lambda x: _repeat(x, pose), features),
      rearrange(pose, "b t p -> (b t) p"),
      _repeat(emotion, pose),
      rearrange(speech, "b t a -> (b t) a"),
      rearrange(facial, "b t d -> (b t) d"),
      rearrange(latent, "b t l d -> (b t) l d"),
    )
    return SpeakOutput(
      frames=rearrange(drawing.frames, "(b t) h w c -> b t h w c", t=frames),
      opening=self.mouth(speech)[..., 0],
      speech=speech,
      geometry=drawing.geometry,
    )


def _repeat(
  x: Float[Array, "b *d"], pose: Float[Array, "b t p"]
) -> Float[Array, "n *d"]:
  """Every example t times in a row; t may be a symbol, which is no int."""
  shape = (*pose.shape[:2], *x.shape[1:])
  return jnp.broadcast_to(x[:, None], shape).reshape(-1, *x.shape[1:])


class WarmStart(NamedTuple):
  """Speak's parameters after a warm start, and what it took."""

  params: dict
  copied: tuple[str, ...]  # paths in Speak's tree
  kept: tuple[str, ...]  # of the generator and facial code: no match


def warm_start(decoder: dict, speak: dict) -> WarmStart:
  """Starts G_g and f_R' from G_d where shapes agree.

  G_d's first dense layer reads (identity, pose, emotion, mouth); f_R' takes
  its rows of the first two, so that at the start G_g draws what G_d draws
  for an average emotion and mouth. What moves its lips stays fresh: the speech
  code says nothing yet. With the mouth code's rows in its place lips follow
  some 50 steps sooner and no better after 400.

  Args:
    decoder: Parameters of `Decoder`.
    speak: Parameters of `Speak`, freshly initialised.
  """
  source: dict[str, Any] = dict(flatten_dict(decoder, sep="/"))
  target: dict[str, Any] = dict(flatten_dict(speak, sep="/"))
  copied, kept = [], []
  for path, value in target.items():
    for mine, theirs in (("generator/", ""), ("facial/", "")):
      if not path.startswith(mine):
        continue
      learned = source.get(theirs + path.removeprefix(mine))
      if learned is not None and learned.shape == value.shape:
        target[path] = learned
        copied.append(path)
      elif (
        path == "facial/mlp/dense0/kernel"
        and learned is not None
        and learned.shape[1:] == value.shape[1:]
      ):
        target[path] = learned[: value.shape[0]]
        copied.append(path)
      else:
        kept.append(path)
  params = unflatten_dict(target, sep="/")
  return WarmStart(params, tuple(copied), tuple(kept))
