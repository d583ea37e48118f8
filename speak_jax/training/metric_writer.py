"""What a run leaves behind while it trains: scalars and sheets.

RUN/<stage>/metrics.jsonl    one line per `log_every` steps
RUN/<stage>/tb/              the same for TensorBoard, and the sheets
RUN/<stage>/samples/         sample sheets (PNG) and videos
"""

import json
from collections.abc import Mapping
from pathlib import Path

import cv2
import numpy as np
from einops import rearrange
from jaxtyping import UInt8
from tensorboardX import SummaryWriter

from speak_jax.common import files
from speak_jax.common.progress import say


class MetricWriter:
  """Scalars and sheets of one stage; a process that is not first is silent."""

  def __init__(self, folder: str | Path, step: int, first: bool = True):
    """Opens the files; lines from beyond `step` (a lost run's) are dropped."""
    self.folder = Path(folder)
    self._first = first
    if not first:
      return
    (self.folder / "samples").mkdir(parents=True, exist_ok=True)
    self._path = self.folder / "metrics.jsonl"
    if self._path.exists():
      _drop_after(self._path, step)
    self._lines = self._path.open("a")
    self._board = SummaryWriter(
      str(self.folder / "tb"), purge_step=step + 1 if step else None
    )

  def write_scalars(self, step: int, values: Mapping[str, float]) -> None:
    """Writes one line of figures."""
    if not self._first:
      return
    try:
      self._lines.write(json.dumps({"step": step, **values}) + "\n")
      self._lines.flush()
    except OSError as error:  # a full disk is no reason to lose steps
      say(f"{self._path}: step {step} was not written ({error.strerror})")
    for name, value in values.items():
      self._board.add_scalar(name, value, step)

  def write_image_grid(
    self, step: int, name: str, cells: UInt8[np.ndarray, "r c h w 3"]
  ) -> None:
    """Writes a sheet of pictures as PNG."""
    if not self._first:
      return
    sheet = rearrange(cells, "r c h w d -> (r h) (c w) d")
    path = self.folder / "samples" / f"{name}_{step:07d}.png"
    if not cv2.imwrite(str(path), sheet[..., ::-1]):
      say(f"{path}: could not be written")
    self._board.add_image(name, sheet, step, dataformats="HWC")

  def close(self) -> None:
    """Closes the files."""
    if not self._first:
      return
    for file in (self._lines, self._board):
      try:
        file.close()
      except OSError as error:  # nor to end a run that has come to its end
        say(f"{self.folder}: the last figures are lost ({error.strerror})")


def _drop_after(path: Path, step: int) -> None:
  """Keeps the lines up to a step, in place by rename."""
  kept = []
  for line in path.read_text().splitlines():
    try:
      if json.loads(line)["step"] <= step:
        kept.append(line + "\n")
    except (json.JSONDecodeError, KeyError):
      continue  # the half line of a killed run
  files.write(path, "".join(kept))
