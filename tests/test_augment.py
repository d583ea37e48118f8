"""What pose and emotion pictures tell, and what they must not."""

import cv2
import numpy as np
import pytest

from configs import speak as configs
from data_pipelines import augment, batches, donors, held_out, records
from data_pipelines.media import face, warp
from data_pipelines.synthetic import render
from speak_jax import spec
from tests import toy_records
from tests.toy_records import read, record

TREATED = augment.Treatment(
  pose=True, stretch=0.08, emotion=True, emotion_clip=0.5
)
SIZE = 64
CLIP = dict(
  size=SIZE,
  face_size=48,
  frames=2,
  context=0,
  emotion_frames=2,
  same_session=True,
)
PAIR = dict(
  size=SIZE,
  face_size=48,
  mouth_size=24,
  mix={"cross_clip": 1.0},
  same_session=True,
)


@pytest.fixture(scope="module")
def drawn() -> records.Records:
  """People who talk and turn, each in a light of their own."""
  recipes = render.recipes(
    seed=3,
    identities=8,
    held_out=0,
    clips_per_identity=1,
    seconds=1.6,
    size=SIZE,
    framing="medium",
    twins_every=0,
  )
  return records.in_memory([render.render_clip(one) for one in recipes])


# --- what passes -----------------------------------------------------------


def told(data, treatment) -> dict[str, float]:
  """Correlations of what pose frames tell with what is so, over draws.

  Of colour with the target's; of mouth opening, read by strangers' pixels,
  and of yaw, each about its clip's mean.
  """
  places = {
    pose.tobytes(): (i, t)
    for i in range(len(data))
    for t, pose in enumerate(data[i].pose)
  }
  dataset = batches.clips(data, treatment=treatment, seed=0, **CLIP)
  who, facts, colours, lips, whole = [], [], [], [], []
  for k in range(240):
    sample = dataset[k]
    seen, points = sample.pose_frames[0], sample.landmarks[0]
    i, t = places[sample.pose[0].tobytes()]
    who.append(i)
    facts.append(
      data[i].factors[t][
        [render.FACTORS.index("mouth_open"), render.FACTORS.index("yaw")]
      ]
    )
    colours.append((seen.mean(), sample.frames[0].mean()))
    lips.append(grey(below_eyes(seen, points), (14, 12)))
    whole.append(grey(seen, (12, 12)))
  who, facts = np.array(who), about_mean(np.array(facts), np.array(who))
  opened = about_mean(foretold(np.array(lips), facts[:, 0], who % 4), who)
  whole = about_mean(np.array(whole), who)
  yaw = foretold(whole, facts[:, 1], np.arange(len(who)) % 4)
  return {
    "colour": np.corrcoef(*np.array(colours).T)[0, 1],
    "opening": np.corrcoef(opened, facts[:, 0])[0, 1],
    "yaw": np.corrcoef(yaw, facts[:, 1])[0, 1],
  }


def below_eyes(frame, landmarks) -> np.ndarray:
  """Mouth, chin and jaw, placed by the eyes: lips' landmarks would tell."""
  matrix = warp.similarity(
    face.anchors(landmarks)[:2], face.FACE_TEMPLATE[:2] * 48 - 0.5
  )
  return face.warp(frame, matrix, 48)[22:46, 10:38]


def grey(picture, size) -> np.ndarray:
  """Small, without colours or contrast of its own."""
  small = cv2.resize(picture, size, interpolation=cv2.INTER_AREA).mean(-1)
  return ((small - small.mean()) / small.std()).ravel()


def about_mean(values, who):
  values = values.copy()
  for i in set(who.tolist()):
    values[who == i] -= values[who == i].mean(0)
  return values


