"""SPEAK, from a run or a bundle, as a method that can be evaluated."""

import hashlib
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int16, UInt8

from data_pipelines.dataset.pictures import resize, scale_landmarks
from speak_jax import bundle
from speak_jax.inference.crops import emotion_pictures
from speak_jax.inference.lowering import settings_of
from speak_jax.inference.settings import Settings, settings_from_json
from speak_jax.inference.synthesizer import Synthesizer
from speak_jax.methods import base
from speak_jax.methods.base import (
  Method,
  Request,
  Restored,
  ShownFrames,
)
from speak_jax.training import run_config, weights

MAX_WINDOWS = 16  # that are generated at a time
CODE = (
  "speak_jax.models",
  "speak_jax.stages",
  "speak_jax.inference",
  "speak_jax.methods.speak",
)


class Inputs(NamedTuple):
  """A request in the model's own pixels."""

  portrait: UInt8[np.ndarray, "h w 3"]
  landmarks: Float[np.ndarray, "68 2"]
  pose: UInt8[np.ndarray, "n h w 3"]
  emotion: UInt8[np.ndarray, "k f f 3"]
  audio: Int16[np.ndarray, "s"]
  size: int  # px, of the canonical crop


def restore(path: Path, frames: int) -> Restored:
  """Opens a run or a bundle, to make clips of up to so many frames.

  Returns:
    Its weights are a `Synthesizer`; None where a run has not come that far.

  Raises:
    ValueError: damaged, or of another version of the code; one line.
  """
  if bundle.is_bundle(path):
    content = bundle.read(path)
    facts = content.config
    settings = settings_from_json(facts["settings"])
    synthesizer = Synthesizer.from_bundle(
      path, content=content, windows=_windows(frames, settings)
    )
    checksums = (path / "SHA256SUMS").read_bytes()
    restored = _restored(synthesizer, hashlib.sha256(checksums).hexdigest())
    return restored._replace(
      preset=str(facts["preset"]), commit=str(facts["commit"])
    )
  config = run_config.read(path)
  settings = settings_of(config)
  source = weights.find(path, "speak")
  origin = {"preset": config.preset, "commit": config.commit}
  if source is None:
    return Restored(None, "", settings.image, settings.fps, **origin)
  synthesizer = Synthesizer.from_run(
    source.run, step=source.step, windows=_windows(frames, settings)
  )
  digest = base.weights_digest(synthesizer.variables)
  return _restored(synthesizer, digest)._replace(**origin)


def prepare(synthesizer: Synthesizer, request: Request) -> Inputs:
  """Everything at the model's size, and faces cut for the emotion encoder."""
  assert request.pose is not None
  assert request.emotion is not None
  crop, settings = len(request.identity), synthesizer.settings
  emotion = _scaled(request.emotion, settings.image)
  return Inputs(
    portrait=resize(request.identity, settings.image),
    landmarks=scale_landmarks(request.landmarks, crop, settings.image),
    pose=_scaled(request.pose, settings.image).frames,
    emotion=emotion_pictures(*emotion, settings),
    audio=request.audio,
    size=crop,
  )


def generate(
  synthesizer: Synthesizer, inputs: Inputs, key: int
) -> UInt8[np.ndarray, "n h w 3"]:
  """One frame for each of the pose's; nothing is drawn at random."""
  del key
  pieces = synthesizer.stream(
    synthesizer.portrait(inputs.portrait, inputs.landmarks),
    synthesizer.pose(inputs.pose),
    synthesizer.emotion(inputs.emotion).mean(0),
    inputs.audio,
  )
  return np.concatenate(list(pieces))


def place(
  frames: UInt8[np.ndarray, "n h w 3"], inputs: Inputs
) -> UInt8[np.ndarray, "n s s 3"]:
  """The model's crop is the canonical one, at another size."""
  return np.stack([resize(frame, inputs.size) for frame in frames])


METHOD = Method(
  name="SPEAK",
  needs=frozenset({"pose", "emotion"}),
  sees="every frame through its pose code, some through the emotion code",
  samples=False,
  restore=restore,
  prepare=prepare,
  generate=generate,
  place=place,
)
METHODS = {"": METHOD}


def _windows(frames: int, settings: Settings) -> int:
  return min(-(-frames // settings.frames), MAX_WINDOWS)


def _restored(synthesizer: Synthesizer, weights_sha256: str) -> Restored:
  """The synthesizer as weights, with the digest of it all.

  Args:
    synthesizer: Synthesizer of the model.
    weights_sha256: Of its weights.
  """
  digest = base.digest(weights_sha256, CODE)
  settings = synthesizer.settings
  return Restored(synthesizer, digest, settings.image, settings.fps)


def _scaled(track: ShownFrames, size: int) -> ShownFrames:
  crop = track.frames.shape[1]
  return ShownFrames(
    np.stack([resize(frame, size) for frame in track.frames]),
    scale_landmarks(track.landmarks, crop, size),
  )
