"""Whether an emotion that was asked for by name is seen in the face."""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from speak_jax import spec
from speak_jax.evaluation.metric_table import MetricTable
from speak_jax.evaluation.photographs.clips import Clip
from speak_jax.evaluation.photographs.judges import Judges
from speak_jax.evaluation.photographs.methods import Method
from speak_jax.inference.expression import EXPRESSIONS
from speak_jax.metrics import sums

ASKED = ("happy", "surprised", "angry", "sad", "neutral")
SECONDS, EVERY = 2.0, 8  # of the clip's own speech; frames that are looked at


class Named(NamedTuple):
  """What faces of one photograph are taken for."""

  photograph: str  # a name of EXPRESSIONS, of the photograph itself
  asked: dict[str, str]  # of its frames, for each of ASKED


def named(method: Method, one: Clip, judges: Judges) -> Named:
  """Asks for each emotion at full strength, with a still head.

  Args:
    method: It takes emotions by name.
    one: Its first frame is the photograph, and it speaks its own words.
    judges: The network of expressions is asked: its mean over some frames.
  """
  samples = round(SECONDS * spec.SAMPLE_RATE_HZ)
  speech = one.speech[:samples]
  count = int(len(speech) * method.fps / spec.SAMPLE_RATE_HZ)
  which = range(0, count, EVERY)

  def taken_for(frames: np.ndarray) -> str:
    # The head is still, and no expression moves what the cut hangs on.
    mesh = np.repeat(one.track.mesh[:1], len(frames), 0)
    shares = judges.expressions(frames, mesh).mean(0)
    return EXPRESSIONS[int(shares.argmax())]

  made = {
    emotion: taken_for(
      np.stack([*method.frames(one, speech, None, emotion, which)])
    )
    for emotion in ASKED
  }
  return Named(taken_for(one.frames[:1]), made)


def add(ours: MetricTable, unmoved: MetricTable, seen: Named) -> None:
  """Adds the share of emotions that are named right, on one photograph.

  Args:
    ours: Of the method.
    unmoved: Of the photograph as it is, for whichever emotion is asked.
    seen: What the judge says.
  """
  right = np.array([seen.asked[x] == x for x in ASKED], float)
  by_chance = np.array([seen.photograph == x for x in ASKED], float)
  for table, hits in ((ours, right), (unmoved, by_chance)):
    table.add("named", sums.mean_row(hits))
    if seen.photograph == ASKED[-1]:
      table.add("named_of_neutral", sums.mean_row(hits))


def confusion(seen: Iterable[Named], emotion: str) -> Float[np.ndarray, "7"]:
  """Shares of photographs that are taken for each of EXPRESSIONS.

  Args:
    seen: Of some photographs.
    emotion: In ASKED; "" for the photographs themselves.
  """
  words = [x.asked[emotion] if emotion else x.photograph for x in seen]
  return np.array([words.count(x) / len(words) for x in EXPRESSIONS])
