"""Frames of held-out people, and the pictures that codes are read from."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int, UInt8

from data_pipelines.dataset.reader import Records
from data_pipelines.faces import align
from data_pipelines.sampling import augment
from data_pipelines.sampling.donors import Donors
from data_pipelines.sampling.held_out import EvaluationClip
from data_pipelines.sampling.pairs import PairMaker
from speak_jax import spec
from speak_jax.evaluation.eval_clip import (
  EvalClip,
  emotion_track,
  mouth_opening,
  shorten,
)
from speak_jax.inference.crops import emotion_pictures
from speak_jax.inference.settings import Settings
from speak_jax.methods.base import ShownFrames

SUBJECTS = 4  # frames of each clip


class Subjects(NamedTuple):
  """n frames, and what their codes are read from."""

  target: UInt8[np.ndarray, "n h w 3"]  # also gives the pose
  identity: UInt8[np.ndarray, "n h w 3"]
  identity_landmarks: Float[np.ndarray, "n 68 2"]
  emotion: UInt8[np.ndarray, "n f f 3"]
  mouth: UInt8[np.ndarray, "n m m 3"]
  pose: Float[np.ndarray, "n 3"]  # true angles of the target, degrees
  opening: Float[np.ndarray, "n"]  # of the target's mouth
  label: Int[np.ndarray, "n"]  # emotion, -1 unknown
  person: Int[np.ndarray, "n"]
  clip: Int[np.ndarray, "n"]

  def by_clip(self) -> list[Int[np.ndarray, "k"]]:
    """Indices of each clip's subjects."""
    return [np.flatnonzero(self.clip == x) for x in np.unique(self.clip)]

  def by_person(self) -> list[Int[np.ndarray, "k"]]:
    """Indices of each person's subjects."""
    return [np.flatnonzero(self.person == x) for x in np.unique(self.person)]


class Twins(NamedTuple):
  """n frames that swaps with their twins must make again exactly.

  Twins are rendered frames of somebody else in exactly the pose, or with
  exactly the mouth, of a frame.
  """

  # Identity from another clip, emotion from the target's; own pose and mouth.
  subjects: Subjects
  pose: UInt8[np.ndarray, "n h w 3"]  # somebody else in the target's pose
  mouth: UInt8[np.ndarray, "n m m 3"]  # patch of a third one, same mouth


def swap_subjects(
  wholes: Sequence[EvaluationClip], settings: Settings, mouth: int
) -> Subjects:
  """Frames of every clip, for swaps: the identity is another clip's.

  Args:
    wholes: Held-out clips at the model's size.
    settings: What the emotion encoder sees.
    mouth: Side of the mouth patches in pixels.
  """
  people = sorted({whole.person for whole in wholes})
  rows = []
  for number, whole in enumerate(wholes):
    short = shorten(whole)
    emotion = emotion_pictures(*emotion_track(whole), settings)
    n = len(short.frames)
    times = np.linspace(0.1 * n, 0.9 * n, SUBJECTS).astype(int).clip(0, n - 1)
    opening = mouth_opening(short)
    for k, t in enumerate(times):
      frame, landmarks = short.frames[t], short.landmarks[t]
      rows.append(
        Subjects(
          target=frame,
          identity=whole.identity,
          identity_landmarks=whole.identity_landmarks,
          # Another time of the clip, where it has that many pictures.
          emotion=emotion[(k + 1) % len(emotion)],
          mouth=align.align_mouth(frame, landmarks, mouth),
          pose=short.pose[t],
          opening=opening[t],
          label=np.array(whole.emotion_label),
          person=np.array(people.index(whole.person)),
          clip=np.array(number),
        )
      )
  return _stack(rows)


def probe_subjects(
  clips: Sequence[EvalClip], settings: Settings, mouth: int
) -> Subjects:
  """Frames of every clip, for probes: each code is read off the frame itself.

  Args:
    clips: Held-out clips at the model's size.
    settings: What the emotion encoder sees.
    mouth: Side of the mouth patches in pixels.
  """
  people = sorted({clip.person for clip in clips})
  rows = []
  for number, clip in enumerate(clips):
    times = np.linspace(0, len(clip.frames) - 1, SUBJECTS).round().astype(int)
    for t in times:
      frame, landmarks = clip.frames[t], clip.landmarks[t]
      track = ShownFrames(frame[None], landmarks[None])
      rows.append(
        Subjects(
          target=frame,
          identity=frame,
          identity_landmarks=landmarks,
          emotion=emotion_pictures(*track, settings)[0],
          mouth=align.align_mouth(frame, landmarks, mouth),
          pose=clip.pose[t],
          opening=clip.opening[t],
          label=np.array(clip.emotion),
          person=np.array(people.index(clip.person)),
          clip=np.array(number),
        )
      )
  return _stack(rows)


def twins(
  records: Records,
  settings: Settings,
  mouth: int,
  *,
  same_session: bool,
  limit: int,
  seed: int,
) -> Twins | None:
  """Frames with somebody else in exactly their pose, or with their mouth.

  Args:
    records: Held-out clips.
    settings: What the emotion encoder sees, and the frames' size.
    mouth: Side of the mouth patches in pixels.
    same_session: The identity comes from the frame's session, where that is
      known, as in training.
    limit: Clips at most, people in turn.
    seed: Seed of the frames and their donors.

  Returns:
    `SUBJECTS` frames of each clip that has twins; None where none has, or all
    are of one person.
  """
  donors = Donors(records.index, same_session=same_session)
  clips = [i for i in donors.round_robin() if records.index[i].twins][:limit]
  people = sorted({records.index[i].identity for i in clips})
  if len(people) < 2:
    return None
  maker = PairMaker(records, donors, settings.image, mouth, augment.PLAIN)
  rows, poses, mouths = [], [], []
  for number, i in enumerate(clips):
    rng = np.random.default_rng((seed, number))
    for _ in range(SUBJECTS):
      pair = maker.draw_pair("twins", i, rng)
      track = ShownFrames(pair.emotion[None], pair.emotion_landmarks[None])
      rows.append(
        Subjects(
          target=pair.target,
          identity=pair.identity,
          identity_landmarks=pair.identity_landmarks,
          emotion=emotion_pictures(*track, settings)[0],
          mouth=align.align_mouth(pair.target, pair.target_landmarks, mouth),
          pose=pair.target_pose,
          opening=spec.mouth_opening(pair.target_landmarks),
          label=np.array(pair.emotion_label),
          person=np.array(people.index(records.index[i].identity)),
          clip=np.array(number),
        )
      )
      poses.append(pair.pose)
      mouths.append(pair.mouth)
  return Twins(_stack(rows), np.stack(poses), np.stack(mouths))


def _stack(rows: Sequence[Subjects]) -> Subjects:
  return Subjects(*map(np.stack, zip(*rows, strict=True)))
