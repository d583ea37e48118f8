"""Pictures and labels of the synthetic faces agree, and repeat exactly."""

import json
from typing import Any

import cv2
import numpy as np
import pytest

from data_pipelines.sources import synthetic as source
from data_pipelines.synthetic import (
  drawing,
  factors,
  frame_factors,
  head,
  identity,
  motion,
  render,
  surface,
)
from data_pipelines.synthetic.texture.atlas import REGIONS
from speak_jax import spec

SIZE = 64
GREEN = (0, 255, 0, 255)
INNER_LIPS = slice(60, 68)  # of the 68 landmarks


def recipe(**changes: Any) -> render.Recipe:
  base = render.Recipe(
    seed=5, split="train", identity=0, emotion=5, level=3, seconds=2.0,
    size=SIZE, framing="tight",
  )  # fmt: skip
  return base._replace(**changes)


@pytest.fixture(scope="module")
def clip() -> spec.Record:
  return render.render_clip(recipe(twins_every=10))


def scene(model, **shown: float) -> drawing.Scene:
  columns = {"scale": 0.85, **shown}
  rows = factors.zeros(1)._replace(
    **{name: np.array([float(value)]) for name, value in columns.items()}
  )
  channels, _ = frame_factors.channels_of(model.person, 0, 1, 1)
  return drawing.lit(np.random.default_rng(0), model, rows, channels, 128)


def paint(model, *names):
  """The model with some regions of its atlas painted bright green."""
  atlas = model.atlas.copy()
  for name in names:
    r = REGIONS[name]
    atlas[r.y : r.y + r.h, r.x : r.x + r.w] = GREEN
  return model._replace(atlas=atlas)


def green_box(frame):
  """Left, top, right, bottom of what is green."""
  frame = frame.astype(int)
  mask = frame[..., 1] - frame[..., [0, 2]].max(-1) > 60
  y, x = np.nonzero(mask)
  return np.array([x.min(), y.min(), x.max(), y.max()])


def box(points):
  return np.concatenate([points.min(0), points.max(0)])


def bare_model():
  """Somebody without glasses or hair before the eyes."""
  for index in range(40):
    model = head.model(5, "train", index)
    if not model.person.glasses and model.person.fringe == 0:
      return model
  raise AssertionError("nobody is bare-faced")


def test_same_recipe_same_bytes(clip):
  head.model.cache_clear()
  again = render.render_clip(recipe(twins_every=10))
  assert again.frames == clip.frames
  assert again.twin_mouth == clip.twin_mouth
  np.testing.assert_array_equal(again.audio, clip.audio)
  other = render.render_clip(recipe(take=1, seconds=0.2))
  assert other.frames[0] != clip.frames[0]


def test_record_is_whole(clip):
  n = len(clip.frames)
  assert n == 50
  assert clip.audio.shape == (n * 640,) and clip.audio.dtype == np.int16
  assert np.abs(clip.audio.astype(int)).max() > 3000
  assert clip.landmarks.shape == (n, 68, 2)
  assert clip.factors.shape == (n, len(factors.FACTORS))
  np.testing.assert_allclose(clip.pose, clip.factors[:, :3])
  assert list(clip.twin_index) == [5, 15, 25, 35, 45]
  assert len(clip.twin_pose) == len(clip.twin_mouth) == 5
  frame = cv2.imdecode(np.frombuffer(clip.frames[0], np.uint8), 1)
  assert frame.shape == (SIZE, SIZE, 3)
  assert frame.std() > 15


def test_sound_fits_any_frame_rate():
  record = render.render_clip(recipe(seconds=0.7, fps=30))
  assert len(record.frames) == 21
  assert len(record.audio) == round(21 * 16000 / 30)


@pytest.mark.parametrize(
  ("names", "points"),
  [(("eye", "shine", "lash"), spec.LEFT_EYE), (("mouth", "teeth"), None)],
)
def test_landmarks_are_where_the_pixels_are(names, points):
  model = paint(bare_model(), *names)
  what = scene(model, mouth_open=0.8, yaw=12, pitch=-5, roll=8)
  frames, landmarks = drawing.draw(what, 128)
  frame, marks = frames[0], landmarks[0]
  if points is None:
    wanted = box(marks[INNER_LIPS])
  else:
    middle = marks[27:31, 0].mean()
    frame[:, int(middle) :] = 0
    wanted = box(marks[points])
  # The lashes reach a little over the lid, the lips a little inwards.
  np.testing.assert_allclose(green_box(frame), wanted, atol=2.5)


def test_plain_skin_landmarks_are_projected_exactly():
  model = bare_model()
  what = scene(model, yaw=20, pitch=9, roll=-7, shift_x=0.03)
  _, landmarks = drawing.draw(what, 128)
  points = model.points[model.markers] - head.PIVOT
  turn = drawing.rotation(what.factors.pose)[0]
  points = points @ turn.T + head.PIVOT
  unit = 0.85 * 128 / (surface.CROWN_Y - surface.CHIN_Y + 0.12)
  near = 6.5 / (6.5 - points[:, 2])
  x = 128 * 0.53 + unit * points[:, 0] * near - 0.5
  y = 64 + 0.03 * unit - unit * points[:, 1] * near - 0.5
  wanted = np.stack([x, y], -1)
  np.testing.assert_allclose(landmarks[0, :17], wanted[:17], atol=1e-3)
  np.testing.assert_allclose(landmarks[0, 27:36], wanted[17:], atol=1e-3)


