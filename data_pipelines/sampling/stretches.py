"""Stretches of clips with their sound, and other frames of the same clip.

What a method needs that learns from one clip at a time: a reference to repaint
by, an example to move, a moment that does not match the sound.
"""

from collections.abc import Mapping

import grain
import numpy as np

from data_pipelines.dataset.reader import Records
from data_pipelines.sampling.donors import donors_of
from data_pipelines.sampling.mix import endless
from data_pipelines.sampling.sound import sound_window
from data_pipelines.sampling.usable import common_fps, long_enough
from speak_jax import spec

NEUTRAL = spec.EMOTIONS.index("neutral")
# Where the second stretch comes from.
OTHERS_FROM = ("clip", "person", "neutral")


def sample_stretches(
  records: Records,
  *,
  size: int,
  frames: int,
  context: int,
  others: int,
  apart: int,
  others_from: str = "clip",
  share: Mapping[str, float] | None = None,
  seed: int,
) -> grain.MapDataset:
  """Samples of consecutive frames, their sound, and a second stretch.

  Both stretches begin anywhere in the clip, the second at least `apart` frames
  before or after the first; they may overlap. Sound beyond the clip is
  silence. Left out are clips too short to have both wherever the first begins.

  Args:
    records: Where the frames come from.
    size: Side of whole frames in pixels.
    frames: Length of the first stretch.
    context: Frames of sound added on either side of it.
    others: Length of the second stretch.
    apart: Frames between their first frames, at least; 0: any two.
    others_from: Of `OTHERS_FROM`: the second stretch is of the same clip, of
      any of the person, or of a neutral one of the person, where there is one;
      else of the same clip. `apart` is for the same clip.
    share: As in `sample_pairs`.
    seed: Seed of all draws.

  Returns:
    Dataset of `spec.Stretch` without the batch axis.

  Raises:
    ValueError: no clip is long enough, the frame rates differ, an unknown
      `others_from`, or `share` names a set that cannot serve.
  """
  if others_from not in OTHERS_FROM:
    raise ValueError(
      f"others_from {others_from!r} is not one of {', '.join(OTHERS_FROM)}"
    )
  fps, donors = common_fps(records), donors_of(records, same_session=False)
  lengths = records.index.column("frames")
  usable = [
    i
    for i in long_enough(records, frames)
    if lengths[i] - others + 1 >= max(2 * apart, 1)
  ]
  if not usable:
    raise ValueError(
      f"{records.name}: no clip has {others} more frames that begin {apart} or"
      f" more before or after {frames} of it"
    )

  def draw(i: int, rng: np.random.Generator) -> spec.Stretch:
    # In this order: every draw depends on those before it.
    heard = records.heard(i)
    start = heard.start + int(rng.integers(len(heard) - frames + 1))
    j = i
    if others_from != "clip":
      long = [x for x in donors.lenders(i) if lengths[x] >= others]
      if others_from == "neutral":
        long = [x for x in long if records.index[x].emotion == NEUTRAL]
      j = int(rng.choice(long)) if long else i
    begins = np.arange(lengths[j] - others + 1)
    if j == i:
      begins = begins[np.abs(begins - start) >= apart]
    second = int(rng.choice(begins))
    clip, stop, end = records.clip(i), start + frames, second + others
    return spec.Stretch(
      frames=records.frames(i, range(start, stop), size),
      landmarks=records.landmarks(i, slice(start, stop), size),
      pose=clip.pose[start:stop],
      audio=sound_window(
        clip.audio, start - context, frames + 2 * context, fps
      ),
      level=records.sound_level(i),
      others=records.frames(j, range(second, end), size),
      other_landmarks=records.landmarks(j, slice(second, end), size),
      other_pose=records.clip(j).pose[second:end],
      emotion_label=np.array(records.index[i].emotion, np.int32),
    )

  return endless(records, usable, draw, share, seed)
