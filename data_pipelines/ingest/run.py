"""Works on many raw clips: by processes or machines, resumed, assembled.

How many work, and when they are stopped, changes nothing of the bytes:

1. `plan` groups the clips into shards, by their names alone.
2. Each clip is rendered or cut in a worker process and kept in a file
   (`staging`). A sample of all clips comes first, so that a set that is mostly
   unusable, or too large for the disk, is known within minutes (`guard`).
3. When all clips of a shard are there, they are joined to it.
4. When all shards are there, they get their names and the directory becomes a
   data set (`assemble`).
"""

import collections
import contextlib
import functools
import json
import os
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from data_pipelines.ingest import (
  assemble,
  changes,
  outcomes,
  pool,
  staging,
)
from data_pipelines.ingest.guard import (
  RejectGuard,
  TooManyRejectsError,
  check_space,
  draw_sample,
)
from data_pipelines.ingest.outcomes import PrepareError
from data_pipelines.ingest.plan import ShardPlan, plan_shards
from data_pipelines.ingest.summary import (
  STAGING,
  Summary,
  known_rejects,
  summary_of_shards,
  whole_summary,
  with_list,
)
from data_pipelines.media import decoder, limits
from data_pipelines.media.error import MediaError, unsaid
from data_pipelines.sources.task import Task
from speak_jax.common.lock import locked
from speak_jax.common.progress import Progress

# A clip may take so long, and so much longer for each second of its video:
# some 20 times what it does. Only a decoder that hangs takes more.
CLIP_S, CLIP_S_A_SECOND = 300.0, 20.0
JOIN_S = 3600.0  # a shard has a few GB at most


def prepare(
  tasks: Sequence[Task],
  output: str | os.PathLike,
  *,
  workers: int,
  meta: dict[str, Any],
  max_reject: float = 0.5,
  shard: tuple[int, int] = (1, 1),
  retry: bool = False,
  shown: bool = True,
) -> Summary:
  """Makes the data set `output` out of raw clips; only what is missing.

  Args:
    tasks: Raw clips; their order is the order of the records.
    output: Directory, made if need be.
    workers: Processes that work on clips. 0: this one does, and nothing
      protects it from a clip that crashes or hangs: for drawn clips.
    meta: JSON values that say how the data was made. A directory that was
      prepared with other values is refused.
    max_reject: Largest share of raw clips that may be rejected.
    shard: (i, n), i from 1 to n: only the share of machine i of n is made,
      and not assembled; several machines work in one directory at the same
      time. When all shares are made, a call with (1, 1) assembles.
    retry: Make the clips again that earlier runs have rejected.
    shown: Whether progress is printed.

  Raises:
    TooManyRejectsError: the share of rejects is larger.
    PrepareError: no clips, other settings, full disk, missing models.
  """
  output = Path(output)
  meta = json.loads(json.dumps(meta))  # as it will be read back
  plans = plan_shards(tasks, meta)
  number, count = shard
  # By their hashes, so that no machine has all of one kind.
  chosen = set(sorted(plan.key for plan in plans)[number - 1 :: count])
  mine = [plan for plan in plans if plan.key in chosen]
  try:
    (output / STAGING).mkdir(parents=True, exist_ok=True)
    with _locked(output, shard):
      assemble.check_meta(output, meta)
      changed = changes.changed_clips(output / STAGING, mine)
      if shown:
        changes.report_changed(changed, mine)
      if retry or changed or not assemble.is_assembled(output, plans):
        assemble.check_format(output)
        assemble.take_apart(output, meta)
        changes.reopen(output, mine, retry, changed)
        _work_off(mine, output, len(tasks), workers, max_reject, shown)
        if count > 1:
          return summary_of_shards(output, mine)
        assemble.assemble(output, plans, meta, max_reject)
      return whole_summary(output)
  except pool.WorkerError as error:
    raise PrepareError(f"{output}: {error}; run again to go on") from error
  except OSError as error:
    raise PrepareError(
      f"{output}: {error.strerror}; what was made is kept: run again to go on"
    ) from error