def foretold(x, y, fold) -> np.ndarray:
  """Ridge regression, for each fold fitted on the others."""
  found = np.zeros(len(y))
  for k in range(fold.max() + 1):
    fit, middle = fold != k, x[fold != k].mean(0)
    seen = x[fit] - middle
    weights = np.linalg.solve(
      seen.T @ seen + 100 * np.eye(x.shape[1]),
      seen.T @ (y[fit] - y[fit].mean()),
    )
    found[~fit] = (x[~fit] - middle) @ weights
  return found


def test_pose_frames_tell_the_pose_and_neither_lips_nor_colours(drawn):
  plain, treated = told(drawn, augment.PLAIN), told(drawn, TREATED)
  assert plain["colour"] == 1 and plain["opening"] > 0.5  # the test can tell
  assert abs(treated["colour"]) < 0.25
  assert treated["opening"] < 0.25
  assert treated["yaw"] > plain["yaw"] - 0.1 > 0.7


def test_the_rest_of_a_sample_is_as_without(drawn):
  for make, options, changed in (
    (batches.clips, CLIP, {"pose_frames", "emotion"}),
    (batches.pairs, PAIR, {"pose", "mouth", "emotion"}),
  ):
    plain, treated = (
      make(drawn, treatment=way, seed=5, **options)
      for way in (augment.PLAIN, TREATED)
    )
    for k in range(6):
      for name, a, b in zip(
        plain[k]._fields, plain[k], treated[k], strict=True
      ):
        assert np.array_equal(a, b) == (name not in changed), name
    if make is batches.clips:
      assert np.array_equal(plain[0].pose_frames, plain[0].frames)


def still(frames: int, **change) -> spec.Record:
  """A clip in which nothing moves."""
  picture = np.random.default_rng(0).integers(0, 256, (8, 8, 3), np.uint8)
  picture = cv2.resize(picture, (SIZE, SIZE), interpolation=cv2.INTER_CUBIC)
  one = record(0, frames=frames, size=SIZE, **change)
  one.landmarks[:] = one.landmarks[0]
  return one._replace(frames=[toy_records.jpeg(picture)] * frames)


def test_a_window_gets_one_change_and_each_emotion_picture_its_own():
  data = records.in_memory([still(20)])
  options = CLIP | {"frames": 5, "emotion_frames": 4}
  dataset = batches.clips(data, treatment=TREATED, seed=0, **options)
  looks = []
  for k in range(8):
    sample = dataset[k]
    assert (sample.pose_frames == sample.pose_frames[0]).all()
    assert not np.array_equal(sample.pose_frames[0], sample.frames[0])
    looks += [sample.pose_frames[0], dataset[k].pose_frames[0]]
    assert len({picture.tobytes() for picture in sample.emotion}) == 4
  assert len({look.tobytes() for look in looks}) == 8


# --- the changes -----------------------------------------------------------


def test_colours_leave_nothing_of_the_means():
  rng = np.random.default_rng(0)
  frame = rng.integers(90, 130, (SIZE, SIZE, 3), np.uint8)
  for shift in (-60, 0, 60):
    colours = augment.draw_colours(np.random.default_rng(1))
    made = augment.recolour(
      (frame.astype(int) + shift).astype(np.uint8), colours
    )
    assert np.allclose(made.mean((0, 1)), colours.mean, atol=1)


def test_a_stretch_changes_proportions_and_neither_place_size_nor_roll():
  rng = np.random.default_rng(0)
  points = toy_records.landmarks(1, SIZE)[0]
  turn = np.deg2rad(20)
  points = points @ [
    [np.cos(turn), np.sin(turn)],
    [-np.sin(turn), np.cos(turn)],
  ]
  ratios = []
  for _ in range(200):
    matrix = augment.draw_stretch(points, 0.08, rng)
    moved = face.transform(points, matrix)
    assert np.isclose(np.linalg.det(matrix[:, :2]), 1)
    nose = moved[spec.NOSE].mean(0), points[spec.NOSE].mean(0)
    assert np.allclose(*nose, atol=1e-3)
    across, before = (
      p[spec.RIGHT_EYE].mean(0) - p[spec.LEFT_EYE].mean(0)
      for p in (moved, points)
    )
    roll = [np.arctan2(*line[::-1]) for line in (across, before)]
    assert np.isclose(*roll, atol=1e-4)
    ratios.append((np.hypot(*across) / np.hypot(*before)) ** 2)
  assert 1.06 < max(ratios) < 1.0801 and 1 / 1.0801 < min(ratios) < 1 / 1.06


