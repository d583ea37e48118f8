import numpy as np
import pytest
from PIL import Image

from data_pipelines.media.error import MediaError
from data_pipelines.media.image import read_image


def saved(path, array, **options):
  Image.fromarray(array).save(path, **options)
  return path


def test_sixteen_bits_are_scaled(tmp_path):
  array = np.linspace(0, 65535, 64).astype(np.uint16).reshape(8, 8)
  got = read_image(saved(tmp_path / "a.png", array))
  assert got.shape == (8, 8, 3) and got.dtype == np.uint8
  np.testing.assert_allclose(got[..., 0], array / 257, atol=1)


def test_transparent_pixels_become_grey(tmp_path):
  array = np.zeros((4, 4, 4), np.uint8)
  array[:, :2] = [200, 100, 50, 255]
  got = read_image(saved(tmp_path / "a.png", array))
  assert got[0, 0].tolist() == [200, 100, 50]
  assert got[0, 3].tolist() == [128, 128, 128]


@pytest.mark.parametrize("mode", ["L", "P", "CMYK", "LA", "1"])
def test_every_mode_becomes_rgb(tmp_path, mode):
  suffix = "jpg" if mode == "CMYK" else "png"
  path = tmp_path / f"a.{suffix}"
  Image.new("RGB", (8, 6), (255, 255, 255)).convert(mode).save(path)
  got = read_image(path)
  assert got.shape == (6, 8, 3)
  np.testing.assert_allclose(got, 255, atol=2)


def test_exif_orientation_is_obeyed(tmp_path):
  array = np.zeros((16, 32, 3), np.uint8)
  array[:, :16] = 255  # white at the left of the stored picture
  exif = Image.Exif()
  exif[0x0112] = 6  # turn clockwise to see it
  got = read_image(saved(tmp_path / "a.jpg", array, exif=exif))
  assert got.shape == (32, 16, 3)
  assert got[:16].mean() > 240 and got[16:].mean() < 15


def test_broken_files_are_refused_in_one_line(tmp_path):
  noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)
  whole = saved(tmp_path / "whole.jpg", noise).read_bytes()
  (tmp_path / "cut.jpg").write_bytes(whole[: len(whole) // 3])
  (tmp_path / "text.png").write_text("no picture")
  for name in ("cut.jpg", "text.png", "none.png"):
    with pytest.raises(MediaError) as caught:
      read_image(tmp_path / name)
    assert str(caught.value).startswith(f"{tmp_path / name}: ")
    assert "\n" not in str(caught.value)


def test_one_picture_in_four_modes_looks_the_same(awkward):
  means = {
    name: (read_image(awkward.path(name)) @ [0.299, 0.587, 0.114]).mean()
    for name in ("gray.jpg", "gray16.png", "cmyk.jpg", "palette.png")
  }
  assert max(means.values()) - min(means.values()) < 2, means
