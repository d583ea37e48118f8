"""What people have that is *seen*: each file of a kind, and the right values.

Files of each kind are made here. The very ones that people sent lie in
shared/data/reported; where that is missing, their tests (those with the fixture
`reported`) are left out.
"""

import io
import itertools
import re
import struct
import warnings
import zlib
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pillow_heif
import pytest
from av.video.frame import VideoFrame
from PIL import Image, ImageCms

from data_pipelines.dataset.pictures import decode_frame
from data_pipelines.faces import align, cut, follow, footage, portrait
from data_pipelines.faces.follow import NoFaceError
from data_pipelines.faces.tracker import Tracker
from data_pipelines.media import colour, declared, decoder, image, limits, mp4
from data_pipelines.media.error import MediaError, MediaWarning, Rejected
from data_pipelines.synthetic import (
  demo_inputs,
  drawing,
  factors,
  head,
  render,
)
from speak_jax import spec
from speak_jax.inference.driver import VideoDriver
from speak_jax.inference.inputs import Rules
from tests import awkward, glass
from tests.reported import heic

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


# --- what a file says of its pixels ----------------------------------------


@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize("matrix", [BT709, BT601])
def test_matrix_and_range_are_obeyed(tmp_path, matrix, full):
  rgb = colours()
  tags = {"colorspace": matrix, "color_range": 2 if full else 1}
  planes = yuv(rgb / 255, matrix, full)
  frames, said = seen(film(tmp_path / "a.mp4", planes, "yuv420p", tags))
  assert len(frames) == 5 and said == []
  assert apart(frames[0], rgb) < 1.5


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


@pytest.mark.parametrize(
  ("transfer", "encode"), [(colour.HLG, hlg), (colour.PQ, pq)]
)
def test_high_dynamic_range_looks_like_the_sdr_original(
  tmp_path, transfer, encode
):
  rgb = colours()
  planes = yuv(encode(to_2020(rgb)), BT2020, bits=10)
  tags = {
    "colorspace": BT2020,
    "color_range": 1,
    "color_trc": transfer,
    "color_primaries": colour.BT2020,
  }
  path = film(tmp_path / "a.mov", planes, "yuv420p10le", tags, "libx265")
  frames, said = seen(path)
  name = "HLG" if transfer == colour.HLG else "PQ"
  assert said == [f"HDR ({name}), tone-mapped to standard range"]
  assert apart(frames[0], rgb) < 3.2
  dull = frames[0].std() / rgb.std()
  assert 0.95 < dull < 1.02


def test_what_is_brighter_than_white_keeps_its_order_and_hue():
  signal = np.zeros((4, 4, 3), np.uint8)
  signal[..., 0] = [[191], [210], [235], [255]]
  signal[..., 1:] = signal[..., :1] - 60
  shown = colour.to_srgb(signal, colour.Space(colour.HLG, colour.BT709))
  assert (np.diff(shown[:, 0, 0].astype(int)) >= 0).all()
  assert (shown[..., 0] > shown[..., 1]).all() and shown[-1, 0, 0] >= 254


def test_hdr_hlg_mov(reported):
  frames, said = seen(reported / "hdr_hlg.mov")
  assert said == ["HDR (HLG), tone-mapped to standard range"]  # once
  plain, _ = seen(reported / "ok_emotion.mp4")
  assert len(frames) == len(plain)
  for t in (0, 25, 49):
    large = cv2.resize(plain[t], (512, 512), interpolation=cv2.INTER_CUBIC)
    difference = frames[t].astype(float) - large
    assert np.abs(difference).mean() < 3
    assert np.abs(difference.mean((0, 1))).max() < 1.5


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


def profile(primaries: int, gamma: float, space: bytes = b"RGB ") -> bytes:
  """A small ICC profile: three primaries, or grey, and one gamma."""
  adapt = np.array([[1.0479, 0.0229, -0.0502], [0.0296, 0.9904, -0.0171],
                    [-0.0092, 0.0151, 0.7519]])  # fmt: skip
  columns = adapt @ colour._to_xyz(primaries)

  def number(x):
    return struct.pack(">i", round(x * 65536))

  curve = (
    b"curv" + bytes(4) + struct.pack(">IH", 1, round(gamma * 256)) + b"\0\0"
  )
  white = b"XYZ " + bytes(4) + b"".join(map(number, (0.9642, 1, 0.8249)))
  tags = {
    b"wtpt": white,
    b"cprt": b"text" + bytes(4) + b"none\0\0\0\0",
    b"desc": b"desc" + bytes(4) + struct.pack(">I", 2) + b"x\0" + bytes(80),
  }
  if space == b"GRAY":
    tags[b"kTRC"] = curve
  else:
    for name, column in zip((b"r", b"g", b"b"), columns.T, strict=True):
      tags[name + b"XYZ"] = b"XYZ " + bytes(4) + b"".join(map(number, column))
      tags[name + b"TRC"] = curve
  table, data, at = b"", b"", 128 + 4 + 12 * len(tags)
  for name, body in tags.items():
    body += bytes(-len(body) % 4)
    table += name + struct.pack(">II", at + len(data), len(body))
    data += body
  head = struct.pack(">I4sI4s4s4s", at + len(data), b"none", 0x02400000,
                     b"mntr", space, b"XYZ ")  # fmt: skip
  head += struct.pack(">6H4s", 2026, 1, 1, 0, 0, 0, b"acsp")
  head += bytes(28) + b"".join(map(number, (0.9642, 1, 0.8249)))
  return head.ljust(128, b"\0") + struct.pack(">I", len(tags)) + table + data


