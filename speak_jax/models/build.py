"""From a config's sizes to networks."""

from typing import Any, NamedTuple

import jax.numpy as jnp
from ml_collections import ConfigDict

from speak_jax import spec
from speak_jax.models.discriminator import Discriminator
from speak_jax.models.generator import Decoder
from speak_jax.models.irfd import Encoders
from speak_jax.models.speak import Speak
from speak_jax.models.syncnet import SyncNet
from speak_jax.models.vgg import Vgg
from speak_jax.nn import precision


class Networks(NamedTuple):
  """All networks; Linen modules without parameters."""

  encoders: Encoders
  decoder: Decoder
  speak: Speak
  discriminator: Discriminator
  sync: SyncNet
  vgg: Vgg


def build(
  model: ConfigDict,
  *,
  fps: float = spec.FPS,
  remat: bool = False,
  freeze_features: bool = False,
) -> Networks:
  """Networks of the sizes in `config.model`.

  Args:
    model: Keys image, codes, encoder, channels, latent, maps, audio,
      discriminator, sync, sync_motion, sync_unit, flow, landmarks, face,
      emotion_input, bare_codes, ablate, pose_spatial_channels,
      appearance, norm, up, dtype.
    fps: Frames a second that the audio encoder gives.
    remat: Recompute residual and generator blocks in the backward pass:
      less memory, a third more time; same parameters.
    freeze_features: Hold the waveform's convolutions in E_a still.

  Raises:
    ValueError: the finest channels are not those of the picture, or no such
      code to leave out.
  """
  if model.ablate not in ("", "identity", "pose", "emotion"):
    raise ValueError(
      f"config.model.ablate {model.ablate!r} is not identity, pose or emotion"
    )
  dtype = jnp.dtype(precision.resolve(model.dtype))
  # The maps are what E_i sees, so they go with it.
  maps = () if model.ablate == "identity" else tuple(model.maps)
  landmarks = model.flow and model.landmarks
  # It stands in for the picture, and only landmarks can move it.
  appearance = model.appearance if landmarks and model.image in maps else 0
  generator: dict[str, Any] = dict(
    channels=_channels(model),
    latent=model.latent,
    flow=model.flow,
    landmarks=model.landmarks,
    dtype=dtype,
    remat=remat,
    up=model.up,
  )
  audio = model.audio
  return Networks(
    encoders=_encoders(
      model,
      maps=maps,
      landmarks=landmarks,
      appearance=appearance,
      dtype=dtype,
      remat=remat,
    ),
    decoder=Decoder(appearance=appearance, **generator),
    speak=Speak(
      front=audio.front,
      audio_width=audio.width,
      audio_layers=audio.layers,
      audio_heads=audio.heads,
      audio_out=audio.out,
      audio_steps=audio.steps,
      audio_level=audio.level,
      fps=fps,
      freeze_features=freeze_features,
      **generator,
    ),
    discriminator=Discriminator(**model.discriminator, dtype=dtype),
    sync=SyncNet(
      **model.sync,
      dtype=dtype,
      moving=model.sync_motion,
      unit=model.sync_unit,
    ),
    vgg=Vgg(dtype),
  )


def _channels(model: ConfigDict) -> tuple[tuple[int, int], ...]:
  """(size, channels) of the generator's feature maps, coarsest first.

  Raises:
    ValueError: the finest are not those of the picture.
  """
  channels = tuple(
    sorted((int(size), width) for size, width in model.channels.items())
  )
  if channels[-1][0] != model.image:
    raise ValueError(
      f"channels end at {channels[-1][0]}, the picture has {model.image}"
    )
  return channels


def _encoders(
  model: ConfigDict,
  *,
  maps: tuple[int, ...],
  landmarks: bool,
  appearance: int,
  dtype: jnp.dtype,
  remat: bool,
) -> Encoders:
  """The encoders, with what `build` has worked out of the config for them."""
  codes, encoder = model.codes, model.encoder
  return Encoders(
    image=model.image,
    codes=(codes.identity, codes.pose, codes.emotion, codes.mouth),
    stages=tuple(encoder.stages),
    width=encoder.width,
    bottleneck=encoder.bottleneck,
    stem=encoder.stem,
    maps=maps,
    landmarks=landmarks,
    face=0 if model.emotion_input == "frame" else model.face,
    bare_codes=model.bare_codes,
    ablate=model.ablate,
    pose_spatial_channels=model.pose_spatial_channels,
    appearance=appearance,
    norm=model.norm,
    dtype=dtype,
    remat=remat,
  )
