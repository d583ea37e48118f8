"""What is done to a video on its way: coding, scaling, cropping, another rate.

Frames are arrays (n h w 3), RGB, before and after.
"""

import io
from collections.abc import Callable

import av
import cv2
import numpy as np
from jaxtyping import UInt8

Frames = UInt8[np.ndarray, "_ _ _ 3"]
CRF = 23  # x264's own, where nothing else is said


def encoded(
  frames: Frames, crf: int, preset: str = "medium", rate: int = 25
) -> io.BytesIO:
  """Codes frames as H.264 in an mp4."""
  file = io.BytesIO()
  with av.open(file, "w", format="mp4") as out:
    stream = out.add_stream("libx264", rate=rate)
    stream.height, stream.width = frames.shape[1:3]
    stream.pix_fmt = "yuv420p"
    stream.options = {"crf": str(crf), "preset": preset, "threads": "1"}
    for frame in frames:
      picture = av.VideoFrame.from_ndarray(
        np.ascontiguousarray(frame), format="rgb24"
      )
      out.mux(stream.encode(picture))
    out.mux(stream.encode(None))
  file.seek(0)
  return file


def decoded(file: io.BytesIO) -> Frames:
  """Reads a file's frames."""
  with av.open(file, "r") as back:
    return np.stack(
      [x.to_ndarray(format="rgb24") for x in back.decode(video=0)]
    )


def coded(
  frames: Frames, crf: int, preset: str = "medium", rate: int = 25
) -> Frames:
  """H.264 there and back."""
  return decoded(encoded(frames, crf, preset, rate))


def shipped(frames: Frames) -> Frames:
  """As `media.mp4` writes them."""
  return coded(frames, 18, "veryfast")


def remuxed(frames: Frames) -> Frames:
  """Coded, and its packets copied to a file of another kind."""
  file = io.BytesIO()
  with (
    av.open(encoded(frames, 18, "veryfast"), "r") as source,
    av.open(file, "w", format="matroska") as out,
  ):
    stream = out.add_stream_from_template(source.streams.video[0])
    for packet in source.demux(video=0):
      if packet.size:
        packet.stream = stream
        out.mux(packet)
  file.seek(0)
  return decoded(file)


def halved(frames: Frames) -> Frames:
  """Half the width and height."""
  size = frames.shape[2] // 4 * 2, frames.shape[1] // 4 * 2
  return np.stack(
    [cv2.resize(x, size, interpolation=cv2.INTER_AREA) for x in frames]
  )


def cropped(frames: Frames) -> Frames:
  """A tenth of each side away, more of it above and on the right."""
  height, width = frames.shape[1:3]
  top, left = height * 6 // 200 * 2, width * 3 // 200 * 2
  rows, columns = height * 9 // 20 * 2, width * 9 // 20 * 2
  return frames[:, top : top + rows, left : left + columns]


def faster(frames: Frames, before: float = 25, after: float = 30) -> Frames:
  """At another rate, each frame blended of the two beside its time."""
  count = round(len(frames) * after / before)
  at = np.minimum(np.arange(count) * before / after, len(frames) - 1)
  low = at.astype(int)
  high = np.minimum(low + 1, len(frames) - 1)
  part = (at - low)[:, None, None, None]
  mixed = frames[low] * (1 - part) + frames[high] * part
  return np.rint(mixed).astype(np.uint8)


# By the names of the table, each on what `shipped` gives.
WAYS: dict[str, Callable[[Frames], Frames]] = {
  "nothing": lambda x: x,
  "crf 28": lambda x: coded(x, 28),
  "half size": lambda x: coded(halved(x), CRF),
  "re-mux": remuxed,
  "10 % crop": lambda x: coded(cropped(x), CRF),
  "25 to 30 fps": lambda x: coded(faster(x), CRF, rate=30),
}
