"""What landmarks do, in few numbers: ATVG's normalisation and its basis.

Landmarks of any picture are turned, scaled and shifted onto a mean shape
(Procrustes); what they are more than those of the identity picture is put onto
that shape, so that what is left is how a face moves and not whose it is. The
basis is the first principal directions of that, over the people trained on.

Functions of single landmarks take NumPy's arrays and JAX's. Source: Chen et
al. 2019, section 3.1. Ours: the identity picture takes the place of the clip's
last frame, for which every picture of one frame had the same landmarks.
"""

import io
import os
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from speak_jax.common import files

SCALE = 5.0  # of normalised landmarks: as published, a face is about 1.5 high
DIRECTIONS = 6
# What pictures are aligned by: nose and eyes, which speech does not move. As
# published, but for the three points of one eye that are left out there.
ANCHORS = slice(27, 48)
ROOM = 1.1  # side of a native picture, in heights of a face's 68 points
_ROUNDS = 100
_SETTLED = 1e-9  # of a mean shape, whose size is 1
_STILL = 1e-9  # variance of normalised landmarks; a hundredth of a pixel


class LandmarkBasis(NamedTuple):
  """What normalised landmarks are reckoned in; float32."""

  shape: Float[np.ndarray, "k 2"]  # mean; about 0, its squares sum to 1
  mean: Float[np.ndarray, "k2"]  # of normalised landmarks, x and y in turn
  directions: Float[np.ndarray, "k2 d"]  # orthonormal, the widest first


def fit(
  clips: Sequence[Float[np.ndarray, "_ k 2"]],
  directions: int = DIRECTIONS,
  keep: bool = False,
) -> LandmarkBasis:
  """The basis of how faces move in clips of the people trained on.

  Args:
    clips: Landmarks of each clip in any unit; its first frame stands for the
      identity picture. Clips may be empty.
    directions: How many are kept.
    keep: As in `normalise`.

  Raises:
    ValueError: the landmarks do not move in so many directions.
  """
  shape = mean_shape(clips)
  count, total, products = 0, 0.0, 0.0
  for clip in clips:
    if not len(clip):
      continue
    flat = _flat(normalise(clip.astype(np.float64), clip[0], shape, keep))
    count += len(flat)
    total = total + flat.sum(0)
    products = products + flat.T @ flat
  mean = np.asarray(total) / count
  spread, found = np.linalg.eigh(products / count - np.outer(mean, mean))
  moving = int((spread > _STILL).sum())
  if moving < directions:
    raise ValueError(
      f"landmarks of {count} frames move in {moving} directions, and"
      f" {directions} are wanted"
    )
  found = found[:, ::-1][:, :directions]
  # The sign of a direction says nothing; the same faces get the same one.
  largest = np.take_along_axis(found, np.abs(found).argmax(0)[None], 0)
  return LandmarkBasis(
    *(x.astype(np.float32) for x in (shape, mean, found * np.sign(largest)))
  )


def mean_shape(
  clips: Sequence[Float[np.ndarray, "_ k 2"]],
) -> Float[np.ndarray, "k 2"]:
  """The shape that all frames' landmarks are nearest to, each brought onto it.

  Upright as the faces are on average; about 0, squares that sum to 1.

  Raises:
    ValueError: there are no landmarks.
  """
  count = sum(map(len, clips))
  if not count:
    raise ValueError("there are no landmarks to make a shape of")
  shape = _unit(np.sum([clip.sum(0, np.float64) for clip in clips], 0))
  for _ in range(_ROUNDS):
    total = np.sum([align(clip, shape).sum(0) for clip in clips], 0)
    before, shape = shape, _unit(total)
    if np.abs(shape - before).max() < _SETTLED:
      break
  return shape


def align(
  landmarks: Float[Any, "*b k 2"], shape: Float[Any, "k 2"]
) -> Float[Any, "*b k 2"]:
  """Turns, scales and shifts landmarks onto a shape, by least squares."""
  along, across, offset = _similarity(landmarks, shape)
  return along * offset + across * _turned(offset)


def normalise(
  landmarks: Float[Any, "*b t k 2"],
  identity: Float[Any, "*b k 2"],
  shape: Float[Any, "k 2"],
  keep: bool = False,
) -> Float[Any, "*b t k 2"]:
  """What landmarks are more than a person's own, on the mean shape.

  Args:
    landmarks: Of frames, in any unit.
    identity: Of the identity picture, in any other unit.
    shape: Of a basis.
    keep: Puts it onto the person's own shape instead.
  """
  still = align(identity, shape)[..., None, :, :]
  moved = align(landmarks, shape) - still
  return SCALE * (moved + (still if keep else shape))