def test_emotion_pictures_are_moved_a_little_and_half_are_mirrored():
  rng, mirrored = np.random.default_rng(0), 0
  middle = np.full(2, 23.5)
  for _ in range(200):
    matrix = augment.draw_jitter(48, 0.08, rng)
    assert np.abs(matrix @ [*middle, 1] - middle).max() < 0.03 * 48 + 1e-6
    size = np.linalg.det(matrix[:, :2])
    mirrored += size < 0
    assert 0.88 < abs(size) < 1.13
  assert 70 < mirrored < 130


def test_donors_of_lips_are_another_window():
  rng = np.random.default_rng(0)
  firsts = set()
  for _ in range(300):
    times = donors.other_times(20, 8, 13, rng)
    assert times == list(range(times[0], times[0] + 5))
    assert (
      times[0] >= 0 and times[-1] < 20 and not set(times) & set(range(8, 13))
    )
    firsts.add(times[0])
  assert firsts == {0, 1, 2, 3, 13, 14, 15}
  for count, start, stop in ((6, 0, 5), (5, 0, 5), (9, 2, 7)):
    times = donors.other_times(count, start, stop, rng)
    assert all(a != b for a, b in zip(times, range(start, stop), strict=True))
    assert set(times) <= set(range(count))
  assert donors.other_times(1, 0, 1, rng) == [0]


# --- who lends the emotion -------------------------------------------------


def test_emotion_of_another_clip_is_of_the_same_person_emotion_and_camera():
  data = records.in_memory(
    [
      record(0, emotion=1, view="front"),
      record(1, emotion=1, view="front"),
      record(2, emotion=1, view="left_30"),
      record(3, emotion=2, view="front"),
      record(4, emotion=1, view="front", level=1),
      record(5, emotion=1, view="front", identity=1),
      record(6, emotion=-1, view="front"),
      record(7, emotion=-1, view="front"),
    ]
  )
  legible = augment.Treatment(True, 0.0, False, 0.5)
  mates = {0: {0, 1}, 1: {0, 1}}
  lenders: dict[str, dict[int, list[int]]] = {"pairs": {}, "clips": {}}
  pairs = batches.pairs(data, treatment=legible, seed=0, **PAIR)
  clips = batches.clips(data, treatment=legible, seed=0, **CLIP)
  for k in range(160):
    pair, clip = pairs[k], clips[k]
    lent = lenders["pairs"].setdefault(int(pair.target_pose[0]), [])
    lent.append(read(pair.emotion)[0])
    one, two = (read(picture)[0] for picture in clip.emotion)
    assert one == two
    lenders["clips"].setdefault(int(clip.pose[0, 0]), []).append(one)
  for found in lenders.values():
    assert found.keys() == set(range(8))
    for clip, lent in found.items():
      assert set(lent) == mates.get(clip, {clip})


# --- who gets them ---------------------------------------------------------


def test_paper_has_plain_pictures_and_the_others_treated_ones():
  for preset in configs.PRESETS:
    found = augment.Treatment(**configs.get_config(preset).data.augment)
    assert found == (augment.PLAIN if preset == "paper" else TREATED)


def test_evaluation_has_plain_pictures(drawn):
  whole = next(
    held_out.evaluation_clips(
      drawn, size=SIZE, face_size=48, emotion_frames=3, same_session=True
    )
  )
  last = face.align_face(whole.frames[-1], whole.landmarks[-1], 48)
  assert np.array_equal(whole.emotion[-1], last)
