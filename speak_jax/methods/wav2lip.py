"""Wav2Lip, from a run or its public weights, as a method to be evaluated."""

from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import Float, Int16, UInt8
from ml_collections import ConfigDict

from data_pipelines.dataset.pictures import resize
from speak_jax.common.batching import in_batches
from speak_jax.configs import wav2lip as presets
from speak_jax.methods import base, crops
from speak_jax.methods.base import Method, Request, Restored, Trained
from speak_jax.nn import precision
from speak_jax.pretrained import files, layouts
from speak_jax.pretrained.tensors import WeightsError
from speak_jax.stages import wav2lip_input, wav2lip_paint

CHUNK = 16  # frames that are made at a time
SMOOTHED = 5  # boxes that each box is the mean of
CODE = (
  "speak_jax.models.wav2lip",
  "speak_jax.stages.wav2lip_input",
  "speak_jax.stages.wav2lip_paint",
  "speak_jax.methods.wav2lip",
)


class Networks(NamedTuple):
  """The generator, compiled for chunks of one size."""

  # (whole frames, boxes, references, boxes, sounds) -> (u8 faces,)
  paint: Any
  first: int  # frame, from its own, with which begins what a frame hears
  feather: float  # px
  size: int  # px


class Inputs(NamedTuple):
  """A request in Wav2Lip's own terms; one frame stands for many of it."""

  whole: UInt8[np.ndarray, "#t s s 3"]  # what is repainted, small
  boxes: Float[np.ndarray, "#t 4"]  # of its faces
  reference: UInt8[np.ndarray, "1 s s 3"]  # the identity picture, small
  reference_box: Float[np.ndarray, "1 4"]
  sounds: Int16[np.ndarray, "t n"]  # that each frame hears
  matrices: Float[np.ndarray, "#t 2 3"]  # with which faces are cut
  onto: UInt8[np.ndarray, "#t h w 3"]  # where they are pasted
  feather: float


def restore(path: Path, frames: int) -> Restored:
  """Opens a run or a file of public weights; clips may be of any length.

  Public weights get what belongs to them of the preset "released".

  Raises:
    ValueError: damaged, or of another version of the code; one line.
  """
  del frames
  if not path.is_file():
    return base.restored_run(path, (wav2lip_paint.PAINT,), CODE, _of_run)
  converted = layouts.load(str(path), wav2lip_paint.GENERATOR).converted
  config = presets.get_config("released")
  with config.unlocked():
    config.model.image = converted.sizes["size"]
    config.model.width = converted.sizes["width"]
  config = precision.for_inference(config)
  digest = base.weights_digest(converted.variables)
  return Restored(
    weights=_compiled(config, converted.variables),
    digest=base.digest(digest, CODE),
    size=config.model.image,
    fps=float(config.data.fps),
    preset=config.preset,
  )


def owns(path: Path) -> bool:
  """Says whether a file holds a generator of public weights."""
  if not path.is_file():
    return False
  try:
    tensors = files.read(path)
    ours = tensors.facts.get("layout") == wav2lip_paint.GENERATOR
    return ours or layouts.layout_of(tensors) == wav2lip_paint.GENERATOR
  except WeightsError:
    return False


def prepare(networks: Networks, request: Request) -> Inputs:
  """A still picture: it is its own reference, and all frames'."""
  return _prepared(
    networks, request, request.identity[None], request.landmarks[None]
  )


def prepare_video(networks: Networks, request: Request) -> Inputs:
  """A video whose mouths are repainted; the reference is the still picture.

  The public code takes each frame for its own reference, mouth and all: where
  a video speaks its own sound, that is to show the answer.
  """
  assert request.pose is not None  # `needs` names it
  return _prepared(
    networks, request, request.pose.frames, request.pose.landmarks
  )


def generate(
  networks: Networks, inputs: Inputs, key: int
) -> UInt8[np.ndarray, "t n n 3"]:
  """One face for each sound; a face knows nothing of the others."""
  del key
  count = len(inputs.sounds)

  def each(x: np.ndarray) -> np.ndarray:
    return np.broadcast_to(x, (count, *x.shape[1:]))

  [faces] = in_batches(
    networks.paint,
    each(inputs.whole),
    each(inputs.boxes),
    each(inputs.reference),
    each(inputs.reference_box),
    inputs.sounds,
    size=CHUNK,
  )
  return faces


