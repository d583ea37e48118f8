"""Works on many raw clips: by processes or machines, resumed, assembled.

How many work, and when they are stopped, changes nothing of the bytes:

1. `plan` groups the clips into parts, one a shard, by their names alone.
2. Each clip is made in a worker process and kept in a file (`staging`). A
   sample of all clips comes first, so that a set that is mostly unusable, or
   too large for the disk, is known within minutes.
3. When all clips of a part are made, they are joined to its shard.
4. When all parts are done, the shards get their names and the directory
   becomes a data set.
"""

import collections
import concurrent.futures
import contextlib
import functools
import hashlib
import itertools
import json
import math
import os
import re
import shutil
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from data_pipelines.dataset import offsets, writer
from data_pipelines.dataset.index import SPLITS, ClipInfo, read_index
from data_pipelines.ingest import outcome as staging
from data_pipelines.ingest import pool
from data_pipelines.ingest.outcome import PrepareError
from data_pipelines.media import decoder, limits
from data_pipelines.media.error import MediaError, unsaid
from data_pipelines.sources.task import Task
from speak_jax.common import files
from speak_jax.common.lock import locked
from speak_jax.common.progress import Progress, say

# Shards of a set: 64, so that many workers share a small one, then of 32
# clips, then 4096 that grow, so that a large set stays easy to handle.
FEW, CLIPS, MANY = 64, 32, 4096
PARTS = ".parts"  # unfinished shards, and what is known of finished ones
STATE = "prepare.json"
REJECTS = "rejects.jsonl"
META = "meta.json"  # in PARTS: the settings of what is there
SAMPLE = 256  # clips that are made first, at most a quarter of all
RISK = 1e-6  # that the sample condemns a set that would have passed
# A clip may take so long, and so much longer for each second of its video:
# some 20 times what it does. Only a decoder that hangs takes more.
CLIP_S, CLIP_S_A_SECOND = 300.0, 20.0
JOIN_S = 3600.0  # a shard has a few GB at most
LOOKING = 16  # threads that ask for files' dates, which networks answer late
SAID = 5  # clips that are named in a line


class TooManyRejectsError(PrepareError):
  """More clips than allowed could not be used."""


class Part(NamedTuple):
  """The raw clips of one shard."""

  key: str  # names the part's files; changes with clips or settings
  split: str
  tasks: tuple[Task, ...]


class Reason(NamedTuple):
  """How often something was rejected, numbers in the reason left out."""

  clips: int
  stretches: int  # of clips that gave others
  reason: str


class Summary(NamedTuple):
  """What a data set, or one machine's share of it, holds."""

  clips: int
  frames: int
  seconds: float
  rejects: int  # raw clips that gave nothing
  reasons: list[Reason]


