import numpy as np
import pytest

from speak_jax.bench import changes
from speak_jax.provenance import detection, watermark
from speak_jax.provenance.marking import Marking, Weights
from speak_jax.provenance.watermark import Key, Watermark
from tests.provenance import coding

CODE = 0x1AE


@pytest.fixture(scope="module")
def plain() -> np.ndarray:
  return coding.portrait(256, 25)


@pytest.fixture(scope="module")
def marked(plain) -> np.ndarray:
  mark = Watermark(256, 256, CODE)
  return changes.shipped(np.stack([mark(x) for x in plain]))


def test_a_frame_depends_on_itself_alone(plain):
  frame = plain[3].copy()
  first, second = Watermark(256, 256, CODE), Watermark(256, 256, CODE)
  first(plain[7])
  np.testing.assert_array_equal(first(frame), second(frame))
  np.testing.assert_array_equal(frame, plain[3])
  with pytest.raises(ValueError, match="not"):
    first(frame[:100])


def test_alpha_stays(plain):
  alpha = np.arange(256 * 256).reshape(256, 256).astype(np.uint8)
  mark = Watermark(256, 256, CODE)
  both = mark(np.dstack([plain[0], alpha]))
  np.testing.assert_array_equal(both[..., 3], alpha)
  np.testing.assert_array_equal(both[..., :3], mark(plain[0]))


@pytest.mark.parametrize(
  ("side", "psnr"), [(16, 33), (64, 33), (250, 41), (256, 41), (512, 45)]
)
def test_it_is_faint(side, psnr):
  frame = coding.portrait(side, 1)[0]
  apart = Watermark(side, side, CODE)(frame).astype(float) - frame
  assert apart.std() > 0.3  # levels of 255
  assert 10 * np.log10(255**2 / np.mean(apart**2)) > psnr


def test_flat_and_dark_places_bear_little():
  grey = np.full((256, 256, 3), 128, np.uint8)
  apart = Watermark(256, 256, CODE)(grey).astype(float) - 128
  assert 0.8 < apart.std() < 1.15
  black = Watermark(256, 256, CODE)(grey * 0).astype(float)
  assert black.std() < 0.5


@pytest.mark.parametrize(
  "way",
  [
    *changes.WAYS.values(),
    lambda x: changes.coded(changes.cropped(x), 28),
  ],
  ids=[*changes.WAYS, "crop, crf 28"],
)
def test_found_after(marked, way):
  grey = detection.mean_grey(way(marked))
  found = detection.detect(grey, [7, CODE])
  assert found.there and found.false_alarm < 1e-4
  assert found.code == CODE
  assert found.scale == pytest.approx(len(grey) / 256, rel=0.12)


def test_code_is_read_without_being_known(marked):
  found = detection.detect(detection.mean_grey(marked))
  assert found.there and found.code == CODE


def test_not_found_where_it_is_not(plain):
  found = detection.detect(detection.mean_grey(plain), [7, CODE])
  assert not found.there and found.false_alarm > 1e-3


def test_probability_of_a_false_alarm_is_no_less_than_said(plain):
  """Other keys on one picture: as if one key looked at many pictures."""
  grey = detection.mean_grey(plain)[:96, :96]
  alarms = [
    detection.detect(grey, [CODE], Key(b"null %d" % i)).false_alarm
    for i in range(10)
  ]
  assert min(alarms) > 1e-3
  assert np.mean(np.array(alarms) < 0.5) <= 0.5


def test_small_and_flat_pictures_have_none():
  grey = np.full((31, 400), 9, np.float32)
  assert not detection.detect(grey).there
  assert not detection.detect(np.zeros((64, 64), np.float32)).there
  with pytest.raises(ValueError, match="no frames"):
    detection.mean_grey([])


def test_code_of_weights():
  digest = "1ae2a1716fe3" + "0" * 52
  assert watermark.code_of(digest) == CODE == Weights("a", digest).code
  assert Weights().code == 0
  assert watermark.shift(CODE) == (2 * (CODE // 64), 2 * (CODE % 64))
  for bad in (-1, watermark.CODES):
    with pytest.raises(ValueError, match="code"):
      watermark.shift(bad)


def test_key_is_the_same_on_every_machine():
  """Videos of today must be found by the program of tomorrow."""
  tile = Key().tile(CODE)
  assert tile.shape == (128, 128) and tile.std() == pytest.approx(1)
  np.testing.assert_allclose(
    tile[:2, :3],
    [[-0.27830, -0.22042, 0.00802], [0.47903, 0.36170, 0.37387]],
    atol=1e-5,
  )


def test_marking_can_leave_frames_alone(plain):
  same = list(Marking(watermark=False).frames(x for x in plain[:2]))
  np.testing.assert_array_equal(same, plain[:2])
  other = next(Marking().frames(x for x in plain[:2]))
  assert (other != plain[0]).any()
