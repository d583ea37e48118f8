"""What became of each clip, kept in a file until its shard is whole.

A part is the clips of one shard. Under the folder of parts, named by the
part's key:

  KEY/00007.clip     clip 7 of an unfinished part: records, rejects, notes
  KEY.array_record   the finished shard, if it holds any record
  KEY.json           index rows, rejects, notes and stamps; the part is done

Every file is written under a temporary name of its own and renamed, and its
bytes depend on the clips alone. So two processes, or two machines that share
the folder, may do the same work twice without harm.
"""

import errno
import hashlib
import json
import os
import shutil
import warnings
from collections.abc import Iterator, Sequence, Set
from pathlib import Path
from typing import Any, NamedTuple

import msgpack
from array_record.python.array_record_module import ArrayRecordReader

from data_pipelines.dataset import writer
from data_pipelines.dataset.index import describe
from data_pipelines.dataset.pictures import with_mouths
from data_pipelines.dataset.record import encode
from data_pipelines.media.error import MediaError, MediaWarning, Rejected
from data_pipelines.sources.task import Task
from speak_jax.common import files
from speak_jax.common.names import printable

DIGEST = 32  # bytes of SHA-256 in front of a staged clip
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


class Stamp(NamedTuple):
  """A raw file as it was when its clip was made; plain values."""

  size: int  # bytes; -1: it could not be looked at
  mtime: int  # ns
  sha256: str = ""  # of its content; "": nobody knows


class Outcome(NamedTuple):
  """What became of one raw clip."""

  examples: list[bytes]  # its records, encoded
  rows: list[dict[str, Any]]  # their `ClipInfo`, the shard not yet known
  rejects: list[dict[str, Any]]  # lines of rejects.jsonl
  notes: list[dict[str, str]]  # lines of notes.jsonl
  stamps: list[list[Any]] | None = None  # `Stamp`s; None: of before they were


class Tally(NamedTuple):
  """An outcome in figures."""

  seconds: float  # of video kept
  bytes: int
  rejected: int  # 1: the clip gave nothing


def make(task: Task) -> Outcome:
  """Makes a clip's records, or the reason why there are none.

  A file that another one has taken the place of meanwhile is such a reason.

  Raises:
    PrepareError: as `_make`.
  """
  before = stamps(task)
  outcome = _make(task)
  if stamps(task) != before:
    outcome = rejected(task, "changed while it was read; run again")
    return outcome._replace(stamps=[list(x) for x in before])
  known = [
    x._replace(sha256=_digest(path))
    for x, path in zip(before, _files(task), strict=True)
  ]
  return outcome._replace(stamps=[list(x) for x in known])


def _make(task: Task) -> Outcome:
  """Makes a clip's records, or the reason why there are none.

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
      for record in task.make():
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
  said = [w.message for w in caught if isinstance(w.message, MediaWarning)]
  stretches = [
    _reject(task, note.path, note.reason, note.start, note.stop)
    for note in said
    if isinstance(note, Rejected)
  ]
  notes = [str(note) for note in said if not isinstance(note, Rejected)]
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
  """The outcome of a clip that gave nothing.

  Args:
    task: The clip.
    reason: One line.
    file: Which file is at fault; default: the clip's own.
    stretches: Lines of the stretches that were looked at before.
    notes: What else was said of it.
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
  return {
    "clip": task.clip,
    "file": printable(file),
    "start": None if start is None else round(start, 3),
    "stop": None if stop is None else round(stop, 3),
    "reason": printable(" ".join(reason.split())),
  }


def _notes(task: Task, notes: list[str]) -> list[dict[str, str]]:
  lines = dict.fromkeys(map(printable, notes))
  return [{"clip": task.clip, "note": line} for line in lines]


def _files(task: Task) -> list[str]:
  return [path for path in (task.file, task.sound) if path]


def stamps(task: Task) -> list[Stamp]:
  """Of a clip's raw files as they are now, without their content."""
  found = []
  for path in _files(task):
    try:
      status = os.stat(path)
      found.append(Stamp(status.st_size, status.st_mtime_ns))
    except (OSError, ValueError):
      found.append(Stamp(-1, 0))
  return found


def _digest(path: str) -> str:
  try:
    return files.sha256(path)
  except (OSError, ValueError):
    return ""


def renewed(
  task: Task, kept: list[list[Any]] | None, made: int
) -> list[list[Any]] | None:
  """The stamps of a clip's files if they are still those it was made of.

  Sizes and dates tell; where a date alone has changed, the content does.

  Args:
    task: The clip.
    kept: Its stamps from then; None: it was made before there were any.
    made: When that was, in ns; only asked for where `kept` is None.

  Returns:
    None: they are others. They are equal to `kept` where nothing has changed.
  """
  now = stamps(task)
  if kept is None:
    late = any(x.mtime > made for x in now)
    return None if late else [list(x) for x in now]
  old = [Stamp(*x) for x in kept]
  if len(now) != len(old):
    return None
  found = []
  for new, one, path in zip(now, old, _files(task), strict=True):
    if new[:2] == one[:2]:
      found.append(list(one))
    elif one.sha256 and new.size == one.size and _digest(path) == one.sha256:
      found.append([*new[:2], one.sha256])
    else:
      return None
  return found


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


