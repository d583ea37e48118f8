"""Functions of inference that show in their pixels what they were given."""

import jax.numpy as jnp
import numpy as np
from einops import rearrange

from speak_jax.inference.functions import Functions
from speak_jax.inference.settings import Settings
from speak_jax.nn.pixels import as_bytes, as_frames

SETTINGS = Settings(
  image=8, emotion=6, emotion_input="face", frames=3, context=2, fps=25.0
)
VARIABLES = {
  "encoders": {"params": {"scale": np.float32(1.0)}},
  "speak": {"params": {"gain": np.ones(3, np.float32)}},
}


def functions(
  settings: Settings = SETTINGS,
) -> Functions:
  """Frames whose red is the pose, green the sound, blue who and how."""

  def mean(variables, frames):
    scale = variables["encoders"]["params"]["scale"]
    return as_frames(frames).mean((1, 2)) * scale

  def portrait(variables, frame, landmarks):
    unit = as_frames(frame)
    return mean(variables, frame), landmarks.mean(1), (unit, unit[:, ::2])

  def speech(variables, audio, level):
    t, c = settings.heard, settings.context
    heard = rearrange(audio, "b (n s) -> b n s", n=t + 2 * c)[:, c : c + t]
    return heard.astype(jnp.float32).mean(-1, keepdims=True) / 32768.0

  def frames(variables, portrait, pose, emotion, speech):
    identity, _, _ = portrait
    level = speech[..., 0]
    blue = identity[:, 2] / 2 + emotion[:, 2] / 2
    colour = jnp.stack(
      [pose[..., 0], level, jnp.broadcast_to(blue[:, None], level.shape)], -1
    )
    colour = colour * variables["speak"]["params"]["gain"]
    pixels = jnp.broadcast_to(colour[:, :, None, None], (*level.shape, 8, 8, 3))
    return as_bytes(pixels)

  return Functions(portrait, mean, mean, speech, frames)


def inputs(frames: int) -> dict:
  """A portrait, a pose clip of 5 frames, emotion faces, a ramp of sound."""
  levels = np.arange(frames, dtype=np.int16) * 200
  return {
    "portrait_frame": np.full((8, 8, 3), 100, np.uint8),
    "landmarks": np.zeros((68, 2)),
    "pose_frames": np.stack(
      [np.full((8, 8, 3), 50 * i, np.uint8) for i in range(5)]
    ),
    "emotion_faces": np.stack(
      [np.full((6, 6, 3), v, np.uint8) for v in (100, 140)]
    ),
    "audio": np.repeat(levels, 640),
  }
