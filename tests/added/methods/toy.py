"""The toy, as a method that can be evaluated."""

from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import Float, UInt8

from speak_jax import spec
from speak_jax.common.batching import in_batches
from speak_jax.methods import base, crops
from speak_jax.methods.base import Method, Request, Restored, Trained
from speak_jax.nn.pixels import as_bytes, as_frames
from speak_jax.stages import toy as stage

CHUNK = 16  # frames that are made at a time
CODE = ("speak_jax.models.toy", "speak_jax.stages.toy", "speak_jax.methods.toy")
FEATHER = 2.0  # px


class Toy(NamedTuple):
  """The network, compiled for chunks of one size."""

  frames: Any  # compiled: (identities, sounds, keys) -> (u8 frames,)
  size: int  # px


class Inputs(NamedTuple):
  """A request in the toy's own pixels."""

  face: UInt8[np.ndarray, "s s 3"]  # the middle of the identity picture
  sound: Float[np.ndarray, "t s"]  # of each frame, in [-1, 1]
  matrix: Float[np.ndarray, "2 3"]  # that cut the face
  identity: UInt8[np.ndarray, "h w 3"]


def build(learned: Trained) -> Toy:
  """Compiles the network of a run."""
  net = stage.network(learned.config)
  variables = jax.device_put(learned.variables[stage.GROUP])

  @jax.jit
  def run(variables, identity, sound, keys):
    frames = net.apply(variables, as_frames(identity), sound)
    noise = jax.vmap(lambda key: jax.random.normal(key, frames.shape[1:]))
    return (as_bytes(frames + 0.02 * noise(jax.random.wrap_key_data(keys))),)

  return Toy(
    lambda *arrays: run(variables, *arrays), learned.config.model.image
  )


def restore(path: Path, frames: int) -> Restored:
  """Opens a run; chunks have one size, so that clips may be of any length."""
  del frames
  return base.restored_run(path, ("toy",), CODE, build)


def prepare(toy: Toy, request: Request) -> Inputs:
  """Cuts the middle of the identity picture, and the sound into frames."""
  side = len(request.identity)
  middle = np.array([side, side]) / 2 - 0.5
  matrix = crops.square(middle, side * 0.8, toy.size)
  step = round(spec.samples_per_frame(request.fps))
  sound = np.zeros(request.frames * step, np.float32)
  heard = request.audio[: len(sound)]
  sound[: len(heard)] = heard / 32768
  [face] = crops.cut(request.identity[None], matrix[None], toy.size)
  return Inputs(face, sound.reshape(-1, step), matrix, request.identity)


def generate(
  toy: Toy, inputs: Inputs, key: int
) -> UInt8[np.ndarray, "t n n 3"]:
  """One frame for each piece of sound, with noise that the key draws."""
  count = len(inputs.sound)
  keys = jax.random.split(jax.random.key(key), count)
  faces = np.repeat(inputs.face[None], count, 0)
  [frames] = in_batches(
    toy.frames,
    faces,
    inputs.sound,
    np.asarray(jax.random.key_data(keys)),
    size=CHUNK,
  )
  return frames


def place(
  frames: UInt8[np.ndarray, "t n n 3"], inputs: Inputs
) -> UInt8[np.ndarray, "t h w 3"]:
  """Back to where the face was cut, over the identity picture."""
  matrices = np.repeat(inputs.matrix[None], len(frames), 0)
  return crops.paste(frames, matrices, inputs.identity[None], feather=FEATHER)


class LowerInputs(NamedTuple):
  """A request whose upper half is the toy's, and the lower half the truth's."""

  toy: Inputs
  frames: UInt8[np.ndarray, "t h w 3"]  # to be repainted above


def prepare_lower(toy: Toy, request: Request) -> LowerInputs:
  """The same, and the video that is repainted."""
  assert request.pose is not None  # `needs` names it
  return LowerInputs(prepare(toy, request), request.pose.frames)


def generate_lower(
  toy: Toy, inputs: LowerInputs, key: int
) -> UInt8[np.ndarray, "t n n 3"]:
  """As `generate`, with the same noise always."""
  del key
  return generate(toy, inputs.toy, 0)


def place_lower(
  frames: UInt8[np.ndarray, "t n n 3"], inputs: LowerInputs
) -> UInt8[np.ndarray, "t h w 3"]:
  """Above the toy's frames, below the video."""
  whole = place(frames, inputs.toy)
  half = whole.shape[1] // 2
  whole[:, half:] = inputs.frames[:, half:]
  return whole


TOY = Method(
  name="toy",
  needs=frozenset(),
  sees="first frame",
  samples=True,
  restore=restore,
  prepare=prepare,
  generate=generate,
  place=place,
)
METHODS = {
  "": TOY,
  "lower": TOY._replace(
    name="toy under a video",
    needs=frozenset({"pose"}),
    sees="the lower half of every frame",
    samples=False,
    prepare=prepare_lower,
    generate=generate_lower,
    place=place_lower,
  ),
}
