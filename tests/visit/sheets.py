"""Contact sheets: what was given beside three frames of what was made.

The given file is read by plain libraries, as an ordinary viewer shows it, not
by our own readers, whose faults would then show on neither side.
"""

import hashlib
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import av
import av.error
import cv2
import numpy as np
import soundfile
from PIL import Image, ImageDraw, ImageFont, ImageOps

from tests.visit.cases import Case
from tests.visit.film import Film

CELL = 190  # px
COLUMNS, ROWS = 2, 7  # of cases
CAPTION = 30  # px
MOVED = 12.0  # levels of 255
PAPER = (255, 255, 255)


class Entry(NamedTuple):
  """One case on a sheet."""

  strip: Path  # of pictures side by side
  captions: tuple[str, str]


def strip_path(folder: Path, case_name: str, role: str) -> Path:
  """Where the pictures of a case are kept."""
  digest = hashlib.sha256(f"{role} {case_name}".encode()).hexdigest()[:16]
  return folder / f"{digest}.png"


def write_strip(path: Path, case: Case, film: Film | None) -> None:
  """Writes what was given and, if there is any, what was made."""
  pictures = [given(case.path)]
  if film is not None:
    left, top, right, bottom = moving(film.shown)
    first, far, last = film.shown
    near = (x[top:bottom, left:right] for x in (far, last))
    pictures += [Image.fromarray(x) for x in (first, *near)]
  strip = Image.new("RGB", (CELL * len(pictures), CELL), PAPER)
  for i, picture in enumerate(pictures):
    small = ImageOps.contain(picture, (CELL - 4, CELL - 4), Image.LANCZOS)
    left = i * CELL + (CELL - small.width) // 2
    strip.paste(small, (left, (CELL - small.height) // 2))
  strip.save(path)


def moving(frames: Sequence[np.ndarray]) -> tuple[int, int, int, int]:
  """The square of a video in which its frames differ: the head.

  Returns:
    Left, top, right and bottom, px.
  """
  height, width = frames[0].shape[:2]
  grey = [x.mean(2, dtype=np.float32) for x in frames]
  apart = sum(np.abs(x - grey[0]) for x in grey[1:])
  apart = cv2.blur(apart, (5, 5))  # coders and marks are noise
  rows, columns = np.nonzero(apart > MOVED)
  if not len(rows):
    return 0, 0, width, height
  (top, bottom), (left, right) = (
    np.percentile(x, (1, 99)) for x in (rows, columns)
  )
  side = round(max(bottom - top, right - left) * 1.1)
  side = min(max(side, 32), width, height)
  left = min(max(round((left + right - side) / 2), 0), width - side)
  top = min(max(round((top + bottom - side) / 2), 0), height - side)
  return left, top, left + side, top + side


def given(path: Path) -> Image.Image:
  """A file as a picture: itself, its first frame, its wave, or its name."""
  try:
    with warnings.catch_warnings():  # of pictures that are huge
      warnings.simplefilter("ignore")
      image = Image.open(path)
    with image:
      image.draft("RGB", (1024, 1024))
      image = ImageOps.exif_transpose(image)
      if image.mode.startswith("I"):  # 16 bits, which Pillow would clip
        image = Image.fromarray((np.asarray(image) / 257).astype(np.uint8))
      return image.convert("RGB")
  except Exception:  # whatever a viewer has against it
    pass
  try:
    with av.open(str(path)) as film:
      if film.streams.video:
        frame = next(film.decode(video=0))
        image = frame.to_image()
        turns = round(getattr(frame, "rotation", 0) / 90) % 4
        return image.rotate(90 * turns, expand=True)
  except (av.error.FFmpegError, StopIteration, ValueError, MemoryError):
    pass
  return _wave(path)


def _wave(path: Path) -> Image.Image:
  image = Image.new("RGB", (CELL, CELL), (235, 235, 235))
  draw = ImageDraw.Draw(image)
  try:
    sound, _ = soundfile.read(path, always_2d=True)
    levels = np.abs(sound).max(1)
    if not len(levels):
      raise ValueError
  except (soundfile.SoundFileError, ValueError, OSError):
    draw.text((8, CELL // 2), "not shown", fill=(90, 90, 90), font=_font(14))
    return image
  for x, part in enumerate(np.array_split(levels, CELL)):
    high = float(part.max(initial=0)) * CELL / 2
    draw.line(
      (x, CELL / 2 - high, x, CELL / 2 + high), fill=(40, 70, 140), width=1
    )
  return image


def write(
  folder: Path, title: str, entries: Sequence[Entry], across: int
) -> list[Path]:
  """Writes as many sheets as it takes.

  Args:
    folder: For `TITLE-1.png` and so on; older ones of the title go.
    title: Of the sheets.
    entries: What is on them.
    across: Pictures that a strip has at most.

  Returns:
    The sheets.
  """
  for old in folder.glob(f"{title}-*.png"):
    old.unlink()
  columns = COLUMNS * max(1, 4 // across)
  each = columns * ROWS
  out = []
  for start in range(0, len(entries), each):
    part = entries[start : start + each]
    rows = -(-len(part) // columns)
    sheet = Image.new(
      "RGB", (columns * across * CELL, rows * (CELL + CAPTION)), PAPER
    )
    draw = ImageDraw.Draw(sheet)
    for i, (strip, captions) in enumerate(part):
      row, column = divmod(i, columns)
      left, top = column * across * CELL, row * (CELL + CAPTION)
      with Image.open(strip) as image:
        sheet.paste(image, (left, top))
      for k, text in enumerate(captions):
        shown = text if len(text) < 28 * across else f"{text[: 28 * across]}..."
        draw.text(
          (left + 4, top + CELL + 14 * k),
          shown,
          fill=((0, 0, 0), (170, 40, 30))[k],
          font=_font(12),
        )
    out.append(folder / f"{title}-{start // each + 1}.png")
    sheet.save(out[-1])
  return out


def _font(size: int):
  return ImageFont.load_default(size)
