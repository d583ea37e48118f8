"""Makes example.webp, the README's moving picture: the example that talks.

  speak generate --identity example --audio example --framing crop --size 400 \
    -o MADE.mp4
  python docs/pictures/example.py MADE.mp4

The picture that went in, and beside it the square round the head that came
out.
"""

import sys
from pathlib import Path

import av
from PIL import Image

from speak_jax.common import packaged

HEIGHT, GAP = 400, 8  # px
EVERY = 2  # of the video's 25 frames a second
FRAME_MS = EVERY * 1000 // 25


def main(made: Path) -> None:
  """Writes example.webp beside this file."""
  with Image.open(packaged.PORTRAIT) as picture:
    width = round(picture.width * HEIGHT / picture.height)
    still = picture.resize((width, HEIGHT), Image.Resampling.LANCZOS)
  strips = []
  with av.open(str(made)) as video:
    for t, frame in enumerate(video.decode(video=0)):
      if t % EVERY == 0:
        strip = Image.new("RGB", (width + GAP + HEIGHT, HEIGHT), "white")
        strip.paste(still, (0, 0))
        square = frame.to_image().resize((HEIGHT, HEIGHT))
        strip.paste(square, (width + GAP, 0))
        strips.append(strip)
  strips[0].save(
    Path(__file__).with_suffix(".webp"),
    save_all=True,
    append_images=strips[1:],
    duration=FRAME_MS,
    loop=0,
    quality=80,
    method=6,
  )


if __name__ == "__main__":
  main(Path(sys.argv[1]))
