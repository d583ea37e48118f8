"""Shapes of the batches that the samplers make, for what is only traced.

Pictures are bytes and sound is 16-bit samples, as they come to a device; see
`spec.SyncWindows`, `spec.Pair`, `spec.Clip`, `spec.Stretch` and `spec.Motion`
for what the fields mean.
"""

from typing import Any

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict

from speak_jax import spec
from speak_jax.models.syncnet import WINDOW_S, window_frames

# Batches on a device, or their shapes: the tuples of `spec`, whose fields are
# typed as NumPy's, which they are on the host.
SyncWindows = Any  # spec.SyncWindows
Pair = Any  # spec.Pair
Clip = Any  # spec.Clip
Motion = Any  # spec.Motion
Stretch = Any  # spec.Stretch


def float32(*shape: int) -> Any:
  """The shape of a float32 array."""
  return jax.ShapeDtypeStruct(shape, jnp.float32)


def uint8(*shape: int) -> Any:
  """The shape of an array of bytes."""
  return jax.ShapeDtypeStruct(shape, jnp.uint8)


def _int16(*shape: int) -> Any:
  return jax.ShapeDtypeStruct(shape, jnp.int16)


def _int32(*shape: int) -> Any:
  return jax.ShapeDtypeStruct(shape, jnp.int32)


def _flag(*shape: int) -> Any:
  return jax.ShapeDtypeStruct(shape, jnp.bool_)


def window_pictures(config: ConfigDict) -> tuple[int, int, int, int]:
  """Shape (t, h, w, c) of a window's pictures for SyncNet.

  Grey aligned mouths, or the lower halves of whole frames in colour.
  """
  model, frames = config.model, window_frames(config.data.fps)
  if model.lips:
    return frames, model.lips, model.lips, 1
  return frames, model.image // 2, model.image, 3


def window_samples() -> int:
  """Samples of a window's sound for SyncNet."""
  return round(WINDOW_S * spec.SAMPLE_RATE_HZ)


def clip_samples(config: ConfigDict) -> int:
  """Samples of a SPEAK clip's sound: its frames with context on each side."""
  model = config.model
  heard = model.frames + 2 * model.context
  return round(heard * spec.samples_per_frame(config.data.fps))


def sync_windows(config: ConfigDict, n: int, windows: int) -> SyncWindows:
  """The batch of n clips with so many windows each."""
  return spec.SyncWindows(
    mouth=uint8(n, windows, *window_pictures(config)),
    audio=_int16(n, windows, window_samples()),
  )


def pairs(config: ConfigDict, n: int) -> Pair:
  """The batch of n IRFD pairs."""
  image, mouth = config.model.image, config.model.mouth
  donor = spec.donor_side(image)
  return spec.Pair(
    identity=uint8(n, image, image, 3),
    identity_landmarks=float32(n, 68, 2),
    pose=uint8(n, image, image, 3),
    emotion=uint8(n, image, image, 3),
    emotion_landmarks=float32(n, 68, 2),
    mouth=uint8(n, mouth, mouth, 3),
    target=uint8(n, image, image, 3),
    target_landmarks=float32(n, 68, 2),
    target_pose=float32(n, 3),
    emotion_label=_int32(n),
    identity_label=_int32(n),
    donor=uint8(n, donor, donor, 3),
    donor_landmarks=float32(n, 68, 2),
    lends=_flag(n),
    treated=_flag(n),
  )


def clips(config: ConfigDict, n: int, emotion_frames: int) -> Clip:
  """The batch of n clips of config.model.frames frames with their sound."""
  image, t = config.model.image, config.model.frames
  donor = spec.donor_side(image)
  return spec.Clip(
    identity=uint8(n, image, image, 3),
    identity_landmarks=float32(n, 68, 2),
    frames=uint8(n, t, image, image, 3),
    landmarks=float32(n, t, 68, 2),
    pose=float32(n, t, 3),
    audio=_int16(n, clip_samples(config)),
    level=float32(n, spec.LEVEL),
    emotion=uint8(n, emotion_frames, image, image, 3),
    emotion_landmarks=float32(n, emotion_frames, 68, 2),
    emotion_label=_int32(n),
    donor=uint8(n, donor, donor, 3),
    donor_landmarks=float32(n, 68, 2),
  )


def stretches(config: ConfigDict, n: int, others: int) -> Stretch:
  """The batch of n stretches of config.model.frames frames, and others."""
  model = config.model
  return stretches_of(config, n, model.frames, model.context, others)


def stretches_of(
  config: ConfigDict, n: int, frames: int, context: int, others: int
) -> Stretch:
  """The batch of n stretches of so many frames, and others."""
  image, heard = config.model.image, frames + 2 * context
  samples = round(heard * spec.samples_per_frame(config.data.fps))
  return spec.Stretch(
    frames=uint8(n, frames, image, image, 3),
    landmarks=float32(n, frames, 68, 2),
    pose=float32(n, frames, 3),
    audio=_int16(n, samples),
    level=float32(n, spec.LEVEL),
    others=uint8(n, others, image, image, 3),
    other_landmarks=float32(n, others, 68, 2),
    other_pose=float32(n, others, 3),
    emotion_label=_int32(n),
  )


def motion_samples(config: ConfigDict) -> int:
  """Samples of the motion stage's sound: its frames with context."""
  heard = config.motion.frames + 2 * config.motion.context
  return round(heard * spec.samples_per_frame(config.data.fps))


def motion(config: ConfigDict, n: int) -> Motion:
  """The batch of n stretches of config.motion.frames frames."""
  t = config.motion.frames
  return spec.Motion(
    expression=float32(n, t, spec.MESH, 3),
    lids=float32(n, t),
    emotion=float32(n, len(spec.EMOTIONS)),
    audio=_int16(n, motion_samples(config)),
  )
