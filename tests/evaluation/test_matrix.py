"""The swap matrix on networks whose swaps are known beforehand.

A fake picture says everything in a few pixels, on scales fine enough for a
leak of a quarter: identity and emotion as vectors of shares, pose in degrees.
"""

import numpy as np
import pytest

from speak_jax.evaluation import metric_table
from speak_jax.evaluation.disentanglement import matrix as disentangle
from speak_jax.evaluation.disentanglement import swap_report, swaps
from speak_jax.evaluation.disentanglement.subjects import Subjects, Twins
from speak_jax.evaluation.readers import face_reader
from speak_jax.models.irfd import Codes, IdentityFeatures

SIZE, PEOPLE = 16, 4
READER = "made up, never wrong"


def _draw(who, pose, mood, opening):
  """Every argument (n, d); who and mood are shares of 4 and 8 kinds."""
  frames = np.zeros((len(who), SIZE, SIZE, 3), np.uint8)
  frames[:, 0, :4, 0] = (who * 200).round()
  frames[:, 1, 0] = (2 * pose + 120).round()
  frames[:, 2, :8, 0] = (mood * 200).round()
  frames[:, 3, 0, 0] = (opening[:, 0] * 200).round()
  return frames


def _read(frames):
  mood = frames[:, 2, :8, 0] / 200.0
  return face_reader.Reading(
    np.ones(len(frames), bool),
    np.zeros((len(frames), 68, 2)),
    (frames[:, 1, 0] - 120.0) / 2,
    frames[:, 3, 0, 0] / 200.0,
    np.log(mood.clip(1e-9)),
    frames[:, 0, :4, 0] / 200.0,
  )


def _encode(face, landmarks, frame, emotion, mouth):
  seen, turned, mood = _read(face), _read(frame), _read(emotion)
  codes = Codes(
    turned.pose, np.exp(mood.emotion), _read(mouth).opening[:, None]
  )
  return IdentityFeatures(seen.identity, seen.pose, ()), codes, mood.emotion


def _perfect(portrait, codes):
  rows = (portrait.identity, codes.pose, codes.emotion, codes.mouth)
  return (_draw(*rows),)


def _subjects(seed=0, clips=12, frames=3):
  rng = np.random.default_rng(seed)
  clip = np.arange(clips).repeat(frames)
  person = clip % PEOPLE
  label = clip // PEOPLE % 8
  n = len(clip)
  pose = rng.integers(-40, 40, (n, 3)).astype(float)
  opening = rng.integers(0, 100, n) / 100
  who, mood = np.eye(PEOPLE)[person], np.eye(8)[label]
  target = _draw(who, pose, mood, opening[:, None])
  return Subjects(
    target=target,
    identity=_draw(who, 0 * pose, mood, 0 * opening[:, None]),
    identity_landmarks=np.zeros((n, 68, 2), np.float32),
    emotion=target,
    mouth=target,
    pose=pose,
    opening=opening,
    label=label,
    person=person,
    clip=clip,
  )


@pytest.fixture(scope="module")
def subjects():
  return _subjects()


def _matrix(subjects, decode, read=_read, encode=_encode):
  model = swaps.Irfd(encode, decode)
  found = disentangle.measure(
    swaps.make_all(subjects, model, read, seed=0), seed=0
  )
  return disentangle.matrix(found), found


def test_perfect_disentanglement_is_the_identity_matrix(subjects):
  matrix, found = _matrix(subjects, _perfect)
  for table in (matrix.toward, matrix.change, matrix.share):
    np.testing.assert_allclose(table, np.eye(3), atol=1e-6)
  off = matrix.absolute[~np.eye(3, dtype=bool)]
  np.testing.assert_allclose(off, 0, atol=1e-6)
  assert matrix.absolute[0, 0] == pytest.approx(1)  # orthogonal people
  assert matrix.absolute[2, 2] > 10
  np.testing.assert_allclose(matrix.arrived, 1, atol=1e-6)
  np.testing.assert_allclose(matrix.stayed[:2], 0, atol=1e-6)
  assert np.isnan(matrix.stayed[2])  # which only twins can tell
  assert found["swap/pose/found"].value == 1


@pytest.mark.parametrize("leak", [0.25, 0.5])
def test_a_leak_is_found_where_it_is_and_as_large(subjects, leak):
  """The identity carries some of its person's pose and mood along."""

  def leaky(portrait, codes):
    # The portrait's pose is 0 here: say it by the person instead.
    person = portrait.identity.argmax(-1)
    turn = np.eye(3)[person % 3] * (person + 1)[:, None]
    pose = codes.pose + turn
    mood = (1 - leak) * codes.emotion + leak * np.roll(
      np.eye(8)[:4][person], 4, -1
    )
    return (_draw(portrait.identity, pose, mood, codes.mouth),)

  matrix, _ = _matrix(subjects, leaky)
  # Emotion moves by leak * sqrt 2 between people, of a way of sqrt 2.
  assert matrix.change[0, 1] == pytest.approx(leak, abs=0.01)
  assert matrix.toward[0, 1] == pytest.approx(0, abs=0.01)
  assert matrix.toward[1, 1] == pytest.approx(1 - leak, abs=0.01)
  assert matrix.absolute[0, 1] == pytest.approx(leak, abs=0.01)
  assert 0.02 < matrix.change[0, 2] < 0.2
  np.testing.assert_allclose(matrix.share[[1, 2], [0, 0]], 0, atol=1e-6)
  np.testing.assert_allclose(matrix.share[[1, 2], [2, 1]], [0, 0], atol=1e-6)


