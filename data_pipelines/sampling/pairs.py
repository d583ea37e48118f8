"""IRFD's samples: pairs of a target frame and the donors that make it."""

from collections.abc import Mapping
from typing import NamedTuple

import cv2
import grain
import numpy as np
from jaxtyping import Float, UInt8

from data_pipelines.dataset.reader import Records
from data_pipelines.faces import align
from data_pipelines.media.warp import transform
from data_pipelines.sampling import augment
from data_pipelines.sampling.donors import Donors, donors_of, other_time
from data_pipelines.sampling.mix import endless
from data_pipelines.sampling.usable import long_enough
from speak_jax import spec

KINDS = (
  *("self", "same_clip", "cross_clip", "geometry", "twins"),
  *("cross_person", "views"),
)


def weights_of(text: str) -> list[tuple[str, float]]:
  """(kind, weight) as a text has them: "self", or "cross_clip:1,twins:2".

  Raises:
    ValueError: a weight is no number.
  """
  mix = []
  for part in text.split(","):
    kind, _, weight = part.partition(":")
    try:
      mix.append((kind.strip(), float(weight or 1)))
    except ValueError:
      raise ValueError(f"{weight!r} is no number") from None
  return mix


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
    mouth_size: int,
    treatment: augment.Treatment,
  ):
    """Arguments as for `sample_pairs`."""
    self._records, self._donors = records, donors
    self._treatment = treatment
    self._size, self._mouth = size, mouth_size
    self._nobody = _Picture(*augment.nobody(size))

  def serves(self, kind: str, i: int) -> bool:
    """Whether clip i can be the target of a kind."""
    if kind == "twins":
      return self._records.index[i].twins > 0
    if kind == "cross_person":
      return self._donors.has_same_emotion(i)
    if kind == "views":
      return bool(self._donors.views(i))
    return True

  def draw_pair(self, kind: str, i: int, rng: np.random.Generator) -> spec.Pair:
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
      donor=None,
      treated=False,
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
    donor = self._donor(i, t, rng)
    if kind == "geometry":
      move = augment.draw_move(rng, self._size)
      target = _Picture(
        augment.move_frame(target.frame, move.matrix),
        transform(target.landmarks, move.matrix),
      )
      angles = augment.move_pose(angles, move)
      if rng.random() < 0.5:
        target, identity, emotion = map(_mirror, (target, identity, emotion))
        donor = donor and _mirror(donor)
        angles = augment.mirror_pose(angles)
    return self._pair(
      i,
      target,
      angles,
      identity=identity,
      pose=target,
      emotion=emotion,
      mouth=target,
      donor=donor,
      treated=True,
    )

  def _views(self, i: int, rng: np.random.Generator) -> spec.Pair:
    """Mouth and emotion as another camera saw them."""
    views = self._donors.views(i)
    j, start, stop = views[int(rng.integers(len(views)))]
    t = int(rng.integers(start, stop))
    row, view = self._records.index[i], self._records.index[j]
    same = row.start + t - view.start  # the instant in the other clip
    other = other_time(view.frames, same, same + 1, rng)
    target = self._at(i, t)
    return self._pair(
      i,
      target,
      self._records.clip(i).pose[t],
      identity=self._at(*self._donors.identity_frame(i, t, t + 1, rng)),
      pose=target,
      emotion=self._at(j, other),
      mouth=self._at(j, same),
      donor=self._donor(i, t, rng),
      treated=True,
    )

  def _donor(self, i: int, t: int, rng: np.random.Generator) -> _Picture | None:
    """Who lends frame t of clip i a mouth: another moment of the clip."""
    if not self._treatment.pose:
      return None
    other = other_time(self._records.index[i].frames, t, t + 1, rng)
    return self._at(i, other, size=spec.donor_side(self._size))

  def _emotion_of_own(
    self, i: int, t: int, rng: np.random.Generator
  ) -> _Picture:
    """Clip i at another moment, or another of the person and emotion."""
    lender = self._donors.emotion_lender(i, self._treatment.emotion_clip, rng)
    return self._lent(i, t, lender, rng)

  def _emotion_of_another(
    self, i: int, t: int, rng: np.random.Generator
  ) -> _Picture:
    """Another person's picture of the emotion; if there is none, clip i's."""
    lender = self._donors.same_emotion(i, rng)
    return self._lent(i, t, i if lender is None else lender, rng)

  def _lent(
    self, i: int, t: int, lender: int, rng: np.random.Generator
  ) -> _Picture:
    """A picture of the lender; of clip i itself one of another time than t."""
    count = self._records.index[lender].frames
    if lender == i:
      return self._at(i, other_time(count, t, t + 1, rng))
    return self._at(lender, int(rng.integers(count)))

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
      donor=None,  # the twin's lips are another's already
      treated=True,
    )

  def _at(
    self, i: int, t: int, field: str = "frames", size: int | None = None
  ) -> _Picture:
    points = "landmarks" if field == "frames" else f"{field}_landmarks"
    size = size or self._size
    return _Picture(
      self._records.picture(i, field, t, size),
      self._records.landmarks(i, t, size, points),
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
    donor: _Picture | None,
    treated: bool,
  ) -> spec.Pair:
    """Pictures are given as they are; here lips are cut."""
    lent = donor or self._nobody
    return spec.Pair(
      identity=identity.frame,
      identity_landmarks=identity.landmarks,
      pose=pose.frame,
      emotion=emotion.frame,
      emotion_landmarks=emotion.landmarks,
      mouth=align.align_mouth(*mouth, self._mouth),
      target=target.frame,
      target_landmarks=target.landmarks,
      target_pose=angles,
      emotion_label=np.array(self._records.index[i].emotion, np.int32),
      identity_label=np.array(self._donors.label(i), np.int32),
      donor=lent.frame,
      donor_landmarks=lent.landmarks,
      lends=np.array(donor is not None),
      treated=np.array(treated),
    )


