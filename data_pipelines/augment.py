"""Changes of a picture that keep a label, or whose label is known."""

from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np
from jaxtyping import Float, UInt8

from data_pipelines.media import face
from data_pipelines.media.warp import similarity
from speak_jax import spec

ROTATION_DEG = 10.0
SCALE = (0.92, 1.12)
SHIFT = 0.06  # of the side
# Of an aligned face, which holds the face at a known place.
JITTER_DEG, JITTER_SCALE, JITTER_SHIFT = 6.0, 0.06, 0.03
MEAN = 110.0  # about that of real crops, whose channels have 40 to 150
# A disc below the lips, in inter-ocular distances: all another's within the
# first radius, nothing beyond the second. Chin and jaw lie inside: with the
# lips alone (.65, .85, not below them) the jaw still told of the opening.
PASTED, BELOW = (0.85, 1.1), 0.25

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
  config.data.augment's.
  """

  pose: bool  # E_p's and the mouth's: colours; E_p's: a lent mouth
  stretch: float  # most change of width against height, E_p's and E_e's
  emotion: bool  # E_e's: colours, turned, zoomed, shifted, mirrored
  emotion_clip: float  # share of E_e's from another clip of the emotion


PLAIN = Treatment(False, 0.0, False, 0.0)


class Colours(NamedTuple):
  """A change of a picture's colours, and how much it is blurred."""

  gain: Float[np.ndarray, "3"]
  mean: Float[np.ndarray, "3"]  # what each channel's mean becomes
  blur: float  # standard deviation over the side; 0 = none


def draw_colours(rng: np.random.Generator) -> Colours:
  """A mean and a gain of each channel, and now and then a blur."""
  gain = rng.uniform(0.7, 1.35) * rng.uniform(0.85, 1.15, 3)
  mean = MEAN + rng.uniform(-40, 40) + rng.uniform(-12, 12, 3)
  blur = rng.uniform(0.4, 1.0) / 64 if rng.random() < 0.3 else 0.0
  return Colours(gain, mean, blur)


def recolour(
  frame: UInt8[np.ndarray, "h w 3"],
  colours: Colours,
  usual: Sequence[float] | None = None,
) -> UInt8[np.ndarray, "h w 3"]:
  """A picture in other colours.

  For pose, mouth and emotion inputs: what skin and light look like must not
  pass, so that nothing is left of the channels' own means.

  Args:
    frame: The picture.
    colours: From `draw_colours`.
    usual: The channels' means, where these are of more than this picture.
  """
  usual = cv2.mean(frame)[:3] if usual is None else usual
  shift = colours.mean - colours.gain * usual
  made = cv2.transform(frame, np.c_[np.diag(colours.gain), shift])
  if colours.blur:
    sigma = colours.blur * frame.shape[0]
    reach = 2 * int(np.ceil(2 * sigma)) + 1  # two deviations each way
    cv2.GaussianBlur(made, (reach, reach), sigma, dst=made)
  return made


def lend_mouth(
  frame: UInt8[np.ndarray, "h w 3"],
  landmarks: Float[np.ndarray, "68 2"],
  donor: UInt8[np.ndarray, "h w 3"],
  donor_landmarks: Float[np.ndarray, "68 2"],
) -> None:
  """Gives a frame the mouth and chin of another, softly pasted.

  For pose inputs: what lips do must not pass. Source: the idea is EDTalk's.

  Args:
    frame: Keeps its pose and all but the mouth; changed in place.
    landmarks: Its own, in its pixels.
    donor: Of the same size, best in a like pose.
    donor_landmarks: Its own.
  """
  size = frame.shape[0]
  # By what does not move with the jaw, and about the donor's lips: the place
  # of the own ones would tell how far they are open.
  still = _still(landmarks)
  onto = similarity(_still(donor_landmarks), still)
  lips = onto @ [*(donor_landmarks[spec.MOUTH].sum(0) / 20), 1]
  apart = spec.interocular(landmarks)
  down = still[2] - (still[0] + still[1]) / 2
  middle = lips + BELOW * apart * down / max(float(np.hypot(*down)), 1e-6)
  near, far = np.array(PASTED) * apart
  # Only the square round the mouth is worked on: the rest stays as it is.
  side = min(2 * int(np.ceil(far)) + 1, size)
  corner = (middle - far).astype(int).clip(0, size - side)
  matrix = onto - np.c_[np.zeros((2, 2)), corner]
  moved = face.warp(donor, matrix, side)
  x, y = np.arange(side, dtype=np.float32) - (middle - corner)[:, None]
  away = np.sqrt(x**2 + (y**2)[:, None]).astype(np.float32)
  share = ((far - away) / (far - near)).clip(0, 1).astype(np.float32)
  x0, y0 = corner
  square = frame[y0 : y0 + side, x0 : x0 + side]
  square[:] = cv2.blendLinear(moved, square.copy(), share, 1 - share)


