"""What a run leaves behind while it trains: scalars, sheets, a progress line.

RUN/<stage>/metrics.jsonl    one line per `log_every` steps
RUN/<stage>/tb/              the same for TensorBoard, and the sheets
RUN/<stage>/samples/         sample sheets (PNG) and videos
"""

import json
import os
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import cv2
import numpy as np
from einops import rearrange
from jaxtyping import UInt8
from tensorboardX import SummaryWriter
from tqdm import tqdm

QUIET_S = 10.0  # between two lines of progress where there is no terminal


class Log:
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

  def scalars(self, step: int, values: Mapping[str, float]) -> None:
    """Writes one line of figures."""
    if not self._first:
      return
    self._lines.write(json.dumps({"step": step, **values}) + "\n")
    self._lines.flush()
    for name, value in values.items():
      self._board.add_scalar(name, value, step)

  def sheet(
    self, step: int, name: str, cells: UInt8[np.ndarray, "r c h w 3"]
  ) -> None:
    """Writes a sheet of pictures as PNG."""
    if not self._first:
      return
    sheet = rearrange(cells, "r c h w d -> (r h) (c w) d")
    path = self.folder / "samples" / f"{name}_{step:07d}.png"
    cv2.imwrite(str(path), sheet[..., ::-1])
    self._board.add_image(name, sheet, step, dataformats="HWC")

  def close(self) -> None:
    """Closes the files."""
    if self._first:
      self._lines.close()
      self._board.close()


class Progress:
  """A bar with rate and time left; plain lines where there is no terminal."""

  def __init__(self, name: str, step: int, steps: int, first: bool = True):
    """Starts at `step` of `steps`."""
    self._name, self._step, self._steps = name, step, steps
    self._start, self._begin = time.monotonic(), step
    self._said = 0.0
    self._warm = False
    self._bar = None
    self._first = first
    if first and sys.stderr.isatty():
      self._bar = tqdm(
        total=steps, initial=step, desc=name, unit="step", dynamic_ncols=True
      )

  def update(self, step: int, note: str = "") -> None:
    """Says where the stage stands; at most once in a while."""
    if not self._first:
      return
    if self._bar is not None:
      if note:
        self._bar.set_postfix_str(note, refresh=False)
      self._bar.update(step - self._step)
    self._step = step
    now = time.monotonic()
    if not self._warm:  # the first step compiles: it says nothing of the rate
      self._warm, self._start, self._begin = True, now, step
      return
    if self._bar is None and (
      now - self._said > QUIET_S or step == self._steps
    ):
      self._said = now
      rate = (step - self._begin) / max(now - self._start, 1e-9)
      left = (self._steps - step) / max(rate, 1e-9)
      _say(
        f"{self._name} {step}/{self._steps}  {rate:.2f} steps/s"
        f"  {clock(left)} left  {note}".rstrip()
      )

  def say(self, text: str) -> None:
    """Prints a line without breaking the bar."""
    if self._first:
      _say(text)

  def close(self) -> None:
    """Leaves the bar as it is."""
    if self._bar is not None:
      self._bar.close()


def clock(seconds: float) -> str:
  """Seconds as 1:02:03 or 4:05."""
  minutes, seconds = divmod(round(min(seconds, 359_999_999)), 60)
  hours, minutes = divmod(minutes, 60)
  if hours:
    return f"{hours}:{minutes:02d}:{seconds:02d}"
  return f"{minutes}:{seconds:02d}"


def _say(text: str) -> None:
  tqdm.write(text, file=sys.stderr)
  sys.stderr.flush()


def _drop_after(path: Path, step: int) -> None:
  """Keeps the lines up to a step, in place by rename."""
  kept = []
  for line in path.read_text().splitlines():
    try:
      if json.loads(line)["step"] <= step:
        kept.append(line + "\n")
    except (json.JSONDecodeError, KeyError):
      continue  # the half line of a killed run
  part = path.with_suffix(".part")
  part.write_text("".join(kept))
  os.replace(part, path)
