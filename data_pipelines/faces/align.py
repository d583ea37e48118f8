"""Crops by landmarks: the aligned face, the mouth, one square for a clip.

Coordinates are x, y in pixels with integers at pixel centres, as OpenCV has
them.
"""

import numpy as np
from jaxtyping import Float, UInt8

from data_pipelines.media.warp import similarity, warp
from speak_jax import spec

SQUARE = 1.3  # side of the static crop over the larger side of the landmarks
SQUARE_UP = 0.04  # of the side: hair needs more room than the neck

# Left eye, right eye, mouth centre in the unit square of an aligned face.
# Eyes .4 apart leave room for the brows and for the chin of an open mouth.
FACE_TEMPLATE = np.array([[0.30, 0.23], [0.70, 0.23], [0.50, 0.66]])
# A patch of 1.6 inter-ocular distances holds a wide-open mouth and its chin.
MOUTH_SIDE = 1.6


def anchors(
  landmarks: Float[np.ndarray, "68 2"],
) -> Float[np.ndarray, "3 2"]:
  """Left eye centre, right eye centre and middle of the mouth's corners."""
  return np.stack(
    [
      landmarks[spec.LEFT_EYE].sum(0) / 6,
      landmarks[spec.RIGHT_EYE].sum(0) / 6,
      (landmarks[48] + landmarks[54]) / 2,
    ]
  )


def face_matrix(
  landmarks: Float[np.ndarray, "68 2"], size: int
) -> Float[np.ndarray, "2 3"]:
  """Picture to aligned face of `size` px: brows at the top, chin below."""
  return similarity(anchors(landmarks), FACE_TEMPLATE * size - 0.5)


def mouth_matrix(
  landmarks: Float[np.ndarray, "68 2"], size: int
) -> Float[np.ndarray, "2 3"]:
  """Picture to mouth patch of `size` px, centred on the lips.

  Rotation and scale are those of the aligned face, not of the mouth, so that
  an opening mouth does not change the scale, nor a turning head the width.
  """
  eyes = FACE_TEMPLATE[1, 0] - FACE_TEMPLATE[0, 0]
  matrix = face_matrix(landmarks, size) / (eyes * MOUTH_SIDE)
  centre = landmarks[spec.MOUTH].sum(0) / 20
  matrix[:, 2] = (size - 1) / 2 - matrix[:, :2] @ centre
  return matrix


def align_face(
  frame: UInt8[np.ndarray, "h w 3"],
  landmarks: Float[np.ndarray, "68 2"],
  size: int,
) -> UInt8[np.ndarray, "s s 3"]:
  """Cuts the face upright: eyes, brows, mouth and chin fill the square."""
  return warp(frame, face_matrix(landmarks, size), size)


def emotion_picture(
  frame: UInt8[np.ndarray, "h w 3"],
  landmarks: Float[np.ndarray, "68 2"],
  size: int,
  emotion_input: str,
) -> UInt8[np.ndarray, "f f 3"]:
  """Gives what E_e sees of a frame: itself, or its face cut upright.

  Args:
    frame: Of the model's size.
    landmarks: Of its face in pixels.
    size: Side of the cut face in pixels.
    emotion_input: "frame" or "face", as config.model.emotion_input.
  """
  if emotion_input == "frame":
    return frame
  return align_face(frame, landmarks, size)


def align_mouth(
  frame: UInt8[np.ndarray, "h w 3"],
  landmarks: Float[np.ndarray, "68 2"],
  size: int,
) -> UInt8[np.ndarray, "s s 3"]:
  """Cuts a square patch round the lips, 1.6 inter-ocular distances wide."""
  return warp(frame, mouth_matrix(landmarks, size), size)


def square(
  landmarks: Float[np.ndarray, "n 68 2"], size: int
) -> Float[np.ndarray, "2 3"]:
  """One static crop for a whole track, source pixels to `size` px.

  The square holds every frame's landmarks, 1.3 times as wide as their union
  and moved up by .04 of its side. It never turns, so head motion survives.

  Its middle is taken as if landmarks counted from pixel edges: it lies half a
  source pixel above and left of that of `speak_jax.inference.crops.framed`.
  That stays, for prepared data sets are cut so, and the proportions that a
  bundle brings along, `Framing`, are measured on their clips as they are.
  """
  low, high = landmarks.min((0, 1)), landmarks.max((0, 1))
  side = max(SQUARE * float((high - low).max()), 1.0)
  corner = (low + high) / 2 - side / 2 - np.array([0, SQUARE_UP * side])
  return scaled(corner, side, size)


def scaled(
  corner: Float[np.ndarray, "2"], side: float, size: int
) -> Float[np.ndarray, "2 3"]:
  """Matrix of an upright square of a picture to `size` px.

  Args:
    corner: Its upper left one, source pixels from the picture's edges.
    side: Source pixels.
    size: Pixels of a side of the result.
  """
  scale = size / side
  # Pixel edges, not centres, are what scales: hence the half pixels.
  shift = scale * (0.5 - corner) - 0.5
  return np.array([[scale, 0, shift[0]], [0, scale, shift[1]]])


def outside(
  matrix: Float[np.ndarray, "2 3"], size: int, width: int, height: int
) -> float:
  """Share of a static crop's area that lies outside the picture, 0 to 1."""
  scale = matrix[0, 0]
  side = size / scale
  corner = 0.5 - (matrix[:, 2] + 0.5) / scale
  inside = np.minimum(corner + side, (width, height)) - np.maximum(corner, 0)
  return 1 - float(inside.clip(0).prod() / side**2)