def _work_off(
  plans: Sequence[ShardPlan],
  output: Path,
  clips: int,
  workers: int,
  max_reject: float,
  shown: bool,
) -> None:
  """Makes the missing clips and shards of some plans.

  Args:
    plans: The shards to make.
    output: The data set's directory.
    clips: Clips of the whole data set.
    workers: As for `prepare`, like the other arguments.
    max_reject: See `prepare`.
    shown: See `prepare`.

  Raises:
    TooManyRejectsError: the rejects are listed in rejects.jsonl.
  """
  todo = _Workload(plans, output / STAGING, clips, max_reject)
  total = sum(len(plan.tasks) for plan in plans)
  try:
    todo.guard.check()
    if not todo.missing:
      return
    done = todo.guard.done
    with Progress("prepare", "clip", total, done, shown=shown) as progress:
      todo.work_off(todo.sample(), workers, progress)
      check_space(output, todo.bytes_a_clip(), total - todo.guard.done)
      todo.work_off(todo.rest(), workers, progress)
  except TooManyRejectsError as error:
    rejects = known_rejects(output / STAGING, plans)
    raise with_list(error, output, rejects) from None


class _Workload:
  """Clips and shards of some plans that are to be made."""

  def __init__(
    self,
    plans: Sequence[ShardPlan],
    folder: Path,
    clips: int,
    max_reject: float,
  ):
    """Finds out what earlier runs have made.

    Args:
      plans: The shards to make.
      folder: Staging folder.
      clips: Clips of the whole data set.
      max_reject: Largest share of them that may be rejected.
    """
    self._plans, self._folder = plans, folder
    self._sample = draw_sample(plans)
    names = {plans[i].tasks[j].clip for i, j in self._sample}
    self.guard = RejectGuard(clips, max_reject, names)
    self.missing: dict[int, set[int]] = {}  # clips, by unfinished shard
    self._joins: collections.deque[int] = collections.deque()
    self._made = self._bytes = self._seconds = 0.0  # of this run
    self._start = time.monotonic()
    for i, plan in enumerate(plans):
      self._resume(i, plan)

  def _resume(self, i: int, plan: ShardPlan) -> None:
    """Counts what is made of shard i, and notes what is missing."""
    if staging.is_whole(self._folder, plan.key):
      rejects = staging.shard_summary(self._folder, plan.key)["rejects"]
      lost = {x["clip"] for x in rejects if outcomes.is_whole_clip(x)}
      for task in plan.tasks:
        self.guard.add(task.clip, int(task.clip in lost))
      return
    staging.summary_path(self._folder, plan.key).unlink(missing_ok=True)
    self.missing[i] = set(range(len(plan.tasks)))
    if (self._folder / plan.key).exists():
      for j, task in enumerate(plan.tasks):
        outcome = staging.load_current(self._folder, plan.key, j, task)
        if outcome:
          self.missing[i].remove(j)
          self.guard.add(task.clip, outcomes.tally(outcome).rejected)
    if not self.missing[i]:
      self._joins.append(i)

  def sample(self) -> Iterator[tuple[int, int]]:
    """(shard, clip) of the sample's clips that are missing."""
    return ((i, j) for i, j in self._sample if j in self.missing.get(i, set()))

  def rest(self) -> Iterator[tuple[int, int]]:
    """(shard, clip) of all missing clips, in their order."""
    for i in list(self.missing):
      for j in sorted(self.missing.get(i, ())):
        yield i, j

  def bytes_a_clip(self) -> float:
    """Mean size of the clips that this run has made; 0 if it made none."""
    return self._bytes / max(self._made, 1)

  def work_off(
    self, clips: Iterator[tuple[int, int]], workers: int, progress: Progress
  ) -> None:
    """Makes clips, and joins the shards that they complete.

    A clip whose worker died is tried once more at the end, alone, since a
    neighbour may have taken the memory. If it dies again it is rejected.
    """
    died = []
    for i, j, result in self._results(clips, workers):
      if isinstance(result, pool.Died):
        died.append((i, j))
        progress.say(
          f"prepare: {self._plans[i].tasks[j].clip}: its worker died "
          f"({result.how}); it is tried once more at the end"
        )
      else:
        self._count(i, j, result, progress)
    for clip in died:
      for i, j, result in self._results(iter([clip]), 1):
        if isinstance(result, pool.Died):
          reason = f"killed its worker twice ({result.how})"
          result = self._reject(i, j, reason)
        self._count(i, j, result, progress)

  def _results(
    self, clips: Iterator[tuple[int, int]], workers: int
  ) -> Iterator[tuple[int, int, outcomes.Tally | pool.Died]]:
    """Runs clips, and the joins of complete shards, in worker processes."""

    def take() -> pool.Job | None:
      if self._joins:
        i = self._joins.popleft()
        count = len(self._plans[i].tasks)
        call = functools.partial(
          _join_shard, self._folder, self._plans[i].key, count
        )
        return pool.Job((i, None), call, JOIN_S)
      i, j = next(clips, (None, None))
      if i is None or j is None:
        return None
      plan = self._plans[i]
      call = functools.partial(
        _make_clip, self._folder, plan.key, j, plan.tasks[j]
      )
      return pool.Job((i, j), call, CLIP_S)

    # Closed at once when the caller stops, so that no worker goes on.
    with contextlib.closing(pool.run(take, workers)) as results:
      for (i, j), result in results:
        if j is not None:
          if isinstance(result, pool.Late):
            reason = f"took longer than {result.seconds:.0f} s"
            result = self._reject(i, j, reason)
          yield i, j, result
        elif result is None:
          del self.missing[i]
        else:
          raise PrepareError(
            f"{staging.shard_path(self._folder, self._plans[i].key)}: its"
            f" worker did not end well ({result}); run again to go on"
          )

  def _reject(self, i: int, j: int, reason: str) -> outcomes.Tally:
    """Stores that clip j of shard i was rejected."""
    plan = self._plans[i]
    outcome = outcomes.rejected(plan.tasks[j], reason)
    staging.store(self._folder, plan.key, j, outcome)
    return outcomes.tally(outcome)

  def _count(
    self, i: int, j: int, tally: outcomes.Tally, progress: Progress
  ) -> None:
    """Counts a clip that is made, and shows the progress."""
    self._made += 1
    self._bytes += tally.bytes
    self._seconds += tally.seconds
    self.guard.add(self._plans[i].tasks[j].clip, tally.rejected)
    self.missing[i].remove(j)
    if not self.missing[i]:
      self._joins.append(i)
    rate = self._seconds / max(time.monotonic() - self._start, 1e-3)
    progress.update(
      self.guard.done,
      f"{self._seconds / 3600:.2f} h of video, {rate:.1f}x real time, "
      f"{self.guard.rejected} rejected",
    )
    self.guard.check()


