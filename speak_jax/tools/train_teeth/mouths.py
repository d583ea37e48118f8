"""Portraits to the pixels between their lips."""

from collections.abc import Iterable
from typing import NamedTuple

import cv2
import numpy as np
from jaxtyping import Float, Float32, UInt8

from data_pipelines.faces import canonical, topology
from speak_jax.photograph import inner_mouth

EYES_PX = 64.0  # between the outer corners, of larger pictures that are scaled
PIXELS = 100  # of a mouth at most
LEAST_GAP = 0.035  # between the lips, eye distances
MOST_ASIDE = 0.35  # sine of the yaw
LEAST_WIDE = 16.0  # px of the gap
LIP_PX = 0.8  # by which FaceMesh may be wrong about the lips


class Mouths(NamedTuple):
  """n mouths of m pixels each; lengths in eye distances, canonical axes."""

  colour: Float32[np.ndarray, "n m 3"]  # 0 to 1
  place: Float32[np.ndarray, "n m 2"]  # right, down from between the eyes
  below: Float32[np.ndarray, "n m"]  # the upper lip
  above: Float32[np.ndarray, "n m"]  # the lower lip
  side: Float32[np.ndarray, "n m"]  # from the nearer corner of the gap
  inside: Float32[np.ndarray, "n m"]  # 1 between the lips, 0 beyond them
  nose: Float32[np.ndarray, "n"]  # its underside, downwards
  lower_lip: Float32[np.ndarray, "n"]  # its edge, downwards
  skin: Float32[np.ndarray, "n 3"]  # of the cheeks, 0 to 1
  pixel: Float32[np.ndarray, "n"]  # eye distances


def mouths(
  pictures: Iterable[
    tuple[UInt8[np.ndarray, "h w 3"], Float[np.ndarray, "468 3"]]
  ],
) -> Mouths | None:
  """Reads the mouths that are open, large enough, and seen from the front.

  Args:
    pictures: RGB, and FaceMesh's points in px.

  Returns:
    None where there is no such mouth.
  """
  rng = np.random.default_rng(0)
  read = (_mouth(frame, mesh, rng) for frame, mesh in pictures)
  found = [mouth for mouth in read if mouth is not None]
  if not found:
    return None
  parts = zip(*found, strict=True)
  return Mouths(*(np.stack(part).astype(np.float32) for part in parts))


def _mouth(
  frame: np.ndarray, mesh: np.ndarray, rng: np.random.Generator
) -> Mouths | None:
  """One mouth, without its first axis; None where it is of no use."""
  mesh = mesh.astype(np.float64)
  wide = np.linalg.norm(mesh[78] - mesh[308])
  eyes = np.linalg.norm(mesh[33] - mesh[263])
  factor = min(EYES_PX / eyes, 1.0)
  if wide * factor < LEAST_WIDE:
    return None
  if factor < 1:
    before = np.array(frame.shape[1::-1])
    size = (before * factor).round().astype(int)
    frame = cv2.resize(frame, size.tolist(), interpolation=cv2.INTER_AREA)
    flat = (mesh[:, :2] + 0.5) * (size / before) - 0.5
    mesh = np.column_stack([flat, mesh[:, 2] * factor])
  place = canonical.placed(mesh[None])
  points, rotation = place.points[0], place.rotation[0]
  gap = float(canonical.lip_gap(place.points)[0])
  if gap < LEAST_GAP or abs(rotation[0, 2]) > MOST_ASIDE:
    return None
  depth = points[topology.INNER_LIPS, 2].mean() + inner_mouth.BEHIND
  matrix = place.eyes[0] * rotation[:2, :2]
  middle = place.middle[0, :2] + place.eyes[0] * rotation[:2, 2] * depth
  # The lips in the plane of the teeth, as they are seen.
  lips = (mesh[topology.INNER_LIPS, :2] - middle) @ np.linalg.inv(matrix).T
  low = np.floor(mesh[topology.INNER_LIPS, :2].min(0)).astype(int) - 1
  high = np.ceil(mesh[topology.INNER_LIPS, :2].max(0)).astype(int) + 2
  low, high = low.clip(0), high.clip(0, frame.shape[1::-1])
  if (high - low).min() < 2:
    return None
  rows, columns = np.mgrid[low[1] : high[1], low[0] : high[0]]
  at = np.stack([columns, rows], -1).reshape(-1, 2)
  flat = (at - middle) @ np.linalg.inv(matrix).T
  upper, lower = lips[:11], np.concatenate([lips[10:], lips[:1]])[::-1]
  below = flat[:, 1] - np.interp(flat[:, 0], *_rising(upper))
  above = np.interp(flat[:, 0], *_rising(lower)) - flat[:, 1]
  side = np.minimum(flat[:, 0] - lips[0, 0], lips[10, 0] - flat[:, 0])
  pixel = 1 / place.eyes[0]
  inside = (np.minimum(below, above) / pixel - LIP_PX).clip(0, 1) * (side > 0)
  # Of more pixels some, the more inside the likelier.
  order = np.argsort(-inside - 0.3 * rng.random(len(inside)) * (inside > 0))
  order = np.resize(order[:PIXELS], PIXELS)
  weight = inside[order] * (np.arange(PIXELS) < len(inside))
  colour = frame[at[order, 1], at[order, 0]] / 255
  return Mouths(
    colour,
    flat[order],
    below[order].clip(0),
    above[order].clip(0),
    side[order].clip(0),
    weight,
    points[inner_mouth.NOSE, 1],
    points[inner_mouth.LOWER_LIP, 1],
    inner_mouth.cheeks(frame, mesh) / 255,
    pixel,
  )


def _rising(
  line: Float[np.ndarray, "k 2"],
) -> tuple[Float[np.ndarray, "k"], Float[np.ndarray, "k"]]:
  """The line's points from left to right."""
  order = np.argsort(line[:, 0])
  return line[order, 0], line[order, 1]
