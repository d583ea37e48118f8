"""Colour profiles, gammas and primaries of pictures are obeyed."""

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pillow_heif
import pytest
from PIL import Image, ImageCms

from data_pipelines.media import colour
from tests.reported.pictures import (
  apart,
  colours,
  hlg,
  looks,
  pq,
  seen,
  to_2020,
)


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
