"""What Wav2Lip's networks take: faces cut by landmarks, and spectra."""

from typing import Any

import jax.numpy as jnp
import numpy as np
from einops import rearrange
from jaxtyping import Array, Float, Int, Int16, Shaped, UInt8
from ml_collections import ConfigDict

from speak_jax import spec
from speak_jax.models.wav2lip import FRAMES, STEPS
from speak_jax.nn import lip_mel
from speak_jax.nn.pixels import as_audio, as_bytes
from speak_jax.nn.warp import sample
from speak_jax.stages import batch_shapes, rules
from speak_jax.stages.base import Sampler

FRAME = round(spec.samples_per_frame(rules.FPS))  # samples
HEARD = STEPS * lip_mel.HOP  # samples that a spectrum covers: five frames
# Samples round those which its first and its last step look at too.
ROUND = lip_mel.WINDOW // 2
# Whole frames are so many times as large as the faces that are cut from them.
WHOLE = 2
# A face reaches so far above and below its nose's lower end, of what lies
# between that and the brows: to a chin that has come down.
REACH = 1.25


def face_boxes(landmarks: Float[Any, "*b 68 2"]) -> Float[Any, "*b 4"]:
  """Left, top, right, bottom of faces, in the landmarks' pixels.

  They hang by brows, nose and the width of the jaw, and halves meet under the
  nose. A box round all points would go down with the chin, and show in the
  upper half how open a mouth is.

  Args:
    landmarks: Of NumPy or of JAX, as is what comes back.
  """
  x, y = landmarks[..., 0], landmarks[..., 1]
  # All but the mouth, so that a profile's nose is in it too.
  wide = x[..., : spec.MOUTH.start]
  brows = y[..., spec.BROWS.start : spec.MOUTH.start].min(-1)
  nose = y[..., spec.NOSE].max(-1)
  reach = REACH * (nose - brows)
  xp = jnp if isinstance(landmarks, Array) else np
  return xp.stack([wide.min(-1), nose - reach, wide.max(-1), nose + reach], -1)


def cut(
  frames: UInt8[Array, "n h w 3"], boxes: Float[Array, "n 4"], size: int
) -> Float[Array, "n s s 3"]:
  """Faces as the networks take them: blue, green, red in [0, 1].

  Args:
    frames: RGB, `WHOLE` * size px, from which nothing is lost then.
    boxes: In pixels of those.
    size: Of a face in pixels.
  """
  low, high = jnp.split(boxes.astype(jnp.float32), 2, -1)
  share = (jnp.arange(size) + 0.5) / size
  x, y = jnp.moveaxis(
    low[:, None] + share[:, None] * (high - low)[:, None], -1, 0
  )
  grid = (len(boxes), size, size)
  x = jnp.broadcast_to(x[:, None], grid)
  y = jnp.broadcast_to(y[:, :, None], grid)
  return sample(frames.astype(jnp.float32) / 255, x, y)[..., ::-1]


def within(
  points: Float[Array, "n k 2"], boxes: Float[Array, "n 4"], size: int
) -> Float[Array, "n k 2"]:
  """Where points of frames are in the faces that `cut` has cut, in pixels."""
  factor, shift = placing(boxes.astype(jnp.float32)[:, None], size)
  return factor * points + shift


def placing(
  boxes: Float[Any, "*b 4"], size: int
) -> tuple[Float[Any, "*b 2"], Float[Any, "*b 2"]]:
  """What `cut` does to x and y: factors, and shifts in pixels of the face.

  Args:
    boxes: Of NumPy or of JAX, as is what comes back.
    size: Of a face in pixels.
  """
  low, high = boxes[..., :2], boxes[..., 2:]
  factor = size / (high - low)
  return factor, -factor * low - 0.5


def hidden(faces: Float[Array, "n s s 3"]) -> Float[Array, "n s s 3"]:
  """Faces with nothing in their lower halves."""
  upper = jnp.arange(faces.shape[1]) < faces.shape[1] // 2
  return faces * upper[:, None, None]


def below(faces: Float[Array, "n s s 3"]) -> Float[Array, "n s/2 s 3"]:
  """The lower halves of faces."""
  return faces[:, faces.shape[1] // 2 :]


def as_rgb(faces: Float[Array, "*n h w 3"]) -> UInt8[Array, "*n h w 3"]:
  """Faces as bytes in the order of all other pictures."""
  return as_bytes(2 * faces[..., ::-1] - 1)


def sounds(
  audio: Shaped[Any, "*b s"], starts: Int[np.ndarray, "t"]
) -> Int16[Any, "*b t n"]:
  """Cuts the sound of windows out, with what their spectra look at beside.

  Args:
    audio: Samples of NumPy or of JAX.
    starts: First samples of the windows, none nearer to an end than `ROUND`.
  """
  return audio[..., starts[:, None] + np.arange(-ROUND, HEARD + ROUND)]


def spectra(cuts: Int16[Array, "n s"]) -> Float[Array, "n 80 16"]:
  """What is heard in windows that `sounds` has cut."""
  edge = ROUND // lip_mel.HOP  # steps
  heard = lip_mel.lip_mel(as_audio(cuts))[:, edge : edge + STEPS]
  return rearrange(heard, "n t m -> n m t")


def first_heard(config: ConfigDict, training: bool) -> int:
  """Where the five frames begin that a frame hears, counted from itself.

  Two frames before it, so that it is in their middle. The public code counts
  from 1 where it learns and from 0 where it is used, so that mouths lead by a
  frame.
  """
  if config.model.released_offset:
    return -1 if training else 0
  return -(FRAMES // 2)


def spectra_at(
  config: ConfigDict, batch: batch_shapes.Stretch, frames: Int[np.ndarray, "t"]
) -> Float[Array, "bt 80 16"]:
  """What is heard of a batch in the five frames from each of some on.

  Args:
    config: The run's.
    batch: A batch.
    frames: Counted from a stretch's first one.
  """
  starts = FRAME * (config.model.context + frames)
  return spectra(folded(sounds(batch.audio, starts)))


def folded(x: Shaped[Array, "b t ..."]) -> Shaped[Array, "bt ..."]:
  """Frames of all stretches in a row."""
  return rearrange(x, "b t ... -> (b t) ...")


def batch_of(
  config: ConfigDict, count: int, frames: int = FRAMES
) -> batch_shapes.Stretch:
  """Shapes of a batch of stretches with whole frames, and as many others."""
  side = WHOLE * config.model.image
  return batch_shapes.stretches_of(
    config, count, frames, config.model.context, FRAMES
  )._replace(
    frames=batch_shapes.uint8(count, frames, side, side, 3),
    others=batch_shapes.uint8(count, FRAMES, side, side, 3),
  )


def sampler_of(config: ConfigDict, stage: str, frames: int) -> Sampler:
  """Says how batches are made: stretches, and five more frames of the clip."""
  model = config.model
  return Sampler(
    "stretches",
    {
      "size": WHOLE * model.image,
      "frames": frames,
      "context": model.context,
      "others": FRAMES,
      "apart": config[stage].apart,
    },
  )
