"""The pure functions of inference, and their StableHLO for a bundle.

Goes in: uint8 pictures, int16 sound, weights. Comes out: codes and uint8
frames. Pixels and sound reach the device as integers and are scaled there,
once, inside these functions.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import export
from jaxtyping import Array

from speak_jax import spec
from speak_jax.models.audio import WAVE_FRONTS
from speak_jax.models.irfd import IdentityFeatures
from speak_jax.nn.pixels import as_audio, as_bytes, as_frames

Variables = Mapping[str, Any]  # {"encoders": ..., "speak": ...} for .apply

PLATFORMS = ("cpu", "cuda", "tpu")


class Functions(NamedTuple):
  """The five pure functions of inference; `variables` come first.

  A portrait is a plain tuple of the fields of `models.irfd.IdentityFeatures`: a
  bundle's functions know no class of ours. In bundles of format 1 the speech of
  a window is its sound, and `frames` encodes it.
  """

  portrait: Callable  # (variables, u8 (b h w 3), landmarks (b 68 2)) -> tuple
  pose: Callable  # (variables, u8 (b h w 3)) -> (b p)
  emotion: Callable  # (variables, u8 (b f f 3)) -> (b e)
  speech: Callable  # (variables, audio int16 (b s), level (b 11)) -> (b n a)
  frames: Callable  # (variables, portrait, pose (b t p), emotion (b e),
  #                    speech (b t a)) -> u8 (b t h w 3)


class Framing(NamedTuple):
  """Where the training data's square crops lie round the landmarks.

  Pictures must be cut as those that the model learned from, or heads come out
  larger or smaller than any it has seen. The default is that of
  `faces.align.square`, by which recordings are cut.
  """

  side: float = 1.3  # of the square, over the larger side of a clip's landmarks
  up: float = 0.04  # its centre over that of the landmarks, in sides
  still_side: float = 1.3  # the same for a single picture
  still_up: float = 0.04


class Settings(NamedTuple):
  """What the functions expect of their inputs."""

  image: int  # px, side of a frame
  emotion: int  # px, side of the picture that the emotion encoder sees
  emotion_input: str  # "face": aligned face; "frame": the whole crop
  frames: int  # t, frames of one window
  context: int  # frames of sound heard on each side of a window
  fps: float
  framing: Framing = Framing()
  stretch: int = 0  # frames whose speech is encoded at once; 0: of a window

  @property
  def heard(self) -> int:
    """n, frames whose speech is encoded at once: one window or several."""
    return self.stretch or self.frames

  @property
  def samples(self) -> int:
    """Samples of sound that are heard for these, context included."""
    span = self.heard + 2 * self.context
    return round(span * spec.samples_per_frame(self.fps))


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


def settings_to_json(settings: Settings) -> dict[str, Any]:
  """Returns the settings as plain data for a bundle's config."""
  return {**settings._asdict(), "framing": settings.framing._asdict()}


def settings_from_json(stored: Mapping[str, Any]) -> Settings:
  """The inverse of `settings_to_json`."""
  return Settings(**{**stored, "framing": Framing(**stored["framing"])})


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
  (b,) = export.symbolic_shape("b")
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
    jax.ShapeDtypeStruct(
      (b, settings.frames, pose_code.shape[-1]), pose_code.dtype
    ),
    _struct(emotion_code),
    jax.ShapeDtypeStruct(
      (b, settings.frames, *speech_code.shape[2:]), speech_code.dtype
    ),
  )
  lowered = dict(
    portrait=portrait, pose=pose, emotion=emotion, speech=speech, frames=frames
  )
  return {name: bytes(one.serialize()) for name, one in lowered.items()}


def deserialize(artifacts: Mapping[str, bytes]) -> Functions:
  """Makes the functions of `serialize` callable on this machine.

  Args:
    artifacts: {name: serialised function}; "speech" is absent in format 1.

  Raises:
    ValueError: This version of jax cannot read them; one line.
  """
  return Functions(**({"speech": _as_sound} | called(artifacts)))


def called(artifacts: Mapping[str, bytes]) -> dict[str, Callable]:
  """Makes serialised functions callable, by name.

  Raises:
    ValueError: This version of jax cannot read them; one line.
  """
  calls: dict[str, Callable] = {}
  for name, blob in artifacts.items():
    try:
      exported = export.deserialize(bytearray(blob))
      exported.mlir_module()  # reads what would else fail at the first call
    except (jax.errors.JaxRuntimeError, ValueError) as error:
      raise ValueError(
        f"{name}: written by another jax than {jax.__version__}, which cannot"
        " read it; use the newer one, or export again"
      ) from error
    calls[name] = exported.call
  return calls


def _as_sound(variables: Any, audio: Array, level: Array) -> Array:
  """Passes the sound of a window on, where `frames` encodes it."""
  del variables, level
  return audio


def _struct(aval: Any) -> jax.ShapeDtypeStruct:
  """An abstract value as an argument's description."""
  return jax.ShapeDtypeStruct(aval.shape, aval.dtype)
