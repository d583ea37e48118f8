"""Content counts, not the name; large files, and those that last."""

import itertools
from fractions import Fraction

import av
import cv2
import numpy as np
import pytest
from av.video.frame import VideoFrame
from PIL import Image

from data_pipelines.media import declared, decoder, image, limits
from data_pipelines.media.error import MediaError, MediaWarning
from tests import awkward
from tests.reported import heic
from tests.reported.pictures import apart, colours, looks, seen


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
