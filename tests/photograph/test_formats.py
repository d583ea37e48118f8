"""What files hold by the ends of their names: mp4, mov, webm, folders."""

import re

import av
import numpy as np
import pytest
from PIL import Image

from data_pipelines.media import decoder, image, mp4, png_folder
from data_pipelines.media.audio import whole
from data_pipelines.media.error import MediaError
from speak_jax.common import outputs
from speak_jax.common.files import FileError
from speak_jax.inference import take as takes
from speak_jax.inference.inputs import check_files
from speak_jax.inference.take import Take
from speak_jax.photograph import composition, head_motion
from speak_jax.photograph.textured_mesh import Motion
from speak_jax.provenance.marking import Marking

FRAMES, RATE = 12, 16_000


@pytest.fixture
def voice():
  rng = np.random.default_rng(0)
  return rng.integers(-9000, 9000, FRAMES * RATE // 25, np.int16)


def transparent():
  """A red square that goes to the right, with a soft edge, over nothing."""
  for i in range(FRAMES):
    frame = np.zeros((48, 64, 4), np.uint8)
    frame[8:40, 8 + i : 40 + i] = (200, 40, 30, 255)
    frame[8:40, 40 + i : 44 + i] = (200, 40, 30, 128)
    yield frame


def take(voice, see_through: bool) -> Take:
  rgba = (frame for frame in transparent())
  return Take(
    (image.over_ground(frame) for frame in transparent()),
    FRAMES,
    25.0,
    64,
    48,
    lambda: whole(voice),
    lambda shown: [],
    np.zeros((48, 64, 3), np.uint8),
    Marking(watermark=False),
    rgba if see_through else None,
  )


def written(voice, path, see_through=True):
  return takes.write(take(voice, see_through), path, None, lambda line: None)


@pytest.mark.parametrize("name", ["a.mp4", "a.mov", "a.webm", "folder/"])
def test_every_kind_has_frames_and_sound(tmp_path, voice, name):
  path = f"{tmp_path}/{name}"
  assert written(voice, path, False).frames == FRAMES
  codecs = {
    "a.mp4": ("h264", "aac"),
    "a.mov": ("h264", "aac"),
    "a.webm": ("vp9", "opus"),
  }
  if name in codecs:
    with av.open(path) as file:
      found = [x.codec_context.name for x in file.streams]
      assert sorted(found) == sorted(codecs[name])
    frames = list(decoder.Frames(path, 25.0))
  else:
    names = sorted(x.name for x in (tmp_path / "folder").iterdir())
    assert names == [f"{i:06d}.png" for i in range(FRAMES)] + ["sound.wav"]
    frames = [image.read_image(f"{path}{x}") for x in names[:-1]]
    sound = decoder.read_audio(f"{path}sound.wav")
    assert np.array_equal(sound, voice)  # nothing is lost
  apart = [
    np.abs(a.astype(int) - image.over_ground(b)).mean()
    for a, b in zip(frames, transparent(), strict=True)
  ]
  assert max(apart) < (4 if name in codecs else 1e-9)


def test_a_folder_keeps_transparency_and_says_what_it_is(tmp_path, voice):
  written(voice, f"{tmp_path}/out/")
  for i, frame in enumerate(transparent()):
    with Image.open(tmp_path / "out" / f"{i:06d}.png") as picture:
      assert np.array_equal(np.asarray(picture), frame)
      assert picture.info["fps"] == "25"
      assert "Synthetic" in picture.info["title"]


def test_a_webm_keeps_transparency(tmp_path, voice):
  written(voice, tmp_path / "a.webm")
  with av.open(str(tmp_path / "a.webm")) as file:
    (stream,) = file.streams.video
    coder = av.CodecContext.create("libvpx-vp9", "r")
    shown = [
      frame.to_ndarray(format="rgba")
      for packet in file.demux(stream)
      for frame in coder.decode(packet)
    ]
  for got, frame in zip(shown, transparent(), strict=True):
    assert np.abs(got[..., 3].astype(int) - frame[..., 3]).mean() < 4
    inside = frame[..., 3] == 255
    assert np.abs(got[inside].astype(int) - frame[inside]).mean() < 8


def test_an_mp4_of_what_is_transparent_lies_over_grey(tmp_path, voice):
  written(voice, tmp_path / "a.mp4")
  first = next(iter(decoder.Frames(tmp_path / "a.mp4", 25.0)))
  assert np.abs(first[:6].astype(int) - image.GROUND).max() < 6


def test_alpha_goes_with_the_head(photograph):
  """Over grey the frame is that of today; hair at the edge goes along."""
  frame, mesh = photograph
  height, width = frame.shape[:2]
  low, high = mesh[:, :2].min(0), mesh[:, :2].max(0)
  rows, columns = np.mgrid[:height, :width]
  middle, half = (low + high) / 2, 0.62 * (high - low)
  away = np.hypot((columns - middle[0]) / half[0], (rows - middle[1]) / half[1])
  alpha = (255 * ((1.1 - away) / 0.1).clip(0, 1)).astype(np.uint8)
  grey = image.over_ground(np.dstack([frame, alpha]))
  opaque = composition.portrait(grey, mesh)
  one = opaque._replace(alpha=alpha)
  still = Motion(np.eye(3), np.zeros(2), 1.0)
  shifted = Motion(
    head_motion.rotation_of(0.1, 0, 0), np.array([0.12, 0.0]), 1.0
  )
  for motion in (still, shifted):
    drawn = composition.compose(one, composition.NO_EXPRESSION, motion)
    plain = composition.compose(opaque, composition.NO_EXPRESSION, motion)
    assert drawn.shape == (height, width, 4)
    apart = np.abs(image.over_ground(drawn).astype(int) - plain)
    assert apart.max() <= 2

  def centre(mask):
    return (mask.sum(0) @ np.arange(width)) / mask.sum()

  moved = centre(drawn[..., 3].astype(float)) - centre(alpha.astype(float))
  assert moved > 0.03 * (high - low)[0]
  assert np.array_equal(
    composition.compose(one, composition.NO_EXPRESSION, still)[..., 3], alpha
  )


def test_a_transparent_picture_says_so(tmp_path):
  alpha = np.full((20, 10), 255, np.uint8)
  alpha[:5] = 0
  colour = np.full((20, 10, 3), 90, np.uint8)
  pixels = Image.fromarray(np.dstack([colour, alpha]))
  pixels.save(tmp_path / "a.png")
  assert np.array_equal(decoder.read_alpha(tmp_path / "a.png"), alpha)
  exif = Image.Exif()
  exif[0x112] = 6  # lies on its side
  pixels.save(tmp_path / "side.png", exif=exif)
  side = decoder.read_alpha(tmp_path / "side.png")
  assert np.array_equal(side, np.rot90(alpha, -1))
  assert side.shape == image.read_image(tmp_path / "side.png").shape[:2]
  Image.fromarray(colour).save(tmp_path / "opaque.png")
  assert decoder.read_alpha(tmp_path / "opaque.png") is None
  palette = pixels.quantize(4)
  palette.save(tmp_path / "p.png")
  assert decoder.read_alpha(tmp_path / "p.png").min() == 0


def test_a_folder_is_replaced_whole_or_not_at_all(tmp_path, voice):
  folder = f"{tmp_path}/out/"
  written(voice, folder)
  before = (tmp_path / "out" / "000000.png").read_bytes()

  def breaks():
    yield next(transparent())
    raise MediaError("pose.mp4", "breaks off")

  broken = take(voice, False)._replace(frames=breaks())
  with pytest.raises(MediaError, match="breaks off"):
    takes.write(broken, folder, None, lambda line: None)
  assert (tmp_path / "out" / "000000.png").read_bytes() == before
  assert [x.name for x in tmp_path.iterdir()] == ["out"]
  check_files([], folder, None)  # an earlier one of ours may go
  with pytest.raises(MediaError, match="no frames"):
    png_folder.write_pictures(folder, [], 25.0, None)


def test_a_folder_of_other_things_is_not_replaced(tmp_path):
  precious = tmp_path / "home"
  precious.mkdir()
  (precious / "letter.txt").write_text("dear")
  with pytest.raises(FileError, match=r"other files, such as letter\.txt"):
    check_files([], f"{precious}/", None)
  own = tmp_path / "own"
  own.mkdir()
  Image.new("RGB", (4, 4)).save(own / "000000.png")
  with pytest.raises(FileError, match="would replace the input"):
    check_files([own / "000000.png"], f"{own}/", None)
  with pytest.raises(FileError, match="is an input"):
    outputs.check_replaced(own, [own], re.compile("x"))


def test_a_name_without_a_kind_is_told_them():
  with pytest.raises(MediaError, match=r"none of \.mp4, \.mov, \.webm"):
    mp4.kind_of("out.avi")