def in_space(rgb: np.ndarray, primaries: int, gamma: float) -> np.ndarray:
  """SRGB pixels as pixels of another space."""
  matrix = np.linalg.inv(colour._to_xyz(primaries)) @ colour._to_xyz(1)
  light = (colour.decode(rgb / 255) @ matrix.T).clip(0, 1)
  return (255 * light ** (1 / gamma)).round().astype(np.uint8)


@pytest.mark.parametrize(
  "suffix", ["jpg", "png", "webp", "tif", "heic", "avif"]
)
@pytest.mark.parametrize("primaries", [colour.P3, colour.ADOBE, colour.BT2020])
def test_a_colour_profile_is_obeyed(tmp_path, primaries, suffix):
  rgb = colours()
  told = profile(primaries, 1.8)
  assert ImageCms.getOpenProfile(io.BytesIO(told))
  stored = Image.fromarray(in_space(rgb, primaries, 1.8))
  path = tmp_path / f"a.{suffix}"
  quality = {} if suffix in ("png", "tif") else {"quality": 98}
  if suffix == "heic":
    stored.info["icc_profile"] = told
    pillow_heif.from_pillow(stored).save(path, quality=98)
  else:
    stored.save(path, icc_profile=told, **quality)
  assert apart(looks(path), rgb) < 4
  assert apart(np.asarray(stored), rgb) > 12  # what it would be otherwise


def test_profiles_of_grey_alpha_and_palette(tmp_path):
  grey = colours()[..., 0]
  lighter = (255 * (grey / 255) ** (2.2 / 1.8)).round().astype(np.uint8)
  Image.fromarray(lighter).save(
    tmp_path / "grey.png", icc_profile=profile(1, 1.8, b"GRAY")
  )
  got = looks(tmp_path / "grey.png")
  assert apart(got, np.repeat(grey[..., None], 3, -1)) < 3
  rgb = colours()
  stored = in_space(rgb, colour.P3, 1.8)
  told = profile(colour.P3, 1.8)
  alpha = np.full((*rgb.shape[:2], 1), 255, np.uint8)
  alpha[:, 48:] = 0
  Image.fromarray(np.concatenate([stored, alpha], -1)).save(
    tmp_path / "alpha.png", icc_profile=told
  )
  got = looks(tmp_path / "alpha.png")
  assert apart(got[:, :48], rgb[:, :48]) < 2 and (got[:, 48:] == 128).all()
  palette = Image.fromarray(stored).quantize(256, dither=Image.Dither.NONE)
  palette.save(tmp_path / "palette.png", icc_profile=told)
  assert apart(looks(tmp_path / "palette.png"), rgb) < 3


def test_a_broken_or_foreign_profile_is_said(tmp_path):
  rgb = colours()
  picture = Image.fromarray(rgb)
  picture.save(tmp_path / "broken.png", icc_profile=b"no profile" * 20)
  picture.save(tmp_path / "grey.png", icc_profile=profile(1, 1, b"GRAY"))
  for name, reason in (("broken", "broken"), ("grey", "for GRAY")):
    (got,), said = seen(tmp_path / f"{name}.png")
    assert (got == rgb).all() and len(said) == 1 and reason in said[0]


def with_chunk(path, rgb: np.ndarray, *chunks: tuple[bytes, bytes]) -> Path:
  """A PNG with these chunks in front of its pixels."""
  buffer = io.BytesIO()
  pixels = (255 * rgb).round().astype(np.uint8)
  Image.fromarray(pixels).save(buffer, "PNG")
  made = buffer.getvalue()
  added = b"".join(
    struct.pack(">I", len(body)) + kind + body
    + struct.pack(">I", zlib.crc32(kind + body))
    for kind, body in chunks
  )  # fmt: skip
  path.write_bytes(made[:33] + added + made[33:])
  return path


@pytest.mark.parametrize(
  ("curve", "code"), [(hlg, colour.HLG), (pq, colour.PQ)]
)
@pytest.mark.parametrize("kind", ["png", "avif"])
def test_hdr_pictures_look_like_the_sdr_original(tmp_path, curve, code, kind):
  shown = colours()
  coded = curve(to_2020(shown))
  path = tmp_path / f"a.{kind}"
  if kind == "png":
    with_chunk(path, coded, (b"cICP", bytes([9, code, 0, 1])))
  else:
    planes = (255 * coded).round().astype(np.uint8)
    Image.fromarray(planes).save(path, quality=100, subsampling="4:4:4")
    # Pillow says sRGB's (1, 13), in the same place.
    made = path.read_bytes()
    plain = b"colrnclx" + struct.pack(">HH", 1, 13)
    assert made.count(plain) == 1
    path.write_bytes(
      made.replace(plain, b"colrnclx" + struct.pack(">HH", 9, code))
    )
  (got,), said = seen(path)
  assert len(said) == 1 and "tone-mapped" in said[0]
  assert apart(got, shown) < 5


@pytest.mark.parametrize("gamma", [1.0, 1 / 1.8, 1 / 2.2])
def test_a_pngs_own_gamma_is_obeyed(tmp_path, gamma):
  shown = colours()
  says = (b"gAMA", struct.pack(">I", round(1e5 * gamma)))
  light = colour.decode(shown / 255)
  pixels = shown / 255 if gamma == 1 / 2.2 else light**gamma
  got = looks(with_chunk(tmp_path / "a.png", pixels, says))
  assert apart(got, shown) < 2
  # sRGB is what counts of a file that says that too.
  both = (b"sRGB", b"\0"), says
  assert apart(looks(with_chunk(tmp_path / "b.png", pixels, *both)), got) == (
    pytest.approx(apart((255 * pixels).round(), got), abs=0.01)
  )


