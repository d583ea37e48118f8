"""What of a person's picture limits what can be made of it."""

import cv2
import numpy as np
from jaxtyping import Float, UInt8

from data_pipelines.faces import align
from data_pipelines.media.warp import transform, warp
from speak_jax import spec

# Of 1,090 portraits that are well taken none reaches these.
PROFILE = 40.0  # degrees of yaw; portraits have 32 at most
CUT = 0.02  # share of the landmarks beyond the border; portraits have none
_SIDE = 96  # px of the aligned face that is looked at
# The mouth's vertical contrast over that of the eyes: a bare mouth has .45 to
# 1.8 of it.
_FLAT = 0.35
# Distance of colours (L*, a*, b*) between upper and lower face, from which on
# what is flat is cloth: bare faces have 7, and lips of dark skin can be flat.
_NO_SKIN = 15.0
_DIM = 1.0  # levels of the eyes' contrast; dark clips have more
# Cloth with folds has less than most mouths, and is told by its colour.
_FOLDS = 0.7
# Distance of colours (a*, b*) between upper and lower face, and of the lips
# from what is round them: cloth has one colour, and lips another than skin.
_OTHER, _SAME = 14.0, 4.0


def doubts(
  frame: UInt8[np.ndarray, "h w 3"],
  landmarks: Float[np.ndarray, "68 2"],
  pose: Float[np.ndarray, "3"],
) -> list[str]:
  """Lines for people on what is hidden of a face; none for a good portrait.

  Args:
    frame: RGB, upright.
    landmarks: Pixels of it.
    pose: Yaw, pitch, roll in degrees.
  """
  lines = []
  if abs(pose[0]) > PROFILE:
    lines.append(
      f"seen from the side (turned by {abs(pose[0]):.0f} degrees): the far "
      "half of the face has to be guessed"
    )
  height, width = frame.shape[:2]
  beyond = (landmarks < 0) | (landmarks > np.array([width, height]) - 1)
  if beyond.any(1).mean() > CUT:
    lines.append(
      "the face is cut off by the picture's border: what lies beyond has to "
      "be guessed"
    )
  elif is_covered(frame, landmarks):
    lines.append(
      "the mouth seems to be covered: the lips will be drawn on what covers it"
    )
  return lines


def is_covered(
  frame: UInt8[np.ndarray, "h w 3"], landmarks: Float[np.ndarray, "68 2"]
) -> bool:
  """Whether something of one colour, such as a mask, hides the mouth."""
  matrix = align.face_matrix(landmarks, _SIDE)
  aligned = warp(frame, matrix, _SIDE)
  points = transform(landmarks, matrix)
  mouth = _contrast(aligned, points[spec.MOUTH])
  eyes = _contrast(aligned, points[36:48])
  if eyes < _DIM:
    return False  # too little is seen to say so
  if mouth > _FOLDS * eyes:
    return False
  lab = cv2.cvtColor(aligned.astype(np.float32) / 255, cv2.COLOR_RGB2LAB)
  down = np.array([0, 7])  # from a lower lid to the cheek
  upper = _colour(
    lab, points[27], points[28], points[40] + down, points[47] + down
  )
  corners = (points[48] + points[5]) / 2, (points[54] + points[11]) / 2
  lower = _colour(lab, (points[57] + points[8]) / 2, *corners)
  if mouth < _FLAT * eyes:
    return float(np.linalg.norm(upper - lower)) > _NO_SKIN
  lips = _colour(lab, points[51], points[57], points[62])
  other = float(np.hypot(*(upper - lower)[1:]))
  return other > _OTHER and float(np.hypot(*(lips - lower)[1:])) < _SAME


def _contrast(
  aligned: UInt8[np.ndarray, "s s 3"], points: Float[np.ndarray, "n 2"]
) -> float:
  """Mean step of grey from row to row round some points."""
  low, high = points.min(0).astype(int), points.max(0).astype(int) + 1
  rows = slice(max(low[1] - 3, 0), high[1] + 3)
  part = aligned[rows, max(low[0], 0) : high[0]]
  if min(part.shape[:2]) < 2:
    return 0.0
  grey = cv2.cvtColor(np.ascontiguousarray(part), cv2.COLOR_RGB2GRAY)
  return float(np.abs(np.diff(grey.astype(np.float32), axis=0)).mean())


def _colour(
  lab: Float[np.ndarray, "s s 3"], *places: Float[np.ndarray, "2"]
) -> Float[np.ndarray, "3"]:
  """The L*, a* and b* that are usual at some places."""
  medians = []
  for place in places:
    x, y = np.clip(place.round().astype(int), 3, len(lab) - 4)
    part = lab[y - 3 : y + 4, x - 3 : x + 4].reshape(-1, 3)
    medians.append(np.median(part, 0))
  return np.median(medians, 0)
