"""Audio swaps of models that listen, that do not, or too widely.

In a fake clip the mouth's block is as bright as the sound of its frame is
loud; the fake reader measures the block, and moves lips and brows by it.
"""

import numpy as np
import pytest

from speak_jax import spec
from speak_jax.evaluation.eval_clip import EvalClip
from speak_jax.evaluation.readers import face_reader, own_syncnet
from speak_jax.evaluation.reenactment import audio_swap
from speak_jax.methods import base as methods

N, SIZE = 40, 32


def _face():
  points = np.full((68, 2), 16.0, np.float32)
  points[spec.LEFT_EYE], points[spec.RIGHT_EYE] = [10, 10], [22, 10]
  points[spec.BROWS] = np.stack([np.linspace(7, 25, 10), np.full(10, 6)], -1)
  around = np.linspace(0, 2 * np.pi, 20, endpoint=False)
  points[spec.MOUTH] = np.stack(
    [16 + 5 * np.cos(around), 22 + 3 * np.sin(around)], -1
  )
  return points


def _draw(opening, brows=0.0):
  frames = np.full((len(opening), SIZE, SIZE, 3), 90, np.uint8)
  level = (opening * 200).astype(np.uint8)[:, None, None, None]
  frames[:, 18:27, 11:22] = level
  frames[:, 5:12, 6:26] = (brows * level).astype(np.uint8)
  return frames


def _read(frames):
  n = len(frames)
  opening = frames[:, 22, 16, 0] / 200.0
  points = np.repeat(_face()[None], n, 0)
  points[:, spec.MOUTH, 1] += opening[:, None]
  points[:, spec.BROWS, 1] += frames[:, 8, 16, :1] / 200.0
  return face_reader.Reading(
    np.ones(n, bool), points, np.zeros((n, 3)), opening, None, None
  )


def _clip(seed):
  opening = np.random.default_rng(seed).random(N)
  return EvalClip(
    name=f"clip{seed}",
    person=f"person{seed % 2}",
    emotion=-1,
    level=0,
    frames=_draw(opening),
    landmarks=np.repeat(_face()[None], N, 0),
    pose=np.zeros((N, 3)),
    opening=opening,
    audio=(opening * 10_000).astype(np.int16).repeat(640),
    fps=25.0,
    emotion_track=methods.ShownFrames(_draw(opening)[:1], _face()[None]),
  )


@pytest.fixture(scope="module")
def clips():
  return [_clip(i) for i in range(4)]


def _heard(audio):
  return audio[320::640][:N] / 10_000


def _codes(loud):
  loud = np.asarray(loud, float).mean(1) * 3
  return (np.stack([np.cos(loud), np.sin(loud)], -1),)


LIPS = own_syncnet.OwnSyncNet(
  lip_tower=lambda lower: _codes(lower[:, :, 6, 16, 0] / 200.0),
  sound_tower=lambda audio: _codes(audio[:, 320::640] / 10_000.0),
  frames=5,
  fps=25.0,
)


def _run(clips, talk, lips=None):
  values = audio_swap.measure(clips, talk, _read, lips, seed=0)
  return {k.removeprefix("audio/"): v.value for k, v in values.items()}, values


def test_a_system_that_listens_with_its_mouth_alone(clips):
  value, values = _run(clips, lambda clip, audio: _draw(_heard(audio)), LIPS)
  for sound in ("shuffled", "silent"):
    assert value[f"{sound}/mouth"] > 20
    assert value[f"{sound}/upper"] == 0
    assert value[f"{sound}/mouth_landmarks"] > 1
    assert value[f"{sound}/upper_landmarks"] == 0
    assert value[f"{sound}/opening"] > 0.2
    assert value[f"{sound}/sync_confidence"] < -0.1
  # Made with other speech, it is as far from its own as a real clip would be.
  for key in ("sync_confidence", "sync_two_way"):
    assert value[f"shuffled/{key}"] == pytest.approx(
      value[f"real_shuffled/{key}"], abs=0.15
    )
  assert value["silent/opening_level"] == 0
  assert value["silent/opening_spread"] == 0
  assert value["own/opening_spread"] == pytest.approx(0.29, abs=0.03)
  assert value["motion/mouth"] > 20
  text = audio_swap.markdown(values)
  assert "| upper face changed, of 255 | 0.000 [0.000, 0.000] |" in text
  assert "sync confidence, change" in text


def test_a_deaf_system_changes_nothing(clips):
  value, _ = _run(clips, lambda clip, audio: clip.frames, LIPS)
  for sound in ("shuffled", "silent"):
    for metric in ("mouth", "upper", "opening", "sync_confidence"):
      assert value[f"{sound}/{metric}"] == 0
  assert value["real_shuffled/sync_confidence"] < -0.1


def test_brows_that_listen_are_found(clips):
  value, _ = _run(clips, lambda clip, audio: _draw(_heard(audio), brows=0.5))
  assert value["shuffled/upper"] > 5
  assert 1 < value["shuffled/ratio"] < 4
  assert value["shuffled/upper_landmarks"] > 0.5
  assert not any("sync" in key for key in value)


def test_the_first_frame_does_not_count(clips):
  def talk(clip, audio):
    frames = clip.frames.copy()
    frames[0] = 255 * bool(audio.any())
    return frames

  value, _ = _run(clips, talk)
  assert value["silent/mouth"] == value["silent/opening"] == 0


def test_one_clip_alone_is_an_error(clips):
  with pytest.raises(ValueError, match="two clips"):
    _run([clips[0]], lambda clip, audio: clip.frames)
  assert audio_swap.markdown({}) == ""


def test_the_upper_box_holds_brows_and_eyes_and_no_mouth():
  box = audio_swap.upper_box(_face()[None], SIZE)[0]
  y, x = np.nonzero(box)
  assert (y.min(), y.max()) == (4, 13)
  assert (x.min(), x.max()) == (5, 27)