def test_a_png_of_linear_light(tmp_path):
  shown = colours()
  says = (b"cICP", bytes([1, colour.LINEAR, 0, 1]))
  light = colour.decode(shown / 255)
  got = looks(with_chunk(tmp_path / "a.png", light, says))
  assert apart(got, shown) < 2


def test_a_pngs_own_primaries_are_obeyed(tmp_path):
  shown = colours()
  wide = colour.encode(to_2020(shown))
  xy = (0.3127, 0.329, 0.708, 0.292, 0.170, 0.797, 0.131, 0.046)
  body = struct.pack(">8I", *(round(1e5 * x) for x in xy))
  gamma = (b"gAMA", struct.pack(">I", 45455))
  got = looks(with_chunk(tmp_path / "a.png", wide, gamma, (b"cHRM", body)))
  assert apart(got, shown) < 3


@pytest.mark.parametrize("at", [0, 9, 40, 80, 200])
def test_a_broken_index_of_a_picture_is_borne(tmp_path, at):
  """What says of the colours is broken, and nothing worse comes of it."""
  path = tmp_path / "a.avif"
  Image.fromarray(colours()).save(path)
  made = bytearray(path.read_bytes())
  made[at : at + 8] = b"\xff" * 8
  path.write_bytes(made)
  declared.avif_space(path)
  declared.png_space(path)


@pytest.mark.parametrize("side", [64, 720])
def test_a_video_says_its_colours(tmp_path, side):
  """BT.709's from 720 lines on, BT.601's below; both as they were."""
  shown = colours(720, 720)[:side, :side]
  path = tmp_path / "a.mp4"
  mp4.write_video(path, [shown] * 2)
  matrix = BT709 if side == 720 else 6  # of BT.601 with 525 lines
  with av.open(str(path)) as container:
    stream = container.streams.video[0]
    said = stream.codec_context
    assert (said.colorspace, said.color_range) == (matrix, 1)
    assert (said.color_primaries, said.color_trc) == (1, 1)
    planes = next(container.decode(stream)).to_ndarray()
  want = yuv(shown / 255, BT709 if side == 720 else BT601)
  assert apart(planes[:side], want[:side]) < 3
  assert b"colrnclx" in path.read_bytes()
  assert apart(seen(path)[0][0], shown) < 5


def test_adobe_rgb_that_only_exif_tells(tmp_path):
  rgb = colours()
  exif = Image.Exif()
  exif.get_ifd(0x8769)[0xA001] = 0xFFFF
  exif.get_ifd(0x8769)[0xA005] = {1: "R03"}
  path = tmp_path / "_DSC0001.jpg"
  stored = Image.fromarray(in_space(rgb, colour.ADOBE, 2.2))
  stored.save(path, exif=exif, quality=98)
  assert apart(looks(path), rgb) < 4 < apart(np.asarray(stored), rgb)


def test_wide_prophoto_jpg(reported):
  got, plain = (
    looks(reported / name).astype(float)
    for name in ("wide_prophoto.jpg", "ok_identity.png")
  )
  assert np.abs(got - plain).mean() < 4


# --- content instead of suffix ---------------------------------------------


def test_heic_of_many_tiles(tmp_path):
  rgb = colours(256, 384)
  heic.write_grid(tmp_path / "a.heic", rgb, 128)
  got = looks(tmp_path / "a.heic")
  assert got.shape == rgb.shape
  assert apart(got, rgb) < 4


def test_iphone_grid_heic(reported):
  whole = looks(reported / "iphone_grid.heic")
  assert whole.shape == (2048, 1536, 3)
  face = looks(reported / "ok_identity.png")
  inner = whole[418:1638, 154:1374]  # where the person was put
  small = cv2.resize(inner, (256, 256), interpolation=cv2.INTER_AREA)
  assert np.abs(small.astype(float) - face).mean() < 20


@pytest.mark.parametrize("name", ["heic_named.jpg", "photo.jfif"])
def test_names_do_not_count(reported, name):
  assert looks(reported / name).shape == (2016, 1512, 3)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF", "BMP", "GIF",
                                  "AVIF", "HEIF"])  # fmt: skip
@pytest.mark.parametrize("suffix", ["mp4", "jpg", "dat", ""])
def test_pictures_of_any_name(tmp_path, kind, suffix):
  path = tmp_path / f"a.{suffix}"
  with open(path, "wb") as file:
    Image.fromarray(colours()).save(file, kind)
  limit = 40 if kind == "GIF" else 10
  assert apart(looks(path), colours()) < limit


@pytest.mark.parametrize("kind", ["GIF", "PNG", "WEBP", "AVIF"])
def test_moving_pictures_are_videos(tmp_path, kind):
  levels = (40, 120, 200)
  first, *rest = (Image.new("RGB", (64, 48), (x, x, x)) for x in levels)
  with open(tmp_path / "a.jpg", "wb") as file:
    first.save(
      file, kind, save_all=True, append_images=rest, duration=[200, 400, 120]
    )
  frames, said = seen(tmp_path / "a.jpg")
  means = [frame.mean() for frame in frames]
  assert len(frames) == 18 and said == []
  assert [means[t] for t in (0, 9, 17)] == pytest.approx(levels, abs=4)
  info = decoder.probe(tmp_path / "a.jpg")
  assert info.frames == 3 and info.seconds == pytest.approx(0.72)
  assert decoder.read_image(tmp_path / "a.jpg").mean() == pytest.approx(
    40, abs=4
  )


