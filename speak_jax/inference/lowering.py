"""Networks to the pure functions of inference, and these to StableHLO."""

from typing import Any

import jax
import jax.numpy as jnp
from jax import export

from speak_jax import spec
from speak_jax.inference.functions import PLATFORMS, Functions, Variables
from speak_jax.inference.settings import Settings
from speak_jax.models.audio import WAVE_FRONTS
from speak_jax.models.irfd import IdentityFeatures
from speak_jax.nn.pixels import as_audio, as_bytes, as_frames


def settings_of(config: Any) -> Settings:
  """Reads the settings of a model out of its run's config."""
  model = config.model
  whole = model.emotion_input == "frame"
  return Settings(
    image=model.image,
    emotion=model.image if whole else model.face,
    emotion_input=model.emotion_input,
    frames=model.frames,
    context=model.context,
    fps=float(config.data.fps),
    # Of the mel front end's codes .2 to .3 of their deviation would change.
    stretch=config.speak.stretch if model.audio.front in WAVE_FRONTS else 0,
  )


def functions_of(nets: Any, settings: Settings) -> Functions:
  """Makes the pure functions out of networks.

  Encoders and decoder run as at evaluation: no noise, no dropout.

  Args:
    nets: `models.build.Networks`.
    settings: Sizes of their inputs.
  """
  encoders, speak = nets.encoders, nets.speak

  def portrait(variables, frame, landmarks):
    out = encoders.apply(
      variables["encoders"], as_frames(frame), landmarks, method="portrait"
    )
    return tuple(out)

  def pose(variables, frames):
    return encoders.apply(
      variables["encoders"], as_frames(frames), method="pose"
    )

  def emotion(variables, faces):
    return encoders.apply(
      variables["encoders"], as_frames(faces), method="emotion"
    )

  def speech(variables, audio, level):
    return speak.apply(
      variables["speak"],
      as_audio(audio),
      settings.heard,
      level,
      method="hear",
    )

  def frames(variables, portrait, pose, emotion, speech):
    out = speak.apply(
      variables["speak"],
      IdentityFeatures(*portrait),
      pose,
      emotion,
      speech,
      train=False,
      method="draw",
    )
    return as_bytes(out.frames)

  return Functions(portrait, pose, emotion, speech, frames)


def serialize(
  functions: Functions, variables: Variables, settings: Settings
) -> dict[str, bytes]:
  """Lowers every function to StableHLO, for any batch size and platform.

  Weights stay outside, as the first argument.

  Args:
    functions: From `functions_of`.
    variables: Weights; their shapes and types alone are looked at.
    settings: Sizes of the inputs.

  Returns:
    {name in bundle.FUNCTIONS: serialised function}.
  """
  b, t = export.symbolic_shape("b, t")
  size, face = settings.image, settings.emotion
  weights = jax.tree.map(
    lambda x: jax.ShapeDtypeStruct(jnp.shape(x), x.dtype), dict(variables)
  )

  def lower(function, *arguments):
    return export.export(jax.jit(function), platforms=PLATFORMS)(
      weights, *arguments
    )

  def u8(*shape):
    return jax.ShapeDtypeStruct(shape, jnp.uint8)

  landmarks = jax.ShapeDtypeStruct((b, 68, 2), jnp.float32)
  portrait = lower(functions.portrait, u8(b, size, size, 3), landmarks)
  pose = lower(functions.pose, u8(b, size, size, 3))
  emotion = lower(functions.emotion, u8(b, face, face, 3))
  speech = lower(
    functions.speech,
    jax.ShapeDtypeStruct((b, settings.samples), jnp.int16),
    jax.ShapeDtypeStruct((b, spec.LEVEL), jnp.float32),
  )
  pose_code, emotion_code = pose.out_avals[0], emotion.out_avals[0]
  speech_code = speech.out_avals[0]
  frames = lower(
    functions.frames,
    jax.tree.unflatten(portrait.out_tree, map(_struct, portrait.out_avals)),
    jax.ShapeDtypeStruct((b, t, pose_code.shape[-1]), pose_code.dtype),
    _struct(emotion_code),
    jax.ShapeDtypeStruct((b, t, *speech_code.shape[2:]), speech_code.dtype),
  )
  lowered = dict(
    portrait=portrait, pose=pose, emotion=emotion, speech=speech, frames=frames
  )
  return {name: bytes(one.serialize()) for name, one in lowered.items()}


def _struct(aval: Any) -> jax.ShapeDtypeStruct:
  """An abstract value as an argument's description."""
  return jax.ShapeDtypeStruct(aval.shape, aval.dtype)