# --- files -----------------------------------------------------------------


def store(folder: Path, key: str, index: int, outcome: Outcome) -> None:
  """Keeps the outcome of clip `index` of a part."""
  data = msgpack.packb(tuple(outcome))
  assert data is not None
  staged(folder, key, index).parent.mkdir(exist_ok=True)
  digest = hashlib.sha256(data).digest()
  files.write(staged(folder, key, index), digest + data)


def load(folder: Path, key: str, index: int) -> Outcome | None:
  """The outcome that was kept; None if there is none, or a damaged one."""
  try:
    data = staged(folder, key, index).read_bytes()
  except FileNotFoundError:
    return None
  digest, data = data[:DIGEST], data[DIGEST:]
  if hashlib.sha256(data).digest() != digest:
    return None
  return Outcome(*msgpack.unpackb(data))


def is_done(folder: Path, key: str) -> bool:
  """Whether the part has its JSON; the shard may have moved since."""
  return facts_path(folder, key).exists()


def join(folder: Path, key: str, clips: int) -> None:
  """Makes the shard of a part out of the outcomes of all its clips.

  Raises:
    PrepareError: the disk is full. Or an outcome is missing, and no other
      machine has made the shard of it.
  """
  rejects: list[dict[str, Any]] = []
  notes: list[dict[str, str]] = []
  rows: list[dict[str, Any]] = []
  counts: list[int] = []
  found: list[list[list[Any]] | None] = []

  def examples() -> Iterator[bytes]:
    for index in range(clips):
      outcome = load(folder, key, index)
      if outcome is None:
        raise _Missing(staged(folder, key, index).name)
      rejects.extend(outcome.rejects)
      notes.extend(outcome.notes)
      counts.append(len(outcome.rows))
      found.append(outcome.stamps)
      for row, example in zip(outcome.rows, outcome.examples, strict=True):
        rows.append({**row, "row": len(rows)})
        yield example

  partial = files.beside(folder, ".array_record")
  try:
    places = writer.write_examples(partial, examples())
    for row, at in zip(rows, places, strict=True):
      row["at"] = at
    if rows:
      os.replace(partial, shard_path(folder, key))
    facts = {
      "rows": rows,
      "rejects": rejects,
      "notes": notes,
      "counts": counts,  # records of each clip
      "stamps": found,  # of each clip
    }
    store_facts(folder, key, facts)
  except (_Missing, FileNotFoundError) as error:
    if is_done(folder, key):  # by another machine, which then tidied up
      return
    raise PrepareError(f"{folder}: {error} was lost") from error
  except RuntimeError as error:  # of the shard's writer: the disk is full
    reason = str(error).split(";")[0]
    raise PrepareError(f"{shard_path(folder, key)}: {reason}") from error
  finally:
    partial.unlink(missing_ok=True)
  shutil.rmtree(folder / key, ignore_errors=True)


def reopen(
  folder: Path, key: str, clips: Sequence[str], again: Set[int]
) -> None:
  """Undoes `join`, but for some clips: they are to be made.

  Args:
    folder: Of the parts.
    key: A part that is done and whose shard, if it has one, is there.
    clips: Names of its clips.
    again: Numbers of those that are to be made.
  """
  known, row = facts(folder, key), 0
  times = known.get("stamps") or [None] * len(clips)
  for index, (clip, count) in enumerate(
    zip(clips, known["counts"], strict=True)
  ):
    if index not in again:
      examples = []
      if count:
        shard = ArrayRecordReader(str(shard_path(folder, key)))
        examples = shard.read(list(range(row, row + count)))
        shard.close()
      outcome = Outcome(
        examples=examples,
        rows=known["rows"][row : row + count],
        rejects=[x for x in known["rejects"] if x["clip"] == clip],
        notes=[x for x in known["notes"] if x["clip"] == clip],
        stamps=times[index],
      )
      store(folder, key, index, outcome)
    row += count
  # In this order: until the first is gone, the part is done.
  facts_path(folder, key).unlink()
  shard_path(folder, key).unlink(missing_ok=True)


class _Missing(Exception):
  """No outcome of the clip that it names."""


def facts(folder: Path, key: str) -> dict[str, Any]:
  """Rows, rejects and notes of a part that is done."""
  return json.loads(facts_path(folder, key).read_text())


def store_facts(folder: Path, key: str, found: dict[str, Any]) -> None:
  """Writes what `facts` reads."""
  files.write(facts_path(folder, key), json.dumps(found))


def shard_path(folder: Path, key: str) -> Path:
  """Where the shard of a part is until the data set is whole."""
  return folder / f"{key}.array_record"


def facts_path(folder: Path, key: str) -> Path:
  """Where the rows, rejects and notes of a part are."""
  return folder / f"{key}.json"


def staged(folder: Path, key: str, index: int) -> Path:
  """Where the outcome of clip `index` of an unfinished part is."""
  return folder / key / f"{index:05d}.clip"
