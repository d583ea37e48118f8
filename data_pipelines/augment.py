"""Changes of a picture that keep a label, or whose label is known."""

from typing import NamedTuple

import cv2
import numpy as np
from jaxtyping import Float, UInt8

from data_pipelines.media import face
from speak_jax import spec

ROTATION_DEG = 10.0
SCALE = (0.92, 1.12)
SHIFT = 0.06  # of the side
# Round the lips, in inter-ocular distances: all another's within the first,
# nothing beyond the second. An open mouth and its chin lie inside.
PASTED = (0.65, 0.85)

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


def recolour(
  frame: UInt8[np.ndarray, "h w 3"], rng: np.random.Generator
) -> UInt8[np.ndarray, "h w 3"]:
  """Random gain and offset of each channel, and now and then a blur.

  For pose and mouth inputs: what skin and light look like must not pass.
  """
  gain = rng.uniform(0.7, 1.35) * rng.uniform(0.85, 1.15, 3)
  offset = rng.uniform(-30, 30) + rng.uniform(-10, 10, 3)
  table = (np.arange(256)[:, None] - 128) * gain + 128 + offset
  table = table.clip(0, 255).astype(np.uint8)[None]
  frame = cv2.LUT(np.ascontiguousarray(frame), table)
  if rng.random() < 0.3:
    sigma = rng.uniform(0.4, 1.0) * frame.shape[0] / 64
    frame = cv2.GaussianBlur(frame, (0, 0), sigma)
  return frame


def lend_mouth(
  frame: UInt8[np.ndarray, "h w 3"],
  landmarks: Float[np.ndarray, "68 2"],
  donor: UInt8[np.ndarray, "h w 3"],
  donor_landmarks: Float[np.ndarray, "68 2"],
) -> UInt8[np.ndarray, "h w 3"]:
  """A frame with the mouth of another of the clip, softly pasted.

  For pose inputs: what lips do must not pass. Source: the idea is EDTalk's.

  Args:
    frame: Keeps its pose and all but the mouth.
    landmarks: Its own, in its pixels.
    donor: Of the same size, best in a like pose.
    donor_landmarks: Its own.
  """
  size = frame.shape[0]
  here, there = (
    np.vstack([face.face_matrix(points, size), [0, 0, 1]])
    for points in (landmarks, donor_landmarks)
  )
  lips = landmarks[spec.MOUTH].mean(0)
  near, far = np.array(PASTED) * spec.interocular(landmarks)
  # Only the square round the mouth is worked on: the rest stays as it is.
  side = min(2 * int(np.ceil(far)) + 1, size)
  x0, y0 = (lips - far).astype(int).clip(0, size - side)
  matrix = (np.linalg.inv(here) @ there)[:2] - [[0, 0, x0], [0, 0, y0]]
  moved = face.warp(donor, matrix, side)
  y, x = np.mgrid[y0 : y0 + side, x0 : x0 + side]
  away = np.hypot(x - lips[0], y - lips[1])
  share = ((far - away) / (far - near)).clip(0, 1).astype(np.float32)
  made = frame.copy()
  square = made[y0 : y0 + side, x0 : x0 + side]
  square[:] = cv2.blendLinear(moved, square.copy(), share, 1 - share)
  return made


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
  frame: UInt8[np.ndarray, "h w 3"], move: Move
) -> UInt8[np.ndarray, "h w 3"]:
  """Moves a picture; what enters at the edge is its own reflection."""
  return cv2.warpAffine(
    frame,
    move.matrix,
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
