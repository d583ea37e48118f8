"""A video that is about to be made, and how it gets into a file."""

import contextlib
import os
from collections.abc import Callable, Generator, Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import UInt8

from data_pipelines.media import mp4, png_folder
from data_pipelines.media.audio import Sound
from speak_jax.common.names import printable
from speak_jax.common.progress import Progress
from speak_jax.inference import contact_sheet
from speak_jax.inference.contact_sheet import Row, Shown
from speak_jax.provenance.marking import Marking


class Take(NamedTuple):
  """One video: its inputs are read, its frames come as they are asked for."""

  # RGB, once, without the mark (what is given to anybody is `marked`), and over
  # mid-grey where the picture is transparent.
  frames: Generator[UInt8[np.ndarray, "h w 3"], None, None]
  count: int
  fps: float
  width: int  # px
  height: int
  sound: Callable[[], Sound]  # reads the file's own, as long as the frames
  rows: Callable[[Shown], list[Row]]  # of the contact sheet, frames being made
  picture: UInt8[np.ndarray, "k l 3"]  # what frames are made of, as it is
  marking: Marking = Marking()  # what the file says of itself
  # The frames of a transparent picture, RGBA; in their place, not beside them.
  rgba: Generator[UInt8[np.ndarray, "h w 4"], None, None] | None = None

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
  *,
  bar: bool = True,
) -> Result:
  """Makes the frames and writes them, with a progress bar.

  Args:
    take: Whose frames were not taken yet.
    output: See `Model.write`.
    sheet: Also write a contact sheet PNG here.
    say: Takes a line.
    bar: Whether to say how far it is.

  Raises:
    FileError: an input turns out to be unfit, or the output cannot be
      written. Nothing is left half-written.
  """
  shown = Shown(take.count)
  pictures = png_folder.is_folder(output)
  writes = png_folder.write_pictures if pictures else mp4.write_video
  frames = take.frames
  if take.rgba is not None and (pictures or mp4.kind_of(output).alpha):
    frames = take.rgba
  with contextlib.closing(frames) as made:
    # The sheet shows what the model makes, before it is marked.
    seen = shown.passing(_counted(made, take.count, bar))
    count = writes(
      output,
      take.marking.frames(seen),
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
  frames: Iterable[UInt8[np.ndarray, "h w c"]], n: int, bar: bool
) -> Iterator[UInt8[np.ndarray, "h w c"]]:
  """Yields frames with a progress bar."""
  with Progress("generate", "frame", n, shown=bar) as progress:
    for i, frame in enumerate(frames):
      progress.update(i + 1)
      yield frame
