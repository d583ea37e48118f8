"""Whole clips in a fixed order, for measuring; nothing here is random."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int16, UInt8

from data_pipelines.dataset.reader import Records
from data_pipelines.faces import align
from data_pipelines.sampling.donors import Donors


class EvaluationClip(NamedTuple):
  """A clip with everything that `generate` would be given to make it again."""

  clip: str
  person: str
  emotion_label: int  # index into spec.EMOTIONS, -1 unknown
  level: int
  fps: float
  frames: UInt8[np.ndarray, "n h w 3"]
  landmarks: Float[np.ndarray, "n 68 2"]
  pose: Float[np.ndarray, "n 3"]  # degrees
  audio: Int16[np.ndarray, "s"]
  # Another clip of the person, or of the session, of another emotion where
  # there is one; else the clip's own first frame.
  identity: UInt8[np.ndarray, "h w 3"]
  identity_landmarks: Float[np.ndarray, "68 2"]
  identity_emotion: int
  emotion: UInt8[np.ndarray, "k f f 3"]  # of the clip, evenly spaced
  factors: Float[np.ndarray, "n f"]  # n = 0 where unknown


def evaluation_clips(
  records: Records,
  *,
  size: int,
  face_size: int,
  emotion_frames: int,
  emotion_input: str = "face",
  same_session: bool,
  limit: int | None = None,
) -> Iterator[EvaluationClip]:
  """Yields clips at `size` pixels, the first of every person, then the next.

  Args:
    records: Usually of the "test" split.
    size: Side of whole frames in pixels.
    face_size: Side of the aligned faces.
    emotion_frames: Number of emotion pictures.
    emotion_input: "face", or "frame" for whole frames at `size`.
    same_session: The identity comes from the clip's session, where that is
      known, as in training (`pairs.sample_pairs`).
    limit: At most so many clips; all of them when None.
  """
  donors = Donors(records.index, same_session=same_session)
  for i in donors.round_robin()[:limit]:
    record, row = records[i], records.index[i]
    rng = np.random.default_rng(i)
    j = donors.other_clip(i, rng)
    j, t = (i, 0) if j is None else (j, records.index[j].frames // 2)
    times = np.linspace(0, row.frames - 1, emotion_frames).round().astype(int)
    yield EvaluationClip(
      clip=row.clip,
      person=row.identity,
      emotion_label=row.emotion,
      level=row.level,
      fps=row.fps,
      frames=records.frames(i, range(row.frames), size),
      landmarks=records.landmarks(i, slice(None), size),
      pose=record.pose,
      audio=record.audio,
      identity=records.picture(j, "frames", t, size),
      identity_landmarks=records.landmarks(j, t, size),
      identity_emotion=records.index[j].emotion,
      emotion=np.stack(
        [
          align.emotion_picture(
            records.picture(i, "frames", moment, size),
            records.landmarks(i, moment, size),
            face_size,
            emotion_input,
          )
          for moment in times.tolist()
        ]
      ),
      factors=record.factors,
    )