@pytest.mark.parametrize(
  ("name", "frames"),
  [("anim.gif", 20), ("clip.gif", 50), ("clip.wmv", 50), ("clip.mts", 50),
   ("clip.ogv", 50)],
)  # fmt: skip
def test_containers(reported, name, frames):
  got, said = seen(reported / name)
  assert len(got) == frames and said == []
  like = "ok_identity.png" if name == "anim.gif" else "ok_emotion.mp4"
  plain = seen(reported / like)[0][0]
  assert np.abs(got[0].astype(float) - plain).mean() < 25


@pytest.mark.parametrize(
  ("suffix", "codec", "name"),
  [("mov", "libx264", "a.jpg"), ("mkv", "libx264", "a.mp4"),
   ("webm", "libvpx", "a.avi"), ("wmv", "wmv2", "a.png"),
   ("ts", "libx264", "a"), ("mxf", "mpeg2video", "a.mov"),
   ("ogv", "libvpx", "a.mp4")],
)  # fmt: skip
def test_videos_of_any_name(tmp_path, suffix, codec, name):
  path = tmp_path / f"made.{suffix}"
  rgb = colours(64, 96)
  with av.open(str(path), "w") as out:
    stream = out.add_stream(codec, rate=25)
    stream.width, stream.height, stream.pix_fmt = 96, 64, "yuv420p"
    stream.bit_rate = 2_000_000
    for i in range(10):
      frame = VideoFrame.from_ndarray(rgb, format="rgb24")
      frame.pts, frame.time_base = i, Fraction(1, 25)
      out.mux(stream.encode(frame))
    out.mux(stream.encode(None))
  frames, _ = seen(path.rename(tmp_path / name))
  assert len(frames) == 10
  assert apart(frames[-1], rgb) < 12


def test_what_is_neither_is_told_what_is_read(tmp_path):
  (tmp_path / "face.jpg").write_bytes(b"%PDF-1.7 and so on" * 50)
  with pytest.raises(MediaError, match=r"kinds that are: mp4, mov.*JPEG.*HEIC"):
    seen(tmp_path / "face.jpg")


# --- large ones, and those that last ---------------------------------------


def test_mp108_jpg(reported):
  (got,), said = seen(reported / "mp108.jpg")
  assert got.shape == (4500, 6000, 3)
  assert said == ["108 megapixels, read at 1/2 of its size"]


@pytest.mark.parametrize(
  ("kind", "mode"),
  [
    (kind, mode)
    for kind in ("JPEG", "PNG", "TIFF")
    for mode in ("RGB", "L", "P")
    if (kind, mode) != ("JPEG", "P")  # it has no palettes
  ],
)
def test_large_pictures_are_read_smaller(tmp_path, monkeypatch, kind, mode):
  low = limits.Limits(image_shown_pixels=64 * 96)
  monkeypatch.setattr(image, "LIMITS", low)
  rgb = colours().repeat(3, 0).repeat(3, 1)
  path = tmp_path / "a"
  with open(path, "wb") as file:
    Image.fromarray(rgb).convert(mode).save(file, kind)
  with pytest.warns(MediaWarning, match="0 megapixels, read at 1/3 of its"):
    got = image.read_image(path)
  whole = np.asarray(Image.open(path).convert("RGB"))
  assert abs(got.shape[0] - 64) < 33
  assert got.mean() == pytest.approx(whole.mean(), abs=3)


def test_still70_mp4(reported):
  frames, said = seen(reported / "still70.mp4")
  assert len(frames) == 1849 and said == []
  still = [(a == b).all() for a, b in itertools.pairwise(frames)]
  assert sum(still) == 1749  # 70 s, and a hundred pictures that move


def test_a_still_picture_may_last(tmp_path):
  Image.new("RGB", (16, 16)).save(
    tmp_path / "a.gif",
    save_all=True,
    append_images=[Image.new("RGB", (16, 16), "white")],
    duration=[300_000, 40],
  )
  frames, said = seen(tmp_path / "a.gif", fps=1.0)
  assert len(frames) == 300 and said == []


def test_a_screen_recording_may_stand_still(tmp_path):
  """One picture for 70 s, and ten that move."""
  shown = [np.full((32, 32, 3), 20 * i, np.uint8) for i in range(1, 12)]
  awkward.film(tmp_path / "a.mp4", shown, lasts=[1750] + [1] * 10)
  frames, said = seen(tmp_path / "a.mp4")
  assert len(frames) == 1760 and said == []
  still = [(a == b).all() for a, b in itertools.pairwise(frames)]
  assert sum(still) == 1749


# --- which way is up, and where the face is --------------------------------


@pytest.fixture(scope="module")
def tracker(face_models) -> Tracker:
  return Tracker(face_models)


@pytest.fixture(scope="module")
def drawn(face_models) -> list[np.ndarray]:
  """A drawn person for 30 frames of 256 px."""
  clip = demo_inputs.clip(0, 2, "neutral", 1, seconds=1.2)
  return [decode_frame(jpeg) for jpeg in clip.frames]


def is_upright(points: np.ndarray) -> bool:
  """Eyes level, left eye at the left, the mouth as far below as it should."""
  left, right, mouth = align.anchors(points)
  across = right[0] - left[0]
  below = mouth[1] - (left[1] + right[1]) / 2
  level = abs(right[1] - left[1]) < 0.2 * across
  return bool(across > 0 and level and 0.7 < below / across < 1.5)


def found_upright(path, tracker, which="largest"):
  """The footage of a file, its first face's landmarks, and what is said."""
  with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always", MediaWarning)
    found = footage.find(path, tracker, which)
    picture = next(found.frames(25.0))
  track = tracker.track([picture], found.rule)
  assert track.found[0] and is_upright(track.landmarks[0])
  said = [str(x.message).removeprefix(f"{path}: ") for x in caught]
  return found, track.landmarks[0], said


