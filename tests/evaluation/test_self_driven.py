"""The speaking figures on models whose quality is known beforehand.

A fake face: a block of the frame is as bright as the mouth is open, and the
sound of a frame is as loud. The fake reader measures the block.
"""

import numpy as np
import pytest

from speak_jax import spec
from speak_jax.evaluation.cache import Cache
from speak_jax.evaluation.eval_clip import EvalClip
from speak_jax.evaluation.readers import face_reader, own_syncnet
from speak_jax.evaluation.readers.perceptual import FeatureMetric, PairedMetric
from speak_jax.evaluation.reenactment import donors, lines, self_driven
from speak_jax.methods import base as methods
from speak_jax.methods import references
from speak_jax.metrics import features, image, mouth

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


def _clip(seed, person):
  rng = np.random.default_rng(seed)
  opening = rng.random(N)
  loud = (opening * 10_000).astype(np.int16)
  return EvalClip(
    name=f"clip{seed}",
    person=person,
    emotion=seed % 8,
    level=2,
    frames=_draw(opening, 90 + 20 * seed),
    landmarks=np.repeat(_face()[None], N, 0),
    pose=rng.normal(size=(N, 3)) * 9,
    opening=opening,
    audio=loud.repeat(640),
    fps=25.0,
    emotion_track=methods.ShownFrames(
      np.zeros((1, SIZE, SIZE, 3), np.uint8), _face()[None]
    ),
  )


@pytest.fixture
def clips():
  return [_clip(i, f"person{i % 2}") for i in range(4)]


