"""The swap matrix on networks that are perfect, or that ignore their codes.

A fake picture says everything in one pixel each: person, pose, emotion,
opening.
"""

import numpy as np
import pytest

from speak_jax.evaluation.disentanglement import swaps
from speak_jax.evaluation.disentanglement.subjects import Subjects
from speak_jax.evaluation.readers import face_reader
from speak_jax.models.irfd import Codes, IdentityFeatures

N, SIZE = 24, 16


def _draw(person, pose, label, opening):
  frames = np.zeros((len(person), SIZE, SIZE, 3), np.uint8)
  frames[:, 0, 0, 0] = person * 20
  frames[:, 0, 1] = (pose + 60).round()
  frames[:, 0, 2, 0] = label
  frames[:, 0, 3, 0] = (opening * 200).round()
  return frames


def _read(frames):
  person = frames[:, 0, 0, 0] / 20.0
  emotion = np.eye(8)[frames[:, 0, 2, 0]]
  return face_reader.Reading(
    np.ones(len(frames), bool),
    np.zeros((len(frames), 68, 2)),
    frames[:, 0, 1] - 60.0,
    frames[:, 0, 3, 0] / 200.0,
    emotion,
    np.eye(4)[person.round().astype(int)],
  )


@pytest.fixture
def subjects():
  rng = np.random.default_rng(0)
  person = np.arange(N) // 6
  label = np.arange(N) // 3 % 8
  pose, opening = rng.uniform(-40, 40, (N, 3)).round(), rng.random(N).round(2)
  target = _draw(person, pose, label, opening)
  return Subjects(
    target=target,
    identity=_draw(person, 0 * pose, 0 * label, 0 * opening),
    identity_landmarks=np.zeros((N, 68, 2), np.float32),
    emotion=target[:, :8, :8],
    mouth=target[:, :4, :4],
    pose=pose,
    opening=opening,
    label=label,
    person=person,
    clip=np.arange(N) // 3,
  )


def _encode(face, landmarks, frame, emotion, mouth):
  label = emotion[:, 0, 2, 0]
  return (
    IdentityFeatures(face[:, 0, 0, :1] / 20.0, face[:, 0, 1] - 60.0, ()),
    Codes(
      frame[:, 0, 1] - 60.0, label[:, None] / 1.0, mouth[:, 0, 3, :1] / 200
    ),
    np.eye(8)[label],
  )


def _perfect(portrait, codes):
  rows = (portrait.identity[:, 0], codes.pose, codes.emotion[:, 0])
  return (_draw(*rows, codes.mouth[:, 0]),)


def _run(subjects, decode):
  model = swaps.Irfd(_encode, decode)
  all_swaps = swaps.make_all(subjects, model, _read, seed=0)
  figures, kept = swaps.measure(all_swaps, model, seed=0, shown=5)
  return {k.removeprefix("irfd/"): v.value for k, v in figures.items()}, kept


def test_a_perfect_model(subjects):
  figures, kept = _run(subjects, _perfect)
  assert figures["psnr"] == 100
  assert figures["ssim"] == pytest.approx(1)
  assert figures["pose_moved"] == pytest.approx(1)
  assert figures["pose_moved_no_swap"] == pytest.approx(0)
  assert figures["pose_moved_identity_swap"] == pytest.approx(0)
  assert figures["pose_r2_donor_pose_swap"] == pytest.approx(1)
  assert figures["identity_swap_margin"] == pytest.approx(1)
  assert figures["identity_source_pose_swap"] == pytest.approx(1)
  assert figures["emotion_donor_emotion_swap"] == 1
  assert figures["emotion_source_no_swap"] == 1
  assert figures["mouth_r_donor_mouth_swap"] == pytest.approx(1, abs=1e-3)
  assert abs(figures["mouth_r_donor_no_swap"]) < 0.6
  assert figures["emotion_accuracy"] == 1
  assert figures["judge/identity_same"] == 1
  assert figures["code_std/pose"] == pytest.approx(
    subjects.pose.std(0).mean(), rel=1e-3
  )
  assert swaps.sheet_cells(kept).shape == (5, 8, SIZE, SIZE, 3)


def test_a_model_that_ignores_its_codes(subjects):
  def still(portrait, codes):
    n = len(codes.pose)
    rows = (portrait.identity[:, 0], np.zeros((n, 3)), np.zeros(n, int))
    return (_draw(*rows, np.zeros(n)),)

  figures, _ = _run(subjects, still)
  assert figures["pose_moved_over_no_swap"] == pytest.approx(0)
  assert figures["identity_swap_margin"] == pytest.approx(1)
  assert figures["emotion_donor_emotion_swap"] < 0.4
  assert figures["pose_r2_donor_pose_swap"] <= 0
  assert figures["mouth_r_donor_mouth_swap"] == 0


def test_donors_are_other_people_in_another_mood(subjects):
  lender = swaps.donors(subjects, seed=1)
  assert np.all(subjects.person[lender] != subjects.person)
  assert np.all(subjects.label[lender] != subjects.label)
  alone = subjects._replace(person=np.zeros(N, int))
  with pytest.raises(ValueError, match="two people"):
    swaps.donors(alone, seed=1)