TURNED = {0: [], 1: ["the face lies on its side; turned upright"],
          2: ["the face is upside down; turned upright"],
          3: ["the face lies on its side; turned upright"]}  # fmt: skip


@pytest.mark.parametrize("suffix", ["png", "mp4"])
@pytest.mark.parametrize("turns", TURNED)
@pytest.mark.parametrize("tilt", [-20, 0, 20])
def test_the_faces_own_roll_decides(
  tmp_path, tracker, drawn, turns, tilt, suffix
):
  matrix = cv2.getRotationMatrix2D((128, 128), tilt, 0.8)
  wide = [
    cv2.copyMakeBorder(cv2.warpAffine(x, matrix, (256, 256)), 0, 64, 80, 0, 0)
    for x in (drawn if suffix == "mp4" else drawn[:1])
  ]
  turned = [np.ascontiguousarray(np.rot90(x, -turns)) for x in wide]
  path = tmp_path / f"a.{suffix}"
  if suffix == "mp4":
    mp4.write_video(path, turned)
  else:
    Image.fromarray(turned[0]).save(path)
  with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always", MediaWarning)
    found = footage.find(path, tracker)
    pictures = list(found.frames(25.0))
  assert found.turns == turns and pictures[0].shape == wide[0].shape
  assert [str(x.message).removeprefix(f"{path}: ") for x in caught] == TURNED[
    turns
  ]
  track = tracker.track(pictures)
  upright = tracker.track(wide)
  assert track.found.all()
  assert np.abs(track.landmarks - upright.landmarks).max() < 12
  assert track.pose[:, 2].mean() == pytest.approx(-tilt, abs=8)


@pytest.mark.parametrize(
  ("name", "turns"),
  [("side90.png", 3), ("rot180.png", 2), ("ai_side90.png", 3),
   ("upside.mp4", 2), ("ok_identity.png", 0), ("ok_pose.mp4", 0)],
)  # fmt: skip
def test_faces_are_turned_upright(reported, tracker, name, turns):
  found, points, said = found_upright(reported / name, tracker)
  assert found.turns == turns and said == TURNED[turns]
  like = {"side90.png": "ok_identity.png", "rot180.png": "ok_identity.png",
          "upside.mp4": "ok_pose.mp4"}  # fmt: skip
  if name in like:  # the very picture, turned
    _, upright, _ = found_upright(reported / like[name], tracker)
    assert np.abs(points - upright).max() < 4


def test_upside_mp4_is_prepared_upright(reported, face_models):
  with pytest.warns(MediaWarning, match="is upside down; turned up") as caught:
    (piece,) = cut.clips_of(reported / "upside.mp4", cut.Settings(size=128))
  assert len(caught) == 1  # said once, though it is read three times
  assert len(piece.frames) == 75
  assert all(is_upright(points) for points in piece.landmarks)
  assert np.abs(piece.pose[:, 2]).max() < 15


@pytest.mark.parametrize("turns", [1, 2])
def test_a_turned_video_is_prepared_upright(
  tmp_path, face_models, drawn, turns
):
  wide = [cv2.copyMakeBorder(x, 0, 64, 96, 0, 0) for x in drawn]
  mp4.write_video(tmp_path / "up.mp4", wide)
  mp4.write_video(tmp_path / "turned.mp4", [np.rot90(x, turns) for x in wide])
  settings = cut.Settings(size=64, allow_silent=True)
  (up,) = cut.clips_of(tmp_path / "up.mp4", settings)
  with pytest.warns(MediaWarning, match=TURNED[turns][0]) as caught:
    (found,) = cut.clips_of(tmp_path / "turned.mp4", settings)
  assert len(caught) == 1  # said once, though it is read three times
  assert np.abs(up.landmarks - found.landmarks).max() < 2.5
  np.testing.assert_allclose(up.crop, found.crop, atol=2)


def test_a_shot_on_its_head_is_rejected(tmp_path, face_models, drawn):
  still = [drawn[0]] * 30 + [np.ascontiguousarray(drawn[0][::-1, ::-1])] * 30
  mp4.write_video(tmp_path / "a.mp4", still)
  settings = cut.Settings(size=64, allow_silent=True)
  with pytest.warns(Rejected, match="not upright|no face|under 25"):
    (piece,) = cut.clips_of(tmp_path / "a.mp4", settings)
  assert piece.start == 0 and len(piece.frames) == 30
  assert all(is_upright(points) for points in piece.landmarks)


