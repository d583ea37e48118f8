"""Contact sheets: pictures in rows and columns, with captions."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import UInt8

from data_pipelines.media import lettering

CELL_PX = 128  # least side of a picture on a sheet
_BAR_PX = 18  # of captions
_MARGIN_PX = 86  # for the rows' names


def draw(
  cells: UInt8[np.ndarray, "r c h w 3"],
  rows: Sequence[str],
  columns: Sequence[str] = (),
) -> UInt8[np.ndarray, "y x 3"]:
  """A sheet of pictures with names of rows, and of columns if given.

  Args:
    cells: Pictures; small ones are enlarged to CELL_PX or more.
    rows: A name for each row.
    columns: A name for each column; () leaves the bar out.
  """
  _, count, side = cells.shape[:3]
  scale = max(1, -(-CELL_PX // side))
  cells = cells.repeat(scale, 2).repeat(scale, 3)
  lines = []
  for row, label in zip(cells, rows, strict=True):
    name = np.full((row.shape[1], _MARGIN_PX, 3), 255, np.uint8)
    lettering.write(name, label, (4, row.shape[1] // 2))
    lines.append(np.concatenate([name, *row], 1))
  if columns:
    bar = np.full((_BAR_PX, lines[0].shape[1], 3), 255, np.uint8)
    for i, label in enumerate(columns[:count]):
      lettering.write(bar, label, (_MARGIN_PX + i * side * scale + 4, 13))
    lines.insert(0, bar)
  return np.concatenate(lines)
