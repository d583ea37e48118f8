"""Changes of a picture that keep a label, or whose label is known."""

from typing import NamedTuple

import cv2
import numpy as np
from jaxtyping import Float, UInt8

from speak_jax import spec

ROTATION_DEG = 10.0
SCALE = (0.92, 1.12)
SHIFT = 0.06  # of the side

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
  config.data.augment's. Here pictures are chosen; what else is done to them is
  done on the device, in `speak_jax.nn.treat`.
  """

  pose: bool  # E_p's: a lent mouth; its and the mouth's: colours
  stretch: float  # most change of width against height, E_p's and E_e's
  emotion: bool  # E_e's: colours, turned, zoomed, shifted, mirrored
  emotion_clip: float  # share of E_e's from another clip of the emotion


PLAIN = Treatment(False, 0.0, False, 0.0)


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


def nobody(
  size: int,
) -> tuple[UInt8[np.ndarray, "d d 3"], Float[np.ndarray, "68 2"]]:
  """A donor and its landmarks where no mouth is lent to frames of `size`."""
  side = spec.donor_side(size)
  return np.zeros((side, side, 3), np.uint8), np.zeros((68, 2), np.float32)