def prepare(
  tasks: Sequence[Task],
  output: str | os.PathLike,
  *,
  workers: int,
  meta: dict[str, Any],
  max_reject: float = 0.5,
  share: tuple[int, int] = (1, 1),
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
    share: (i, n): the parts of machine i of n, from 1. None of several
      machines assembles: a call with (1, 1) does, when all are done.
    retry: Make the clips again that earlier runs have rejected.
    shown: Whether progress is told.

  Raises:
    TooManyRejectsError: the share of rejects is larger.
    PrepareError: no clips, other settings, full disk, missing models.
  """
  output = Path(output)
  meta = json.loads(json.dumps(meta))  # as it will be read back
  parts = plan(tasks, meta)
  number, count = share
  # By their hashes, so that no machine has all of one kind.
  chosen = set(sorted(part.key for part in parts)[number - 1 :: count])
  mine = [part for part in parts if part.key in chosen]
  try:
    (output / PARTS).mkdir(parents=True, exist_ok=True)
    with _locked(output, share):
      _check_meta(output, meta)
      changed = _changed(output / PARTS, mine)
      _say_changed(changed, mine, shown)
      if not _is_complete(output, parts, meta, retry or bool(changed)):
        _reopen(output, mine, retry, changed)
        _work_all(mine, output, len(tasks), workers, max_reject, shown)
        if count > 1:
          return _summary_of(output, mine)
        _assemble(output, parts, meta, max_reject)
      return _summary(output)
  except pool.WorkerError as error:
    raise PrepareError(f"{output}: {error}; run again to go on") from error
  except OSError as error:
    raise PrepareError(
      f"{output}: {error.strerror}; what was made is kept: run again to go on"
    ) from error


def plan(tasks: Sequence[Task], meta: dict[str, Any]) -> list[Part]:
  """Groups the tasks of each split into shards, in their order.

  Raises:
    PrepareError: no clips, or two of one name.
  """
  if not tasks:
    raise PrepareError("no clips to prepare")
  names = collections.Counter(task.clip for task in tasks)
  if len(names) < len(tasks):
    raise PrepareError(f"two clips are called {names.most_common(1)[0][0]}")
  count = max(min(CLIPS, -(-len(tasks) // FEW)), -(-len(tasks) // MANY))
  parts = []
  for split in SPLITS:
    chosen = [task for task in tasks if task.split == split]
    for start in range(0, len(chosen), count):
      group = tuple(chosen[start : start + count])
      facts = [meta, split, [(task.clip, task.identity) for task in group]]
      text = json.dumps(facts, sort_keys=True)
      key = hashlib.sha256(text.encode()).hexdigest()[:16]
      parts.append(Part(key, split, group))
  return parts


def cores() -> int:
  """CPU cores that this process may use."""
  if hasattr(os, "sched_getaffinity"):
    return len(os.sched_getaffinity(0))
  return os.cpu_count() or 1


# --- when to stop ----------------------------------------------------------


class Verdict:
  """Counts clips, and says when too many are rejected.

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


def _draw(parts: Sequence[Part]) -> list[tuple[int, int]]:
  """(part, clip) of the sample: always the same, as if drawn at random."""
  names = (
    (hashlib.sha256(task.clip.encode()).digest(), i, j)
    for i, part in enumerate(parts)
    for j, task in enumerate(part.tasks)
  )
  count = min(SAMPLE, sum(len(part.tasks) for part in parts) // 4)
  return [(i, j) for _, i, j in sorted(names)[:count]]


def _check_space(output: Path, bytes_a_clip: float, clips: int) -> None:
  """Refuses to go on where the disk is clearly too small for the rest."""
  need, free = clips * bytes_a_clip, shutil.disk_usage(output).free
  if 0.8 * need > free:  # it is the estimate of a sample
    raise PrepareError(
      f"{output}: {clips} clips more need about {need / 1e9:.1f} GB, but "
      f"{free / 1e9:.1f} GB are free; make room and run again to go on"
    )


# --- work ------------------------------------------------------------------


def _work_all(
  parts: Sequence[Part],
  output: Path,
  clips: int,
  workers: int,
  max_reject: float,
  shown: bool,
) -> None:
  """Makes what is missing of the parts, of a data set of so many clips."""
  todo = _Work(parts, output / PARTS, clips, max_reject)
  total = sum(len(part.tasks) for part in parts)
  try:
    todo.verdict.check()
    if not todo.missing:
      return
    done = todo.verdict.done
    with Progress("prepare", "clip", total, done, shown=shown) as progress:
      todo.make(todo.sample(), workers, progress)
      _check_space(output, todo.bytes_a_clip(), total - todo.verdict.done)
      todo.make(todo.rest(), workers, progress)
  except TooManyRejectsError as error:
    raise _with_list(error, output, _rejects(output / PARTS, parts)) from None


class _Work:
  """What is made of some parts, and what is left."""

  def __init__(
    self, parts: Sequence[Part], folder: Path, clips: int, max_reject: float
  ):
    """Looks at what earlier runs have made."""
    self._parts, self._folder = parts, folder
    self._sample = _draw(parts)
    names = {parts[i].tasks[j].clip for i, j in self._sample}
    self.verdict = Verdict(clips, max_reject, names)
    self.missing: dict[int, set[int]] = {}  # clips of the parts not done
    self._joins: collections.deque[int] = collections.deque()
    self._made = self._bytes = self._seconds = 0.0  # of this run
    self._start = time.monotonic()
    for i, part in enumerate(parts):
      self._resume(i, part)

  def _resume(self, i: int, part: Part) -> None:
    if _is_whole(self._folder, part):
      rejects = staging.facts(self._folder, part.key)["rejects"]
      lost = {x["clip"] for x in rejects if staging.is_whole_clip(x)}
      for task in part.tasks:
        self.verdict.add(task.clip, int(task.clip in lost))
      return
    staging.facts_path(self._folder, part.key).unlink(missing_ok=True)
    self.missing[i] = set(range(len(part.tasks)))
    if (self._folder / part.key).exists():
      for j, task in enumerate(part.tasks):
        outcome = _still(self._folder, part.key, j, task)
        if outcome:
          self.missing[i].remove(j)
          self.verdict.add(task.clip, staging.tally(outcome).rejected)
    if not self.missing[i]:
      self._joins.append(i)

  def sample(self) -> Iterator[tuple[int, int]]:
    """(part, clip) of the sample that are missing."""
    return ((i, j) for i, j in self._sample if j in self.missing.get(i, set()))

  def rest(self) -> Iterator[tuple[int, int]]:
    """(part, clip) of all that are missing, in their order."""
    for i in list(self.missing):
      for j in sorted(self.missing.get(i, ())):
        yield i, j

  def bytes_a_clip(self) -> float:
    """Mean of what this run has made; 0 if that is nothing."""
    return self._bytes / max(self._made, 1)

  def make(
    self, clips: Iterator[tuple[int, int]], workers: int, progress: Progress
  ) -> None:
    """Makes clips, and the shards that they complete.

    A clip whose worker died is tried once more at the end, alone, since it
    may have been a neighbour that took the memory. Then it is rejected.
    """
    died = []
    for i, j, result in self._results(clips, workers):
      if isinstance(result, pool.Died):
        died.append((i, j))
        progress.say(
          f"prepare: {self._parts[i].tasks[j].clip}: its worker died "
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
  ) -> Iterator[tuple[int, int, staging.Tally | pool.Died]]:
    """Has clips made, and joined where a part is complete."""

    def take() -> pool.Job | None:
      if self._joins:
        i = self._joins.popleft()
        count = len(self._parts[i].tasks)
        call = functools.partial(_join, self._folder, self._parts[i].key, count)
        return pool.Job((i, None), call, JOIN_S)
      i, j = next(clips, (None, None))
      if i is None or j is None:
        return None
      part = self._parts[i]
      call = functools.partial(_make, self._folder, part.key, j, part.tasks[j])
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
            f"{staging.shard_path(self._folder, self._parts[i].key)}: its"
            f" worker did not end well ({result}); run again to go on"
          )

  def _reject(self, i: int, j: int, reason: str) -> staging.Tally:
    part = self._parts[i]
    outcome = staging.rejected(part.tasks[j], reason)
    staging.store(self._folder, part.key, j, outcome)
    return staging.tally(outcome)

  def _count(
    self, i: int, j: int, tally: staging.Tally, progress: Progress
  ) -> None:
    self._made += 1
    self._bytes += tally.bytes
    self._seconds += tally.seconds
    self.verdict.add(self._parts[i].tasks[j].clip, tally.rejected)
    self.missing[i].remove(j)
    if not self.missing[i]:
      self._joins.append(i)
    rate = self._seconds / max(time.monotonic() - self._start, 1e-3)
    progress.update(
      self.verdict.done,
      f"{self._seconds / 3600:.2f} h of video, {rate:.1f}x real time, "
      f"{self.verdict.rejected} rejected",
    )
    self.verdict.check()


def _make(
  folder: Path, key: str, index: int, task: Task, more: pool.More
) -> staging.Tally:
  """Makes a clip and keeps what became of it; in a worker."""
  if task.file:
    with contextlib.suppress(MediaError), unsaid():  # `make` will say so
      seconds = decoder.probe(task.file).seconds
      more(CLIP_S_A_SECOND * min(seconds, limits.LIMITS.seconds))
  # Another machine may have made it since.
  outcome = _still(folder, key, index, task) or staging.make(task)
  staging.store(folder, key, index, outcome)
  return staging.tally(outcome)


def _still(
  folder: Path, key: str, index: int, task: Task
) -> staging.Outcome | None:
  """The outcome that was kept, if the clip's files are the same still."""
  outcome = staging.load(folder, key, index)
  if outcome is None:
    return None
  made = 0
  if outcome.stamps is None:
    made = staging.staged(folder, key, index).stat().st_mtime_ns
  same = staging.renewed(task, outcome.stamps, made) is not None
  return outcome if same else None


def _join(folder: Path, key: str, clips: int, more: pool.More) -> None:
  """Makes a shard; in a worker."""
  del more  # its size is bounded
  staging.join(folder, key, clips)


# --- the directory ---------------------------------------------------------


@contextlib.contextmanager
def _locked(output: Path, share: tuple[int, int]) -> Iterator[None]:
  """Waits until no other process of this machine is in the way.

  Machines of one `share` work beside each other; else each call is alone.
  Where a file system locks nothing, two calls do the same work twice, which
  `staging` makes harmless.
  """
  number, count = share
  with contextlib.ExitStack() as stack:
    if count > 1:
      every = locked(output / PARTS / "lock", "prepare", shared=True)
      stack.enter_context(every)
      name = f"lock.{number}-{count}"
    else:
      name = "lock"
    stack.enter_context(locked(output / PARTS / name, "prepare"))
    yield


def _check_meta(output: Path, meta: dict[str, Any]) -> None:
  """Raises PrepareError: what is there was made with other settings."""
  state = _read_json(output / STATE)
  old = state["meta"] if state else _read_json(output / PARTS / META)
  if old is not None and old != meta:
    keys = sorted(k for k in old | meta if old.get(k) != meta.get(k))
    raise PrepareError(
      f"{output}: was prepared with another {', '.join(keys)}; "
      "choose another output or remove it"
    )


def _is_complete(
  output: Path, parts: Sequence[Part], meta: dict[str, Any], again: bool
) -> bool:
  """Whether the data set is whole and of these parts; else it is opened.

  With `again`, one that has rejects, or whose files have changed, is not whole.
  """
  state = _read_json(output / STATE)
  if (
    state
    and state["parts"] == [part.key for part in parts]
    and (output / "dataset_info.json").exists()
    and not again
  ):
    return True
  files.write(output / PARTS / META, json.dumps(meta).encode())
  _take_apart(output, state)
  return False


def _changed(folder: Path, parts: Sequence[Part]) -> dict[str, set[int]]:
  """Clips of finished parts whose files are others now, by the part's key."""
  with concurrent.futures.ThreadPoolExecutor(LOOKING) as threads:
    look = functools.partial(_changed_of, folder)
    found = zip(parts, threads.map(look, parts), strict=True)
    return {part.key: others for part, others in found if others}


def _changed_of(folder: Path, part: Part) -> set[int]:
  """Clips of a part, if it is finished, whose files are others now.

  What is known of files that are the same is brought up to date.
  """
  path = staging.facts_path(folder, part.key)
  if not path.exists() or not any(task.file for task in part.tasks):
    return set()
  facts, made = staging.facts(folder, part.key), path.stat().st_mtime_ns
  kept = facts.get("stamps") or [None] * len(part.tasks)
  now = [
    staging.renewed(task, stamps, made)
    for task, stamps in zip(part.tasks, kept, strict=True)
  ]
  others = {j for j, stamps in enumerate(now) if stamps is None}
  if now != kept and not others:
    staging.store_facts(folder, part.key, {**facts, "stamps": now})
  return others


def _say_changed(
  changed: dict[str, set[int]], parts: Sequence[Part], shown: bool
) -> None:
  names = [
    part.tasks[j].clip
    for part in parts
    for j in sorted(changed.get(part.key, ()))
  ]
  if names and shown:
    more = f" and {len(names) - SAID} more" if len(names) > SAID else ""
    say(
      f"prepare: {len(names)} clips are made anew, for their files have"
      f" changed: {', '.join(names[:SAID])}{more}"
    )


def _read_json(path: Path) -> dict[str, Any] | None:
  return json.loads(path.read_text()) if path.exists() else None


def _is_whole(folder: Path, part: Part) -> bool:
  """Whether a part is done and its shard is there."""
  if not staging.is_done(folder, part.key):
    return False
  if staging.shard_path(folder, part.key).exists():
    return True
  return not staging.facts(folder, part.key)["rows"]


def _reopen(
  output: Path,
  parts: Iterable[Part],
  retry: bool,
  changed: dict[str, set[int]],
) -> None:
  """Forgets clips of these parts: the changed ones, and rejects to `retry`."""
  folder, gone = output / PARTS, set()
  for part in parts:
    if not retry and part.key not in changed:
      continue
    again = set(changed.get(part.key, ()))
    if _is_whole(folder, part):
      facts = staging.facts(folder, part.key)
      ends = list(itertools.accumulate(facts["counts"], initial=0))
      gone |= {
        row["clip"]
        for j in again
        for row in facts["rows"][ends[j] : ends[j + 1]]
      }
      if retry and any(map(staging.is_whole_clip, facts["rejects"])):
        again |= {j for j, count in enumerate(facts["counts"]) if not count}
      if again:
        clips = [task.clip for task in part.tasks]
        staging.reopen(folder, part.key, clips, again)
    elif retry and (folder / part.key).exists():
      for j in range(len(part.tasks)):
        outcome = staging.load(folder, part.key, j)
        if outcome and not outcome.examples:
          staging.staged(folder, part.key, j).unlink()
  # What was measured of a clip is not true of the one that has its name now.
  measured = output / offsets.NAME
  if gone and measured.exists():
    lines = map(json.loads, measured.read_text().splitlines())
    _write_lines(measured, [x for x in lines if x["clip"] not in gone])


def _take_apart(output: Path, state: dict[str, Any] | None) -> None:
  """Undoes `_assemble`, so that a changed list of clips keeps its shards."""
  (output / "dataset_info.json").unlink(missing_ok=True)
  for name, key in (state or {"shards": {}})["shards"].items():
    with contextlib.suppress(FileNotFoundError):
      os.replace(output / name, staging.shard_path(output / PARTS, key))
  (output / STATE).unlink(missing_ok=True)


def _assemble(
  output: Path,
  parts: Sequence[Part],
  meta: dict[str, Any],
  max_reject: float,
) -> None:
  """Gives the shards their names and makes the directory a data set."""
  folder = output / PARTS
  names = {}
  for split in SPLITS:
    full = [
      part
      for part in parts
      if part.split == split and staging.shard_path(folder, part.key).exists()
    ]
    for i, part in enumerate(full):
      names[part.key] = writer.shard_name(split, i, len(full))
  rows, rejects, notes = [], [], []
  for part in parts:
    facts = staging.facts(folder, part.key)
    shard = {"shard": names.get(part.key, "")}
    rows += [ClipInfo(**{**row, **shard}) for row in facts["rows"]]
    rejects += facts["rejects"]
    notes += facts["notes"]
  _write_lines(output / REJECTS, rejects)
  _write_lines(output / "notes.jsonl", notes)
  total = sum(len(part.tasks) for part in parts)
  lost = sum(map(staging.is_whole_clip, rejects))
  if lost / total > max_reject or not rows:
    error = TooManyRejectsError(f"{lost} of {total} clips rejected")
    raise _with_list(error, output, rejects)
  state = {
    "meta": meta,
    "parts": [part.key for part in parts],
    "shards": {name: key for key, name in names.items()},
    "rejects": lost,
  }
  # Written before the first shard moves: a kill in between can be undone.
  files.write(output / STATE, json.dumps(state, indent=1))
  for key, name in names.items():
    os.replace(staging.shard_path(folder, key), output / name)
  _tidy(folder, {part.key for part in parts})
  writer.write_metadata(output, rows, meta=meta)


def _tidy(folder: Path, keys: set[str]) -> None:
  """Removes what earlier lists of clips and killed runs have left."""
  for path in folder.iterdir():
    name = path.name
    if path.suffix == ".json" and (name == META or path.stem in keys):
      continue
    if path.is_dir():
      shutil.rmtree(path, ignore_errors=True)
    elif name != "lock":
      path.unlink(missing_ok=True)


def _rejects(folder: Path, parts: Iterable[Part]) -> list[dict[str, Any]]:
  """Lines of rejects.jsonl, as far as they are known."""
  lines = []
  for part in parts:
    if staging.is_done(folder, part.key):
      lines += staging.facts(folder, part.key)["rejects"]
    elif (folder / part.key).exists():
      for j in range(len(part.tasks)):
        outcome = staging.load(folder, part.key, j)
        lines += outcome.rejects if outcome else []
  return lines


def _with_list(
  error: TooManyRejectsError, output: Path, rejects: list[dict[str, Any]]
) -> TooManyRejectsError:
  """The error with its file and an example; the list itself is written."""
  _write_lines(output / REJECTS, rejects)
  first = next(filter(staging.is_whole_clip, rejects))
  return TooManyRejectsError(
    f"{output}: {error}, such as {first['file']}: {first['reason']}; "
    f"all are in {REJECTS}"
  )


def _write_lines(path: Path, lines: Iterable[dict[str, Any]]) -> None:
  files.write(path, "".join(json.dumps(x) + "\n" for x in lines))


def read_reasons(output: str | os.PathLike) -> list[Reason]:
  """What the rejects.jsonl of a data set says, the most frequent first."""
  text = (Path(output) / REJECTS).read_text()
  return _reasons(json.loads(line) for line in text.splitlines())


def _reasons(rejects: Iterable[dict[str, Any]]) -> list[Reason]:
  counts: dict[str, list[int]] = collections.defaultdict(lambda: [0, 0])
  for line in rejects:
    kind = re.sub(r"\d+(\.\d+)?", "N", line["reason"])
    kind = "; ".join(dict.fromkeys(kind.split("; ")))  # of many stretches
    counts[kind][0 if staging.is_whole_clip(line) else 1] += 1
  found = [
    Reason(clips, parts, kind) for kind, (clips, parts) in counts.items()
  ]
  return sorted(found, key=lambda one: (-one.clips, -one.stretches, one.reason))


def _summary(output: Path) -> Summary:
  """What a data set that is whole holds."""
  index = read_index(output)
  reasons = read_reasons(output)
  return Summary(
    clips=len(index),
    frames=sum(row.frames for row in index),
    seconds=sum(row.frames / row.fps for row in index),
    rejects=sum(one.clips for one in reasons),
    reasons=reasons,
  )


def _summary_of(output: Path, parts: Iterable[Part]) -> Summary:
  """What parts that are done hold."""
  clips = frames = 0
  seconds = 0.0
  rejects = []
  for part in parts:
    facts = staging.facts(output / PARTS, part.key)
    clips += len(facts["rows"])
    frames += sum(row["frames"] for row in facts["rows"])
    seconds += sum(row["frames"] / row["fps"] for row in facts["rows"])
    rejects += facts["rejects"]
  reasons = _reasons(rejects)
  lost = sum(one.clips for one in reasons)
  return Summary(clips, frames, seconds, lost, reasons)
