"""ATVG, from a run, as a method that can be evaluated."""

from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, UInt8

from data_pipelines.media.warp import similarity
from speak_jax.methods import base, crops
from speak_jax.methods.base import Method, Request, Restored
from speak_jax.models import landmark_basis
from speak_jax.models.landmark_basis import LandmarkBasis
from speak_jax.nn import mfcc
from speak_jax.nn.pixels import as_bytes, as_frames
from speak_jax.stages import atvg as stage
from speak_jax.stages import batch_shapes

CHUNK = 16  # frames that are made at a time
FEATHER = 4.0  # px
CODE = (
  "speak_jax.models.atvg",
  "speak_jax.models.landmark_basis",
  "speak_jax.stages.atvg",
  "speak_jax.methods.atvg",
)


class Networks(NamedTuple):
  """Both networks, compiled for chunks of one size, and their basis."""

  # (example's coefficients, windows, state) -> (coefficients, state)
  hear: Any
  # (picture, example, landmarks, state) -> (u8 frames, state)
  paint: Any
  states: tuple[Any, Any]  # of both before the first frame
  basis: LandmarkBasis
  exaggerate: Float[np.ndarray, "d"]  # factors of what is heard
  keep: bool  # whether landmarks move on the person's own shape
  size: int  # px


class Inputs(NamedTuple):
  """A request in ATVG's own terms."""

  picture: UInt8[np.ndarray, "n n 3"]  # aligned
  example: Float[np.ndarray, "68 2"]  # normalised landmarks of it
  windows: Float[np.ndarray, "t 28 12"]  # of sound
  matrix: Float[np.ndarray, "2 3"]  # that cut the picture
  identity: UInt8[np.ndarray, "h w 3"]


def restore(path: Path, frames: int) -> Restored:
  """Opens a run; chunks have one size, so that clips may be of any length.

  Raises:
    ValueError: damaged, or of another version of the code; one line.
  """
  del frames
  return base.restored_run(
    path, (stage.LANDMARKS, stage.VIDEO), CODE, _compiled
  )


def prepare(networks: Networks, request: Request) -> Inputs:
  """Aligns the identity picture by nose and eyes; cuts the sound in windows."""
  shape, size = networks.basis.shape, networks.size
  matrix = similarity(
    request.landmarks[landmark_basis.ANCHORS], landmark_basis.crop(shape, size)
  )
  [picture] = crops.cut(request.identity[None], matrix[None], size)
  points = request.landmarks.astype(np.float32)
  [example] = landmark_basis.normalise(
    points[None], points, shape, networks.keep
  )
  windows = mfcc.windows(request.audio, request.frames)
  return Inputs(
    picture, example, windows.astype(np.float32), matrix, request.identity
  )


def generate(
  networks: Networks, inputs: Inputs, key: int
) -> UInt8[np.ndarray, "t n n 3"]:
  """One frame for each window; states go from chunk to chunk."""
  del key
  picture = as_frames(jnp.asarray(inputs.picture[None]))
  example = jnp.asarray(inputs.example[None])
  start = landmark_basis.coefficients(example, networks.basis)
  made, states = [], networks.states
  for first in range(0, len(inputs.windows), CHUNK):
    windows = inputs.windows[first : first + CHUNK]
    lack = CHUNK - len(windows)
    padded = np.pad(windows, ((0, lack), (0, 0), (0, 0)), "edge")
    found, heard = networks.hear(start, jnp.asarray(padded[None]), states[0])
    landmarks = landmark_basis.shapes(
      found * networks.exaggerate, networks.basis
    )
    frames, seen = networks.paint(picture, example, landmarks, states[1])
    states = heard, seen
    made.append(np.asarray(frames[0, : len(windows)]))
  return np.concatenate(made)


def place(
  frames: UInt8[np.ndarray, "t n n 3"], inputs: Inputs
) -> UInt8[np.ndarray, "t h w 3"]:
  """Back to where the face was cut, over the identity picture."""
  matrices = np.repeat(inputs.matrix[None], len(frames), 0)
  return crops.paste(frames, matrices, inputs.identity[None], feather=FEATHER)


def _compiled(heard: base.Trained, seen: base.Trained) -> Networks:
  """The networks of a run's two stages."""
  model = seen.config.model
  factors = np.asarray(model.exaggerate, np.float32)
  if len(factors) != model.directions:
    raise ValueError(
      f"config.model.exaggerate has {len(factors)} factors for"
      f" {model.directions} directions"
    )
  at_net, vg_net = stage.at_net(heard.config), stage.vg_net(seen.config)
  at, vg = jax.device_put((heard.variables[stage.AT], seen.variables[stage.VG]))

  @jax.jit
  def hear(variables, example, windows, state):
    return at_net.apply(variables, example, windows, state)

  @jax.jit
  def paint(variables, picture, example, landmarks, state):
    painted: Any = vg_net.apply(variables, picture, example, landmarks, state)
    return as_bytes(painted.frames), painted.state

  # Without a state the programs would be others: zeros in its shape.
  shape, side = batch_shapes.float32, model.image
  first = shape(1, model.directions), shape(1, CHUNK, *stage.HEARD), None
  second = shape(1, side, side, 3), shape(1, 68, 2), shape(1, CHUNK, 68, 2)
  states = jax.tree.map(
    lambda x: jnp.zeros(x.shape, x.dtype),
    (
      jax.eval_shape(hear, at, *first)[1],
      jax.eval_shape(paint, vg, *second, None)[1],
    ),
  )
  return Networks(
    states=states,
    hear=lambda *arrays: hear(at, *arrays),
    paint=lambda *arrays: paint(vg, *arrays),
    basis=LandmarkBasis(
      **jax.tree.map(np.asarray, seen.variables[stage.BASIS]["params"])
    ),
    exaggerate=factors,
    keep=model.keep_shape,
    size=model.image,
  )


ATVG = Method(
  name="ATVG",
  needs=frozenset(),
  sees="first frame",
  samples=False,
  restore=restore,
  prepare=prepare,
  generate=generate,
  place=place,
)
METHODS = {"": ATVG}
