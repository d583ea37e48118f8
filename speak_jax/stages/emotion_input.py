"""What the emotion encoder sees of a frame: an aligned face, or all of it."""

from jaxtyping import Array, Float, PRNGKeyArray
from ml_collections import ConfigDict

from speak_jax.nn import treat
from speak_jax.nn.align import align_face


def side(config: ConfigDict) -> int:
  """Side in pixels of what E_e sees.

  Raises:
    ValueError: an unknown word in config.model.emotion_input.
  """
  model = config.model
  if model.emotion_input not in ("face", "frame"):
    raise ValueError(
      f"config.model.emotion_input {model.emotion_input!r} is not face or frame"
    )
  return model.image if model.emotion_input == "frame" else model.face


def plain(
  config: ConfigDict,
  frames: Float[Array, "b h w 3"],
  landmarks: Float[Array, "b 68 2"],
) -> Float[Array, "b s s 3"]:
  """Cuts what E_e sees out of frames in [-1, 1], and changes nothing.

  Args:
    config: The run's.
    frames: Whole square frames.
    landmarks: Theirs, in their pixels.
  """
  if config.model.emotion_input == "frame":
    return frames
  return align_face(frames, landmarks, config.model.face)


def augmented(
  config: ConfigDict,
  frames: Float[Array, "b h w 3"],
  landmarks: Float[Array, "b 68 2"],
  key: PRNGKeyArray,
) -> Float[Array, "b s s 3"]:
  """`plain`, in training: changed as config.data.augment has it."""
  how = config.data.augment
  if not how.emotion:
    return plain(config, frames, landmarks)
  whole = config.model.emotion_input == "frame"
  return treat.faces(
    frames,
    None if whole else landmarks,
    side(config),
    key,
    most=how.stretch,
  )
