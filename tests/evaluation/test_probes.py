"""Probes on codes that hold one thing each, all things, or nothing."""

import numpy as np
import pytest

from data_pipelines.faces import align
from speak_jax.evaluation.disentanglement import probes
from speak_jax.evaluation.disentanglement.subjects import probe_subjects
from speak_jax.evaluation.eval_clip import EvalClip
from speak_jax.inference.settings import Settings
from speak_jax.methods import base as methods

PEOPLE, CLIPS, FRAMES = 8, 6, 4


def _clip(person, number):
  rng = np.random.default_rng((person, number))
  n = 9
  return EvalClip(
    name=f"{person}_{number}",
    person=f"p{person}",
    emotion=(number + person) % 4,
    level=2,
    frames=rng.integers(0, 256, (n, 8, 8, 3), np.uint8),
    landmarks=8 * rng.random((n, 68, 2)),
    pose=rng.normal(size=(n, 3)) * 9,
    opening=rng.random(n),
    audio=np.zeros(9, np.int16),
    fps=25.0,
    emotion_track=methods.ShownFrames(
      np.zeros((1, 8, 8, 3), np.uint8), np.zeros((1, 68, 2))
    ),
  )


@pytest.fixture(scope="module")
def clips():
  return [_clip(p, k) for p in range(PEOPLE) for k in range(CLIPS)]


@pytest.fixture(scope="module")
def subjects(clips):
  settings = Settings(8, 8, "frame", 5, 5, 25.0)
  return probe_subjects(clips, settings, 3)


def test_subjects_give_every_code_from_one_frame(clips, subjects):
  assert len(subjects.target) == PEOPLE * CLIPS * FRAMES
  np.testing.assert_array_equal(subjects.target, subjects.identity)
  clip = clips[2]
  for k, t in enumerate((0, 3, 5, 8)):
    i = 2 * FRAMES + k
    np.testing.assert_array_equal(subjects.target[i], clip.frames[t])
    np.testing.assert_array_equal(
      subjects.identity_landmarks[i], clip.landmarks[t]
    )
    np.testing.assert_array_equal(subjects.emotion[i], clip.frames[t])
    mouth = align.align_mouth(clip.frames[t], clip.landmarks[t], 3)
    np.testing.assert_array_equal(subjects.mouth[i], mouth)
    np.testing.assert_array_equal(subjects.pose[i], clip.pose[t])
    assert subjects.clip[i] == 2
    assert subjects.person[i] == 0


def _codes(subjects, leak=0.0):
  """A clean code of each kind; the pose code may tell who it is."""
  rng = np.random.default_rng(0)
  mix = rng.normal(size=(PEOPLE, PEOPLE))
  who = np.eye(PEOPLE)[subjects.person] @ mix
  mood = np.eye(8)[subjects.label] @ rng.normal(size=(8, 6))
  noise = rng.normal(size=(len(who), 5)) * 0.05
  pose = subjects.pose @ rng.normal(size=(3, 5)) + noise
  return {
    "identity": who,
    "pose": np.c_[pose, leak * who],
    "emotion": mood,
  }


def test_clean_codes_tell_their_own_thing_alone(subjects):
  values = probes.measure(_codes(subjects), subjects, seed=0)
  assert values["probe/identity_from_identity"].value == 1
  assert values["probe/pose_from_pose"].value > 0.99
  assert values["probe/emotion_from_emotion"].value == 1
  assert values["probe/identity/chance"].value == pytest.approx(1 / PEOPLE)
  assert values["probe/emotion/chance"].value == pytest.approx(0.25, abs=0.03)
  assert values["probe/pose/chance"].value == 0
  for code in ("identity", "emotion"):
    assert values[f"probe/pose_from_{code}"].value < 0.05
  for code in ("identity", "pose"):
    assert values[f"probe/emotion_from_{code}"].value < 0.45
  for code in ("pose", "emotion"):
    assert values[f"probe/identity_from_{code}"].value < 0.3
  # Controls know nothing, whatever the code holds.
  for target, most in (("identity", 0.3), ("pose", 0.05), ("emotion", 0.45)):
    for code in ("identity", "pose", "emotion"):
      control = values[f"probe/{target}_from_{code}/control"]
      assert control.low <= control.value <= control.high
      assert control.value < most
  figure = values["probe/pose_from_pose"]
  assert figure.low <= figure.value <= figure.high
  text = probes.markdown(values)
  assert "| f_I | **1.00 [1.00, 1.00]" in text
  assert "| *chance* | 0.12 | 0.00 |" in text


def test_a_leak_is_found(subjects):
  values = probes.measure(_codes(subjects, leak=0.3), subjects, seed=0)
  assert values["probe/identity_from_pose"].value > 0.9
  assert values["probe/identity_from_pose/control"].value < 0.3


def test_constant_codes_tell_nothing(subjects):
  codes = {"pose": np.ones((len(subjects.person), 4))}
  values = probes.measure(codes, subjects, seed=0)
  assert values["probe/pose_from_pose"].value <= 0
  assert values["probe/identity_from_pose"].value < 0.2


def test_emotion_is_asked_of_people_that_were_not_learned(subjects):
  """A code that knows everybody's moods by heart must not score."""
  heart = np.eye(PEOPLE * 8)[subjects.person * 8 + subjects.label]
  values = probes.measure({"emotion": heart}, subjects, seed=0)
  assert values["probe/emotion_from_emotion"].value < 0.45
  clip = np.eye(PEOPLE * CLIPS)[subjects.clip]
  values = probes.measure({"identity": clip}, subjects, seed=0)
  assert values["probe/identity_from_identity"].value < 0.3


def test_what_cannot_be_asked_is_left_out(subjects):
  codes = _codes(subjects)
  alone = subjects._replace(
    label=np.full_like(subjects.label, -1), clip=subjects.person
  )
  values = probes.measure(codes, alone, seed=0)
  assert not any(key.startswith("probe/identity") for key in values)
  assert not any(key.startswith("probe/emotion") for key in values)
  assert "probe/pose_from_pose" in values
  assert probes.markdown({}) == ""
