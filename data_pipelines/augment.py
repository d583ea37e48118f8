"""Changes of a picture that keep a label, or whose label is known."""

import math
from typing import NamedTuple

import cv2
import numpy as np
from jaxtyping import Float, UInt8

from data_pipelines.media import face
from speak_jax import spec

ROTATION_DEG = 10.0
SCALE = (0.92, 1.12)
SHIFT = 0.06  # of the side
# Of an aligned face, which holds the face at a known place.
JITTER_DEG, JITTER_SCALE, JITTER_SHIFT = 6.0, 0.06, 0.03

# Index of each of the 68 points in the mirror.
MIRROR = np.array(
  [
    *range(16, -1, -1),  # jaw
    *range(26, 16, -1),  # brows
    *(27, 28, 29, 30, 35, 34, 33, 32, 31),  # nose
    *(45, 44, 43, 42, 47, 46, 39, 38, 37, 36, 41, 40),  # eyes
    *(54, 53, 52, 51, 50, 49, 48, 59, 58, 57, 56, 55),  # outer lips
    *(64, 63, 62, 61, 60, 67, 66, 65),  # inner lips
  ]
)


class Move(NamedTuple):
  """A similarity in the picture plane: pixel to pixel, and its turn."""

  matrix: Float[np.ndarray, "2 3"]
  degrees: float  # clockwise in the picture


class Treatment(NamedTuple):
  """What is done in training to the pictures that E_p and E_e see.

  Targets, their landmarks and angles stay as they are. The fields are
  config.data.augment's. Here donors of mouths are found and E_e's faces cut;
  what is (dev) happens on the device, in `speak_jax.nn.treat`.
  """

  pose: bool  # E_p's: a lent mouth; its and the mouth's: colours (dev)
  stretch: float  # most change of width against height, E_e's and E_p's (dev)
  emotion: bool  # E_e's: turned, zoomed, shifted, mirrored; colours (dev)
  emotion_clip: float  # share of E_e's from another clip of the emotion


PLAIN = Treatment(False, 0.0, False, 0.0)


def draw_jitter(
  side: int, most: float, rng: np.random.Generator
) -> Float[np.ndarray, "2 3"]:
  """A small turn, zoom, shift and stretch of an aligned face, half mirrored.

  For emotion inputs: how the head is held and what its proportions are must
  not pass. Pixel to pixel of a picture of `side`; `most` as in `draw_stretch`.
  """
  # Plain numbers: NumPy's overhead on two by two of them is the whole cost.
  turn, scale, ratio, right, down, coin = rng.uniform(-1, 1, 6).tolist()
  turn = math.radians(JITTER_DEG * turn)
  scale, ratio = (1 + JITTER_SCALE) ** scale, (1 + most) ** (ratio / 2)
  cos, sin = scale * math.cos(turn), scale * math.sin(turn)
  wide = -ratio if coin < 0 else ratio
  a, b, c, d = wide * cos, -sin / ratio, wide * sin, cos / ratio
  middle, far = (side - 1) / 2, JITTER_SHIFT * side
  return np.array(
    [
      [a, b, middle - (a + b) * middle + far * right],
      [c, d, middle - (c + d) * middle + far * down],
    ]
  )


def draw_move(rng: np.random.Generator, size: int) -> Move:
  """A random turn, scale and shift about the middle of a `size` picture."""
  degrees = rng.uniform(-ROTATION_DEG, ROTATION_DEG)
  scale = rng.uniform(*SCALE)
  turn = np.deg2rad(degrees)
  cos, sin = scale * np.cos(turn), scale * np.sin(turn)
  linear = np.array([[cos, -sin], [sin, cos]])  # y points down: clockwise
  middle = np.full(2, (size - 1) / 2)
  shift = middle - linear @ middle + rng.uniform(-SHIFT, SHIFT, 2) * size
  return Move(np.concatenate([linear, shift[:, None]], 1), float(degrees))


def move_frame(
  frame: UInt8[np.ndarray, "h w 3"], matrix: Float[np.ndarray, "2 3"]
) -> UInt8[np.ndarray, "h w 3"]:
  """Moves a picture; what enters at the edge is its own reflection."""
  return cv2.warpAffine(
    frame,
    matrix,
    frame.shape[1::-1],
    flags=cv2.INTER_LINEAR,
    borderMode=cv2.BORDER_REFLECT_101,
  )


def move_pose(pose: Float[np.ndarray, "3"], move: Move) -> np.ndarray:
  """Yaw, pitch, roll after the move: roll alone follows, being last."""
  return (pose + np.array([0, 0, move.degrees])).astype(np.float32)


def mirror_landmarks(
  landmarks: Float[np.ndarray, "68 2"], size: int
) -> Float[np.ndarray, "68 2"]:
  """Landmarks of the picture seen in a mirror; left stays left in it."""
  mirrored = landmarks[MIRROR].copy()
  mirrored[:, 0] = size - 1 - mirrored[:, 0]
  return mirrored


def mirror_pose(pose: Float[np.ndarray, "3"]) -> Float[np.ndarray, "3"]:
  """Yaw, pitch, roll in the mirror."""
  return pose * np.array([-1, 1, -1], pose.dtype)


def emotion_picture(
  frame: UInt8[np.ndarray, "h w 3"],
  landmarks: Float[np.ndarray, "68 2"],
  side: int,
  emotion_input: str,
  treatment: Treatment,
  rng: np.random.Generator,
) -> UInt8[np.ndarray, "s s 3"]:
  """What E_e sees of a frame; draws nothing where it is not treated.

  Args:
    frame: The whole frame.
    landmarks: Its own.
    side: Of the aligned face, or of the frame.
    emotion_input: "face", or "frame" for the whole frame.
    treatment: Of the picture.
    rng: Of the draws.
  """
  whole = emotion_input == "frame"
  if not treatment.emotion:
    return frame if whole else face.align_face(frame, landmarks, side)
  matrix = draw_jitter(side, treatment.stretch, rng)
  if whole:
    return move_frame(frame, matrix)
  # Cut and moved at once: that costs no more than the cut, and shows what lies
  # beyond its border.
  moved = matrix[:, :2] @ face.face_matrix(landmarks, side)
  moved[:, 2] += matrix[:, 2]
  return face.warp(frame, moved, side)


def nobody(
  size: int,
) -> tuple[UInt8[np.ndarray, "d d 3"], Float[np.ndarray, "68 2"]]:
  """A donor and its landmarks where no mouth is lent to frames of `size`."""
  side = spec.donor_side(size)
  return np.zeros((side, side, 3), np.uint8), np.zeros((68, 2), np.float32)