def place(
  normal: Float[Any, "*b t k 2"],
  identity: Float[Any, "*b k 2"],
  shape: Float[Any, "k 2"],
  keep: bool = False,
) -> Float[Any, "*b t k 2"]:
  """Normalised landmarks in the identity picture: `normalise` backwards.

  Head pose and place are the picture's, as normalised landmarks have none.

  Args:
    normal: From `normalise` or `shapes`.
    identity: As in `normalise`; of its unit is what comes out.
    shape: As in `normalise`.
    keep: As in `normalise`.
  """
  along, across, offset = (
    x[..., None, :, :] for x in _similarity(identity, shape)
  )
  still = along * offset + across * _turned(offset)
  moved = normal / SCALE + (0 if keep else still - shape)
  inverse = (along**2 + across**2).clip(1e-12)
  centre = identity.mean(-2, keepdims=True)[..., None, :, :]
  return (along * moved - across * _turned(moved)) / inverse + centre


def crop(shape: Float[Any, "k 2"], size: int) -> Float[Any, "n 2"]:
  """Where nose and eyes (ANCHORS) are in a native picture of `size` px.

  The mean shape lies in its middle, as high as the picture but for ROOM.
  """
  low, high = shape.min(0), shape.max(0)
  scale = size / (ROOM * (high - low).max())
  return ((shape - (low + high) / 2) * scale + (size - 1) / 2)[ANCHORS]


def coefficients(
  normal: Float[Any, "*b k 2"], basis: LandmarkBasis
) -> Float[Any, "*b d"]:
  """Normalised landmarks in a basis."""
  return (_flat(normal) - basis.mean) @ basis.directions


def shapes(
  coefficients: Float[Any, "*b d"], basis: LandmarkBasis
) -> Float[Any, "*b k 2"]:
  """Normalised landmarks of coefficients."""
  flat = coefficients @ basis.directions.T + basis.mean
  return flat.reshape(*flat.shape[:-1], -1, 2)


def save(path: str | os.PathLike, basis: LandmarkBasis) -> None:
  """Writes a basis for `read`; its folder must exist."""
  content = io.BytesIO()
  np.savez(content, **basis._asdict())
  files.write(path, content.getvalue())


def read(path: str | os.PathLike) -> LandmarkBasis:
  """Reads what `save` wrote.

  Raises:
    FileError: no such file, damaged, or no basis; one line.
  """
  try:
    with Path(path).open("rb") as stream, np.load(stream) as archive:
      basis = LandmarkBasis(*(archive[x] for x in LandmarkBasis._fields))
  except OSError as error:
    raise files.FileError(path, error.strerror or str(error)) from error
  except (ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
    raise files.FileError(path, f"no landmark basis ({error})") from error
  flat = basis.shape.size
  wanted = ((flat // 2, 2), (flat,), (flat, *basis.directions.shape[1:]))
  if (
    tuple(x.shape for x in basis) != wanted
    or basis.directions.ndim != 2
    or not all(x.dtype == np.float32 and np.isfinite(x).all() for x in basis)
  ):
    raise files.FileError(path, "no landmark basis (its arrays do not fit)")
  return basis


def _similarity(landmarks: Any, shape: Any) -> tuple[Any, Any, Any]:
  """A factor as a complex number, and what it is a factor of.

  It has axes of 1 in place of points and coordinates.
  """
  offset = landmarks - landmarks.mean(-2, keepdims=True)
  square = (offset**2).sum((-1, -2), keepdims=True).clip(1e-12)
  along = (offset * shape).sum((-1, -2), keepdims=True) / square
  across = (_turned(offset) * shape).sum((-1, -2), keepdims=True) / square
  return along, across, offset


def _turned(offset: Any) -> Any:
  """By a quarter: what x is goes to y, what y is to -x."""
  return offset[..., ::-1] * np.array((-1, 1), np.float32)


def _unit(shape: np.ndarray) -> np.ndarray:
  """About 0, with squares that sum to 1."""
  shape = shape - shape.mean(0)
  return shape / np.sqrt((shape**2).sum().clip(1e-12))


def _flat(landmarks: Any) -> Any:
  """x and y in turn on one axis."""
  return landmarks.reshape(*landmarks.shape[:-2], -1)