def test_a_leak_towards_the_donor(subjects):
  """The emotion code smuggles a quarter of its picture's pose."""

  def encode(*pictures):
    portrait, codes, logits = _encode(*pictures)
    both = np.concatenate([codes.emotion, _read(pictures[3]).pose], 1)
    return portrait, codes._replace(emotion=both), logits

  def decode(portrait, codes):
    pose = 0.75 * codes.pose + 0.25 * codes.emotion[:, 8:]
    codes = codes._replace(pose=pose, emotion=codes.emotion[:, :8])
    return _perfect(portrait, codes)

  matrix, _ = _matrix(subjects, decode, encode=encode)
  assert matrix.toward[1, 2] == pytest.approx(0.25, abs=0.01)
  assert matrix.change[1, 2] == pytest.approx(0.25, abs=0.01)
  assert matrix.toward[2, 2] == pytest.approx(0.75, abs=0.01)
  assert matrix.share[0, 2] == pytest.approx(0, abs=1e-6)


def test_constant_codes_move_nothing(subjects):
  def deaf(portrait, codes):
    n = len(codes.pose)
    return (np.full((n, SIZE, SIZE, 3), 90, np.uint8),)

  matrix, _ = _matrix(subjects, deaf)
  for table in (matrix.toward, matrix.change, matrix.absolute):
    np.testing.assert_allclose(table, 0, atol=1e-9)
  np.testing.assert_allclose(matrix.arrived, 1, atol=1e-6)


def test_what_the_reader_cannot_tell_is_left_out(subjects):
  def tracker(frames):
    seen = _read(frames)
    found = np.arange(len(frames)) % 5 > 0
    pose = np.where(found[:, None], seen.pose, np.nan)
    return seen._replace(found=found, pose=pose, emotion=None, identity=None)

  matrix, found = _matrix(subjects, _perfect, tracker)
  assert np.isnan(matrix.share[:, :2]).all()
  np.testing.assert_allclose(matrix.share[:, 2], [0, 0, 1], atol=1e-6)
  assert 0.7 < found["swap/pose/found"].value < 0.9
  text = swap_report.markdown(matrix, READER)
  assert "| pose | - | - | **1.00" in text
  unknown = subjects._replace(label=np.full_like(subjects.label, -1))
  matrix, _ = _matrix(unknown, _perfect)
  assert np.isnan(matrix.share[:, 1]).all()
  assert matrix.share[0, 0] == pytest.approx(1)


def test_a_timid_reader_shortens_the_way_to_the_truth_alone(subjects):
  """It says everything at half its size; seen by itself nothing is missing."""

  def timid(frames):
    seen = _read(frames)
    mood = 0.5 * np.exp(seen.emotion) + 0.5 / 8
    return seen._replace(pose=seen.pose / 2, emotion=np.log(mood))

  matrix, found = _matrix(subjects, _perfect, timid)
  np.testing.assert_allclose(np.diag(matrix.toward), [1, 0.5, 0.5], atol=1e-3)
  np.testing.assert_allclose(matrix.arrived, [1, 0.5, 0.5], atol=1e-3)
  seen = disentangle.matrix(found, "reader")
  np.testing.assert_allclose(seen.toward, np.eye(3), atol=1e-6)
  np.testing.assert_allclose(seen.arrived, 1, atol=1e-6)


def test_the_matrix_always_names_its_reader(subjects):
  matrix, _ = _matrix(subjects, _perfect)
  text = swap_report.markdown(matrix, READER)
  assert READER in text
  assert "| identity | **1.00 [1.00, 1.00] (1 - cos = 1.00)** |" in text
  assert "| 0.00 [0.00, 0.00] (0.00 deg, to donor 0.00) |" in text
  for show in (swap_report.markdown, swap_report.picture):
    with pytest.raises(ValueError, match="reader"):
      show(matrix, " ")


def test_the_picture_shows_large_as_light(subjects):
  matrix, _ = _matrix(subjects, _perfect)
  shown = swap_report.picture(matrix, READER)
  assert shown.dtype == np.uint8
  places = shown.reshape(-1, 3).astype(int)
  # Both ends of cividis fill a good part of it.
  for colour in ([0, 34, 78], [254, 232, 56]):
    assert (np.abs(places - colour).max(-1) < 6).mean() > 0.03
  other = swap_report.picture(matrix._replace(share=1 - matrix.share), READER)
  assert (shown != other).any(-1).mean() > 0.1


