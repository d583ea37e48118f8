"""Pixels that are not square; films and pictures, turned or mirrored."""

from fractions import Fraction

import av
import cv2
import numpy as np
import pillow_heif
import pytest
from av.video.frame import VideoFrame
from PIL import Image

from data_pipelines.media import decoder
from tests.reported.pictures import (
  BT601,
  apart,
  colours,
  film,
  looks,
  seen,
  yuv,
)


@pytest.mark.parametrize(
  ("aspect", "shape"),
  [((64, 45), (576, 1024)), ((16, 15), (576, 768)), ((8, 9), (480, 640))],
)
def test_pixels_become_square(tmp_path, aspect, shape):
  height = shape[0]
  circle = np.full((height * 3 // 2, 720), 128, np.uint8)
  circle[:height] = 30
  middle, radius = (360, height // 2), height // 3
  axes = (round(radius * aspect[1] / aspect[0]), radius)
  cv2.ellipse(circle[:height], middle, axes, 0, 0, 360, 220, -1)
  path = tmp_path / "a.mpg"
  with av.open(str(path), "w") as out:
    stream = out.add_stream("mpeg2video", rate=25)
    stream.width, stream.height, stream.pix_fmt = 720, height, "yuv420p"
    stream.bit_rate = 4_000_000
    stream.codec_context.sample_aspect_ratio = Fraction(*aspect)
    for i in range(5):
      frame = VideoFrame.from_ndarray(circle, format="yuv420p")
      frame.pts, frame.time_base = i, Fraction(1, 25)
      out.mux(stream.encode(frame))
    out.mux(stream.encode(None))
  picture = seen(path)[0][0]
  assert picture.shape[:2] == shape
  info = decoder.probe(path)
  assert (info.height, info.width) == shape
  inside = picture[..., 0] > 128
  wide, high = (
    np.ptp(np.flatnonzero(inside.any(0))),
    np.ptp(np.flatnonzero(inside.any(1))),
  )
  assert wide / high == pytest.approx(1, abs=0.03)


# Where a pixel at x, y is shown: the eight ways of EXIF, 1 to 8.
WAYS = {
  1: lambda a: a,
  2: np.fliplr,
  3: lambda a: np.rot90(a, 2),
  4: np.flipud,
  5: lambda a: a.swapaxes(0, 1),
  6: lambda a: np.rot90(a, -1),
  7: lambda a: np.rot90(a.swapaxes(0, 1), 2),
  8: np.rot90,
}


# The same as a display matrix: a, b, c, d of x' = a x + c y, y' = b x + d y.
MATRICES = {
  1: (1, 0, 0, 1), 2: (-1, 0, 0, 1), 3: (-1, 0, 0, -1), 4: (1, 0, 0, -1),
  5: (0, 1, 1, 0), 6: (0, 1, -1, 0), 7: (0, -1, -1, 0), 8: (0, -1, 1, 0),
}  # fmt: skip


@pytest.mark.parametrize("way", WAYS)
def test_every_display_matrix(tmp_path, way):
  rgb = colours(64, 96)
  a, b, c, d = MATRICES[way]
  matrix = [x << 16 for x in (a, b, 0, c, d, 0, 0, 0)] + [1 << 30]
  planes = yuv(rgb / 255, BT601)
  path = film(tmp_path / "a.mp4", planes, "yuv420p", matrix=matrix)
  frames, said = seen(path)
  want = WAYS[way](rgb)
  assert frames[0].shape == want.shape and said == []
  assert apart(frames[0], want) < 1.5
  info = decoder.probe(path)
  assert (info.height, info.width) == want.shape[:2]


def test_mirrored_mp4(reported):
  mirrored, said = seen(reported / "mirrored.mp4")
  plain, _ = seen(reported / "ok_pose.mp4")
  assert said == [] and len(mirrored) == len(plain)
  # Its pixels are stored mirrored, and its matrix mirrors them back.
  for t in (0, 9, 30):
    assert np.abs(mirrored[t].astype(float) - plain[t]).mean() < 1.5


@pytest.mark.parametrize(
  "suffix", ["jpg", "png", "webp", "tif", "heic", "avif"]
)
@pytest.mark.parametrize("way", WAYS)
def test_every_orientation_of_a_picture(tmp_path, way, suffix):
  rgb = colours(64, 96)
  exif = Image.Exif()
  exif[0x0112] = way
  path = tmp_path / f"a.{suffix}"
  quality = {} if suffix in ("png", "tif") else {"quality": 95}
  if suffix == "heic":
    pillow_heif.from_pillow(Image.fromarray(rgb)).save(
      path, exif=exif.tobytes(), quality=95
    )
  else:
    Image.fromarray(rgb).save(path, exif=exif, **quality)
  got = looks(path)
  assert got.shape == WAYS[way](rgb).shape
  assert apart(got, WAYS[way](rgb)) < 4
