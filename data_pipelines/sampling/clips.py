"""SPEAK's samples: consecutive frames, their sound, identity and emotion."""

from collections.abc import Mapping

import grain
import numpy as np
from jaxtyping import Float, Int, UInt8

from data_pipelines.dataset.reader import Records
from data_pipelines.sampling import augment
from data_pipelines.sampling.donors import Donors, donors_of, other_time
from data_pipelines.sampling.mix import endless
from data_pipelines.sampling.sound import sound_window
from data_pipelines.sampling.usable import common_fps, long_enough
from speak_jax import spec

# Where SPEAK's identity frame comes from.
IDENTITY_FROM = ("other_clip", "same_clip", "either")


def sample_clips(
  records: Records,
  *,
  size: int,
  frames: int,
  context: int,
  emotion_frames: int,
  identity_from: str = "other_clip",
  same_session: bool,
  treatment: augment.Treatment,
  share: Mapping[str, float] | None = None,
  seed: int,
) -> grain.MapDataset:
  """Samples for SPEAK: consecutive frames, their sound, identity and emotion.

  The identity frame comes from another clip of the person, of another emotion
  where there is one, or from outside the window of the same clip. The emotion
  pictures come from the clip, outside the window where enough frames are left,
  or from another of the person with the same emotion, as `treatment` has it.
  Another moment of the clip lends its mouth to the pose frames, as `treatment`
  has it, or another clip where the window is all of this one.
  Sound beyond the clip is silence. Left out are clips shorter than the window,
  and those without another to lend the identity if nothing of them lies outside
  the window.

  Args:
    records: Where the frames come from.
    size: Side of whole frames in pixels.
    frames: Length of the window.
    context: Frames of sound added on either side.
    emotion_frames: Number of emotion pictures.
    identity_from: Of `IDENTITY_FROM`: "other_clip" where the person has one,
      "same_clip" as in the paper, or "either", as a coin falls.
    same_session: As in `sample_pairs`: the other clip is of the session.
    treatment: Who lends mouths, and emotions.
    share: As in `sample_pairs`.
    seed: Seed of all draws.

  Returns:
    Dataset of `spec.Clip` without the batch axis.

  Raises:
    ValueError: no clip is long enough, the frame rates differ, an unknown
      `identity_from`, or `share` names a set that cannot serve.
  """
  if identity_from not in IDENTITY_FROM:
    raise ValueError(
      f"identity_from {identity_from!r} is not one of"
      f" {', '.join(IDENTITY_FROM)}"
    )
  fps = common_fps(records)
  donors = donors_of(records, same_session)
  anywhere = identity_from != "same_clip"
  lengths = records.index.column("frames")
  usable = [
    i
    for i in long_enough(records, frames)
    if lengths[i] > frames or (anywhere and not donors.alone(i))
  ]
  if not usable:
    raise ValueError(
      f"{records.name}: no clip has a frame outside a window of {frames}"
    )
  maker = _ClipMaker(
    records,
    donors,
    size=size,
    frames=frames,
    context=context,
    emotion_frames=emotion_frames,
    identity_from=identity_from,
    treatment=treatment,
    fps=fps,
  )
  return endless(records, usable, maker.draw_clip, share, seed)


class _ClipMaker:
  """Makes samples of single clips; holds what does not change."""

  def __init__(
    self,
    records: Records,
    donors: Donors,
    *,
    size: int,
    frames: int,
    context: int,
    emotion_frames: int,
    identity_from: str,
    treatment: augment.Treatment,
    fps: float,
  ):
    """Arguments as for `sample_clips`; `fps` is that of all clips."""
    self._records, self._donors = records, donors
    self._size, self._frames, self._context = size, frames, context
    self._emotion_frames, self._fps = emotion_frames, fps
    self._from, self._treatment = identity_from, treatment

  def draw_clip(self, i: int, rng: np.random.Generator) -> spec.Clip:
    """A window of clip i and what is shown with it."""
    records, size, frames = self._records, self._size, self._frames
    # In this order: every draw depends on those before it.
    heard = records.heard(i)
    start = heard.start + int(rng.integers(len(heard) - frames + 1))
    j, t = self._identity(i, start, rng)
    chosen = self._emotion_times(i, start, rng)
    donor, donor_landmarks = self._mouth_donor(i, start, rng)
    lender = self._donors.emotion_lender(i, self._treatment.emotion_clip, rng)
    if lender != i:
      count = records.index[lender].frames
      chosen = rng.integers(count, size=self._emotion_frames)
    chosen = chosen.tolist()
    clip, stop = records.clip(i), start + frames
    return spec.Clip(
      identity=records.picture(j, "frames", t, size),
      identity_landmarks=records.landmarks(j, t, size),
      frames=records.frames(i, range(start, stop), size),
      landmarks=records.landmarks(i, slice(start, stop), size),
      pose=clip.pose[start:stop],
      audio=sound_window(
        clip.audio,
        start - self._context,
        frames + 2 * self._context,
        self._fps,
      ),
      level=records.sound_level(i),
      emotion=records.frames(lender, chosen, size),
      emotion_landmarks=records.landmarks(lender, chosen, size),
      emotion_label=np.array(records.index[i].emotion, np.int32),
      donor=donor,
      donor_landmarks=donor_landmarks,
    )

  def _identity(
    self, i: int, start: int, rng: np.random.Generator
  ) -> tuple[int, int]:
    """(clip, frame) that shows the identity."""
    count, stop = self._records.index[i].frames, start + self._frames
    elsewhere = self._from != "same_clip"
    if self._from == "either" and count > self._frames:
      elsewhere = rng.random() < 0.5
    if elsewhere:
      return self._donors.identity_frame(i, start, stop, rng)
    return i, other_time(count, start, stop, rng)

  def _emotion_times(
    self, i: int, start: int, rng: np.random.Generator
  ) -> Int[np.ndarray, "n"]:
    """Frames of clip i, outside the window where enough are left."""
    count, number = self._records.index[i].frames, self._emotion_frames
    outside = count - self._frames
    if outside >= number:
      chosen = rng.choice(outside, number, replace=False)
      return chosen + self._frames * (chosen >= start)
    return rng.choice(count, number, replace=count < number)

  def _mouth_donor(
    self, i: int, start: int, rng: np.random.Generator
  ) -> tuple[UInt8[np.ndarray, "d d 3"], Float[np.ndarray, "68 2"]]:
    """A picture that lends its mouth to all pose frames, and its landmarks.

    One for all frames, so that time stays consistent.
    """
    if not self._treatment.pose:
      return augment.nobody(self._size)
    records, stop = self._records, start + self._frames
    count = records.index[i].frames
    if count > self._frames:
      j, t = i, other_time(count, start, stop, rng)
    else:
      # A clip of no more than the window is served only where the identity has
      # another.
      j, t = self._donors.identity_frame(i, start, stop, rng)
    side = spec.donor_side(self._size)
    return records.picture(j, "frames", t, side), records.landmarks(j, t, side)