def _twins(subjects):
  rng = np.random.default_rng(5)
  n = len(subjects.person)
  someone = np.eye(PEOPLE)[(subjects.person + 1) % PEOPLE]
  mood = np.eye(8)[rng.integers(0, 8, n)]
  any_pose = rng.integers(-40, 40, (n, 3)).astype(float)
  opening = subjects.opening[:, None]
  return Twins(
    subjects,
    pose=_draw(someone, subjects.pose, mood, rng.random((n, 1))),
    mouth=_draw(someone, any_pose, mood, opening),
  )


def test_exact_swaps_of_a_perfect_model(subjects):
  model = swaps.Irfd(_encode, _perfect)
  found = disentangle.measure_twins(_twins(subjects), model, _read, seed=0)
  for row in ("own", "pose_twin", "mouth_twin", "both"):
    assert found[f"twins/psnr/{row}"].value == 100
    assert found[f"twins/pose_error/{row}"].value == 0
  assert found["twins/psnr/stranger"].value < 60
  assert found["twins/pose_error/stranger"].value > 10
  assert found["twins/agreement/pose"].value == 1
  assert found["twins/agreement/mouth"].value == 1
  assert found["swap/reader/pose/change"].value == 0
  assert found["swap_seen/reader/pose/change"].value == 0
  text = swap_report.twins_markdown(found)
  assert "| pose from its twin | 100.00" in text
  assert swap_report.twins_markdown({}) == ""


def test_exact_swaps_find_what_a_pose_code_smuggles(subjects):
  def encode(*pictures):
    portrait, codes, logits = _encode(*pictures)
    who = _read(pictures[2]).identity * 30
    return portrait, codes._replace(pose=np.c_[codes.pose, who]), logits

  def decode(portrait, codes):
    who = 0.5 * portrait.identity + 0.5 * codes.pose[:, 3:] / 30
    made = codes._replace(pose=codes.pose[:, :3])
    return _perfect(portrait._replace(identity=who), made)

  model = swaps.Irfd(encode, decode)
  found = disentangle.measure_twins(_twins(subjects), model, _read, seed=0)
  assert found["twins/psnr/own"].value == 100
  assert found["twins/psnr/pose_twin"].value < 40
  assert found["twins/psnr/mouth_twin"].value == 100
  assert 0.3 < found["twins/agreement/pose"].value < 0.95


def test_sheets_hold_the_rows_person_in_the_columns_pose_or_mood(subjects):
  model = swaps.Irfd(_encode, _perfect)
  all_swaps = swaps.make_all(subjects, model, _read, seed=0)
  rows = swap_report.people(subjects, 3)
  assert sorted(subjects.person[rows]) == [0, 1, 2]
  columns = swap_report.donors_of(subjects, "pose", 4)
  assert np.all(np.diff(subjects.pose[columns, 0]) >= 0)
  cells = swap_report.sheet_cells(all_swaps, model, "pose", rows, columns)
  assert cells.shape == (4, 5, SIZE, SIZE, 3)
  assert (cells[0, 0] == 255).all()
  np.testing.assert_array_equal(cells[0, 1:], subjects.target[columns])
  np.testing.assert_array_equal(cells[1:, 0], subjects.target[rows])
  for i, row in enumerate(rows):
    seen = _read(cells[i + 1, 1:])
    np.testing.assert_allclose(seen.pose, subjects.pose[columns])
    assert (seen.identity.argmax(-1) == subjects.person[row]).all()
  columns = swap_report.donors_of(subjects, "emotion", 8)
  assert subjects.label[columns].tolist() == [0, 1, 2]
  cells = swap_report.sheet_cells(all_swaps, model, "emotion", rows, columns)
  mood = _read(cells[1, 1:]).emotion.argmax(-1)
  assert mood.tolist() == [0, 1, 2]
  names = swap_report.sheet_names(subjects, "emotion", columns)
  assert names == ["source", "neutral", "angry", "contempt"]
  with pytest.raises(ValueError, match="not 'mouth'"):
    swap_report.donors_of(subjects, "mouth", 3)


def test_rank_and_variance_of_each_code(subjects):
  model = swaps.Irfd(_encode, _perfect)
  codes = disentangle.codes_of(subjects, model)
  assert list(codes) == ["identity", "pose", "emotion", "mouth"]
  found = disentangle.spread(codes)
  assert found["code/identity/rank"].value == pytest.approx(PEOPLE - 1)
  assert found["code/pose/width"].value == 3
  assert found["code/emotion/still"].value == pytest.approx(5 / 8)
  level = subjects.pose.var(0)
  assert found["code/pose/variance"].value == pytest.approx(level.mean())
  assert found["code/pose/variance_most"].value == pytest.approx(level.max())
  assert isinstance(found["code/pose/rank"], metric_table.MetricValue)