def _reader(clips):
  pose = clips[0].pose

  def read(frames):
    n = len(frames)
    opening = frames[:, 22, 16, 0] / 200.0
    emotion = np.zeros((n, 8))
    emotion[:, round((int(frames[0, -1, -1, 0]) - 90) / 20) % 8] = 1
    return face_reader.Reading(
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


def _entry(clips, talk, name="speak", samples=False):
  """A system: talk(take, audio), or talk(take, audio, key) if it samples."""

  def generate(weights, request, key):
    clip = next(
      x for x in clips if np.array_equal(x.frames[0], request.identity)
    )
    return talk(clip, request.audio, *([key] * samples))

  method = references.STATIC.method._replace(generate=generate, samples=samples)
  return references.STATIC._replace(name=name, method=method)


def _measure(
  clips,
  talk,
  lips=None,
  show=lambda talked: None,
  perceptual=None,
  cache=None,
  **entry,
):
  return self_driven.measure(
    clips,
    [_entry(clips, talk, **entry)],
    _reader(clips),
    lips,
    seed=0,
    show=show,
    perceptual=perceptual or {},
    cache=cache,
  )


def _run(clips, talk, **entry):
  shown = []
  generated = _measure(clips, talk, show=shown.append, **entry)
  return {k: v.value for k, v in generated.values.items()}, shown


def test_a_perfect_system(clips):
  figures, shown = _run(
    clips, lambda clip, audio: _draw(_heard(audio), clip.frames[0, -1, -1, 0])
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
  assert [one.clip for one in shown] == [clip.name for clip in clips]
  rows = ["ground truth", "static first frame", "speak"]
  assert self_driven.sheet_cells(shown[:2], 5, rows).shape == (
    6,
    5,
    SIZE,
    SIZE,
    3,
  )


def test_a_system_that_does_not_listen(clips):
  figures, _ = _run(clips, lambda clip, audio: clip.frames.copy())
  assert figures["speak/psnr"] == 100
  assert figures["speak/mouth_box_over_shuffled"] == 0
  assert figures["speak/shuffled_true_r"] > 0.99
  assert figures["speak/shuffled_driving_minus_true"] < -0.7


def test_a_system_that_stands_still(clips):
  figures, _ = _run(clips, lambda clip, audio: np.repeat(clip.frames[:1], N, 0))
  assert figures["speak/psnr_over_static"] == 0
  assert figures["speak/psnr"] == figures["speak/static_psnr"]
  assert figures["speak/mouth_r"] == 0
  # The identity frame itself would score 100 dB: it must not count.
  assert figures["speak/static_psnr"] < 30


def test_sync_figures_follow_the_sound(clips):
  def codes(loud):
    loud = np.asarray(loud, float)
    codes = np.stack([np.cos(loud.mean(1) * 3), np.sin(loud.mean(1) * 3)], -1)
    return (codes,)

  lips = own_syncnet.OwnSyncNet(
    lip_tower=lambda mouth: codes(mouth[:, :, 6, 16, 0] / 200.0),
    sound_tower=lambda audio: codes(audio[:, 320::640] / 10_000.0),
    frames=5,
    fps=25.0,
  )
  generated = _measure(
    clips, lambda clip, audio: _draw(_heard(audio), 99), lips=lips
  )
  value = {k: v.value for k, v in generated.values.items()}
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


def test_of_one_person_other_speech_is_another_clips(clips):
  mine = [clip._replace(person="A") for clip in clips]
  for i, clip in enumerate(mine):
    assert donors.next_speaker(mine, i).name != clip.name
  with pytest.raises(ValueError, match="two clips"):
    donors.next_speaker(mine[:1], 0)


def test_keys_of_one_clip_do_not_narrow_the_interval(clips):
  def noisy(clip, audio, key):
    # Other noise for each clip as well: the truth's frames are their seed.
    rng = np.random.default_rng([key, int(clip.frames.sum())])
    noise = rng.integers(0, 20, clip.frames.shape)
    return np.minimum(clip.frames + noise, 255).astype(np.uint8)

  many = _measure(clips, noisy, samples=True).values["speak/psnr"]
  assert many.clips == len(clips)
  alone = [
    image.psnr(noisy(clip, clip.audio, key)[1:], clip.frames[1:]).mean()
    for clip in clips
    for key in range(methods.RANDOM_KEYS)
  ]
  assert len(set(alone)) == len(alone)
  assert many.value == pytest.approx(np.mean(alone))


def test_undetected_frames_are_counted_not_hidden(clips):
  def blind(read):
    def half(frames):
      seen = read(frames)
      found = np.arange(len(frames)) % 4 > 0
      points = np.where(found[:, None, None], seen.landmarks, np.nan)
      faces = np.where(found[:, None], seen.identity, np.nan)
      return seen._replace(found=found, landmarks=points, identity=faces)

    return half

  generated = self_driven.measure(
    clips,
    [_entry(clips, lambda clip, audio: clip.frames)],
    blind(_reader(clips)),
    None,
    seed=0,
  )
  rows = lines.table_rows(generated.values, [], "x")
  assert rows[0].undetected == pytest.approx(9 / 39)
  assert rows[0].clips == len(clips)
  assert generated.values["speak/found"].value == pytest.approx(30 / 39)
  # Landmarks that are found are exact: all that is wrong is what is lost.
  lips = _face()[spec.MOUTH]
  radius = np.linalg.norm(lips - lips.mean(0), axis=-1).mean()
  worse = 9 / 39 * radius * 256 / SIZE
  assert generated.values["speak/m_lmd"].value == pytest.approx(worse)
  assert generated.values["speak/m_lmd"].clips == len(clips)
  assert generated.values["speak/frechet_identity"].value == pytest.approx(0)


def test_the_late_line_is_scored_from_its_first_real_frame_on(clips):
  figures, _ = _run(clips, lambda clip, audio: clip.frames.copy())
  lag = round(references.LATE_S * 25)
  want = [
    image.psnr(clip.frames[:-lag], clip.frames[lag:]).mean() for clip in clips
  ]
  assert figures["speak/late_psnr"] == pytest.approx(np.mean(want))
  repeated = [
    image.psnr(
      np.concatenate([clip.frames[:1].repeat(lag, 0), clip.frames[:-lag]])[1:],
      clip.frames[1:],
    ).mean()
    for clip in clips
  ]
  assert abs(np.mean(repeated) - np.mean(want)) > 0.01


def test_clips_shorter_than_the_lag_have_no_late_line(clips):
  short = [
    clip._replace(
      frames=clip.frames[:9],
      landmarks=clip.landmarks[:9],
      pose=clip.pose[:9],
      opening=clip.opening[:9],
      audio=clip.audio[: 9 * 640],
    )
    for clip in clips
  ]
  generated = _measure(short, lambda clip, audio: clip.frames.copy())
  assert not any("late" in name for name in generated.values)
  rows = lines.table_rows(generated.values, [_entry(short, None)])
  assert len(rows) == 6


def test_silence_is_that_of_the_sound_that_a_line_hears(clips):
  # The first person's clips are silent at first, the second's at the end.
  pauses = [slice(2, 14), slice(24, 38)] * 2
  for i, (clip, pause) in enumerate(zip(clips, pauses, strict=True)):
    audio = clip.audio.reshape(N, 640).copy()
    audio[:] = 8000
    audio[pause] = 0
    clips[i] = clip._replace(audio=audio.ravel())

  def follows(clip, audio):
    opening = np.where(audio[320::640] > 0, 0.9, 0.25)
    return _draw(opening, clip.frames[0, -1, -1, 0])

  figures, _ = _run(clips, follows)
  assert figures["speak/silent_opening"] == pytest.approx(0.25)
  assert figures["speak/silent_opening_shuffled"] == pytest.approx(0.25)
  openings, still = [], []
  for clip in clips:
    hushed = mouth.silent(clip.audio, N, 25.0)
    assert hushed.sum() > 9
    seen = (clip.opening * 200).astype(np.uint8) / 200
    openings += [*seen[hushed]]
    still += [seen[0]] * hushed.sum()
  assert figures["speak/true_silent_opening"] == pytest.approx(
    np.mean(openings)
  )
  assert figures["speak/static_silent_opening"] == pytest.approx(np.mean(still))
  assert figures["speak/silent_opening_over_true"] == pytest.approx(
    0.25 - np.mean(openings)
  )


def test_looks_are_figures_of_every_line(clips):
  def code(frames):
    return frames[:, 2::10, 16, 0] / 255.0

  def apart(a, b):
    return np.abs(a.astype(float) - b).mean((1, 2, 3))

  perceptual = {
    "lpips": PairedMetric(apart),
    "fid": FeatureMetric(code, every=2),
  }

  def grey(clip, audio):
    return (clip.frames // 2 + 60).astype(np.uint8)

  values = _measure(clips, grey, perceptual=perceptual).values
  want = [apart(grey(x, None)[1:], x.frames[1:]).mean() for x in clips]
  assert values["speak/lpips"].value == pytest.approx(np.mean(want))
  assert values["speak/true_lpips"].value == 0
  sides = [
    np.concatenate([code(make(x)[1::2]) for x in clips])
    for make in (lambda x: grey(x, None), lambda x: x.frames)
  ]
  row = features.frechet_row(*sides)
  assert values["speak/fid"].value == pytest.approx(features.frechet(row[None]))
  assert values["speak/true_fid"].value == pytest.approx(0, abs=1e-9)
  assert values["speak/static_fid"].value > 0
  assert values["speak/fid"].clips == len(clips)
  # The fake reader sees one person everywhere.
  assert values["speak/frechet_identity"].value == pytest.approx(0, abs=1e-9)
  row = lines.table_rows(values, [_entry(clips, grey)])[0]
  assert row.values["lpips"] == values["speak/lpips"]


def test_frames_a_second_leave_out_what_is_cached_or_compiles(
  clips, tmp_path, monkeypatch
):
  now = [0.0]
  monkeypatch.setattr(methods.time, "perf_counter", lambda: now[0])

  def slow(clip, audio):
    # The first call compiles.
    now[0] += 4.0 if now[0] else 1000.0
    return clip.frames.copy()

  clips = clips[:2]
  generated = _measure(clips, slow)
  assert generated.frames_per_second == {"speak": pytest.approx(N / 4)}

  plain = _entry

  def kept(*args, **kwargs):
    entry = plain(*args, **kwargs)
    restored = entry.restored._replace(digest="weights")
    return entry._replace(restored=restored)

  cache = Cache(tmp_path, 10**9)
  monkeypatch.setitem(globals(), "_entry", kept)
  _measure(clips, slow, cache=cache)
  assert _measure(clips, slow, cache=cache).frames_per_second == {}
  next(tmp_path.glob("*.mkv")).unlink()  # one is made again
  assert _measure(clips, slow, cache=cache).frames_per_second == {}


def test_every_line_has_a_row_and_says_what_it_sees(clips):
  entry = _entry(clips, lambda clip, audio: clip.frames.copy(), name="a")
  values = _measure(
    clips, lambda clip, audio: clip.frames.copy(), name="a"
  ).values
  rows = lines.table_rows(values, [entry], "data")
  assert [row.method for row in rows[:3]] == [
    "a",
    "a, other speech",
    "static first frame",
  ]
  assert len({row.method for row in rows}) == len(rows) == 7
  assert all(row.sees for row in rows)
  assert all(row.values["psnr"].clips == 4 for row in rows)
