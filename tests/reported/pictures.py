"""Films and pictures of fields of many colours, and how far they are apart."""

import warnings
from fractions import Fraction

import av
import numpy as np
from av.video.frame import VideoFrame

from data_pipelines.media import decoder
from data_pipelines.media.error import MediaWarning

BT709, BT601, BT2020 = 1, 5, 9  # H.273's matrices


def seen(path, **args) -> tuple[list[np.ndarray], list[str]]:
  """All frames of a file, and what is said of it."""
  with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always", MediaWarning)
    frames = list(decoder.read_frames(path, **args))
  return frames, [str(x.message).removeprefix(f"{path}: ") for x in caught]


def looks(path) -> np.ndarray:
  """The only picture of a file about which nothing is said."""
  (picture,), said = seen(path)
  assert said == []
  return picture


def colours(height=64, width=96) -> np.ndarray:
  """Fields of many colours, as large as chroma's samples need them."""
  rng = np.random.default_rng(3)
  fields = rng.integers(20, 236, (height // 16, width // 16, 3), np.uint8)
  return fields.repeat(16, 0).repeat(16, 1)


def apart(a: np.ndarray, b: np.ndarray) -> float:
  """Mean difference in levels, away from the fields' edges."""
  inner = np.abs(a.astype(float) - b)[8::16, 8::16]
  return float(inner.mean())


def film(path, planes, format, tags=(), codec="libx264", n=5, matrix=None):
  """A film of one picture, given as its planes; tags: matrix, range and so."""
  with av.open(str(path), "w") as out:
    stream = out.add_stream(codec, rate=25)
    frame = VideoFrame.from_ndarray(planes, format=format)
    stream.width, stream.height = frame.width, frame.height
    stream.pix_fmt = format
    lossless = {"x265-params": "lossless=1:log-level=none"}
    stream.options = lossless if codec == "libx265" else {"qp": "0"}
    if matrix is not None:
      stream.set_display_matrix(matrix)
    for name, value in dict(tags).items():
      setattr(stream.codec_context, name, value)
    for i in range(n):
      frame = VideoFrame.from_ndarray(planes, format=format)
      for name, value in dict(tags).items():
        setattr(frame, name, value)
      frame.pts, frame.time_base = i, Fraction(1, 25)
      out.mux(stream.encode(frame))
    out.mux(stream.encode(None))
  return path


def yuv(rgb: np.ndarray, matrix: int, full: bool = False, bits: int = 8):
  """R'G'B', 0 to 1, as planes of 4:2:0."""
  red, blue = {
    BT709: (0.2126, 0.0722), BT601: (0.299, 0.114), BT2020: (0.2627, 0.0593)
  }[matrix]  # fmt: skip
  y = rgb @ [red, 1 - red - blue, blue]
  u, v = (rgb[..., 2] - y) / (2 - 2 * blue), (rgb[..., 0] - y) / (2 - 2 * red)
  u, v = (x.reshape(x.shape[0] // 2, 2, -1, 2).mean((1, 3)) for x in (u, v))
  most, unit = 2**bits - 1, 2 ** (bits - 8)
  if full:
    parts = (most * y, most * u + 128 * unit, most * v + 128 * unit)
  else:
    parts = (
      unit * (16 + 219 * y), *(unit * (128 + 224 * x) for x in (u, v))
    )  # fmt: skip
  planes = np.concatenate([x.ravel() for x in parts]).round()
  kind = np.uint8 if bits == 8 else np.uint16
  return planes.astype(kind).reshape(-1, rgb.shape[1])


def to_2020(rgb: np.ndarray) -> np.ndarray:
  """SRGB pixels as BT.2020's linear light (the matrix of ITU-R BT.2087)."""
  matrix = [[0.6274, 0.3293, 0.0433], [0.0691, 0.9195, 0.0114],
            [0.0164, 0.0880, 0.8956]]  # fmt: skip
  light = rgb / 255
  light = np.where(
    light <= 0.04045, light / 12.92, ((light + 0.055) / 1.055) ** 2.4
  )
  return light @ np.transpose(matrix)


def hlg(light: np.ndarray) -> np.ndarray:
  """The signal of ITU-R BT.2100, white at 75 %."""
  light = light * 0.2650
  high = 0.17883277 * np.log(np.maximum(12 * light - 0.28466892, 1e-9))
  return np.where(light <= 1 / 12, np.sqrt(3 * light), high + 0.55991073)


def pq(light: np.ndarray) -> np.ndarray:
  """The signal of ITU-R BT.2100, white at 203 nits."""
  power = (light * 203 / 10_000) ** (2610 / 16384)
  high = 0.8359375 + 18.8515625 * power
  return (high / (1 + 18.6875 * power)) ** 78.84375
