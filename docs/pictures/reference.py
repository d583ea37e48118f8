"""Makes reference.webp: the reference model, with drawn people alone.

  speak demo-inputs --out INPUTS
  python docs/pictures/reference.py INPUTS docs/results/reference/sample.mp4

From left to right: the identity picture, the video that gives the emotion, the
one that gives the pose, and what the reference model made of them with the
speech of a fourth person.
"""

import sys
from collections.abc import Iterator
from pathlib import Path

import av
from PIL import Image, ImageDraw, ImageFont

SIDE, GAP, HEAD = 200, 6, 22  # px
EVERY = 2  # of the films' 25 frames a second
NAMES = ("identity", "emotion", "pose", "made, with other speech")


def frames(path: Path) -> Iterator[Image.Image]:
  """Every second frame of a film, SIDE px."""
  with av.open(str(path)) as film:
    for t, frame in enumerate(film.decode(video=0)):
      if t % EVERY == 0:
        yield frame.to_image().resize((SIDE, SIDE), Image.Resampling.LANCZOS)


def strip(pictures: tuple[Image.Image, ...]) -> Image.Image:
  """Pictures side by side, each under its name."""
  width = len(pictures) * (SIDE + GAP) - GAP
  whole = Image.new("RGB", (width, SIDE + HEAD), "white")
  draw, font = ImageDraw.Draw(whole), ImageFont.load_default(13)
  for i, (name, picture) in enumerate(zip(NAMES, pictures, strict=True)):
    left = i * (SIDE + GAP)
    whole.paste(picture, (left, HEAD))
    draw.text((left, 3), name, fill="black", font=font)
  return whole


def main(inputs: Path, made: Path) -> None:
  """Writes reference.webp beside this file."""
  identity = Image.open(inputs / "identity.png").convert("RGB")
  identity = identity.resize((SIDE, SIDE), Image.Resampling.LANCZOS)
  films = [inputs / "emotion.mp4", inputs / "pose.mp4", made]
  first, *rest = [
    strip((identity, *row)) for row in zip(*map(frames, films), strict=True)
  ]
  first.save(
    Path(__file__).with_suffix(".webp"),
    save_all=True,
    append_images=rest,
    duration=80,
    loop=0,
    quality=80,
    method=6,
  )


if __name__ == "__main__":
  main(Path(sys.argv[1]), Path(sys.argv[2]))
