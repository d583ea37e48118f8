"""The demo config with networks as small as they come, and batches for it."""

from typing import Any

import jax
import numpy as np
from ml_collections import ConfigDict

from configs import speak
from speak_jax.stages.registry import training
from speak_jax.training.state import init_state
from tests.plain_face import plain_face

IMAGE = 16
STAGES = training("speak").stages


def config(**changes: Any) -> ConfigDict:
  """A whole config; `changes` by dotted key, dots as double underscores."""
  small = speak.get_config("demo").copy_and_resolve_references()
  small.unlock()
  small.model = ConfigDict(
    dict(
      small.model.to_dict(),
      image=IMAGE,
      face=12,
      mouth=6,
      codes=dict(identity=8, pose=4, emotion=5, mouth=3),
      encoder=dict(stages=(1,), width=8, bottleneck=False, stem="small"),
      channels={"8": 8, "16": 6},
      latent=8,
      maps=(16,),
      appearance=8,
      audio=dict(
        front="mel",
        width=8,
        layers=1,
        heads=2,
        out=8,
        steps="frame",
        level="window",
      ),
      discriminator=dict(width=4, scales=1, layers=1),
      sync=dict(width=4, out=8),
      lips=8,
      frames=5,
      context=1,
    )
  )
  for stage in ("syncnet", "irfd", "speak", "motion"):
    small[stage].batch = 2
    small[stage].microbatch = 2
    small[stage].steps = 2
  small.syncnet.windows = 3
  small.motion.frames, small.motion.context = 6, 2
  small.motion.width, small.motion.layers = 8, 1
  small.speak.emotion_frames = 1
  for key, value in changes.items():
    *path, last = key.split("__")
    node = small
    for name in path:
      node = node[name]
    node[last] = value
  return small.lock()


def parameters(
  stage: Any, seed: int = 0, given: dict[str, Any] | None = None
) -> Any:
  """(parameters, other variables) of a stage, compiled as one program.

  `stage.init` by itself draws every array by programs of its own.
  """
  state = init_state(stage, seed, given or {})
  return state.params, state.vars


def batch(stage: Any, seed: int = 0) -> Any:
  """Random pixels and sound in the shapes that a stage takes."""
  rng = np.random.default_rng(seed)

  def draw(x):
    if x.dtype == bool:
      return np.ones(x.shape, bool)
    if x.dtype == np.uint8:
      return rng.integers(0, 256, x.shape, np.uint8)
    if x.dtype == np.int16:
      return rng.integers(-9000, 9000, x.shape, np.int16)
    if x.dtype == np.int32:
      return np.arange(x.shape[0], dtype=np.int32)
    if x.shape[-2:] == (68, 2):
      return np.broadcast_to(face(), x.shape).astype(np.float32)
    return rng.normal(0, 10, x.shape).astype(np.float32)

  return jax.tree.map(draw, stage.batch)


def face() -> np.ndarray:
  """68 points of an upright face that fills the picture."""
  return plain_face() * IMAGE
