"""The speaking figures on systems whose quality is known beforehand.

A fake face: a block of the frame is as bright as the mouth is open, and the
sound of a frame is as loud. The fake reader measures the block.
"""

import numpy as np
import pytest

from speak_jax import spec
from speak_jax.evaluation import methods, reading, talking
from speak_jax.metrics import image

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
    fps=25.0,
    emotion_track=methods.Track(
      np.zeros((1, SIZE, SIZE, 3), np.uint8), _face()[None]
    ),
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
    emotion[:, round((int(frames[0, -1, -1, 0]) - 90) / 20) % 8] = 1
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


def _entry(takes, talk, name="speak", samples=False):
  """A system: talk(take, audio), or talk(take, audio, key) if it samples."""

  def generate(weights, request, key):
    take = next(
      x for x in takes if np.array_equal(x.frames[0], request.identity)
    )
    return talk(take, request.audio, *([key] * samples))

  method = methods.STATIC.method._replace(generate=generate, samples=samples)
  return methods.STATIC._replace(name=name, method=method)


def _measure(takes, talk, lips=None, **entry):
  return talking.measure(
    takes,
    [_entry(takes, talk, **entry)],
    _reader(takes),
    lips,
    seed=0,
    shown=2,
  )


def _run(takes, talk, **entry):
  made = _measure(takes, talk, **entry)
  return {k: v.value for k, v in made.figures.items()}, made.shown


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
  rows = ["ground truth", "static first frame", "speak"]
  assert talking.grid(shown, 5, rows).shape == (6, 5, SIZE, SIZE, 3)


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
  made = _measure(
    takes, lambda take, audio: _draw(_heard(audio), 99), lips=lips
  )
  value = {k: v.value for k, v in made.figures.items()}
  assert value["syncnet/two_way"] > 0.95
  assert value["speak/two_way"] > 0.95
  assert value["speak/two_way_shuffled"] > 0.95
  assert value["speak/static_two_way"] < 0.7
  assert value["speak/sync_offset"] == 0
  assert abs(value["speak/late_sync_offset"]) == 10
  assert value["speak/mouth_only_sync_offset"] == 0
  assert (
    value["speak/sync_confidence"] > 2 * value["speak/static_sync_confidence"]
  )


def test_one_person_alone_is_an_error(takes):
  with pytest.raises(ValueError, match="two people"):
    _run([takes[0], takes[2]], lambda take, audio: take.frames)


def test_keys_of_one_clip_do_not_narrow_the_interval(takes):
  def noisy(take, audio, key):
    # Other noise for each clip as well: the truth's frames are their seed.
    rng = np.random.default_rng([key, int(take.frames.sum())])
    noise = rng.integers(0, 20, take.frames.shape)
    return np.minimum(take.frames + noise, 255).astype(np.uint8)

  many = _measure(takes, noisy, samples=True).figures["speak/psnr"]
  assert many.clips == len(takes)
  alone = [
    image.psnr(noisy(take, take.audio, key)[1:], take.frames[1:]).mean()
    for take in takes
    for key in range(methods.KEYS)
  ]
  assert len(set(alone)) == len(alone)
  assert many.value == pytest.approx(np.mean(alone))


def test_undetected_frames_are_counted_not_hidden(takes):
  def blind(read):
    def half(frames):
      seen = read(frames)
      return seen._replace(found=np.arange(len(frames)) % 4 > 0)

    return half

  made = talking.measure(
    takes,
    [_entry(takes, lambda take, audio: take.frames)],
    blind(_reader(takes)),
    None,
    seed=0,
    shown=0,
  )
  rows = talking.table_rows(made.figures, [], "x")
  assert rows[0].undetected == pytest.approx(9 / 39)
  assert rows[0].clips == len(takes)
  assert made.figures["speak/found"].value == pytest.approx(30 / 39)


def test_every_line_has_a_row_and_says_what_it_sees(takes):
  entry = _entry(takes, lambda take, audio: take.frames.copy(), name="a")
  found = _measure(
    takes, lambda take, audio: take.frames.copy(), name="a"
  ).figures
  rows = talking.table_rows(found, [entry], "data")
  assert [row.method for row in rows[:3]] == [
    "a",
    "a, other speech",
    "static first frame",
  ]
  assert len({row.method for row in rows}) == len(rows) == 7
  assert all(row.sees for row in rows)
  assert all(row.figures["psnr"].clips == 4 for row in rows)
