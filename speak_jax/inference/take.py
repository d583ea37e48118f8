"""A video that is about to be made, and how it gets into a file."""

import contextlib
import os
from collections.abc import Callable, Generator, Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import UInt8

from data_pipelines.media.audio import Sound
from data_pipelines.media.mp4 import write_video
from speak_jax.common.names import printable
from speak_jax.common.progress import Progress
from speak_jax.inference import contact_sheet
from speak_jax.inference.contact_sheet import Row, Shown
from speak_jax.provenance.marking import Marking


class Take(NamedTuple):
  """One video: its inputs are read, its frames come as they are asked for."""

  # RGB, once, and without the mark: what is given to anybody is `marked`.
  frames: Generator[UInt8[np.ndarray, "h w 3"], None, None]
  count: int
  fps: float
  width: int  # px
  height: int
  sound: Callable[[], Sound]  # reads the file's own, as long as the frames
  rows: Callable[[Shown], list[Row]]  # of the contact sheet, frames being made
  picture: UInt8[np.ndarray, "k l 3"]  # what frames are made of, as it is
  marking: Marking = Marking()  # what the file says of itself

  def marked(self) -> Generator[UInt8[np.ndarray, "h w 3"], None, None]:
    """Its frames, once, with the watermark that says they are synthetic."""
    return self.marking.frames(self.frames)


class Result(NamedTuple):
  """What was written."""

  path: Path
  frames: int
  seconds: float
  size: int  # px, of the longer side


def write(
  take: Take,
  output: str | os.PathLike,
  sheet: str | os.PathLike | None = None,
  say: Callable[[str], None] = print,
) -> Result:
  """Makes the frames and writes them, with a progress bar.

  Args:
    take: Whose frames were not taken yet.
    output: The mp4, replaced if it is there; its folder must exist.
    sheet: Also write a contact sheet PNG here.
    say: Takes a line.

  Raises:
    FileError: an input turns out to be unfit, or the output cannot be
      written. Nothing is left half-written.
  """
  shown = Shown(take.count)
  with contextlib.closing(take.frames) as made:
    # The sheet shows what the model makes, before it is marked.
    frames = shown.passing(_counted(made, take.count))
    marked = take.marking.frames(frames)
    count = write_video(
      output,
      marked,
      take.fps,
      take.sound(),
      tags=take.marking.tags,
      finish=take.marking.finish,
    )
  if sheet is not None:
    contact_sheet.write(sheet, take.rows(shown))
    say(printable(f"sheet     {sheet}"))
  size = max(take.width, take.height)
  return Result(Path(output), count, count / take.fps, size)


def _counted(
  frames: Iterable[UInt8[np.ndarray, "h w 3"]], n: int
) -> Iterator[UInt8[np.ndarray, "h w 3"]]:
  """Yields frames with a progress bar."""
  with Progress("generate", "frame", n) as progress:
    for i, frame in enumerate(frames):
      progress.update(i + 1)
      yield frame
