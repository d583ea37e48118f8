"""What pose and emotion pictures tell, and what they must not."""

import cv2
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from configs import speak as configs
from data_pipelines.dataset import reader
from data_pipelines.faces import align
from data_pipelines.media.warp import similarity, warp
from data_pipelines.sampling import augment, held_out
from data_pipelines.sampling.clips import sample_clips
from data_pipelines.sampling.pairs import sample_pairs
from data_pipelines.synthetic import render
from data_pipelines.synthetic.factors import FACTORS
from speak_jax.nn import treat
from tests.toy_records import read, record

TREATED = augment.Treatment(
  pose=True, stretch=0.08, emotion=True, emotion_clip=0.5
)
SIZE = 64
CLIP = dict(
  size=SIZE,
  frames=2,
  context=0,
  emotion_frames=2,
  same_session=True,
)
PAIR = dict(
  size=SIZE,
  mouth_size=24,
  mix={"cross_clip": 1.0},
  same_session=True,
)


@pytest.fixture(scope="module")
def drawn() -> reader.Records:
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
  return reader.in_memory([render.render_clip(one) for one in recipes])


# --- what passes -----------------------------------------------------------


@jax.jit
def shown(frames, landmarks, donor, donor_landmarks, key):
  """What E_p sees of a clip's frames, as bytes."""
  frames, donor = (x.astype(jnp.float32) / 127.5 - 1 for x in (frames, donor))
  made = treat.pose(
    frames[None],
    landmarks[None],
    treat.Lender(donor[None], donor_landmarks[None]),
    key,
    colours=TREATED.pose,
    most=TREATED.stretch,
  )[0]
  return ((made + 1) * 127.5).round().astype(jnp.uint8)


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
  dataset = sample_clips(data, treatment=treatment, seed=0, **CLIP)
  who, facts, colours, lips, whole = [], [], [], [], []
  for k in range(240):
    sample = dataset[k]
    seen, points = sample.frames[0], sample.landmarks[0]
    if treatment.pose:
      seen = np.asarray(
        shown(
          sample.frames,
          sample.landmarks,
          sample.donor,
          sample.donor_landmarks,
          jax.random.key(k),
        )
      )[0]
    i, t = places[sample.pose[0].tobytes()]
    who.append(i)
    facts.append(
      data[i].factors[t][[FACTORS.index("mouth_open"), FACTORS.index("yaw")]]
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
  matrix = similarity(
    align.anchors(landmarks)[:2], align.FACE_TEMPLATE[:2] * 48 - 0.5
  )
  return warp(frame, matrix, 48)[22:46, 10:38]


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
  """The drawn people have one clip each: no other can lend the emotion."""
  for make, options, changed in (
    (sample_clips, CLIP, {"donor", "donor_landmarks"}),
    (sample_pairs, PAIR, {"donor", "donor_landmarks", "lends"}),
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


@pytest.mark.parametrize("frames", [1, 5, 16])
def test_who_lends_a_mouth_is_outside_the_window(frames):
  """Of the clip itself, and of the person's other one where all is window."""
  data = reader.in_memory([record(0, frames=16), record(1, frames=16)])
  options = CLIP | {"frames": frames, "size": 32}
  times = set()
  for k in range(60):
    sample = sample_clips(data, treatment=TREATED, seed=0, **options)[k]
    clip, start = (int(x) for x in sample.pose[0, :2])
    lender, t, _ = read(sample.donor)
    assert sample.donor.shape == (16, 16, 3)
    if frames == 16:
      assert lender == 1 - clip
    else:
      assert lender == clip and not start <= t < start + frames
    points = (data[lender].landmarks[t] + 0.5) / 2 - 0.5
    np.testing.assert_allclose(sample.donor_landmarks, points, atol=1e-5)
    times.add(t)
  assert len(times) > 10


# --- who lends the emotion -------------------------------------------------


def test_emotion_of_another_clip_is_of_the_same_person_emotion_and_camera():
  data = reader.in_memory(
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
  pairs = sample_pairs(data, treatment=legible, seed=0, **PAIR)
  clips = sample_clips(data, treatment=legible, seed=0, **CLIP)
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
  last = align.align_face(whole.frames[-1], whole.landmarks[-1], 48)
  assert np.array_equal(whole.emotion[-1], last)