def test_points_are_in_their_places(clip):
  for marks in clip.landmarks:
    assert (np.diff(marks[0:17, 0]) > 0).all()
    assert (np.diff(marks[17:27, 0]) > 0).all()
    assert marks[36, 0] < marks[39, 0] < marks[42, 0] < marks[45, 0]
    assert marks[48, 0] < marks[51, 0] < marks[54, 0]
    assert marks[8, 1] == marks[:, 1].max()
    assert marks[51, 1] < marks[57, 1]


def test_signs_of_the_pose():
  model = bare_model()

  def nose(**pose):
    marks = drawing.draw(scene(model, **pose), SIZE)[1][0]
    eyes = marks[36:48].mean(0)
    return marks[30] - eyes, marks[42:48].mean(0) - marks[36:42].mean(0)

  straight, _ = nose()
  assert nose(yaw=20)[0][0] > straight[0] + 2
  assert nose(pitch=15)[0][1] < straight[1] - 1
  assert nose(roll=10)[1][1] > 2  # the eye on the right sinks


def test_opening_is_what_the_landmarks_show(clip):
  opening = clip.factors[:, factors.FACTORS.index("mouth_open")]
  seen = spec.mouth_opening(clip.landmarks)
  assert np.corrcoef(opening, seen)[0, 1] > 0.98
  marks = drawing.draw(scene(bare_model(), mouth_open=0.5), 128)[1]
  assert spec.mouth_opening(marks)[0] == pytest.approx(0.30, abs=0.03)


def test_open_mouth_is_seen_at_64_px():
  model = bare_model()
  frames = [
    drawing.draw(scene(model, mouth_open=value), SIZE)[0][0].astype(float)
    for value in (0.0, 0.6)
  ]
  marks = drawing.draw(scene(model, mouth_open=0.6), SIZE)[1][0]
  left, top, right, bottom = box(marks[INNER_LIPS]).round().astype(int)
  inside = np.s_[top : bottom + 1, left : right + 1]
  assert np.abs(frames[1][inside] - frames[0][inside]).mean() > 25
  assert frames[1][inside].min() < 60  # the dark of the mouth


def test_twins_share_pose_or_mouth(clip):
  shown = factors.Factors(*clip.factors.T)
  pose, mouth = render.twins(recipe(twins_every=10), shown, clip.twin_index)
  at = shown.rows(clip.twin_index)
  for twin, names in ((pose, factors.POSE), (mouth, factors.MOUTH)):
    for name in names:
      np.testing.assert_array_equal(
        getattr(twin.factors, name), getattr(at, name)
      )
  assert np.abs(pose.factors.mouth_open - at.mouth_open).max() > 0.05
  assert np.abs(mouth.factors.yaw - at.yaw).max() > 1
  np.testing.assert_allclose(
    pose.landmarks, clip.twin_pose_landmarks, atol=1e-3
  )
  # Pictures too: the heads lie over each other, the mouths open alike.
  middle = clip.landmarks[clip.twin_index].mean(1)
  assert np.abs(pose.landmarks.mean(1) - middle).max() < 0.08 * SIZE
  np.testing.assert_allclose(
    spec.mouth_opening(mouth.landmarks),
    spec.mouth_opening(clip.landmarks[clip.twin_index]),
    atol=0.04,
  )


def test_lips_meet_on_m_b_p():
  seen = 0
  for emotion in (0, 7):  # surprise opens the mouth, but not then
    record = render.render_clip(recipe(emotion=emotion))
    opening = spec.mouth_opening(record.landmarks)
    for symbol, start, end in json.loads(record.phonemes):
      for t in range(len(record.frames)):
        if symbol in "mbp" and start < (t + 0.5) / record.fps < end:
          assert opening[t] < 0.02
          seen += 1
  assert seen >= 4


def test_splits_share_nobody():
  made = render.recipes(
    seed=0, identities=6, held_out=6, clips_per_identity=4, size=SIZE
  )
  assert len({one.clip for one in made}) == 48
  train = [identity.sample(0, "train", i) for i in range(6)]
  for split in ("test", "judge"):
    for other in (identity.sample(0, split, i) for i in range(6)):
      gap = [np.abs(one.shape - other.shape).max() for one in train]
      assert min(gap) > 0.3
  for index in range(6):
    shown = [
      r.emotion for r in made if r.identity == index and r.split == "test"
    ]
    assert len(set(shown)) == 4


def test_random_frames_are_many_people_in_many_rooms():
  some = render.random_frames(1, 12, SIZE, "wide", per_identity=4)
  assert some.frames.shape == (12, SIZE, SIZE, 3)
  assert list(some.identity) == [0] * 4 + [1] * 4 + [2] * 4
  corner = some.frames[:4, :6, :6].reshape(4, -1).mean(1)
  assert np.ptp(corner) > 5
  again = render.random_frames(1, 12, SIZE, "wide", per_identity=4)
  np.testing.assert_array_equal(again.frames, some.frames)
  limit = motion.framing("wide")
  assert np.abs(some.pose[:, 0]).max() <= limit.yaw
  assert len(set(some.emotion)) > 3


def test_wrong_words_are_named():
  with pytest.raises(ValueError, match="framing 'narrow'"):
    render.render_clip(recipe(framing="narrow"))
  with pytest.raises(ValueError, match="split 'dev'"):
    render.render_clip(recipe(split="dev"))
  with pytest.raises(ValueError, match="emotion 8"):
    render.render_clip(recipe(emotion=8))


def test_tasks_make_records():
  tasks = source.tasks(
    render.recipes(
      seed=0,
      identities=1,
      held_out=1,
      clips_per_identity=2,
      seconds=0.12,
      size=SIZE,
    )
  )
  assert [t.split for t in tasks] == ["train"] * 2 + ["test"] * 2
  (record,) = tasks[-1].records()
  assert record.clip == tasks[-1].clip
  assert record.identity == tasks[-1].identity
