"""Whether a face is upright, as the files are read."""

import warnings

import numpy as np

from data_pipelines.faces import align, footage
from data_pipelines.media.error import MediaWarning


def is_upright(points: np.ndarray) -> bool:
  """Eyes level, left eye at the left, the mouth as far below as it should."""
  left, right, mouth = align.anchors(points)
  across = right[0] - left[0]
  below = mouth[1] - (left[1] + right[1]) / 2
  level = abs(right[1] - left[1]) < 0.2 * across
  return bool(across > 0 and level and 0.7 < below / across < 1.5)


def found_upright(path, tracker, which="largest"):
  """The footage of a file, its first face's landmarks, and what is said."""
  with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always", MediaWarning)
    found = footage.find(path, tracker, which)
    picture = next(found.frames(25.0))
  track = tracker.track([picture], found.rule)
  assert track.found[0] and is_upright(track.landmarks[0])
  said = [str(x.message).removeprefix(f"{path}: ") for x in caught]
  return found, track.landmarks[0], said


TURNED = {0: [], 1: ["the face lies on its side; turned upright"],
          2: ["the face is upside down; turned upright"],
          3: ["the face lies on its side; turned upright"]}  # fmt: skip
