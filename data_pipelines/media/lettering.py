"""Writes names onto pictures: letters of most alphabets, not ASCII alone.

The font is DejaVu Sans, which comes with matplotlib. It has Latin, Greek,
Cyrillic, Armenian, Georgian, Hebrew, Arabic and symbols; a letter that it has
not, such as a Chinese one, is written as its number: \\u4e2d.
"""

import functools
import unicodedata
from pathlib import Path

import matplotlib
import numpy as np
from jaxtyping import UInt8
from matplotlib.ft2font import FT2Font
from PIL import Image, ImageDraw, ImageFont, features

from speak_jax.common.names import printable

_ELLIPSIS = "..."


def write(
  picture: UInt8[np.ndarray, "h w 3"],
  text: str,
  at: tuple[int, int],
  size: int = 11,
  colour: tuple[int, int, int] = (0, 0, 0),
) -> None:
  """Writes a line into a picture; what has no room is cut off with "...".

  Args:
    picture: RGB; changed.
    text: Any.
    at: x and y of the left end of the line that letters stand on, px.
    size: Of the letters, px.
    colour: RGB.
  """
  font = _font(size)
  line = _fitted(drawable(text), font, picture.shape[1] - at[0])
  image = Image.fromarray(picture)
  ImageDraw.Draw(image).text(at, line, colour, font, anchor="ls")
  picture[:] = np.asarray(image)


def drawable(text: str) -> str:
  """The text with letters that cannot be drawn as their numbers."""
  composed = unicodedata.normalize("NFC", printable(text))
  return "".join(x if _has(x) else _number(x) for x in composed)


def _has(letter: str) -> bool:
  if ord(letter) not in _letters():
    return False
  # Without that library they stand apart and the wrong way round.
  leftward = unicodedata.bidirectional(letter) in ("R", "AL", "AN")
  return not leftward or bool(features.check("raqm"))


def _number(letter: str) -> str:
  code = ord(letter)
  return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def _fitted(line: str, font: ImageFont.FreeTypeFont, room: int) -> str:
  """As much of the line as there is room for."""
  if font.getlength(line) <= room:
    return line
  while line and font.getlength(line + _ELLIPSIS) > room:
    line = line[:-1]
  return line + _ELLIPSIS


def _file() -> str:
  return str(Path(matplotlib.get_data_path(), "fonts", "ttf", "DejaVuSans.ttf"))


@functools.cache
def _letters() -> frozenset[int]:
  """What the font has."""
  return frozenset(FT2Font(_file()).get_charmap())


@functools.cache
def _font(size: int) -> ImageFont.FreeTypeFont:
  return ImageFont.truetype(_file(), size)
