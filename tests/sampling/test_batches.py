import numpy as np
import pytest

from data_pipelines.dataset import opening, reader, writer
from data_pipelines.dataset.index import SPLITS, Index
from data_pipelines.dataset.pictures import with_mouths
from data_pipelines.faces.lips import cut_lips
from data_pipelines.sampling import augment, held_out
from data_pipelines.sampling.batched import batched
from data_pipelines.sampling.clips import IDENTITY_FROM, sample_clips
from data_pipelines.sampling.pairs import robust_mix, sample_pairs
from data_pipelines.sampling.sound import sound_window
from data_pipelines.sampling.sync_windows import sample_sync_windows
from data_pipelines.sources import synthetic
from data_pipelines.synthetic import render
from speak_jax import spec
from tests import toy_records
from tests.sampling.samplers import (
  CLIP,
  PAIR,
  SAMPLERS,
  TREATED,
  equal,
)
from tests.toy_records import FRAME, TWIN_MOUTH, TWIN_POSE, read, record

DTYPES = np.uint8, np.int16, np.int32, np.float32, np.bool_


def people(**change) -> reader.Records:
  """Three persons with two emotions each; clips 0 and 1 are person 0's."""
  return reader.in_memory(
    [
      record(i, identity=i // 2, emotion=i % 2, twins=4, **change)
      for i in range(6)
    ]
  )


def draws(dataset, count=40):
  return [dataset[k] for k in range(count)]


@pytest.mark.parametrize("make", SAMPLERS.values(), ids=SAMPLERS)
def test_an_element_depends_on_seed_and_index_alone(make):
  first, again, other = make(people(), 1), make(people(), 1), make(people(), 2)
  late = [again[k] for k in (20, 7, 7 + 6)]  # not in order
  assert equal(late[0], first[20]) and equal(late[1], first[7])
  assert not equal(late[1], late[2])  # the next epoch draws anew
  assert not all(equal(first[k], other[k]) for k in range(6))


@pytest.mark.parametrize("threads", [0, 2])
def test_resume_is_exact(threads):
  def start():
    return batched(SAMPLERS["pairs"](people(), 1), 4, threads=threads)

  whole = start()
  for _ in range(3):
    next(whole)
  state = whole.get_state()
  expected = [next(whole) for _ in range(3)]
  resumed = start()
  resumed.set_state(state)
  for batch in expected:
    assert equal(batch, next(resumed))


def test_processes_share_what_one_would_see():
  dataset = SAMPLERS["clips"](people(), 1)
  alone = batched(dataset, 6, threads=0)
  ranks = [batched(dataset, 2, p, 3, threads=0) for p in range(3)]
  for _ in range(3):
    whole, parts = next(alone), [next(rank) for rank in ranks]
    for p, part in enumerate(parts):
      assert equal(
        part, type(part)(*(field[2 * p : 2 * p + 2] for field in whole))
      )
  seen = [read(part.frames[0])[:2] for part in parts]
  assert len(set(seen)) > 1


def test_no_process_runs_out_before_another():
  """Epochs end within the data set, not at a process's share of it."""
  dataset = SAMPLERS["clips"](people(), 1)
  for count in (3, 4, 7):  # of which few divide the number of clips
    for p in range(count):
      mine = batched(dataset, 2, p, count, threads=0)
      for _ in range(8):
        next(mine)


@pytest.mark.parametrize("make", SAMPLERS.values(), ids=SAMPLERS)
def test_batches_are_the_named_arrays_of_the_contract(make):
  batch = next(batched(make(people(), 1), 3, threads=0))
  sample = make(people(), 1)[0]
  assert type(batch) is type(sample)
  for name, stacked, one in zip(batch._fields, batch, sample, strict=True):
    assert stacked.shape == (3, *one.shape), name
    assert stacked.dtype in DTYPES, name


# --- windows of sound ------------------------------------------------------


@pytest.mark.parametrize("fps", [25.0, 30.0, 29.97])
def test_frame_and_sample_meet(fps):
  audio = np.arange(1, 20_000, dtype=np.int16)
  for start in (0, 3, 11):
    window = sound_window(audio, start, 5, fps)
    assert len(window) == round(5 * 16_000 / fps)
    assert window[0] == round(start * 16_000 / fps) + 1
    assert np.all(np.diff(window) == 1)


def test_sound_outside_the_clip_is_silence():
  audio = np.ones(4 * 640, np.int16)
  window = sound_window(audio, -2, 8, 25.0)
  assert np.array_equal(np.flatnonzero(window), np.arange(2 * 640, 6 * 640))
  assert not sound_window(audio, 9, 2, 25.0).any()
  assert not sound_window(audio, -9, 2, 25.0).any()


# --- stage 1 ---------------------------------------------------------------


def test_sync_windows_show_stored_mouths_as_they_show_those_cut_here():
  clip = render.render_clip(
    render.Recipe(
      seed=1,
      split="train",
      identity=0,
      emotion=1,
      level=2,
      seconds=1.0,
      size=96,
    )
  )
  mouthed = with_mouths(clip)
  assert len(mouthed.mouths) == len(clip.frames)
  stored = reader.in_memory([mouthed])
  assert stored.index[0].mouths == 48  # half of the crop's side
  assert reader.in_memory([clip]).index[0].mouths == 0
  assert stored.index[0].grey
  for lips in (48, 24, 64):
    samples = [
      sample_sync_windows(data, size=96, lips=lips, seed=0)[0]
      for data in (stored, reader.in_memory([clip]))
    ]
    mouths = [sample.mouth.astype(int) for sample in samples]
    assert mouths[0].shape == mouths[1].shape == (8, 5, lips, lips, 1)
    # Those of the frames, to the bit, but where they are enlarged.
    off = np.abs(mouths[0] - mouths[1]).mean()
    assert off == 0 if lips <= 48 else 0 < off < 2
    np.testing.assert_array_equal(samples[0].audio, samples[1].audio)
  frames = stored.frames(0, range(25), 96)
  points = stored.landmarks(0, slice(None), 96)
  tight = (1.4, 0.45)  # which nobody stores
  other = sample_sync_windows(stored, size=96, lips=64, square=tight, seed=0)[
    0
  ].mouth
  for square, windows in ((spec.LIPS_SQUARE, mouths[1]), (tight, other)):
    cut = [
      cut_lips(x, p, 64, square) for x, p in zip(frames, points, strict=True)
    ]
    # What the samples show is what is cut out of the frames.
    for window in windows:
      assert any(
        np.array_equal(window[..., 0], cut[s : s + 5])
        for s in range(len(cut) - 4)
      )


@pytest.mark.parametrize("mouths", [True, False])
@pytest.mark.parametrize("image, lips", [(64, 48), (64, 32), (64, 24)])
def test_mouths_show_no_more_than_the_models_frames(mouths, image, lips):
  """SyncNet learns from what it is shown of generated frames later."""
  recipe = render.Recipe(
    seed=1, split="train", identity=0, emotion=1, level=2, seconds=1.0, size=96
  )
  clip = render.render_clip(recipe)
  data = reader.in_memory([with_mouths(clip) if mouths else clip])
  frames = data.frames(0, range(25), image)
  points = data.landmarks(0, slice(None), image)
  used = [cut_lips(x, p, lips) for x, p in zip(frames, points, strict=True)]
  learned = data.lips(0, range(25), lips, image)
  if not mouths:
    np.testing.assert_array_equal(learned, used)
  # Contrast and slopes; those of mouths cut out of the crop are up to 1.4
  # times as steep, and their bends twice as sharp.
  for order, off in ((0, 0.05), (1, 0.15), (2, 0.25)):
    one, other = (
      np.diff(np.array(x, float), order, axis=1).std() for x in (learned, used)
    )
    assert one == pytest.approx(other, rel=off), order
  assert np.abs(learned.astype(int) - used).mean() < 2.4


def test_sync_windows_hold_their_own_sound():
  data = reader.in_memory([record(1, frames=24)])
  for sample in draws(sample_sync_windows(data, size=32, seed=0), 5):
    assert sample.mouth.shape == (8, 5, 16, 32, 3)
    starts = []
    for mouth, audio in zip(sample.mouth, sample.audio, strict=True):
      times = [read(frame)[1] for frame in mouth]
      assert times == list(range(times[0], times[0] + 5))
      assert audio.tolist() == list(
        range(times[0] * 640 + 1, (times[0] + 5) * 640 + 1)
      )
      starts.append(times[0])
    # 20 places for 8 windows: at least 2 apart, 3 would not leave a choice.
    assert min(np.diff(starts)) >= 2


def test_sync_windows_stay_within_reach():
  """For negatives that are shifted by 2 s at most, in a long clip."""
  data = reader.in_memory([record(1, frames=25)])
  found = []
  near = sample_sync_windows(data, size=32, windows=4, reach=5, seed=0)
  for sample in draws(near, 12):
    starts = [read(mouth[0])[1] for mouth in sample.mouth]
    assert starts == sorted(set(starts))
    assert starts[-1] - starts[0] <= 5
    found.append(starts[0])
  assert max(found) - min(found) > 5  # from all over the clip


def test_sync_windows_are_of_the_lower_half():
  picture = np.zeros((32, 32, 3), np.uint8)
  picture[16:] = 200
  clip = record(0)._replace(frames=[toy_records.jpeg(picture)] * 16)
  sample = sample_sync_windows(reader.in_memory([clip]), size=16, seed=0)[0]
  assert abs(sample.mouth.astype(int) - 200).max() <= 3


# --- stage 2 ---------------------------------------------------------------


def pair_draws(kind, data=None, **change):
  data = data or people()
  options = PAIR | change
  return draws(sample_pairs(data, mix={kind: 1.0}, seed=0, **options))


def target_of(pair) -> tuple[int, int]:
  clip, t = pair.target_pose[:2]  # toy poses are (clip, frame, 0)
  return int(clip), int(t)


def test_self_pairs_are_one_frame():
  for pair in pair_draws("self"):
    place = target_of(pair)
    for donor in (pair.identity, pair.pose, pair.emotion, pair.mouth):
      assert read(donor) == (*place, FRAME)
    assert read(pair.target)[:2] == place
    assert np.array_equal(pair.identity_landmarks, pair.target_landmarks)
    assert not pair.lends and not pair.treated and not pair.donor.any()


def test_cross_clip_pairs_have_the_donors_of_their_kind():
  for pair in pair_draws("cross_clip"):
    clip, t = target_of(pair)
    assert read(pair.target) == (clip, t, FRAME)
    donor = read(pair.identity)[0]
    assert donor // 2 == clip // 2 and donor != clip  # person, other emotion
    lender, time, _ = read(pair.emotion)
    assert lender == abs(clip) and time != t  # a mirror turns the sign
    points = people()[lender].landmarks[time]
    np.testing.assert_array_equal(pair.emotion_landmarks, points)
    assert pair.emotion_label == clip % 2
    assert pair.identity_label == clip // 2
    assert pair.treated


def test_same_clip_pairs_take_everybody_from_one_clip():
  for pair in pair_draws("same_clip"):
    clip, t = target_of(pair)
    assert read(pair.target) == (clip, t, FRAME)
    for donor in (pair.identity, pair.emotion):
      assert read(donor)[0] == clip and read(donor)[1] != t


@pytest.mark.parametrize("kind", ["same_clip", "cross_clip", "geometry"])
def test_the_pose_picture_is_the_target_and_another_moment_lends_it_a_mouth(
  kind,
):
  for pair in pair_draws(kind):
    clip, t = target_of(pair)
    assert np.array_equal(pair.pose, pair.target)
    lender, time, _ = read(pair.donor)
    assert lender == abs(clip) and time != t  # a mirror turns the sign
    assert pair.lends and pair.donor.shape == (16, 16, 3)
    points = people()[lender].landmarks[time]
    if clip < 0 or np.signbit(pair.target_pose[0]):
      points = augment.mirror_landmarks(points, 32)
    points = (points + 0.5) / 2 - 0.5
    np.testing.assert_allclose(pair.donor_landmarks, points, atol=1e-4)
    assert read(pair.mouth)[1] == t  # whose mouth is to be made


def test_other_emotion_goes_before_other_clip():
  data = reader.in_memory(
    [record(i, emotion=e) for i, e in enumerate((0, 0, 0, 5))]
  )
  for pair in pair_draws("cross_clip", data):
    clip, donor = target_of(pair)[0], read(pair.identity)[0]
    assert donor != clip and (donor == 3 or clip == 3)


def test_twin_pairs_have_the_donors_of_their_kind():
  for pair in pair_draws("twins"):
    clip, t = target_of(pair)
    assert t % 4 == 0  # a frame that has twins
    donor = read(pair.identity)[0]
    assert donor // 2 == clip // 2 and donor != clip
    lender = read(pair.emotion)[0]  # another person, the same emotion
    assert lender // 2 != clip // 2 and lender % 2 == clip % 2


def test_twin_pairs_take_pose_and_mouth_from_the_twins():
  for pair in pair_draws("twins"):
    clip, t = target_of(pair)
    assert read(pair.pose) == (clip, t, TWIN_POSE)
    assert read(pair.mouth) == (clip, t, TWIN_MOUTH)
    assert pair.treated and not pair.lends  # the twin's lips are its own


def views() -> reader.Records:
  """Person 0's take, filmed twice; clip 1 begins three frames later."""
  return reader.in_memory(
    [
      record(0, view="front", take="angry_1", emotion=1),
      record(1, view="left_30", take="angry_1", emotion=1, start=3),
      record(2, view="front", take="happy_1", emotion=5),
      record(3, identity=1, view="front", take="angry_1", emotion=1),
    ]
  )


def test_view_pairs_show_one_instant_from_two_cameras():
  targets = set()
  for pair in pair_draws("views", views()):
    clip, t = target_of(pair)
    lender, time, _ = read(pair.mouth)
    assert (clip, lender) in ((0, 1), (1, 0))
    assert time == (t - 3 if lender == 1 else t + 3)  # the same instant
    emotion, other, _ = read(pair.emotion)
    assert emotion == lender and other != time
    assert read(pair.identity)[0] == 2  # another emotion goes first
    assert np.array_equal(pair.pose, pair.target)
    assert read(pair.donor)[0] == clip and read(pair.donor)[1] != t
    targets.add(clip)
  assert targets == {0, 1}


def test_cross_person_pairs_take_the_emotion_from_somebody_else():
  targets = set()
  for pair in pair_draws("cross_person", views()):
    clip, _ = target_of(pair)
    lender = read(pair.emotion)[0]
    assert lender in ((3,) if clip in (0, 1) else (0, 1))
    targets.add(clip)
  assert targets == {0, 1, 3}  # nobody else is happy


def test_the_robust_mix_has_what_labels_allow():
  assert robust_mix(views()).keys() == {
    *("cross_clip", "geometry", "cross_person", "views"),
  }
  alone = reader.in_memory([record(0, take="a"), record(1, take="b")])
  assert robust_mix(alone).keys() == {"cross_clip", "geometry"}
  with pytest.raises(ValueError, match="pair kind 'views' needs"):
    sample_pairs(alone, mix={"views": 1.0}, seed=0, **PAIR)


def test_twins_prefer_the_level_too():
  data = reader.in_memory(
    [
      record(0, identity=0, level=3, twins=1),
      record(1, identity=1, level=1),
      record(2, identity=2, level=3),
    ]
  )
  lenders = {read(pair.emotion)[0] for pair in pair_draws("twins", data)}
  assert lenders == {2}
  data = reader.in_memory([record(0, twins=1, level=3), record(1, level=3)])
  lenders = {read(pair.emotion)[0] for pair in pair_draws("twins", data)}
  assert lenders == {0}  # nobody else: another frame of the clip


def test_geometry_moves_pixels_landmarks_and_pose_together():
  dot = np.zeros((64, 64, 3), np.uint8)
  dot[26:29, 36:39] = 255  # centre (37, 27), right of the middle
  clip = record(0, frames=3, size=64)
  clip.landmarks[:, 30] = 37, 27
  clip = clip._replace(frames=[toy_records.jpeg(dot)] * 3)
  clip.pose[:] = 5, 6, 7
  data = reader.in_memory([clip])
  mirrored, rolls = 0, []
  for pair in pair_draws("geometry", data, size=64):
    bright = pair.target.astype(float).mean(-1)
    y, x = (np.indices(bright.shape) * bright).sum((1, 2)) / bright.sum()
    assert np.allclose(pair.target_landmarks[30], (x, y), atol=0.4)
    yaw, pitch, roll = pair.target_pose
    sign = np.sign(yaw)
    assert (abs(yaw), pitch) == (5, 6)
    eyes = pair.target_landmarks[spec.RIGHT_EYE].mean(
      0
    ) - pair.target_landmarks[spec.LEFT_EYE].mean(0)
    assert eyes[0] > 0  # left stays left, mirrored or not
    turned = np.rad2deg(np.arctan2(eyes[1], eyes[0]))  # y down: clockwise
    assert np.isclose(roll, turned + sign * 7, atol=0.1)
    rolls.append(turned)
    column = pair.identity.astype(float).sum((0, 2)).argmax()
    assert (column < 32) == (sign < 0)  # all donors are mirrored together
    mirrored += sign < 0
  assert 8 < mirrored < 32
  assert max(rolls) > 5 and min(rolls) < -5
  assert max(map(abs, rolls)) <= augment.ROTATION_DEG


def test_the_mirror_is_its_own_inverse():
  points = toy_records.landmarks(1, 32)[0]
  twice = augment.mirror_landmarks(augment.mirror_landmarks(points, 32), 32)
  assert np.allclose(twice, points)
  assert np.array_equal(np.sort(augment.MIRROR), np.arange(68))


def test_the_mix_is_obeyed():
  mix = {"self": 3.0, "cross_clip": 1.0, "twins": 0.0}
  samples = draws(sample_pairs(people(), mix=mix, seed=0, **PAIR), 200)
  own = sum(not pair.treated for pair in samples)
  assert 120 < own < 180


def test_what_the_data_cannot_serve_is_said_at_the_start():
  plain = reader.in_memory([record(0)])
  assert "twins" not in robust_mix(plain)
  assert robust_mix(people())["twins"] > 0

  def build(data=plain, **change):
    return sample_pairs(data, seed=0, **(PAIR | change))

  with pytest.raises(ValueError, match=r"pair kind 'twins' needs"):
    build(mix={"twins": 1.0})
  with pytest.raises(ValueError, match="'twin' is not one of"):
    build(mix={"twin": 1.0})
  with pytest.raises(ValueError, match="weights"):
    build(mix={"self": 0.0})
  build(mix={"self": 1.0, "twins": 0.0})


# --- stage 3 ---------------------------------------------------------------


def test_clips_are_consecutive_with_their_sound():
  padded = 0
  for sample in draws(sample_clips(people(), seed=0, **CLIP)):
    clip, start = (int(x) for x in sample.pose[0, :2])
    assert [read(f)[:2] for f in sample.frames] == [
      (clip, start + k) for k in range(5)
    ]
    assert np.array_equal(sample.pose[:, 1], np.arange(start, start + 5))
    assert len(sample.audio) == 9 * 640
    whole = people()[clip].audio
    np.testing.assert_array_equal(sample.level, spec.sound_level(whole))
    middle = sample.audio[2 * 640 : 7 * 640]
    assert middle.tolist() == list(
      range(start * 640 + 1, (start + 5) * 640 + 1)
    )
    padded += int((sample.audio == 0).any())
    donor = read(sample.identity)[0]
    assert donor // 2 == clip // 2 and donor % 2 != clip % 2
    both = zip(sample.emotion, sample.emotion_landmarks, strict=True)
    for picture, points in both:
      lender, t, _ = read(picture)
      assert lender == clip and not start <= t < start + 5
      np.testing.assert_array_equal(points, people()[clip].landmarks[t])
    assert sample.emotion_label == clip % 2
  assert 0 < padded < 40


def test_identity_lies_outside_the_window_of_an_only_clip():
  data = reader.in_memory([record(0, frames=6), record(1, identity=1)])
  for sample in draws(sample_clips(data, seed=0, **CLIP)):
    clip, start = (int(x) for x in sample.pose[0, :2])
    donor, t, _ = read(sample.identity)
    assert donor == clip and not start <= t < start + 5


def test_identity_of_the_same_clip():
  """As in the paper: another time of the clip, never inside the window."""
  wanted = sample_clips(people(), seed=0, identity_from="same_clip", **CLIP)
  for sample in draws(wanted):
    clip, start = (int(x) for x in sample.pose[0, :2])
    donor, t, _ = read(sample.identity)
    assert donor == clip and not start <= t < start + 5
  with pytest.raises(ValueError, match="identity_from 'nobody'"):
    sample_clips(people(), seed=0, identity_from="nobody", **CLIP)


def test_identity_of_either_clip():
  """Half of the samples each way; all of one clip where it is all window."""
  wanted = sample_clips(people(), seed=0, identity_from="either", **CLIP)
  own = []
  for sample in draws(wanted):
    clip, start = (int(x) for x in sample.pose[0, :2])
    donor, t, _ = read(sample.identity)
    own.append(donor == clip)
    assert donor // 2 == clip // 2
    assert donor != clip or not start <= t < start + 5
  assert 0.3 < np.mean(own) < 0.7
  data = reader.in_memory([record(0, frames=5), record(1, frames=5)])
  for sample in draws(
    sample_clips(data, seed=0, identity_from="either", **CLIP)
  ):
    assert read(sample.identity)[0] != int(sample.pose[0, 0])


class Numbered(reader.Records):
  """Clips of one record, whose pictures say which clip it is."""

  def __init__(self, index):
    one = record(0)
    rows = Index(row._asdict() for row in index)
    super().__init__("numbered", rows, lambda i: one, 1 << 20)

  def _pictures(self, i, field, times, size):
    frame = np.zeros((size, size, 3), np.uint8)
    frame.reshape(-1)[:4] = np.frombuffer(np.uint32(i).tobytes(), np.uint8)
    return [frame] * len(times)


def same_video(index, same_session) -> tuple[float, float]:
  """Shares of IRFD's and SPEAK's samples with an identity of their video."""
  data = Numbered(index)
  options = PAIR | {"same_session": same_session}
  pairs = sample_pairs(data, mix={"cross_clip": 1.0}, seed=0, **options)
  options = CLIP | {"same_session": same_session, "identity_from": "either"}
  clips = sample_clips(data, seed=0, **options)

  def same(one, other) -> bool:
    rows = [
      index[int(np.frombuffer(picture.tobytes()[:4], np.uint32)[0])]
      for picture in (one, other)
    ]
    assert rows[0].identity == rows[1].identity
    return rows[0].session == rows[1].session

  return (
    float(
      np.mean([same(pairs[k].identity, pairs[k].target) for k in range(100)])
    ),
    float(
      np.mean([same(clips[k].identity, clips[k].frames[0]) for k in range(100)])
    ),
  )


def test_identity_comes_from_the_same_video():
  """Of VoxCeleb2's averages: 24 videos of 7 utterances a speaker."""
  (row,) = reader.in_memory([record(0, emotion=-1)]).index
  index = [
    row._replace(
      clip=f"{who}/{video}/{k}",
      identity=f"id{who}",
      session=f"video{video}",  # of another speaker's as well
    )
    for who in range(4)
    for video in range(24)
    for k in range(7)
  ]
  before, after = same_video(index, False), same_video(index, True)
  assert before[0] < 0.15 and 0.35 < before[1] < 0.7
  assert after == (1, 1)


def test_draws_are_as_they_were_where_sessions_are_not_known():
  for make, options in ((sample_clips, CLIP), (sample_pairs, PAIR)):
    if make is sample_pairs:
      options = options | {"mix": robust_mix(people())}
    asked, not_asked = (
      make(people(), seed=0, **(options | {"same_session": way}))
      for way in (True, False)
    )
    assert all(equal(asked[k], not_asked[k]) for k in range(12))


@pytest.mark.parametrize("identity_from", IDENTITY_FROM)
def test_samplers_keep_to_the_session_where_it_is_known(identity_from):
  """Person 0: two videos of two clips, one of one; 1 and 2 are not known."""
  videos = ("a", "a", "b", "b", "c")
  known = [record(i, session=name) for i, name in enumerate(videos)]
  unknown = [record(5 + i, identity=1) for i in range(2)]
  data = reader.in_memory([*known, *unknown])
  clips = sample_clips(data, seed=0, identity_from=identity_from, **CLIP)
  pairs = sample_pairs(data, mix={"cross_clip": 1.0}, seed=0, **PAIR)
  own = {"clips": set(), "pairs": set()}
  for k in range(56):
    clip, start = (int(x) for x in clips[k].pose[0, :2])
    donor, t, _ = read(clips[k].identity)
    assert donor != clip or not start <= t < start + 5
    own["clips"].add((clip, donor))
    target, t = target_of(pairs[k])
    donor, other, _ = read(pairs[k].identity)
    assert donor != target or other != t
    own["pairs"].add((target, donor))
  apart = {(0, 1), (1, 0), (2, 3), (3, 2), (5, 6), (6, 5)}
  alone = {(4, 4)}
  same = {(i, i) for i in range(7)}
  assert own["pairs"] == apart | alone
  assert (
    own["clips"]
    == {
      "other_clip": apart | alone,
      "same_clip": same,
      "either": apart | same,
    }[identity_from]
  )


def test_clips_that_are_too_short_are_left_out():
  data = reader.in_memory(
    [record(0, frames=4), record(1, frames=5), record(2, identity=1, frames=5)]
  )
  # Clip 0 is too short, clip 2 its person's only one and all window.
  seen = {read(s.frames)[0] for s in draws(sample_clips(data, seed=0, **CLIP))}
  assert seen == {1}


def test_no_usable_clip_is_said_at_the_start():
  short = reader.in_memory([record(0, frames=5)])
  with pytest.raises(ValueError, match=r"no clip has 12 frames, .* 5"):
    sample_sync_windows(short, size=32, seed=0)
  with pytest.raises(ValueError, match="outside a window of 5"):
    sample_clips(short, seed=0, **CLIP)
  mixed = reader.in_memory([record(0), record(1, fps=30.0)])
  with pytest.raises(ValueError, match=r"frames/s .*25.0 in memory; 30"):
    sample_clips(mixed, seed=0, **CLIP)


def test_unlabelled_clips_of_one_frame_or_person_work():
  data = reader.in_memory([record(0, emotion=-1, frames=1)])
  mix = robust_mix(data)
  for pair in draws(sample_pairs(data, mix=mix, seed=0, **PAIR), 8):
    assert pair.emotion_label == -1
  data = reader.in_memory([record(i, emotion=-1) for i in range(2)])
  for sample in draws(sample_clips(data, seed=0, **CLIP), 8):
    assert read(sample.identity)[0] != read(sample.frames)[0]


# --- both ------------------------------------------------------------------


def test_stored_pictures_of_another_size_are_resized():
  pair = pair_draws("cross_clip", people(size=48))[0]
  assert pair.target.shape == (32, 32, 3)
  assert read(pair.target)[:2] == target_of(pair)
  assert 0 < pair.target_landmarks.min() < pair.target_landmarks.max() < 32


def test_evaluation_clips_are_whole_and_in_turn():
  options = dict(size=32, face_size=16, emotion_frames=4, same_session=True)
  wholes = list(held_out.evaluation_clips(people(), limit=4, **options))
  assert [w.clip for w in wholes] == ["clip0", "clip2", "clip4", "clip1"]
  for whole in wholes:
    clip = int(whole.clip[4:])
    assert [read(f)[:2] for f in whole.frames] == [(clip, t) for t in range(16)]
    assert len(whole.audio) == 16 * 640
    donor = read(whole.identity)[0]
    assert donor // 2 == clip // 2 and donor != clip
    assert whole.identity_emotion == donor % 2
    assert [read(e)[1] for e in whole.emotion] == [0, 5, 10, 15]
  alone = reader.in_memory([record(3)])
  (whole,) = held_out.evaluation_clips(alone, **options)
  assert read(whole.identity)[:2] == (3, 0)


def test_evaluation_clips_keep_to_the_session_where_it_is_known():
  """Person 0: a video of two clips, one of one; person 1 is not known."""
  known = [record(i, session=name) for i, name in enumerate("aab")]
  unknown = [record(3 + i, identity=1) for i in range(2)]
  data = reader.in_memory([*known, *unknown])

  def lenders(same_session):
    return {
      int(whole.clip[4:]): read(whole.identity)[0]
      for whole in held_out.evaluation_clips(
        data,
        size=32,
        face_size=16,
        emotion_frames=1,
        same_session=same_session,
      )
    }

  assert lenders(True) == {0: 1, 1: 0, 2: 2, 3: 4, 4: 3}
  assert lenders(False)[2] != 2  # of another video


def test_rendered_faces_serve_every_stage(tmp_path):
  recipes = render.recipes(
    seed=1,
    identities=2,
    held_out=1,
    clips_per_identity=2,
    emotions=(0, 5),
    levels=(3,),
    seconds=0.6,
    size=64,
    framing="tight",
    twins_every=5,
  )
  jobs = synthetic.tasks(recipes)
  rows = []
  for split in SPLITS:
    clips = [
      clip for job in jobs if job.split == split for clip in job.records()
    ]
    path = tmp_path / writer.shard_name(split, 0, 1)
    rows += writer.write_shard(path, clips)
  writer.write_metadata(tmp_path, rows)
  train = opening.open_records(tmp_path, "train")
  mix = robust_mix(train)
  assert mix["twins"] > 0
  for dataset in (
    sample_sync_windows(train, size=64, seed=0),
    sample_pairs(
      train,
      mouth_size=24,
      mix=mix,
      same_session=True,
      treatment=TREATED,
      seed=0,
      size=64,
    ),
    sample_clips(
      train,
      frames=5,
      context=5,
      emotion_frames=4,
      same_session=True,
      treatment=TREATED,
      seed=0,
      size=64,
    ),
  ):
    batch = next(batched(dataset, 4, threads=0))
    for name, field in batch._asdict().items():
      assert len(field) == 4
      if field.dtype == np.uint8:
        assert field.std() > 10, name  # a picture of something
  whole = next(
    held_out.evaluation_clips(
      opening.open_records(tmp_path, "test"),
      emotion_frames=4,
      same_session=True,
      size=64,
      face_size=48,
    )
  )
  assert whole.person not in {row.identity for row in train.index}
  assert len(whole.factors) == len(whole.frames) == 15
