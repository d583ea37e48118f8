"""What is done to a video on its way: coding, scaling, cropping."""

import io

import av
import cv2
import numpy as np

from data_pipelines.media.image import read_image
from speak_jax.common import packaged


def portrait(side: int, n: int) -> np.ndarray:
  """The example portrait as a video of n frames whose middle part moves."""
  whole = read_image(packaged.PORTRAIT)[:660, :660]
  still = cv2.resize(whole, (side, side), interpolation=cv2.INTER_AREA)
  frames = np.repeat(still[None], n, 0)
  a, b = side // 4, side - side // 4
  for i, frame in enumerate(frames):
    step = round(3 * np.sin(i / 3))
    frame[a:b, a:b] = still[a:b, a + step : b + step]
  return frames


def coded(frames: np.ndarray, crf: int, preset: str = "medium") -> np.ndarray:
  """H.264 there and back."""
  file = io.BytesIO()
  with av.open(file, "w", format="mp4") as out:
    stream = out.add_stream("libx264", rate=25)
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
  with av.open(file) as back:
    return np.stack(
      [x.to_ndarray(format="rgb24") for x in back.decode(video=0)]
    )


def halved(frames: np.ndarray) -> np.ndarray:
  """Half the width and height."""
  size = frames.shape[2] // 4 * 2, frames.shape[1] // 4 * 2
  return np.stack(
    [cv2.resize(x, size, interpolation=cv2.INTER_AREA) for x in frames]
  )


def cropped(frames: np.ndarray) -> np.ndarray:
  """A tenth of each side away, more of it above and on the right."""
  height, width = frames.shape[1:3]
  top, left = height * 6 // 200 * 2, width * 3 // 200 * 2
  rows, columns = height * 9 // 20 * 2, width * 9 // 20 * 2
  return frames[:, top : top + rows, left : left + columns]
