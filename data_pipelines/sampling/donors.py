"""Who may lend a factor to a clip: choices on the index, no pixels read."""

from collections import defaultdict
from collections.abc import Callable, Sequence

import numpy as np

from data_pipelines.dataset.index import ClipInfo
from data_pipelines.dataset.reader import Records
from speak_jax import spec


class Donors:
  """Groups the clips of one split by person, session, emotion and take.

  Nobody lends to a clip of another data set.

  Every choice is a draw from the generator that is passed in, so it depends
  on that generator and on the index alone.
  """

  def __init__(
    self,
    index: Sequence[ClipInfo],
    dataset_of: Callable[[int], int] = lambda i: 0,
    same_session: bool = False,
  ):
    """Builds the groups; linear in the number of clips.

    Args:
      index: The clips.
      dataset_of: Position of a clip's data set, as `Records.dataset_of`.
      same_session: Identities are lent within a clip's session, where it is
        known: elsewhere hair, clothes and light are others, and the identity
        picture no longer tells what is to be drawn.
    """
    self._index = index
    self._emotions = [row.emotion for row in index]
    self._dataset_of = dataset_of
    self._person: dict[str, list[int]] = defaultdict(list)
    self._same_session = same_session
    # By person and session; "" gathers all sessions.
    self._session: dict[tuple[str, str], list[int]] = defaultdict(list)
    self._emotion: dict[tuple[int, int, int], dict[str, list[int]]] = (
      defaultdict(lambda: defaultdict(list))
    )
    self._feeling: dict[tuple[str, int, int, str], list[int]] = defaultdict(
      list
    )
    self._take: dict[tuple[str, str], list[int]] = defaultdict(list)
    for i, row in enumerate(index):
      self._person[row.identity].append(i)
      for session in {row.session, ""}:
        self._session[row.identity, session].append(i)
      if row.emotion != spec.UNKNOWN:
        for level in {row.level, 0}:  # level 0 gathers all levels
          key = self._dataset_of(i), row.emotion, level
          self._emotion[key][row.identity].append(i)
        self._feeling[_feeling(row)].append(i)
      if row.take:
        self._take[row.identity, row.take].append(i)
    # {(lenders' group, emotion): its clips of other emotions}.
    self._unlike: dict[tuple[tuple[str, str], int], list[int]] = {}
    self._label = {name: k for k, name in enumerate(sorted(self._person))}

  def label(self, i: int) -> int:
    """Number of clip i's person, 0 to people - 1, in alphabetical order."""
    return self._label[self._index[i].identity]

  def alone(self, i: int) -> bool:
    """Whether no other clip can lend the identity."""
    return len(self.lenders(i)) == 1

  def other_clip(self, i: int, rng: np.random.Generator) -> int | None:
    """Another clip that can lend the identity, or None.

    Of the person, or of the session, if it is known and asked for; of another
    emotion where there is one.
    """
    own, lenders = self._emotions[i], self.lenders(i)
    key = self._group(i), own
    if key not in self._unlike:
      self._unlike[key] = [j for j in lenders if self._emotions[j] != own]
    if unlike := self._unlike[key]:
      return _draw(unlike, rng)
    return _other(lenders, i, rng) if len(lenders) > 1 else None

  def lenders(self, i: int) -> list[int]:
    """Clips that may lend clip i the identity, itself among them."""
    return self._session[self._group(i)]

  def _group(self, i: int) -> tuple[str, str]:
    """Whose clips, and of which session, lend clip i the identity."""
    row = self._index[i]
    return row.identity, row.session if self._same_session else ""

  def identity_frame(
    self, i: int, start: int, stop: int, rng: np.random.Generator
  ) -> tuple[int, int]:
    """(clip, frame) that lends the identity to frames start:stop of clip i.

    Of `other_clip`; else another time of clip i; else, in a clip of nothing
    else, frame `start`.
    """
    j = self.other_clip(i, rng)
    if j is None:
      return i, other_time(self._index[i].frames, start, stop, rng)
    return j, int(rng.integers(self._index[j].frames))

  def same_emotion(self, i: int, rng: np.random.Generator) -> int | None:
    """A clip of another person with the same emotion and level.

    Any level of the emotion if nobody else has this one, None if nobody else
    shows the emotion or if it is unknown.
    """
    row = self._index[i]
    for level in (row.level, 0):
      people = self._emotion.get((self._dataset_of(i), row.emotion, level), {})
      others = [name for name in people if name != row.identity]
      if others:
        return _draw(people[others[rng.integers(len(others))]], rng)
    return None

  def emotion_lender(
    self, i: int, share: float, rng: np.random.Generator
  ) -> int:
    """Clip i, or in `share` of the cases another with the same emotion.

    Of the same person, level and camera. Always clip i, and nothing is drawn,
    if there is no other or the emotion is unknown: an unlabelled clip's own
    pictures alone say what its face does.
    """
    alike = self._feeling.get(_feeling(self._index[i]), [])
    if len(alike) < 2 or rng.random() >= share:
      return i
    return _other(alike, i, rng)

  def views(self, i: int) -> list[tuple[int, int, int]]:
    """Clips of other cameras that show instants of clip i.

    Returns:
      (clip, start, stop): frames of clip i that the clip shows as well.
    """
    row = self._index[i]
    overlaps = []
    for j in self._take.get((row.identity, row.take), []):
      other = self._index[j]
      start = max(0, other.start - row.start)
      stop = min(row.frames, other.start + other.frames - row.start)
      if other.view != row.view and start < stop:
        overlaps.append((j, start, stop))
    return overlaps

  def has_same_emotion(self, i: int) -> bool:
    """Whether `same_emotion` finds a clip."""
    row = self._index[i]
    return len(self._emotion.get((self._dataset_of(i), row.emotion, 0), {})) > 1

  def round_robin(self) -> list[int]:
    """All clips, the first of every person, then the second, and so on."""
    queues = [self._person[name] for name in sorted(self._person)]
    depth = max(map(len, queues), default=0)
    return [q[k] for k in range(depth) for q in queues if k < len(q)]


def donors_of(records: Records, same_session: bool) -> Donors:
  """Donors among the clips of opened data sets, each set for itself."""
  return Donors(records.index, records.dataset_of, same_session)


def _feeling(row: ClipInfo) -> tuple[str, int, int, str]:
  return row.identity, row.emotion, row.level, row.view


def other_time(
  count: int, start: int, stop: int, rng: np.random.Generator
) -> int:
  """A frame below `count` outside start:stop; `start` if there is none."""
  left = count - (stop - start)
  if left <= 0:
    return start
  t = int(rng.integers(left))
  return t if t < start else t + stop - start


def _other(clips: Sequence[int], i: int, rng: np.random.Generator) -> int:
  """Any but clip i of several, which rise and have it among them."""
  k = int(rng.integers(len(clips) - 1))
  return clips[k] if clips[k] < i else clips[k + 1]


def _draw(items: Sequence[int], rng: np.random.Generator) -> int | None:
  return items[int(rng.integers(len(items)))] if items else None
