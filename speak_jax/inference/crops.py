"""Square crops of faces, cut as those that a model learned from."""

import os

import cv2
import numpy as np
from jaxtyping import Float, UInt8

from data_pipelines.faces import align
from data_pipelines.faces.follow import squares
from data_pipelines.faces.tracker import Track, bridge
from data_pipelines.media.error import MediaError, warn
from speak_jax.inference.settings import Framing, Settings

MIN_SIDE_PX = 32  # of the crop round a face, in the source
MAX_OUTSIDE = 0.25  # share of a crop beyond the picture before it is said


def framed(
  landmarks: Float[np.ndarray, "n 68 2"], size: int, framing: Framing
) -> Float[np.ndarray, "2 3"]:
  """Finds the crop of a track, or of one picture, as the training data have it.

  One static square that never turns. Its proportions were measured on the
  training data's crops when the model was exported; they travel in its bundle.
  Landmarks count from pixel centres here, corners from pixel edges; see
  `data_pipelines.faces.align.square`, which is half a source pixel off.

  Args:
    landmarks: Of n frames, px of the source; n of 1 is a single picture.
    size: Side of the crop, px.
    framing: Proportions of the training data's crops.

  Returns:
    Affine matrix from source pixels to pixels of the crop.
  """
  still = len(landmarks) == 1
  low, high = landmarks.min((0, 1)), landmarks.max((0, 1))
  larger = float((high - low).max())
  side = max((framing.still_side if still else framing.side) * larger, 1.0)
  up = framing.still_up if still else framing.up
  corner = (low + high) / 2 + 0.5 - side / 2 - np.array([0, up * side])
  return align.scaled(corner, side, size)


def still_crop(
  path: str | os.PathLike,
  landmarks: Float[np.ndarray, "68 2"],
  frame: UInt8[np.ndarray, "h w 3"],
  size: int,
  framing: Framing,
) -> Float[np.ndarray, "2 3"]:
  """Finds the crop of a single picture; warns of small and cut faces.

  Args:
    path: File of the picture, for messages.
    landmarks: Of its face, px.
    frame: The picture.
    size: Side of the crop, px.
    framing: Proportions of the training data's crops.

  Returns:
    Affine matrix from source pixels to pixels of the crop.

  Raises:
    MediaError: The face is too small.
  """
  matrix = framed(landmarks[None], size, framing)
  _check_crop(path, matrix, frame, size)
  return matrix


def track_crops(
  path: str | os.PathLike,
  track: Track,
  fps: float,
  frame: UInt8[np.ndarray, "h w 3"],
  size: int,
  framing: Framing,
) -> Float[np.ndarray, "n 2 3"]:
  """Finds the crop of every frame of one shot; warns of small and cut faces.

  Args:
    path: File of the video, for messages.
    track: The face in n frames.
    fps: Their rate.
    frame: One of them, for its size.
    size: Side of the crops, px.
    framing: Proportions of the training data's crops.

  Returns:
    Affine matrices from source pixels to pixels of the crops.

  Raises:
    MediaError: The face is too small.
  """
  whole = bridge(track)
  matrices = squares(
    whole.landmarks, fps, lambda points: framed(points, size, framing)
  )
  _check_crop(path, matrices[len(matrices) // 2], frame, size)
  return matrices


def check_side(path: str | os.PathLike, side: float, size: int) -> None:
  """Refuses a crop of too few source pixels; warns if one is enlarged.

  Args:
    path: File that the crop is taken from.
    side: Side of the crop, source px.
    size: Side of what is made of it, px.

  Raises:
    MediaError: `side` is below MIN_SIDE_PX.
  """
  if side < MIN_SIDE_PX:
    raise MediaError(path, f"face too small ({side:.0f} px)")
  if side < size:
    warn(path, f"the face is {side:.0f} px and is enlarged to {size}")


def emotion_pictures(
  frames: UInt8[np.ndarray, "k h w 3"],
  landmarks: Float[np.ndarray, "k 68 2"],
  settings: Settings,
) -> UInt8[np.ndarray, "k f f 3"]:
  """Cuts what the emotion encoder sees out of crops of the model's size.

  Args:
    frames: Crops of `settings.image` px.
    landmarks: Of their faces, px of the crops.
    settings: Whether the encoder sees whole crops or aligned faces.
  """
  if settings.emotion_input == "frame":
    return frames
  return np.stack(
    [
      align.emotion_picture(*x, settings.emotion, settings.emotion_input)
      for x in zip(frames, landmarks, strict=True)
    ]
  )


def resize(
  frame: UInt8[np.ndarray, "h h 3"], size: int
) -> UInt8[np.ndarray, "s s 3"]:
  """Resizes a square picture to `size` px: Lanczos up, area down."""
  if frame.shape[0] == size:
    return frame
  filtering = cv2.INTER_LANCZOS4 if size > frame.shape[0] else cv2.INTER_AREA
  return cv2.resize(frame, (size, size), interpolation=filtering)


def evenly_scaled(
  frame: UInt8[np.ndarray, "h w c"], longer: int, least: int
) -> UInt8[np.ndarray, "k l c"]:
  """Scales a picture to even sides: cubic up, area down.

  Args:
    frame: The picture.
    longer: px of its longer side, as far as that is even.
    least: px that a side has at least, even.
  """
  scale = longer / max(frame.shape[:2])
  sides = [max(2 * round(x * scale / 2), least) for x in frame.shape[1::-1]]
  if sides == list(frame.shape[1::-1]):
    return frame
  kind = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
  return cv2.resize(frame, sides, interpolation=kind)


def _check_crop(
  path: str | os.PathLike,
  matrix: Float[np.ndarray, "2 3"],
  frame: UInt8[np.ndarray, "h w 3"],
  size: int,
) -> None:
  """Refuses a face that is too small; warns of one that is cut or enlarged."""
  check_side(path, size / matrix[0, 0], size)
  height, width = frame.shape[:2]
  beyond = align.outside(matrix, size, width, height)
  if beyond > MAX_OUTSIDE:
    warn(path, f"{beyond:.0%} of the face's square is outside the picture")
