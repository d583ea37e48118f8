"""Which face of several is followed: the largest, one by number, or a box."""

import re

import numpy as np
from jaxtyping import Float

from data_pipelines.faces.nets import Face, iou

_IN_BOX = 0.1  # overlap of a face with a given box, over their union

Box = tuple[float, float, float, float]  # x, y, w, h in source pixels


def parse_face_rule(text: str) -> str | Box:
  """Reads a rule from text.

  Args:
    text: "largest", "first" (from the left), "2" and so on, which number from
      the left, or "box:x,y,w,h", a place in the first picture in pixels of the
      source.

  Raises:
    ValueError: anything else.
  """
  if text in ("largest", "first") or is_number(text):
    return text
  kind, _, numbers = text.partition(":")
  try:
    x, y, w, h = (float(number) for number in numbers.split(","))
  except ValueError:
    x = y = w = h = np.nan
  if kind != "box" or not np.isfinite([x, y, w, h]).all() or w <= 0 or h <= 0:
    raise ValueError(
      f"face {text!r} is not largest, first, a number or box:x,y,w,h"
    )
  return x, y, w, h


def is_number(rule: str | Box) -> bool:
  """Whether a rule is which face from the left, from 1."""
  return not isinstance(rule, tuple) and re.fullmatch("[1-9]", rule) is not None


def named(rule: str | Box) -> str:
  """The face of a rule in words, as in "the largest one"."""
  if isinstance(rule, tuple):
    return "the one in the box"
  if is_number(rule):
    return f"number {rule} from the left"
  return {"largest": "the largest one", "first": "the leftmost one"}[rule]


def where(rule: str | Box) -> str:
  """What a rule adds to "no face found": where it was looked for."""
  if isinstance(rule, tuple):
    return " in the box"
  return f" that is {named(rule)}" if is_number(rule) else ""


def turned_rule(
  rule: str | Box, turns: int, width: int, height: int
) -> str | Box:
  """The rule for a picture after quarter turns.

  Args:
    rule: For the picture as it was.
    turns: Quarter turns, anticlockwise as `np.rot90` has them.
    width: Of the picture as it was, px.
    height: Likewise.
  """
  if not isinstance(rule, tuple):
    return rule
  for _ in range(turns % 4):
    x, y, w, h = rule
    rule = (y, width - x - w, h, w)
    width, height = height, width
  return rule


def ranked(faces: list[Face], rule: str | Box) -> list[Face]:
  """Detected faces in the order of a rule; `faces` come largest first."""
  if rule == "largest":
    return faces
  if not isinstance(rule, tuple):
    from_left = sorted(faces, key=lambda face: face.box[0])
    if rule == "first":
      return from_left
    return from_left[int(rule) - 1 : int(rule)]
  box = corners(rule)
  share = {id(face): iou(face.box, box) for face in faces}
  inside = [face for face in faces if share[id(face)] > _IN_BOX]
  return sorted(inside, key=lambda face: -share[id(face)])


def corners(box: Box) -> Float[np.ndarray, "4"]:
  """X, y, w, h as x0, y0, x1, y1."""
  x, y, w, h = box
  return np.array([x, y, x + w, y + h], float)