def _still(landmarks: Float[np.ndarray, "68 2"]) -> Float[np.ndarray, "3 2"]:
  """Both eyes and the nose's lower end, which lips and jaw do not move."""
  parts = (spec.LEFT_EYE, spec.RIGHT_EYE, slice(31, 36))
  return np.stack([landmarks[part].mean(0) for part in parts])


def draw_stretch(
  landmarks: Float[np.ndarray, "68 2"], most: float, rng: np.random.Generator
) -> Float[np.ndarray, "2 3"]:
  """A change of a face's proportions, as pixel to pixel.

  For pose inputs: whose skull it is must not pass. Width grows as height
  shrinks, along and across the line of the eyes and about the face's middle:
  the face's place, its size (as an area), and its roll remain. Source: PC-AVS
  and LPD change the proportions of their pose pictures too.

  Args:
    landmarks: The face.
    most: Largest change of width over height, such as 0.08 for +- 8 %.
    rng: Of the draw.
  """
  ratio = (1 + most) ** (rng.uniform(-1, 1) / 2)
  eyes = landmarks[spec.RIGHT_EYE].sum(0) - landmarks[spec.LEFT_EYE].sum(0)
  along = eyes / max(float(np.hypot(*eyes)), 1e-6)
  # Symmetric, with the eigenvalue `ratio` along the eyes, 1 / ratio across.
  linear = np.eye(2) / ratio + (ratio - 1 / ratio) * np.outer(along, along)
  middle = landmarks[spec.NOSE].sum(0) / 9  # no jaw: it would tell of the lips
  return np.c_[linear, middle - linear @ middle]


def draw_jitter(
  side: int, most: float, rng: np.random.Generator
) -> Float[np.ndarray, "2 3"]:
  """A small turn, zoom, shift and stretch of an aligned face, half mirrored.

  For emotion inputs: how the head is held and what its proportions are must
  not pass. Pixel to pixel of a picture of `side`; `most` as in `draw_stretch`.
  """
  turn = np.deg2rad(rng.uniform(-JITTER_DEG, JITTER_DEG))
  scale = (1 + JITTER_SCALE) ** rng.uniform(-1, 1)
  ratio = (1 + most) ** (rng.uniform(-1, 1) / 2)
  shift = rng.uniform(-JITTER_SHIFT, JITTER_SHIFT, 2) * side
  flip = -1 if rng.random() < 0.5 else 1
  rotation = np.array(
    [[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]]
  )
  linear = scale * rotation @ np.diag([flip * ratio, 1 / ratio])
  middle = np.full(2, (side - 1) / 2)
  return np.c_[linear, middle - linear @ middle + shift]


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
    moved = move_frame(frame, matrix)
  else:  # cut and moved at once
    into = np.vstack([face.face_matrix(landmarks, side), [0, 0, 1]])
    moved = face.warp(frame, matrix @ into, side)
  return recolour(moved, draw_colours(rng))


def treat_pose(
  frames: UInt8[np.ndarray, "t h w 3"],
  landmarks: Float[np.ndarray, "68 2"],
  treatment: Treatment,
  rng: np.random.Generator,
) -> None:
  """Makes frames that have another's mouth already what E_p sees of them.

  All of them get one and the same change, so that time stays consistent.

  Args:
    frames: Of one clip; changed in place.
    landmarks: Of the first.
    treatment: Of the pictures.
    rng: Of the draws.
  """
  colours = matrix = None
  if treatment.pose:
    colours, usual = draw_colours(rng), cv2.mean(frames[0])[:3]
  if treatment.stretch:
    matrix = draw_stretch(landmarks, treatment.stretch, rng)
  # Frame by frame: a frame stays in the processor's cache, a window does not.
  for frame in frames:
    made = frame
    if colours is not None:
      made = recolour(made, colours, usual)
    if matrix is not None:
      made = move_frame(made, matrix)
    frame[:] = made
