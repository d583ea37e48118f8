"""The speaking figures on systems whose quality is known beforehand.

A fake face: a block of the frame is as bright as the mouth is open, and the
sound of a frame is as loud. The fake reader measures the block.
"""

import numpy as np
import pytest

from speak_jax import spec
from speak_jax.evaluation import reading, talking

N, SIZE = 40, 32


def _face():
  points = np.zeros((68, 2), np.float32)
  points[spec.LEFT_EYE], points[spec.RIGHT_EYE] = [10, 10], [22, 10]
  around = np.linspace(0, 2 * np.pi, 20, endpoint=False)
  points[spec.MOUTH] = np.stack(
    [16 + 5 * np.cos(around), 22 + 3 * np.sin(around)], -1
  )
  return points


def _draw(opening, shade):
  frames = np.full((len(opening), SIZE, SIZE, 3), shade, np.uint8)
  frames[:, 20:25, 13:20] = (opening * 200).astype(np.uint8)[
    :, None, None, None
  ]
  # Something else that moves, so that the first frame is not perfect.
  for t in range(len(opening)):
    frames[t, :8, t % SIZE] = 255
  return frames


def _take(seed, person):
  rng = np.random.default_rng(seed)
  opening = rng.random(N)
  loud = (opening * 10_000).astype(np.int16)
  return reading.Take(
    clip=f"clip{seed}",
    person=person,
    emotion=seed % 8,
    level=2,
    frames=_draw(opening, 90 + 20 * seed),
    landmarks=np.repeat(_face()[None], N, 0),
    pose=rng.normal(size=(N, 3)) * 9,
    opening=opening,
    audio=loud.repeat(640),
    emotion_faces=np.zeros((1, 8, 8, 3), np.uint8),
  )


@pytest.fixture
def takes():
  return [_take(i, f"person{i % 2}") for i in range(4)]


def _reader(takes):
  pose = takes[0].pose

  def read(frames):
    n = len(frames)
    opening = frames[:, 22, 16, 0] / 200.0
    emotion = np.zeros((n, 8))
    emotion[:, int(frames[0, -1, -1, 0] - 90) // 20 % 8] = 1
    return reading.Reading(
      np.ones(n, bool),
      np.repeat(_face()[None], n, 0),
      pose[:n],
      opening,
      emotion,
      np.repeat([[1.0, 0.0]], n, 0),
    )

  return read


def _heard(audio):
  return audio[320::640][:N] / 10_000


def _run(takes, talk):
  figures, shown = talking.measure(
    takes, talk, _reader(takes), None, seed=0, shown=2
  )
  return {k: v.value for k, v in figures.items()}, shown


def test_a_perfect_system(takes):
  figures, shown = _run(
    takes, lambda take, audio: _draw(_heard(audio), take.frames[0, -1, -1, 0])
  )
  assert figures["speak/psnr"] > 45
  assert figures["speak/ssim"] > 0.99
  assert figures["speak/mouth_r"] > 0.99
  assert figures["speak/psnr_over_static"] > 10
  assert figures["speak/mouth_box_over_shuffled"] > 10
  assert figures["speak/shuffled_driving_r"] > 0.99
  assert figures["speak/shuffled_driving_minus_true"] > 0.7
  assert figures["speak/gradient_energy"] == pytest.approx(1, abs=0.02)
  assert figures["speak/f_lmd"] == pytest.approx(0, abs=1e-6)
  assert figures["speak/emotion"] == 1
  assert [one.clip for one in shown] == ["clip0", "clip1"]
  assert talking.grid(shown, 5).shape == (8, 5, SIZE, SIZE, 3)


def test_a_system_that_does_not_listen(takes):
  figures, _ = _run(takes, lambda take, audio: take.frames.copy())
  assert figures["speak/psnr"] == 100
  assert figures["speak/mouth_box_over_shuffled"] == 0
  assert figures["speak/shuffled_true_r"] > 0.99
  assert figures["speak/shuffled_driving_minus_true"] < -0.7


def test_a_system_that_stands_still(takes):
  figures, _ = _run(takes, lambda take, audio: np.repeat(take.frames[:1], N, 0))
  assert figures["speak/psnr_over_static"] == 0
  assert figures["speak/psnr"] == figures["speak/static_psnr"]
  assert figures["speak/mouth_r"] == 0
  # The identity frame itself would score 100 dB: it must not count.
  assert figures["speak/static_psnr"] < 30


def test_sync_figures_follow_the_sound(takes):
  def codes(loud):
    loud = np.asarray(loud, float)
    codes = np.stack([np.cos(loud.mean(1) * 3), np.sin(loud.mean(1) * 3)], -1)
    return (codes,)

  lips = reading.OwnSync(
    see=lambda mouth: codes(mouth[:, :, 6, 16, 0] / 200.0),
    hear=lambda audio: codes(audio[:, 320::640] / 10_000.0),
    frames=5,
    fps=25.0,
  )
  figures, _ = talking.measure(
    takes,
    lambda take, audio: _draw(_heard(audio), 99),
    _reader(takes),
    lips,
    seed=0,
    shown=0,
  )
  value = {k: v.value for k, v in figures.items()}
  assert value["syncnet/two_way"] > 0.95
  assert value["speak/two_way"] > 0.95
  assert value["speak/two_way_shuffled"] > 0.95
  assert value["speak/static_two_way"] < 0.7
  assert value["speak/sync_offset"] == 0
  assert (
    value["speak/sync_confidence"] > 2 * value["speak/static_sync_confidence"]
  )


def test_one_person_alone_is_an_error(takes):
  with pytest.raises(ValueError, match="two people"):
    _run([takes[0], takes[2]], lambda take, audio: take.frames)
