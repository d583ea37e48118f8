"""Held-out clips as the evaluation asks for them."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, UInt8

from data_pipelines.dataset.reader import Records
from data_pipelines.faces import face
from data_pipelines.sampling import augment
from data_pipelines.sampling.donors import Donors
from data_pipelines.sampling.held_out import Whole
from data_pipelines.sampling.pairs import PairMaker
from data_pipelines.synthetic.render import FACTORS
from speak_jax import spec
from speak_jax.evaluation.disentanglement import matrix, probes, swaps
from speak_jax.evaluation.methods import Track
from speak_jax.evaluation.methods.speak import emotion_pictures
from speak_jax.evaluation.readers import reading
from speak_jax.inference import synthesis

MOST_FRAMES = 100  # of a clip that are measured
EMOTION_FRAMES = 4
SUBJECTS = 4  # frames of each clip whose codes are swapped


def take(whole: Whole) -> reading.Take:
  """What is asked for of a clip, no longer than `MOST_FRAMES`."""
  short = shorten(whole)
  return reading.Take(
    clip=whole.clip,
    person=whole.person,
    emotion=whole.emotion_label,
    level=whole.level,
    frames=short.frames,
    landmarks=short.landmarks,
    pose=short.pose,
    opening=opening(short),
    audio=short.audio,
    fps=whole.fps,
    emotion_track=_emotion_track(whole),
  )


def shorten(whole: Whole) -> Whole:
  """At most `MOST_FRAMES` frames of a clip."""
  n = min(len(whole.frames), MOST_FRAMES)
  return whole._replace(
    frames=whole.frames[:n],
    landmarks=whole.landmarks[:n],
    pose=whole.pose[:n],
    factors=whole.factors[:n],
    audio=whole.audio[: round(n * spec.samples_per_frame(whole.fps))],
  )


def opening(whole: Whole) -> Float[np.ndarray, "n"]:
  """Of the mouth: exact where rendered, which no turn of the head can fake."""
  if len(whole.factors):
    return whole.factors[:, FACTORS.index("mouth_open")]
  return spec.mouth_opening(whole.landmarks)


def subjects(
  wholes: Sequence[Whole], settings: synthesis.Settings, mouth: int
) -> swaps.Subjects:
  """Frames of every clip with the pictures that their codes are read from.

  Args:
    wholes: Held-out clips at the model's size.
    settings: What the emotion encoder sees.
    mouth: Side of the mouth patches in pixels.
  """
  people = sorted({whole.person for whole in wholes})
  rows = []
  for number, whole in enumerate(wholes):
    short = shorten(whole)
    emotion = emotion_pictures(_emotion_track(whole), settings)
    n = len(short.frames)
    times = np.linspace(0.1 * n, 0.9 * n, SUBJECTS).astype(int).clip(0, n - 1)
    opened = opening(short)
    for k, t in enumerate(times):
      frame, points = short.frames[t], short.landmarks[t]
      rows.append(
        swaps.Subjects(
          target=frame,
          identity=whole.identity,
          identity_landmarks=whole.identity_landmarks,
          # Another time of the clip, where it has that many pictures.
          emotion=emotion[(k + 1) % len(emotion)],
          mouth=face.align_mouth(frame, points, mouth),
          pose=short.pose[t],
          opening=opened[t],
          label=np.array(whole.emotion_label),
          person=np.array(people.index(whole.person)),
          clip=np.array(number),
        )
      )
  return _stacked(rows)


def asked(
  takes: Sequence[reading.Take], settings: synthesis.Settings, mouth: int
) -> swaps.Subjects:
  """Subjects for the probes: every code is read off one and the same frame."""

  def cut(
    frame: UInt8[np.ndarray, "h w 3"], points: Float[np.ndarray, "68 2"]
  ) -> tuple[UInt8[np.ndarray, "f f 3"], UInt8[np.ndarray, "m m 3"]]:
    seen = emotion_pictures(Track(frame[None], points[None]), settings)[0]
    return seen, face.align_mouth(frame, points, mouth)

  return probes.subjects(takes, cut)


def twins(
  records: Records,
  settings: synthesis.Settings,
  mouth: int,
  *,
  same_session: bool,
  limit: int,
  seed: int,
) -> matrix.Twins | None:
  """Frames with somebody else in exactly their pose, or with their mouth.

  Args:
    records: Held-out clips.
    settings: What the emotion encoder sees, and the frames' size.
    mouth: Side of the mouth patches in pixels.
    same_session: The identity comes from the frame's session, where that is
      known, as in training.
    limit: Clips at most, people in turn.
    seed: Of the frames and their donors.

  Returns:
    `SUBJECTS` frames of each clip that has twins; None where none has, or all
    are of one person.
  """
  donors = Donors(records.index, same_session=same_session)
  clips = [i for i in donors.round_robin() if records.index[i].twins][:limit]
  people = sorted({records.index[i].identity for i in clips})
  if len(people) < 2:
    return None
  maker = PairMaker(
    records,
    donors,
    settings.image,
    mouth,
    augment.PLAIN,
  )
  rows, poses, mouths = [], [], []
  for number, i in enumerate(clips):
    rng = np.random.default_rng((seed, number))
    for _ in range(SUBJECTS):
      pair = maker.make("twins", i, rng)
      rows.append(
        swaps.Subjects(
          target=pair.target,
          identity=pair.identity,
          identity_landmarks=pair.identity_landmarks,
          emotion=emotion_pictures(
            Track(pair.emotion[None], pair.emotion_landmarks[None]), settings
          )[0],
          mouth=face.align_mouth(pair.target, pair.target_landmarks, mouth),
          pose=pair.target_pose,
          opening=spec.mouth_opening(pair.target_landmarks),
          label=np.array(pair.emotion_label),
          person=np.array(people.index(records.index[i].identity)),
          clip=np.array(number),
        )
      )
      poses.append(pair.pose)
      mouths.append(pair.mouth)
  return matrix.Twins(_stacked(rows), np.stack(poses), np.stack(mouths))


def _stacked(rows: Sequence[swaps.Subjects]) -> swaps.Subjects:
  return swaps.Subjects(*map(np.stack, zip(*rows, strict=True)))


def _emotion_track(whole: Whole) -> Track:
  """Frames of all of the clip, evenly spaced."""
  last = len(whole.frames) - 1
  times = np.linspace(0, last, EMOTION_FRAMES).round().astype(int)
  return Track(whole.frames[times], whole.landmarks[times])
