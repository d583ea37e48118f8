"""A picture of what a video would be made of: faces, crop and plan."""

import os
import textwrap
from collections.abc import Callable, Sequence

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageDraw, ImageFont

from data_pipelines.faces.face_rule import Box
from data_pipelines.faces.follow import FaceTracker
from data_pipelines.media.error import MediaError, heard, unsaid
from speak_jax.common import files
from speak_jax.common.names import printable
from speak_jax.inference import emotion_label, head
from speak_jax.inference.curve import is_table
from speak_jax.inference.inputs import find_face
from speak_jax.inference.request import Request
from speak_jax.inference.take import Take

HIGH, WIDE, GAP = 320, 1024, 12  # px of a panel; of the picture at least
TEXT_PX, COLUMNS = 16, 110  # characters of a line of text
CHOSEN, OTHER = (40, 200, 60), (235, 140, 30)  # colours of faces


def write(
  reads: Callable[[Request, Callable[[str], None]], Take],
  tracker: FaceTracker,
  request: Request,
  path: str | os.PathLike,
  say: Callable[[str], None] = print,
) -> None:
  """Reads the inputs of a request and draws what was found; makes no frame.

  Faces have the numbers that `--face` and its like take; the one that is
  followed is green.

  Args:
    reads: `Model.take`.
    tracker: Finds all faces, as it does for the model.
    request: Of files.
    path: The PNG; replaced if it is there.
    say: Takes the lines of the plan, warnings aside.

  Raises:
    FileError, RequestError: as `Model.take` does, or the PNG cannot be written.
  """
  lines: list[str] = []
  odd: dict[str, None] = {}
  with heard(odd):
    take = reads(request, lines.append)
  take.frames.close()
  for line in lines:
    say(line)
  pose, emotion = map(
    _film, (head.file_of(request.pose), emotion_label.file_of(request.emotion))
  )
  rules = request.rules
  panels = [
    _panel(title, file, take.fps, tracker, rule)
    for title, file, rule in (
      ("identity", request.identity, rules.identity),
      ("pose", pose, rules.pose),
      ("emotion", emotion, rules.emotion),
    )
    if file is not None
  ]
  size = f"{take.width} x {take.height} px"
  panels.append(_titled(f"frames of {size}", _scaled(take.picture)))
  plan = [
    *lines,
    f"length    {take.count / take.fps:.2f} s",
    *_steered(request),
  ]
  text = [*plan, *(f"warning: {line}" for line in odd)]
  _save(path, _sheet(panels, text))
  say(printable(f"sheet     {os.fspath(path)}"))


def _film(file: head.File | None) -> head.File | None:
  """A file that shows somebody; a table does not."""
  return None if file is None or is_table(file) else file


def _steered(request: Request) -> list[str]:
  """What is told beside the inputs, if anything."""
  told = {
    "pose mode": request.pose_mode,
    "pose scale": request.pose_scale,
    "gaze": request.gaze,
    "blink": request.blink,
    "mouth": request.mouth,
  }
  untold = (None, True, 1.0)
  said = [f"{name} {x}" for name, x in told.items() if x not in untold]
  return [", ".join(said)] if said else []


def _panel(
  title: str,
  file: head.File,
  fps: float,
  tracker: FaceTracker,
  rule: str | Box,
) -> Image.Image:
  """A file's first picture with a face, and a box round each."""
  with unsaid():  # it was said when the file was read
    place = find_face(file, tracker, rule)
    frame = next(place.frames(fps))
    step = next(tracker.stream([frame], place.rule))
  image = _scaled(frame)
  scale = image.width / frame.shape[1]
  draw = ImageDraw.Draw(image)
  middle = step.landmarks.mean(0)
  for i, (x, y, w, h) in enumerate(tracker.boxes(frame), 1):
    inside = (np.abs(middle - (x + w / 2, y + h / 2)) < (w / 2, h / 2)).all()
    colour = CHOSEN if inside else OTHER
    box = [scale * value for value in (x, y, x + w, y + h)]
    draw.rectangle(box, outline=colour, width=3)
    draw.rectangle((box[0], box[1], box[0] + 24, box[1] + 28), colour)
    draw.text((box[0] + 6, box[1] + 1), str(i), "black", _font(24))
  name = os.path.basename(os.fspath(file))
  return _titled(f"{title}: {printable(name)}", image)


def _scaled(frame: UInt8[np.ndarray, "h w 3"]) -> Image.Image:
  """A panel's picture, HIGH px high."""
  height, width = frame.shape[:2]
  size = min(max(round(width * HIGH / height), 1), 2 * WIDE), HIGH
  return Image.fromarray(frame).resize(size, Image.Resampling.LANCZOS)


def _titled(title: str, image: Image.Image) -> Image.Image:
  high = TEXT_PX + 8
  wide = max(image.width, round(_font(TEXT_PX).getlength(title)) + GAP)
  panel = Image.new("RGB", (wide, image.height + high), "white")
  ImageDraw.Draw(panel).text((0, 2), title, "black", _font(TEXT_PX))
  panel.paste(image, (0, high))
  return panel


def _sheet(panels: Sequence[Image.Image], lines: Sequence[str]) -> Image.Image:
  """Panels side by side, as many as there is room for, and text below."""
  rows: list[list[Image.Image]] = [[]]
  wide = max(WIDE, *(panel.width + 2 * GAP for panel in panels))
  for panel in panels:
    used = GAP + sum(other.width + GAP for other in rows[-1])
    if rows[-1] and used + panel.width + GAP > wide:
      rows.append([])
    rows[-1].append(panel)
  text = [part for line in lines for part in textwrap.wrap(line, COLUMNS)]
  line_high = TEXT_PX + 6
  high = sum(row[0].height + GAP for row in rows)
  size = wide, high + line_high * len(text) + 2 * GAP
  sheet = Image.new("RGB", size, "white")
  top = GAP
  for row in rows:
    left = GAP
    for panel in row:
      sheet.paste(panel, (left, top))
      left += panel.width + GAP
    top += row[0].height + GAP
  draw = ImageDraw.Draw(sheet)
  for line in text:
    draw.text((GAP, top), line, "black", _font(TEXT_PX))
    top += line_high
  return sheet


def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
  return ImageFont.load_default(size)


def _save(path: str | os.PathLike, sheet: Image.Image) -> None:
  try:
    with files.replacing(path) as partial:
      sheet.save(partial, "PNG")
  except OSError as error:
    raise MediaError(path, f"cannot be written ({error})") from None
