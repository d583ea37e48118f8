"""Networks as small as they come, with every part, and inputs for them."""

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from speak_jax import spec
from speak_jax.models.build import build
from tests.plain_face import plain_face

IMAGE, FRAMES, CONTEXT = 16, 3, 1
APPEARANCE = 8


def config(**changes) -> ConfigDict:
  """A `config.model` of 16 px."""
  model = ConfigDict(
    dict(
      image=IMAGE,
      codes=dict(identity=8, pose=4, emotion=5, mouth=3),
      encoder=dict(stages=(1, 1), width=8, bottleneck=False, stem="small"),
      channels={"4": 8, "8": 8, "16": 6},
      latent=12,
      maps=(4, 8, 16),
      audio=dict(
        front="mel",
        width=8,
        layers=1,
        heads=2,
        out=8,
        steps="frame",
        level="window",
      ),
      discriminator=dict(width=4, scales=2, layers=1),
      sync=dict(width=4, out=8),
      sync_motion=False,
      sync_unit=True,
      flow=True,
      landmarks=True,
      face=12,
      emotion_input="face",
      bare_codes=False,
      ablate="",
      pose_spatial_channels=2,
      appearance=APPEARANCE,
      up="bilinear",
      norm="group",
      dtype="float32",
    )
  )
  for key, value in changes.items():
    model[key] = value
  return model


def networks(**changes):
  return build(config(**changes))


def landmarks(batch: int) -> jax.Array:
  """A plain face: eyes, mouth and chin in their places."""
  return jnp.asarray(np.stack([plain_face()] * batch) * IMAGE, jnp.float32)


def pair(batch: int = 2, image: int = IMAGE) -> spec.Pair:
  """Random pictures; labels are of no matter here."""
  keys = jax.random.split(jax.random.key(0), 5)

  def picture(i, size):
    return jax.random.uniform(keys[i], (batch, size, size, 3), minval=-1)

  where = landmarks(batch)
  none = np.zeros(batch, int)
  return spec.Pair(
    identity=picture(0, image),
    identity_landmarks=where,
    pose=picture(1, image),
    emotion=picture(2, 12),
    emotion_landmarks=where,
    mouth=picture(3, 6),
    target=picture(4, image),
    target_landmarks=where,
    target_pose=np.zeros((batch, 3)),
    emotion_label=none,
    identity_label=none,
    donor=np.zeros((batch, image // 2, image // 2, 3), np.uint8),
    donor_landmarks=np.zeros((batch, 68, 2), np.float32),
    lends=none > 0,
    treated=none > 0,
  )


def normal(seed: int, *shape: int) -> jax.Array:
  return jax.random.normal(jax.random.key(seed), shape)


def audio(batch: int) -> jax.Array:
  return 0.3 * normal(9, batch, (FRAMES + 2 * CONTEXT) * 640)
