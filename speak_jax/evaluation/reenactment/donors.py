"""Who lends what to a clip: the next clips of other people."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Int16

from speak_jax.evaluation.eval_clip import EvalClip


def following_clips(clips: Sequence[EvalClip], index: int) -> list[EvalClip]:
  """All other clips, from the next one round to the one before."""
  return [*clips[index + 1 :], *clips[:index]]


def clips_of_others(clips: Sequence[EvalClip], index: int) -> list[EvalClip]:
  """Those of `following_clips` that are of other people."""
  person = clips[index].person
  return [x for x in following_clips(clips, index) if x.person != person]


def next_speaker(clips: Sequence[EvalClip], index: int) -> EvalClip:
  """The clip whose speech is put in: the next one of another person.

  Where all clips are of one person it is the next of theirs.

  Raises:
    ValueError: there is but one clip.
  """
  following = following_clips(clips, index)
  if not following:
    raise ValueError("shuffled speech needs two clips")
  return (clips_of_others(clips, index) or following)[0]


def fit_audio(
  audio: Int16[np.ndarray, "s"], length: int
) -> Int16[np.ndarray, "l"]:
  """The sound cut to a length in samples, or with silence added to it."""
  return np.pad(audio[:length], (0, max(length - len(audio), 0)))
