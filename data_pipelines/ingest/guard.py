"""When preprocessing stops early: too many rejects, too small a disk."""

import hashlib
import math
import shutil
from collections.abc import Sequence
from pathlib import Path

from data_pipelines.ingest.outcomes import PrepareError
from data_pipelines.ingest.plan import ShardPlan

SAMPLE = 256  # clips that are made first, at most a quarter of all
RISK = 1e-6  # that the sample condemns a set that would have passed


class TooManyRejectsError(PrepareError):
  """More clips than allowed could not be used."""


class RejectGuard:
  """Counts clips, and stops the run when too many are rejected.

  Two rules. More rejects than are allowed of all clips: those to come cannot
  change that. Or so many in the sample, drawn at random from all (of this
  machine's share), that clips that may pass would give them once in a million
  times (Hoeffding's bound, which holds for draws without replacement too).
  """

  def __init__(self, total: int, max_reject: float, sample: set[str]):
    """Starts with nothing made.

    Args:
      total: Clips of the whole data set.
      max_reject: Largest share of them that may be rejected.
      sample: Names of the clips that were drawn.
    """
    self._total, self._max, self._sample = total, max_reject, sample
    self._drawn = self._drawn_rejected = 0
    self.done = self.rejected = 0

  def add(self, clip: str, rejected: int) -> None:
    """Counts a clip; `rejected` is 1 if it gave nothing."""
    self.done += 1
    self.rejected += rejected
    if clip in self._sample:
      self._drawn += 1
      self._drawn_rejected += rejected

  def check(self) -> None:
    """Raises TooManyRejectsError, with the figures, by one of the rules."""
    if self.rejected / self._total > self._max:
      raise TooManyRejectsError(
        f"{self.rejected} of {self._total} clips rejected"
      )
    margin = math.sqrt(-math.log(RISK) / (2 * max(self._drawn, 1)))
    if self._drawn_rejected > (self._max + margin) * self._drawn:
      raise TooManyRejectsError(
        f"{self._drawn_rejected} of {self._drawn} clips drawn at random"
        " rejected"
      )


def draw_sample(plans: Sequence[ShardPlan]) -> list[tuple[int, int]]:
  """(shard, clip) of the sample: always the same, as if drawn at random."""
  names = (
    (hashlib.sha256(task.clip.encode()).digest(), i, j)
    for i, plan in enumerate(plans)
    for j, task in enumerate(plan.tasks)
  )
  count = min(SAMPLE, sum(len(plan.tasks) for plan in plans) // 4)
  return [(i, j) for _, i, j in sorted(names)[:count]]


def check_space(output: Path, bytes_a_clip: float, clips: int) -> None:
  """Refuses to go on where the disk is clearly too small for the rest."""
  need, free = clips * bytes_a_clip, shutil.disk_usage(output).free
  if 0.8 * need > free:  # it is the estimate of a sample
    raise PrepareError(
      f"{output}: {clips} clips more need about {need / 1e9:.1f} GB, but "
      f"{free / 1e9:.1f} GB are free; make room and run again to go on"
    )
