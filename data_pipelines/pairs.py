"""The kinds of training pair of stage 2, one method each."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, UInt8

from data_pipelines import augment
from data_pipelines.donors import Donors, other_time
from data_pipelines.media import face
from data_pipelines.records import Records
from speak_jax import spec

KINDS = (
  *("self", "same_clip", "cross_clip", "geometry", "twins"),
  *("cross_person", "views"),
)


class _Picture(NamedTuple):
  """A whole frame and its landmarks, both at the model's size."""

  frame: UInt8[np.ndarray, "h w 3"]
  landmarks: Float[np.ndarray, "68 2"]


class PairMaker:
  """Makes one pair of a given kind; holds what does not change."""

  def __init__(
    self,
    records: Records,
    donors: Donors,
    size: int,
    face_size: int,
    mouth_size: int,
    emotion_input: str,
    treatment: augment.Treatment,
  ):
    """Args as `batches.pairs` has them."""
    self._records, self._donors = records, donors
    self._treatment = treatment
    self._size, self._face, self._mouth = size, face_size, mouth_size
    self._emotion_input = emotion_input

  def serves(self, kind: str, i: int) -> bool:
    """Whether clip i can be the target of a kind."""
    if kind == "twins":
      return self._records.index[i].twins > 0
    if kind == "cross_person":
      return self._donors.has_same_emotion(i)
    if kind == "views":
      return bool(self._donors.views(i))
    return True

  def make(self, kind: str, i: int, rng: np.random.Generator) -> spec.Pair:
    """A pair whose target is a frame of clip i, which serves the kind."""
    if kind == "self":
      return self._self(i, rng)
    if kind == "twins":
      return self._twins(i, rng)
    if kind == "views":
      return self._views(i, rng)
    return self._moved(i, rng, kind)

  def _self(self, i: int, rng: np.random.Generator) -> spec.Pair:
    t = int(rng.integers(self._records.index[i].frames))
    target = self._at(i, t)
    return self._pair(
      i,
      target,
      self._records.clip(i).pose[t],
      identity=target,
      pose=target,
      emotion=target,
      mouth=target,
      treatment=augment.PLAIN,
      rng=rng,
    )

  def _moved(self, i: int, rng: np.random.Generator, kind: str) -> spec.Pair:
    """Identity from another moment: all kinds but "self", "twins", "views"."""
    count = self._records.index[i].frames
    t = int(rng.integers(count))
    target, angles = self._at(i, t), self._records.clip(i).pose[t]
    if kind == "same_clip":
      identity = self._at(i, other_time(count, t, t + 1, rng))
    else:
      identity = self._at(*self._donors.identity_frame(i, t, t + 1, rng))
    if kind == "cross_person":
      emotion = self._emotion_of_another(i, t, rng)
    else:
      emotion = self._emotion_of_own(i, t, rng)
    turned = self._with_another_mouth(i, t, target, rng)
    if kind == "geometry":
      move = augment.draw_move(rng, self._size)
      target, turned = (
        _Picture(
          augment.move_frame(picture.frame, move.matrix),
          face.transform(picture.landmarks, move.matrix),
        )
        for picture in (target, turned)
      )
      angles = augment.move_pose(angles, move)
      if rng.random() < 0.5:
        target, turned, identity, emotion = map(
          _mirror, (target, turned, identity, emotion)
        )
        angles = augment.mirror_pose(angles)
    return self._pair(
      i,
      target,
      angles,
      identity=identity,
      pose=turned,
      emotion=emotion,
      mouth=target,
      treatment=self._treatment,
      rng=rng,
    )

  def _views(self, i: int, rng: np.random.Generator) -> spec.Pair:
    """Mouth and emotion as another camera saw them."""
    views = self._donors.views(i)
    j, start, stop = views[int(rng.integers(len(views)))]
    t = int(rng.integers(start, stop))
    here, there = self._records.index[i], self._records.index[j]
    same = here.start + t - there.start  # the instant in the other clip
    other = other_time(there.frames, same, same + 1, rng)
    target = self._at(i, t)
    return self._pair(
      i,
      target,
      self._records.clip(i).pose[t],
      identity=self._at(*self._donors.identity_frame(i, t, t + 1, rng)),
      pose=self._with_another_mouth(i, t, target, rng),
      emotion=self._at(j, other),
      mouth=self._at(j, same),
      treatment=self._treatment,
      rng=rng,
    )

  def _with_another_mouth(
    self, i: int, t: int, target: _Picture, rng: np.random.Generator
  ) -> _Picture:
    """The target, frame t of clip i, with the mouth of another moment."""
    if not self._treatment.pose:
      return target
    count = self._records.index[i].frames
    other = self._at(i, other_time(count, t, t + 1, rng))
    made = target._replace(frame=target.frame.copy())
    augment.lend_mouth(*made, *other)
    return made

  def _emotion_of_own(
    self, i: int, t: int, rng: np.random.Generator
  ) -> _Picture:
    """Clip i at another moment, or another of the person and emotion."""
    count = self._records.index[i].frames
    lender = self._donors.emotion_lender(i, self._treatment.emotion_clip, rng)
    if lender == i:
      return self._at(i, other_time(count, t, t + 1, rng))
    return self._at(
      lender, int(rng.integers(self._records.index[lender].frames))
    )

  def _emotion_of_another(
    self, i: int, t: int, rng: np.random.Generator
  ) -> _Picture:
    """Another person's picture of the emotion; if there is none, clip i's."""
    lender = self._donors.same_emotion(i, rng)
    if lender is None:
      count = self._records.index[i].frames
      return self._at(i, other_time(count, t, t + 1, rng))
    return self._at(
      lender, int(rng.integers(self._records.index[lender].frames))
    )

  def _twins(self, i: int, rng: np.random.Generator) -> spec.Pair:
    clip = self._records.clip(i)
    k = int(rng.integers(len(clip.twin_index)))
    t = int(clip.twin_index[k])
    emotion = self._emotion_of_another(i, t, rng)
    return self._pair(
      i,
      self._at(i, t),
      clip.pose[t],
      identity=self._at(*self._donors.identity_frame(i, t, t + 1, rng)),
      pose=self._at(i, k, "twin_pose"),
      emotion=emotion,
      mouth=self._at(i, k, "twin_mouth"),
      treatment=self._treatment,
      rng=rng,
    )

  def _at(self, i: int, t: int, field: str = "frames") -> _Picture:
    points = "landmarks" if field == "frames" else f"{field}_landmarks"
    return _Picture(
      self._records.picture(i, field, t, self._size),
      self._records.landmarks(i, t, self._size, points),
    )

  def _pair(
    self,
    i: int,
    target: _Picture,
    angles: Float[np.ndarray, "3"],
    *,
    identity: _Picture,
    pose: _Picture,
    emotion: _Picture,
    mouth: _Picture,
    treatment: augment.Treatment,
    rng: np.random.Generator,
  ) -> spec.Pair:
    """Pictures are given as they are; here E_p's, E_e's and lips are treated.

    Each in colours of its own.
    """
    lips = face.align_mouth(*mouth, self._mouth)
    if treatment.pose:
      lips = augment.recolour(lips, augment.draw_colours(rng))
    side = self._size if self._emotion_input == "frame" else self._face
    turned = pose.frame.copy()
    augment.treat_pose(turned[None], pose.landmarks, treatment, rng)
    return spec.Pair(
      identity=identity.frame,
      identity_landmarks=identity.landmarks,
      pose=turned,
      emotion=augment.emotion_picture(
        *emotion, side, self._emotion_input, treatment, rng
      ),
      mouth=lips,
      target=target.frame,
      target_landmarks=target.landmarks,
      target_pose=angles,
      emotion_label=np.array(self._records.index[i].emotion, np.int32),
      identity_label=np.array(self._donors.label(i), np.int32),
    )


def _mirror(picture: _Picture) -> _Picture:
  return _Picture(
    np.ascontiguousarray(picture.frame[:, ::-1]),
    augment.mirror_landmarks(picture.landmarks, picture.frame.shape[1]),
  )