def _mirror(picture: _Picture) -> _Picture:
  return _Picture(
    cv2.flip(picture.frame, 1),
    augment.mirror_landmarks(picture.landmarks, picture.frame.shape[1]),
  )


def robust_mix(records: Records) -> dict[str, float]:
  """Weights of the pair kinds that these records can serve; relative."""
  if records.index.column("twins").any():
    return {"cross_clip": 0.4, "geometry": 0.1, "twins": 0.5}
  donors = donors_of(records, same_session=False)
  mix = {"cross_clip": 0.75, "geometry": 0.25}
  if any(donors.has_same_emotion(i) for i in range(len(records))):
    mix["cross_person"] = 0.25
  if any(donors.views(i) for i in range(len(records))):
    mix["views"] = 0.5
  return mix


def sample_pairs(
  records: Records,
  *,
  size: int,
  mouth_size: int,
  mix: Mapping[str, float],
  same_session: bool,
  treatment: augment.Treatment,
  share: Mapping[str, float] | None = None,
  seed: int,
) -> grain.MapDataset:
  """Samples for IRFD: a target frame and the donors that must make it.

  Kinds:
    self: every donor is the target frame; the paper's own case, which swaps
      codes between the pairs of a batch.
    same_clip: identity and emotion from other frames of the clip; pose and
      mouth from the target, and another moment lends the pose picture its
      mouth, as `treatment` has it.
    cross_clip: same_clip with the identity from another clip of the person
      (or, with `same_session`, of the session), of another emotion where
      there is one; if there is another clip.
    geometry: cross_clip with the target turned, scaled and shifted, its pose
      label and landmarks following; half of these samples are mirrored, all
      donors together.
    twins: pose and mouth from the rendered twins, emotion from another
      person with the same emotion and level, identity as in cross_clip.
    cross_person: cross_clip with the emotion from another person with the
      same emotion and level.
    views: cross_clip with mouth and emotion as another camera saw them, the
      mouth at the very instant: an exact swap of the pose. The emotion is of
      another moment, so that it cannot tell what the lips do.

  All donors of a sample are of its data set. Kinds that a set cannot serve are
  left out there; where a clip cannot, another of the set takes its place.

  Args:
    records: Where the frames come from.
    size: Side of whole frames in pixels.
    mouth_size: Side of the aligned mouth patch.
    mix: Weight of each kind; 0 or absent leaves it out.
    same_session: The identity comes from the target's session, where that is
      known; from any clip of the person where it is not.
    treatment: Who lends mouths, and emotions, to all kinds but self.
    share: Of each data set by its name; None: as many as it has clips.
    seed: Seed of all draws.

  Returns:
    Dataset of `spec.Pair` without the batch axis.

  Raises:
    ValueError: a kind is unknown or cannot be served by these records, or
      `share` names a set that cannot serve.
  """
  weights = _weights(mix)
  donors = donors_of(records, same_session)
  maker = PairMaker(records, donors, size, mouth_size, treatment)
  targets = _targets(records, maker, mix)
  edges = []  # of each set's kinds, on [0, 1)
  for home, member in enumerate(records.members):
    served = weights * [bool(targets.get(k, {home: 0})[home]) for k in KINDS]
    if not served.sum():
      raise ValueError(f"{member.name}: no clip serves any of {dict(mix)}")
    edges.append(np.cumsum(served / served.sum())[:-1])

  def sample(i: int, rng: np.random.Generator) -> spec.Pair:
    home = records.dataset_of(i)
    kind = KINDS[np.searchsorted(edges[home], rng.random(), side="right")]
    if not maker.serves(kind, i):
      able = targets[kind][home]
      i = able[int(rng.integers(len(able)))]
    return maker.draw_pair(kind, i, rng)

  return endless(records, long_enough(records, 1), sample, share, seed)


def _weights(mix: Mapping[str, float]) -> Float[np.ndarray, "k"]:
  """Weights of KINDS.

  Raises:
    ValueError: an unknown kind, a negative weight, or nothing but zeros.
  """
  if unknown := sorted(set(mix) - set(KINDS)):
    raise ValueError(f"pair kind {unknown[0]!r} is not one of {KINDS}")
  weights = np.array([float(mix.get(kind, 0.0)) for kind in KINDS])
  if weights.min() < 0 or not weights.sum():
    raise ValueError(f"weights of pair kinds {dict(mix)} must be positive")
  return weights


def _targets(
  records: Records, maker: PairMaker, mix: Mapping[str, float]
) -> dict[str, list[list[int]]]:
  """Clips that can be the target, by kind of the mix and data set.

  Raises:
    ValueError: no clip serves a kind.
  """
  targets = {
    kind: [
      [i for i in range(member.start, member.stop) if maker.serves(kind, i)]
      for member in records.members
    ]
    for kind in KINDS
    if mix.get(kind)
  }
  for kind, by_set in targets.items():
    if not any(by_set):
      raise ValueError(
        f"{records.name}: no clip has what pair kind {kind!r} needs"
      )
  return targets
