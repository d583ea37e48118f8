"""Frames through H.264 in memory: what a video file leaves of them."""

import io
from fractions import Fraction

import av
import numpy as np
from jaxtyping import UInt8


def round_trip(
  frames: UInt8[np.ndarray, "n h w 3"],
  fps: float,
  crf: int,
  preset: str = "medium",
) -> UInt8[np.ndarray, "m h w 3"]:
  """Encodes frames as an mp4 (libx264, yuv420p) and decodes them again.

  Odd sides are made even by repeating the last line, and cut off again. m is
  n unless the codec loses frames.

  Args:
    frames: RGB, 0 to 255.
    fps: Frames/s of the file.
    crf: Constant rate factor of x264; 0 is lossless, 51 the worst.
    preset: Preset of x264.
  """
  _, height, width, _ = frames.shape
  edges = ((0, 0), (0, height % 2), (0, width % 2), (0, 0))
  frames = np.pad(frames, edges, mode="edge")
  file = io.BytesIO()
  with av.open(file, "w", format="mp4") as output:
    rate = Fraction(fps).limit_denominator(1001)
    stream = output.add_stream("libx264", rate=rate)
    stream.height, stream.width = frames.shape[1:3]
    stream.pix_fmt = "yuv420p"
    # One thread: the bytes must not depend on the machine.
    stream.options = {"crf": str(crf), "preset": preset, "threads": "1"}
    for frame in frames:
      picture = av.VideoFrame.from_ndarray(frame, format="rgb24")
      output.mux(stream.encode(picture))
    output.mux(stream.encode(None))
  file.seek(0)
  with av.open(file, "r") as video:
    decoded = [x.to_ndarray(format="rgb24") for x in video.decode(video=0)]
  return np.stack(decoded)[:, :height, :width]
