"""Which expression a real face has, frame by frame, by a public network."""

from typing import Any

import jax
import numpy as np
from jaxtyping import Float, UInt8

from data_pipelines.faces.upright import FACE, cut_upright
from speak_jax import spec
from speak_jax.common.batching import in_batches
from speak_jax.models import face_expression, quantized
from speak_jax.models.face_blocks import SIDE

BATCH = 16  # pictures at once

# Columns of what `probabilities` gives: names of `spec.EMOTIONS`.
EXPRESSIONS = face_expression.EXPRESSIONS


def load() -> dict[str, Any]:
  """Reads the network that comes along.

  Raises:
    ValueError: it is missing or damaged; one line.
  """
  return jax.device_put(quantized.load(face_expression.WEIGHTS))


def probabilities(
  params: dict[str, Any],
  frames: UInt8[np.ndarray, "n h w 3"],
  meshes: Float[np.ndarray, "n 468 3"],
) -> Float[np.ndarray, "n 7"]:
  """How probable each of EXPRESSIONS is; NaN where there is no face.

  The mean of what the network says of the face, cut upright, and of its mirror
  image: alone it is not quite of one mind about the two.

  Args:
    params: What `load` gives.
    frames: RGB of any size.
    meshes: FaceMesh's points in them, NaN where there is no face.
  """
  known = np.isfinite(meshes).all((1, 2))
  found = np.full((len(frames), len(EXPRESSIONS)), np.nan, np.float32)
  if known.any():
    faces = np.stack(
      [
        cut(frame, mesh)
        for frame, mesh in zip(frames[known], meshes[known], strict=True)
      ]
    )
    found[known] = of_faces(params, faces)
  return found


def cut(
  frame: UInt8[np.ndarray, "h w 3"], mesh: Float[np.ndarray, "468 3"]
) -> UInt8[np.ndarray, "s s 3"]:
  """Cuts a face as the network sees it, upright."""
  return cut_upright(frame, mesh, FACE, SIDE)


def of_faces(
  params: dict[str, Any], faces: UInt8[np.ndarray, "k s s 3"]
) -> Float[np.ndarray, "k 7"]:
  """As `probabilities`, of faces that `cut` gave, one at least."""
  return (
    in_batches(
      lambda x: (face_expression.probabilities(params, x),),
      np.concatenate([faces, faces[:, :, ::-1]]),
      size=BATCH,
    )[0]
    .reshape(2, -1, len(EXPRESSIONS))
    .mean(0)
  )


def strengths(
  seen: Float[np.ndarray, "k 7"],
) -> Float[np.ndarray, "8"]:
  """The emotion that some frames show together.

  Args:
    seen: Probabilities of EXPRESSIONS in frames with a face.

  Returns:
    Strength of each of `spec.EMOTIONS`: the mean probability. Their sum is 1
    at most; neutral's share adds nothing, and the network knows no contempt.
  """
  found = np.zeros(len(spec.EMOTIONS), np.float32)
  for name, share in zip(EXPRESSIONS, seen.mean(0), strict=True):
    if name != spec.EMOTIONS[0]:
      found[spec.EMOTIONS.index(name)] = share
  return found
