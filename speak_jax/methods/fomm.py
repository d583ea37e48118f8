"""The First Order Motion Model, of an EAMM run, as a method of its own.

A video drives a picture. By default the picture gets the keypoints of the
driving frames themselves: right where both show the same person in the same
crop, as when a clip drives its own first frame. The mode "fomm_relative" adds
what has moved since the first driving frame to the picture's own keypoints: it
keeps the shape of another person's face, and expects that person to begin in
the pose of the picture.
"""

from pathlib import Path
from typing import Any, NamedTuple

import cv2
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, UInt8

from speak_jax.common.batching import in_batches
from speak_jax.methods import base, crops
from speak_jax.methods.base import Method, Request, Restored
from speak_jax.models.fomm import Keypoints
from speak_jax.nn.pixels import as_bytes
from speak_jax.stages import fomm as stage

CHUNK = 16  # frames that are made at a time
CODE = (
  "speak_jax.models.fomm",
  "speak_jax.stages.fomm",
  "speak_jax.methods.fomm",
)


class Networks(NamedTuple):
  """All three networks, compiled for chunks of one size."""

  find: Any  # u8 pictures -> (points, jacobians)
  encode: Any  # u8 picture -> what is reckoned of a source once
  paint: Any  # (encoded, source's keypoints, points, jacobians) -> u8 frames
  size: int  # px


class Track(NamedTuple):
  """Keypoints of pictures, on the host."""

  points: Float[np.ndarray, "t k 2"]
  jacobians: Float[np.ndarray, "t k 2 2"]


class Inputs(NamedTuple):
  """A request in the model's own terms: the whole crop at its own size."""

  picture: UInt8[np.ndarray, "n n 3"]
  driving: UInt8[np.ndarray, "t n n 3"]
  matrix: Float[np.ndarray, "2 3"]  # that cut both
  identity: UInt8[np.ndarray, "h w 3"]


def restore(path: Path, frames: int) -> Restored:
  """Opens a run of which stage `fomm` is trained.

  Raises:
    ValueError: damaged, or of another version of the code; one line.
  """
  del frames
  return base.restored_run(path, (stage.NAME,), CODE, compiled)


def prepare(networks: Networks, request: Request) -> Inputs:
  """Scales the identity picture and the video that drives it."""
  assert request.pose is not None  # it is one of `needs`
  side, size = len(request.identity), networks.size
  matrix = crops.square(np.full(2, (side - 1) / 2), side, size)
  both = np.concatenate([request.identity[None], request.pose.frames])
  picture, *driving = crops.cut(
    both, np.repeat(matrix[None], len(both), 0), size
  )
  return Inputs(picture, np.stack(driving), matrix, request.identity)


def generate(
  networks: Networks, inputs: Inputs, key: int
) -> UInt8[np.ndarray, "t n n 3"]:
  """A frame for each driving one, which has its keypoints."""
  del key
  source, driving = found(networks, inputs)
  return painted(networks, inputs.picture, source, driving)


def generate_relative(
  networks: Networks, inputs: Inputs, key: int
) -> UInt8[np.ndarray, "t n n 3"]:
  """A frame for each driving one, which has moved as that has."""
  del key
  source, driving = found(networks, inputs)
  return painted(networks, inputs.picture, source, relative(source, driving))


def place(
  frames: UInt8[np.ndarray, "t n n 3"], inputs: Inputs
) -> UInt8[np.ndarray, "t h w 3"]:
  """Back to the size of the canonical crop."""
  matrices = np.repeat(inputs.matrix[None], len(frames), 0)
  return crops.paste(frames, matrices, inputs.identity[None])


def found(networks: Networks, inputs: Inputs) -> tuple[Track, Track]:
  """Keypoints of the picture, of one row, and of the driving frames."""
  both = np.concatenate([inputs.picture[None], inputs.driving])
  points, jacobians = in_batches(networks.find, both, size=CHUNK)
  return Track(points[:1], jacobians[:1]), Track(points[1:], jacobians[1:])


def painted(
  networks: Networks,
  picture: UInt8[np.ndarray, "n n 3"],
  source: Track,
  driving: Track,
) -> UInt8[np.ndarray, "t n n 3"]:
  """A frame of the picture for each row of keypoints."""
  encoded = networks.encode(picture[None])
  [frames] = in_batches(
    lambda *rows: [networks.paint(encoded, source, *rows)], *driving, size=CHUNK
  )
  return frames


def relative(source: Track, driving: Track) -> Track:
  """What has moved since the first driving frame, done to the source.

  Distances are multiplied by how much larger the source's face is, by the
  areas that the keypoints span; Siarohin et al. 2019, section 3.3 (Eq. 12).
  """
  first, start = driving.points[0], driving.jacobians[0]
  scale = np.sqrt(_area(source.points[0]) / max(_area(first), 1e-6))
  turned = driving.jacobians @ np.linalg.inv(start)
  return Track(
    source.points + np.float32(scale) * (driving.points - first),
    turned @ source.jacobians,
  )


def _area(points: Float[np.ndarray, "k 2"]) -> float:
  """Of the smallest convex polygon round points."""
  return float(cv2.contourArea(cv2.convexHull(points.astype(np.float32))))


def compiled(learned: base.Trained) -> Networks:
  """The networks of a run's stage `fomm`."""
  detector, generator = (
    make(learned.config) for make in (stage.detector, stage.generator)
  )
  finds, makes = jax.device_put(
    [learned.variables[x] for x in (stage.KEYPOINTS, stage.GENERATOR)]
  )

  @jax.jit
  def find(variables, pictures):
    seen: Any = detector.apply(variables, _shares(pictures))
    return tuple(seen.keypoints)

  @jax.jit
  def encode(variables, picture):
    return generator.apply(variables, _shares(picture), method="encode")

  @jax.jit
  def paint(variables, encoded, source, *driving):
    source, driving = Keypoints(*source), Keypoints(*driving)
    made: Any = generator.apply(
      variables, encoded, source, driving, method="move"
    )
    return as_bytes(2 * made.frames - 1)

  return Networks(
    find=lambda pictures: find(finds, jnp.asarray(pictures)),
    encode=lambda picture: encode(makes, jnp.asarray(picture)),
    paint=lambda encoded, source, *rows: paint(
      makes, encoded, *jax.tree.map(jnp.asarray, (source, *rows))
    ),
    size=learned.config.model.image,
  )


def _shares(
  pictures: UInt8[jax.Array, "b n n 3"],
) -> Float[jax.Array, "b n n 3"]:
  """Bytes as the networks take them, in [0, 1]."""
  return pictures.astype(jnp.float32) / 255


FOMM = Method(
  name="FOMM",
  needs=frozenset({"pose"}),
  sees="every frame, through points and Jacobians",
  samples=False,
  restore=restore,
  prepare=prepare,
  generate=generate,
  place=place,
)
RELATIVE = FOMM._replace(name="FOMM, relative", generate=generate_relative)
METHODS = {"fomm": FOMM, "fomm_relative": RELATIVE}
