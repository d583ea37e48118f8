"""A PNG that shows the inputs of a talking head over its frames."""

import os
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import cv2
import numpy as np
from jaxtyping import UInt8
from PIL import Image

from data_pipelines.media.error import MediaError
from data_pipelines.media.image import over_ground
from speak_jax.common import files
from speak_jax.inference.crops import resize

CELL_PX = 128
COLUMNS = 8
_TITLE_PX = 18


class Row(NamedTuple):
  """A titled row."""

  title: str
  pictures: Sequence[UInt8[np.ndarray, "h h 3"]]


class Shown:
  """Frames for a contact sheet, evenly spread over the video."""

  def __init__(self, n: int):
    """Chooses them among n frames."""
    self.count = n
    columns = np.linspace(0, n - 1, min(COLUMNS, n))
    self.columns = columns.astype(int)
    self.frames: list[UInt8[np.ndarray, "h w 3"]] = []

  def passing(
    self, frames: Iterable[UInt8[np.ndarray, "h w c"]]
  ) -> Iterator[UInt8[np.ndarray, "h w c"]]:
    """Yields all frames and keeps the chosen ones."""
    for i, frame in enumerate(frames):
      if i in self.columns:
        opaque = frame if frame.shape[2] == 3 else over_ground(frame)
        self.frames.append(opaque)
      yield frame


def write(path: str | os.PathLike, rows: Sequence[Row]) -> None:
  """Writes the rows below each other, whole or not at all.

  Args:
    path: The PNG; replaced if it is there.
    rows: Square RGB pictures of any size.

  Raises:
    MediaError: It cannot be written.
  """
  height = CELL_PX + _TITLE_PX
  width = CELL_PX * max(len(row.pictures) for row in rows)
  sheet = np.full((height * len(rows), width, 3), 255, np.uint8)
  for i, (title, pictures) in enumerate(rows):
    top = i * height
    where = (4, top + _TITLE_PX - 5)
    cv2.putText(sheet, title, where, cv2.FONT_HERSHEY_SIMPLEX, 0.45, (0, 0, 0))
    for j, picture in enumerate(pictures):
      left = j * CELL_PX
      sheet[top + _TITLE_PX : top + height, left : left + CELL_PX] = resize(
        picture, CELL_PX
      )
  try:
    with files.replacing(path) as partial:
      Image.fromarray(sheet).save(partial)
  except OSError as error:
    raise MediaError(path, f"cannot be written ({error})") from None
