"""The system driven by others, in a world where each input is a patch.

A fake frame has a block each for who it is, its pose, its emotion and the
mouth's opening; the fake reader reads their brightness.
"""

import numpy as np
import pytest

from speak_jax.evaluation.eval_clip import EvalClip
from speak_jax.evaluation.readers import face_reader
from speak_jax.evaluation.reenactment import cross_driven
from speak_jax.methods import base as methods

N, SIZE = 20, 16
WHO, POSE, FEELING, MOUTH = (slice(i, i + 4) for i in (0, 4, 8, 12))


def _frames(who, pose, feeling, opening):
  frames = np.zeros((N, SIZE, SIZE, 3), np.uint8)
  for rows, level in (
    (WHO, who),
    (POSE, 100 + pose),
    (FEELING, feeling * 20),
    (MOUTH, opening * 200),
  ):
    frames[:, rows] = np.broadcast_to(level, N)[:, None, None, None]
  return frames


def _read(frames):
  n = len(frames)
  pose = frames[:, 5, 0].astype(float) - 100
  person = np.eye(256)[frames[:, 0, 0, 0]]
  return face_reader.Reading(
    found=np.ones(n, bool),
    landmarks=np.zeros((n, 68, 2)),
    pose=pose,
    opening=frames[:, 13, 0, 0] / 200,
    emotion=np.eye(8)[frames[:, 9, 0, 0] // 20],
    identity=person,
  )


def _clip(index, emotion):
  rng = np.random.default_rng(index)
  turn = rng.integers(-40, 40, (N, 1)).repeat(3, 1)
  opening = rng.random(N)
  frames = _frames(50 + 10 * index, turn[:, 0], emotion, opening)
  face = np.zeros((N, 68, 2))
  return EvalClip(
    name=f"clip{index}",
    person=f"person{index}",
    emotion=emotion,
    level=1,
    frames=frames,
    landmarks=face,
    pose=turn.astype(float),
    opening=opening,
    audio=(opening * 10_000).astype(np.int16).repeat(640),
    fps=25.0,
    emotion_track=methods.ShownFrames(frames[:2], face[:2]),
  )


CLIPS = [_clip(i, emotion) for i, emotion in enumerate((1, 1, 2, 3, 4))]


def _obedient(request: methods.Request):
  """Takes every input from where it should."""
  assert request.target is None
  pose = request.pose.frames[:, 5, 0, 0].astype(float) - 100
  feeling = request.emotion.frames[0, 9, 0, 0] // 20
  opening = request.audio.reshape(-1, 640)[:, 0] / 10_000
  return _frames(request.identity[0, 0, 0], pose, feeling, opening)


def _lazy(request: methods.Request):
  """Copies the picture that gives the pose."""
  return request.pose.frames


def test_who_follows_every_input_scores_as_real_frames_do():
  found, shown = cross_driven.measure(CLIPS, _obedient, _read, seed=0, shown=2)
  for row in (*cross_driven.ROWS, "real"):
    for name in ("pose_r2", "mouth_r", "emotion", "identity"):
      value = found[f"driven/{row}/{name}"].value
      assert value == pytest.approx(1, abs=0.01), (row, name)
  assert found["driven/pose/pose_moved"].value == pytest.approx(1)
  assert found["driven/all/identity_donor"].value == pytest.approx(0)
  assert found["driven/emotion/emotion_source"].value == 0
  assert abs(found["driven/all/mouth_r_source"].value) < 0.5
  assert "driven/own/pose_moved" not in found
  assert cross_driven.sheet_cells(shown).shape == (2, 9, SIZE, SIZE, 3)
  assert len(cross_driven.sheet_titles()) == 9
  text = cross_driven.markdown(found)
  assert "three people | 1.00" in text and "| cosine to the portrait |" in text


def test_who_copies_the_pose_picture_is_found_out():
  found, _ = cross_driven.measure(CLIPS, _lazy, _read, seed=0)
  assert found["driven/all/identity"].value == pytest.approx(0)
  assert found["driven/all/identity_donor"].value == pytest.approx(1)
  assert found["driven/emotion/emotion"].value == 0
  assert found["driven/emotion/emotion_source"].value == 1
  assert found["driven/speech/mouth_r"].value < 0.5
  source = found["driven/speech/mouth_r_source"].value
  assert source == pytest.approx(1, abs=0.01)


def test_donors_are_different_people_with_another_emotion():
  for index, clip in enumerate(CLIPS):
    chosen = cross_driven.donors(CLIPS, index)
    people = {clip.person, *(x.person for x in chosen.values())}
    assert len(people) == 4
    assert chosen["emotion"].emotion != clip.emotion
  two = cross_driven.donors(CLIPS[:2], 0)
  assert {x.person for x in two.values()} == {"person1"}
  with pytest.raises(ValueError, match="two people"):
    cross_driven.donors(CLIPS[:1], 0)


def test_the_shortest_donor_sets_the_length():
  short = CLIPS[1]._replace(
    frames=CLIPS[1].frames[:8],
    landmarks=CLIPS[1].landmarks[:8],
    pose=CLIPS[1].pose[:8],
    opening=CLIPS[1].opening[:8],
    audio=CLIPS[1].audio[: 8 * 640],
  )
  requests = []

  def spy(request):
    requests.append(request)
    return request.pose.frames

  cross_driven.measure([CLIPS[0], short, *CLIPS[2:4]], spy, _read, seed=0)
  assert {x.frames for x in requests if len(x.pose.frames) == 8} == {8}
  assert all(len(x.audio) == 640 * x.frames for x in requests)