def place(
  frames: UInt8[np.ndarray, "t n n 3"], inputs: Inputs
) -> UInt8[np.ndarray, "t h w 3"]:
  """Back to where the faces were cut, over the still picture or the video."""
  matrices = np.broadcast_to(inputs.matrices, (len(frames), 2, 3))
  return crops.paste(frames, matrices, inputs.onto, feather=inputs.feather)


def _of_run(learned: Trained) -> Networks:
  return _compiled(learned.config, learned.variables[wav2lip_paint.GENERATOR])


def _compiled(config: ConfigDict, variables: Any) -> Networks:
  net, size = wav2lip_paint.generator(config), config.model.image
  variables = jax.device_put(variables)

  @jax.jit
  def paint(variables, whole, boxes, references, reference_boxes, sounds):
    faces = wav2lip_paint.shown(
      wav2lip_input.cut(whole, boxes, size),
      wav2lip_input.cut(references, reference_boxes, size),
    )
    made: Any = net.apply(variables, faces, wav2lip_input.spectra(sounds))
    return (wav2lip_input.as_rgb(made),)

  return Networks(
    paint=lambda *arrays: paint(variables, *arrays),
    first=wav2lip_input.first_heard(config, False),
    feather=config.model.feather,
    size=size,
  )


def _prepared(
  networks: Networks,
  request: Request,
  frames: UInt8[np.ndarray, "t h w 3"],
  landmarks: Float[np.ndarray, "t 68 2"],
) -> Inputs:
  """Makes frames as small as those that are learned from, and cuts sounds."""
  small, side = wav2lip_input.WHOLE * networks.size, len(request.identity)
  boxes = _smoothed(wav2lip_input.face_boxes(landmarks))
  [own] = wav2lip_input.face_boxes(request.landmarks[None])

  def in_small(boxes: np.ndarray) -> np.ndarray:
    return ((boxes + 0.5) * small / side - 0.5).astype(np.float32)

  return Inputs(
    whole=np.stack([resize(x, small) for x in frames]),
    boxes=in_small(boxes),
    reference=resize(request.identity, small)[None],
    reference_box=in_small(own[None]),
    sounds=_sounds(request.audio, request.frames, networks.first),
    matrices=np.stack([_matrix(x, networks.size) for x in boxes]),
    onto=frames,
    feather=networks.feather,
  )


def _smoothed(boxes: Float[np.ndarray, "t 4"]) -> Float[np.ndarray, "t 4"]:
  """Each box as the mean of itself and those that follow it."""
  last = max(len(boxes) - SMOOTHED, 0)
  starts = np.minimum(np.arange(len(boxes)), last)
  return np.stack([boxes[i : i + SMOOTHED].mean(0) for i in starts])


def _matrix(box: Float[np.ndarray, "4"], size: int) -> Float[np.ndarray, "2 3"]:
  """What `wav2lip_input.cut` does to x and y."""
  factor, shift = wav2lip_input.placing(box.astype(np.float64), size)
  return np.column_stack([np.diag(factor), shift])


def _sounds(
  audio: Int16[np.ndarray, "s"], frames: int, first: int
) -> Int16[np.ndarray, "t n"]:
  """What each frame hears: silence before the sound, its end at the end."""
  starts = wav2lip_input.FRAME * (first + np.arange(frames))
  starts = np.minimum(starts, len(audio) - wav2lip_input.HEARD)
  lead = wav2lip_input.HEARD + wav2lip_input.ROUND
  return wav2lip_input.sounds(np.pad(audio, lead), starts + lead)


WAV2LIP = Method(
  name="Wav2Lip",
  needs=frozenset(),
  sees="first frame",
  samples=False,
  restore=restore,
  prepare=prepare,
  generate=generate,
  place=place,
  owns=owns,
)
METHODS = {
  "": WAV2LIP,
  "video": WAV2LIP._replace(
    name="Wav2Lip on a video",
    needs=frozenset({"pose"}),
    sees="the upper half of every frame",
    prepare=prepare_video,
  ),
}
