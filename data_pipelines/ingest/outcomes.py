"""One raw clip becomes records, or a reason why there are none."""

import errno
import warnings
from typing import Any, NamedTuple

from data_pipelines.dataset.index import describe
from data_pipelines.dataset.pictures import with_mouths
from data_pipelines.dataset.record import encode
from data_pipelines.ingest import stamps
from data_pipelines.media.error import MediaError, MediaWarning, Rejected
from data_pipelines.sources.task import Task
from speak_jax.common.names import printable

# Errors of the machine, not of the clip in work.
MACHINE = (
  errno.ENOSPC,
  errno.EDQUOT,
  errno.EROFS,
  errno.EMFILE,
  errno.ENFILE,
)


class PrepareError(ValueError):
  """The data set could not be made; one line with the reason."""


class Outcome(NamedTuple):
  """What became of one raw clip."""

  examples: list[bytes]  # its records, encoded
  rows: list[dict[str, Any]]  # their `ClipInfo`, the shard not yet known
  rejects: list[dict[str, Any]]  # lines of rejects.jsonl
  notes: list[dict[str, str]]  # lines of notes.jsonl
  stamps: list[list[Any]] | None = None  # `Stamp`s; None: an older version


class Tally(NamedTuple):
  """An outcome in figures."""

  seconds: float  # of video kept
  bytes: int
  rejected: int  # 1: the clip gave nothing


def render_or_cut(task: Task) -> Outcome:
  """Renders or cuts a clip: its records, or the reason why there are none.

  A raw file that changes while it is read rejects the clip.

  Raises:
    PrepareError: the machine's trouble (disk, missing models): no clip's
      fault.
  """
  before = stamps.stamps_of(task)
  outcome = _outcome_of(task)
  if stamps.stamps_of(task) != before:
    outcome = rejected(task, "changed while it was read; run again")
    return outcome._replace(stamps=[list(x) for x in before])
  known = stamps.with_digests(task, before)
  return outcome._replace(stamps=[list(x) for x in known])


def _outcome_of(task: Task) -> Outcome:
  """Encodes the clip's records, and collects its warnings.

  An exception that no code foresaw rejects the clip too: one odd file must
  not stop a million. The reason then begins with "unexpected".

  Raises:
    PrepareError: the machine's trouble (disk, missing models): no clip's
      fault.
  """
  examples, rows = [], []
  reason, file = "", task.file or task.clip
  with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always", MediaWarning)
    try:
      for record in task.records():
        record = with_mouths(record)
        examples.append(encode(record))
        rows.append(describe(record, "", 0)._asdict())
      if not examples:
        reason = "gave no record"
    except MediaError as error:
      file, reason = error.path, error.reason
    except Exception as error:
      missing = isinstance(error, FileNotFoundError)  # models
      if missing or (isinstance(error, OSError) and error.errno in MACHINE):
        raise PrepareError(str(error)) from error
      reason = f"unexpected {type(error).__name__}: {error}"
  warned = [w.message for w in caught if isinstance(w.message, MediaWarning)]
  stretches = [
    _reject(task, note.path, note.reason, note.start, note.stop)
    for note in warned
    if isinstance(note, Rejected)
  ]
  notes = [str(note) for note in warned if not isinstance(note, Rejected)]
  if reason:
    return rejected(task, reason, file=file, stretches=stretches, notes=notes)
  return Outcome(examples, rows, stretches, _notes(task, notes))


def rejected(
  task: Task,
  reason: str,
  *,
  file: str = "",
  stretches: list[dict[str, Any]] | None = None,
  notes: list[str] | None = None,
) -> Outcome:
  """The outcome of a clip that gave no record.

  Args:
    task: The clip.
    reason: One line.
    file: The file at fault; default: the clip's own.
    stretches: Lines of rejects.jsonl for the clip's rejected stretches.
    notes: Other warnings about the clip.
  """
  line = _reject(task, file or task.file or task.clip, reason, None, None)
  return Outcome([], [], [*(stretches or []), line], _notes(task, notes or []))


def _reject(
  task: Task,
  file: str,
  reason: str,
  start: float | None,
  stop: float | None,
) -> dict[str, Any]:
  """A line of rejects.jsonl; times in seconds of the source."""
  return {
    "clip": task.clip,
    "file": printable(file),
    "start": None if start is None else round(start, 3),
    "stop": None if stop is None else round(stop, 3),
    "reason": printable(" ".join(reason.split())),
  }


def _notes(task: Task, notes: list[str]) -> list[dict[str, str]]:
  """Lines of notes.jsonl, each note once."""
  lines = dict.fromkeys(map(printable, notes))
  return [{"clip": task.clip, "note": line} for line in lines]


def is_whole_clip(reject: dict[str, Any]) -> bool:
  """Whether a line of rejects.jsonl is of a clip, not of a stretch of one."""
  return reject.get("stop") is None


def tally(outcome: Outcome) -> Tally:
  """Seconds and bytes kept, and whether the clip was rejected."""
  return Tally(
    seconds=sum(row["frames"] / row["fps"] for row in outcome.rows),
    bytes=sum(len(example) for example in outcome.examples),
    rejected=int(not outcome.examples),
  )