def test_stretches_of_one_reason_are_told_in_one_line(
  tmp_path, face_models, drawn
):
  """A camera that jumps about: no stretch lasts a second."""
  frames = []
  for t in range(75):
    x = 300 * (t // 12 % 2)
    frames.append(awkward.placed(drawn[t % 30], x, 0, 560, 256))
  mp4.write_video(tmp_path / "a.mp4", frames)
  settings = cut.Settings(size=64, allow_silent=True)
  with pytest.raises(MediaError) as caught:
    cut.clips_of(tmp_path / "a.mp4", settings)
  assert re.search(
    r"mp4: under 25 frames in 7 stretches from 0\.00 to 3\.00 s$",
    str(caught.value),
  )


def test_handheld_mp4_is_told_in_one_line(reported, face_models):
  settings = cut.Settings(size=64, allow_silent=True)
  with pytest.raises(MediaError) as caught:
    cut.clips_of(reported / "handheld.mp4", settings)
  assert re.search(
    r"mp4: under 25 frames in \d+ stretches from 0\.00 to 3\.00 s$",
    str(caught.value),
  )


class Undecided:
  """A tracker for which every side is as good as its opposite."""

  def votes(self, frame, which="largest", thorough=True):
    return np.array([0.8, 0, 0.75, 0])

  def track(self, frames, which="largest"):
    raise NotImplementedError

  def stream(self, frames, which="largest"):
    raise NotImplementedError


def test_what_does_not_tell_which_way_is_up_is_refused(
  tmp_path, drawn, monkeypatch
):
  path = tmp_path / "a.png"
  Image.fromarray(drawn[0]).save(path)
  with pytest.raises(MediaError, match=r"a\.png: which way up the face is"):
    footage.find(path, Undecided())
  monkeypatch.setattr(cut, "_tracker", Undecided)
  with pytest.raises(MediaError, match="which way up the face is"):
    cut.clips_of(path, cut.Settings(allow_silent=True))


def test_group4k_jpg(reported, tracker):
  path = reported / "group4k.jpg"
  found, points, said = found_upright(path, tracker)
  assert said == [] and found.turns == 0
  assert 80 < np.ptp(points[:, 0]) < 110  # of some 180 px of head
  boxed, points, _ = found_upright(path, tracker, (1490.0, 900.0, 200.0, 200.0))
  assert boxed.rule == (1490.0, 900.0, 200.0, 200.0)
  assert points[:, 0].min() > 1490 and points[:, 0].max() < 1690
  assert points[:, 1].min() > 900 and points[:, 1].max() < 1100


@pytest.mark.parametrize("scale", [0.35, 0.5, 0.8])
def test_small_faces_in_large_pictures_are_found(
  tmp_path, tracker, drawn, scale
):
  large = np.full((2160, 3840, 3), 90, np.uint8)
  small = cv2.resize(
    drawn[0], None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA
  )
  corners = ((300, 200), (1900, 1700), (3400, 900))
  for x, y in corners:
    large[y : y + len(small), x : x + len(small)] = small
  Image.fromarray(large).save(tmp_path / "a.png")
  place = (1900.0, 1700.0, float(len(small)), float(len(small)))
  for which in ("first", place):
    _, points, said = found_upright(tmp_path / "a.png", tracker, which)
    x, y = corners[0 if which == "first" else 1]
    assert said == [] and x < points[:, 0].min()
    assert points[:, 0].max() < x + len(small) + 8
    assert y < points[:, 1].min() and points[:, 1].max() < y + len(small) + 8


def test_a_box_follows_a_picture_that_is_turned(tmp_path, tracker, drawn):
  two = np.full((300, 700, 3), 90, np.uint8)
  two[20:276, 20:276], two[20:276, 420:676] = drawn[0], drawn[0]
  Image.fromarray(np.rot90(two)).save(tmp_path / "a.png")
  box = (20.0, 24.0, 256.0, 256.0)
  found, points, _ = found_upright(tmp_path / "a.png", tracker, box)
  assert found.turns == 3
  assert points[:, 0].min() > 420  # the right one
  assert found.rule == (420.0, 20.0, 256.0, 256.0)


@pytest.mark.parametrize(
  "box",
  [(9000, 0, 50, 50), (0, 9000, 50, 50), (-900, -900, 50, 50),
   (-1e30, 1e30, 1e30, 1e30), (1e9, 1e9, 1e-9, 1e-9)],
)  # fmt: skip
def test_a_box_beyond_the_picture_holds_no_face(tmp_path, tracker, drawn, box):
  path = tmp_path / "a.png"
  cv2.imwrite(str(path), drawn[0][..., ::-1])
  with pytest.raises(NoFaceError, match="no face found in the box"):
    footage.find(path, tracker, box)
  assert not tracker.track([drawn[0]], box).found[0]


def test_two_people_drawn_png(reported, tracker):
  path = reported / "two_people_drawn.png"
  _, points, _ = found_upright(path, tracker)
  assert points[:, 0].max() < 320
  _, points, _ = found_upright(path, tracker, (440.0, 110.0, 110.0, 130.0))
  assert points[:, 0].min() > 440


def test_a_face_is_searched_for_behind_a_title(tmp_path, tracker, drawn):
  path, asked = tmp_path / "a.mp4", []
  title = np.full((256, 256, 3), 30, np.uint8)
  cv2.putText(title, "PART ONE", (30, 130), 0, 1.2, (220, 220, 220), 3)
  mp4.write_video(path, [title] * 300 + drawn)
  found = footage.find(path, tracker, progress=asked.append)
  assert found.start == pytest.approx(12, abs=0.05)
  assert asked[-1] >= 12 and len(asked) == 61  # every look is told
  with pytest.raises(NoFaceError, match="no face found in 10 s"):
    footage.find(path, tracker, seconds=10.0)
  with pytest.warns(MediaWarning, match="no face in the first 12.0 s: left"):
    begins = found.with_lead()
  assert tracker.track(list(begins.frames(25.0))[:5]).found.all()


def test_title12_mp4(reported, tracker):
  path, asked = reported / "title12.mp4", []
  found = footage.find(path, tracker, progress=asked.append)
  assert found.start == pytest.approx(12, abs=0.05)
  assert asked[-1] >= 12 and len(asked) == 61  # every look is told
  with pytest.raises(NoFaceError, match="no face found in 10 s"):
    footage.find(path, tracker, seconds=10.0)
  with pytest.warns(MediaWarning, match="no face in the first 12.0 s: left"):
    begins = found.with_lead()
  assert tracker.track(list(begins.frames(25.0))[:5]).found.all()


@pytest.mark.parametrize(
  "name", ["wide_prophoto.jpg", "iphone_grid.heic", "heic_named.jpg",
           "photo.jfif", "mp108.jpg", "dvd169.mpg", "hdr_hlg.mov", "clip.mts",
           "clip.ogv", "clip.wmv", "clip.gif", "anim.gif", "mirrored.mp4"]
)  # fmt: skip
def test_their_faces_are_found_and_as_wide_as_they_are(reported, tracker, name):
  like = {"dvd169.mpg": "ok_emotion.mp4", "hdr_hlg.mov": "ok_emotion.mp4",
          "mirrored.mp4": "ok_pose.mp4"}  # fmt: skip
  if name.startswith("clip"):
    like[name] = "ok_emotion.mp4"
  (_, points, _), (_, plain, _) = (
    found_upright(reported / x, tracker)
    for x in (name, like.get(name, "ok_identity.png"))
  )
  wide, high = np.ptp(points, axis=0)
  assert wide / high == pytest.approx(
    np.divide(*np.ptp(plain, axis=0)), rel=0.05
  )


# --- heads in motion -------------------------------------------------------


def moved(path, tracker, n=200, squashed=False):
  """The crops of a pose video, the face's track in them, and what is said."""
  settings = glass.SETTINGS._replace(image=128)
  with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always", MediaWarning)
    motion = VideoDriver(path, n, settings, tracker, Rules())
    crops = [crop for crop in motion.crops() if crop is not None]
  said = [str(x.message).removeprefix(f"{path}: ") for x in caught]
  track = tracker.track(crops)
  assert track.found.all()
  assert squashed or all(map(is_upright, track.landmarks))
  extent = np.ptp(track.landmarks, axis=1).max(1)
  assert extent.min() > 70 and extent.max() < 105  # of 128 px, as in training
  return track, said


def test_a_head_that_keeps_its_place_has_a_still_square(tmp_path, tracker):
  mp4.write_video(tmp_path / "a.mp4", awkward.pictures(50, 7))
  track, said = moved(tmp_path / "a.mp4", tracker)
  assert said == [] and len(track.found) == 50
  assert np.ptp(track.landmarks.mean(1)[:, 0]) > 10  # its motion is kept


def test_ok_pose_mp4(reported, tracker):
  track, said = moved(reported / "ok_pose.mp4", tracker)
  assert said == [] and len(track.found) == 50
  assert np.ptp(track.landmarks.mean(1)[:, 0]) > 10  # its motion is kept


def test_handheld_mp4(reported, tracker):
  track, said = moved(reported / "handheld.mp4", tracker)
  assert len(track.found) == 75
  assert said == ["the face is 111 px and is enlarged to 128"]
  assert np.abs(track.landmarks.mean((0, 1)) - 63).max() < 6
  assert track.landmarks.mean(1).std(0).max() < 3  # shaking is taken out


def test_two_shots_mp4(reported, tracker):
  track, said = moved(reported / "two_shots.mp4", tracker)
  assert len(track.found) == 38 and track.shots == ()
  assert said == ["2 shots; the motion is that of the longest, 0.00 to 1.52 s"]


def test_a_change_of_size_within_a_video_is_said(tmp_path, tracker, drawn):
  """As a video call that adapts to its network: VP8 at two sizes."""
  path = tmp_path / "a.webm"
  with av.open(str(path), "w") as out:
    stream = out.add_stream("libvpx", rate=25)
    later = av.CodecContext.create("libvpx", "w")
    later.time_base, later.framerate = Fraction(1, 25), Fraction(25)
    for coder, shape, start in (
      (stream.codec_context, (180, 320), 0),
      (later, (320, 320), 25),
    ):
      coder.height, coder.width = shape
      coder.pix_fmt, coder.bit_rate = "yuv420p", 1_000_000
      for t in range(25):
        side = min(shape)
        small = cv2.resize(drawn[t], (side, side), interpolation=3)
        picture = awkward.placed(small, 0, 0, 320, shape[0])
        frame = VideoFrame.from_ndarray(picture, format="rgb24")
        frame.pts, frame.time_base = start + t, Fraction(1, 25)
        for packet in coder.encode(frame):
          packet.stream, packet.time_base = stream, Fraction(1, 25)
          out.mux(packet)
      for packet in coder.encode(None):
        packet.stream, packet.time_base = stream, Fraction(1, 25)
        out.mux(packet)
  track, said = moved(path, tracker, squashed=True)
  assert len(track.found) == 25
  assert said[:2] == [
    "changes its size from 320x180 to 320x320; all is shown at 320x180",
    "2 shots; the motion is that of the longest, 0.00 to 1.00 s",
  ]


def test_res_change_webm(reported, tracker):
  track, said = moved(reported / "res_change.webm", tracker, squashed=True)
  assert len(track.found) == 25
  assert said == [
    "changes its size from 320x180 to 320x320; all is shown at 320x180",
    "2 shots; the motion is that of the longest, 0.00 to 1.00 s",
  ]


@pytest.mark.parametrize("shake", [0, 12])
def test_a_face_that_walks_is_followed(tmp_path, tracker, drawn, shake):
  """Over three times its width; once with a camera that shakes."""
  rng = np.random.default_rng(0)
  places = np.linspace(40, 560, len(drawn)) + rng.uniform(-shake, shake, 30)
  frames = []
  for frame, x in zip(drawn, places.astype(int), strict=True):
    wide = np.full((300, 900, 3), 90, np.uint8)
    wide[30:286, x : x + 256] = frame
    frames.append(wide)
  mp4.write_video(tmp_path / "a.mp4", frames)
  track, said = moved(tmp_path / "a.mp4", tracker)
  assert said == [] and len(track.found) == 30
  assert np.abs(track.landmarks.mean(1)[:, 0] - 63).max() < 22
  still = tracker.track(drawn)
  assert np.abs(track.pose - still.pose).mean() < 3  # the head's own turns


def test_the_longest_of_three_shots_is_taken(tmp_path, tracker, drawn):
  canvas = np.full((300, 600, 3), 90, np.uint8)
  left, right = canvas.copy(), canvas[..., ::-1] // 3
  left[30:286, 30:286] = drawn[0]
  right[30:286, 320:576] = drawn[0][:, ::-1]
  frames = [left] * 10 + [right] * 30 + [left] * 12
  mp4.write_video(tmp_path / "a.mp4", frames)
  track, said = moved(tmp_path / "a.mp4", tracker)
  assert len(track.found) == 30
  assert said == ["3 shots; the motion is that of the longest, 0.40 to 1.60 s"]


def test_squares_of_a_nod_are_still_and_of_a_walk_are_not():
  points = np.random.default_rng(0).uniform(0, 100, (68, 2))
  nod = points + 15 * np.sin(np.arange(100) / 8)[:, None, None]
  walk = points + 4 * np.arange(100)[:, None, None]
  grows = walk * np.linspace(1, 2, 100)[:, None, None]
  for track, still in ((nod, True), (walk, False), (grows, False)):
    made = follow.squares(track, 25.0, lambda x: align.square(x, 64))
    assert made.shape == (100, 2, 3)
    assert (np.ptp(made, 0).max() == 0) == still
    inside = np.einsum("nij,npj->npi", made[:, :, :2], track)
    inside += made[:, None, :, 2]
    assert inside.min() > 0 and inside.max() < 63
    sizes = np.ptp(inside, axis=1).max(1)
    assert sizes.min() > 30


# --- what limits a result --------------------------------------------------

SIDE = "seen from the side (turned by 58 degrees)"
BORDER = "the face is cut off by the picture's border"
MASK = "the mouth seems to be covered"


def doubted(picture, tracker) -> list[str]:
  """What is said of the face of a picture."""
  track = tracker.track([picture])
  assert track.found[0]
  return portrait.doubts(picture, track.landmarks[0], track.pose[0])


@pytest.mark.parametrize(
  ("name", "line"),
  [("yaw70.png", SIDE), ("closeup.png", BORDER), ("mask.png", MASK),
   ("ok_identity.png", ""), ("wide_prophoto.jpg", ""), ("photo.jfif", "")],
)  # fmt: skip
def test_what_limits_the_result_is_said(reported, tracker, name, line):
  said = doubted(decoder.read_image(reported / name), tracker)
  assert len(said) == bool(line)
  assert all(x.startswith(line) for x in said)


@pytest.mark.parametrize(
  ("yaw", "doubt"), [(60, True), (-60, True), (20, False)]
)
def test_a_face_seen_from_the_side_is_doubted(tracker, yaw, doubt):
  model = head.model(0, "test", 2)
  shown = factors.zeros(1)._replace(yaw=np.array([yaw]), scale=np.array([0.75]))
  channels, _ = render.channels_of(model.person, 0, 1, 1)
  scene = drawing.lit(np.random.default_rng(0), model, shown, channels, 256)
  (picture,), _ = drawing.draw(scene, 256)
  said = doubted(picture, tracker)
  assert [x.startswith("seen from the side (turned by ") for x in said] == (
    [True] * doubt
  )


@pytest.mark.parametrize(
  "colour_of", [(235, 235, 230), (30, 30, 32), (150, 190, 215), (180, 30, 40)]
)
@pytest.mark.parametrize("folds", [0, 0.05])
def test_masks_of_many_colours_are_seen(drawn, tracker, colour_of, folds):
  picture = drawn[0].copy()
  points = tracker.track([picture]).landmarks[0]
  nose = (points[28] + points[29]) / 2
  outline = np.concatenate([points[2:15], nose[None]]).astype(np.int32)
  inside = np.zeros(picture.shape[:2], np.uint8)
  cv2.fillPoly(inside, [outline], 255)
  rows = np.arange(len(picture))[:, None, None]
  cloth = np.array(colour_of) * (1 + folds * np.sin(rows / 3))
  cloth = np.broadcast_to(cloth, picture.shape).clip(0, 255)
  picture[inside > 0] = cloth.astype(np.uint8)[inside > 0]
  assert [x.startswith(MASK) for x in doubted(picture, tracker)] == [True]


def test_good_portraits_are_not_doubted(drawn, tracker):
  for picture in drawn[::5]:
    assert doubted(picture, tracker) == []
    grey = np.repeat(picture.mean(-1, keepdims=True), 3, -1).astype(np.uint8)
    assert doubted(grey, tracker) == []


@pytest.mark.parametrize(("person", "emotion"), [(3, "happy"), (7, "neutral")])
def test_lips_of_dark_skin_are_no_mask(tracker, person, emotion):
  for frame in demo_inputs.clip(0, person, emotion, 3, 1.0).frames[::6]:
    assert doubted(decode_frame(frame), tracker) == []


def test_nobody_of_the_shared_portraits_is_doubted(shared, tracker):
  paths = sorted((shared / "data" / "faces" / "portraits").glob("*.jpg"))
  if not paths:
    pytest.skip("no folder data/faces/portraits in shared/")
  for path in paths[::25]:
    picture = decoder.read_image(path)
    track = tracker.track([picture])
    if track.found[0]:
      assert not portrait.doubts(picture, track.landmarks[0], track.pose[0])


def test_a_cut_off_face_is_said(drawn, tracker):
  points = tracker.track([drawn[0]]).landmarks[0]
  low = points[spec.MOUTH].max(0)[1]
  picture = np.ascontiguousarray(drawn[0][: int(low) + 2])
  assert any(x.startswith(BORDER) for x in doubted(picture, tracker))