def _make_clip(
  folder: Path, key: str, index: int, task: Task, more: pool.More
) -> outcomes.Tally:
  """Makes a clip and stores its outcome; runs in a worker process."""
  if task.file:
    with (
      contextlib.suppress(MediaError),
      unsaid(),
    ):  # the clip's own run says it
      seconds = decoder.probe(task.file).seconds
      more(CLIP_S_A_SECOND * min(seconds, limits.LIMITS.seconds))
  # Another machine may have made it since.
  outcome = staging.load_current(folder, key, index, task)
  if outcome is None:
    outcome = outcomes.render_or_cut(task)
    staging.store(folder, key, index, outcome)
  return outcomes.tally(outcome)


def _join_shard(folder: Path, key: str, clips: int, more: pool.More) -> None:
  """Joins a shard; runs in a worker process."""
  del more  # its size is bounded
  staging.join(folder, key, clips)


@contextlib.contextmanager
def _locked(output: Path, shard: tuple[int, int]) -> Iterator[None]:
  """Waits for the lock of the directory, or of this share of it.

  Shares of one n work beside each other; any other two calls one by one.
  Where a file system locks nothing, two calls do the same work twice, which
  `staging` makes harmless.
  """
  number, count = shard
  with contextlib.ExitStack() as stack:
    if count > 1:
      every = locked(output / STAGING / "lock", "prepare", shared=True)
      stack.enter_context(every)
      name = f"lock.{number}-{count}"
    else:
      name = "lock"
    stack.enter_context(locked(output / STAGING / name, "prepare"))
    yield
