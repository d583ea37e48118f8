"""Files of shards that are not finished: what became of each of their clips.

Under the staging folder (`DATA/.parts`), named by the key of the shard's plan:

  KEY/00007.clip     clip 7 of an unfinished shard: records, rejects, notes
  KEY.array_record   the finished shard, if it holds any record
  KEY.json           its summary: index rows, rejects, notes and stamps

Every file is written under a temporary name of its own and renamed, and its
bytes depend on the clips alone. So two processes, or two machines that share
the folder, may do the same work twice without harm.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Iterable, Iterator, Sequence, Set
from pathlib import Path
from typing import Any

import msgpack
from array_record.python.array_record_module import ArrayRecordReader

from data_pipelines.dataset import writer
from data_pipelines.ingest import stamps
from data_pipelines.ingest.outcomes import Outcome, PrepareError
from data_pipelines.sources.task import Task
from speak_jax.common import files

DIGEST = 32  # bytes of SHA-256 in front of a staged clip


def write_lines(path: Path, lines: Iterable[dict[str, Any]]) -> None:
  """Replaces a file by JSON lines."""
  files.write(path, "".join(json.dumps(x) + "\n" for x in lines))


def store(folder: Path, key: str, index: int, outcome: Outcome) -> None:
  """Writes the outcome of clip `index` of a shard to the staging folder."""
  data = msgpack.packb(tuple(outcome))
  assert data is not None
  clip_path(folder, key, index).parent.mkdir(exist_ok=True)
  digest = hashlib.sha256(data).digest()
  # Not forced to the disk, clip by clip: what a power cut takes of it the
  # digest tells, and the clip is made again. The shard is forced.
  files.write(clip_path(folder, key, index), digest + data, sync=False)


def load(folder: Path, key: str, index: int) -> Outcome | None:
  """The stored outcome; None if there is none, or a damaged one."""
  try:
    data = clip_path(folder, key, index).read_bytes()
  except FileNotFoundError:
    return None
  digest, data = data[:DIGEST], data[DIGEST:]
  if hashlib.sha256(data).digest() != digest:
    return None
  return Outcome(*msgpack.unpackb(data))


def load_current(
  folder: Path, key: str, index: int, task: Task
) -> Outcome | None:
  """The stored outcome, if the clip's raw files have not changed since."""
  outcome = load(folder, key, index)
  if outcome is None:
    return None
  written_ns = 0
  if outcome.stamps is None:
    written_ns = clip_path(folder, key, index).stat().st_mtime_ns
  same = stamps.renewed(task, outcome.stamps, written_ns) is not None
  return outcome if same else None


def is_done(folder: Path, key: str) -> bool:
  """Whether the shard has its summary; its file may have moved since."""
  return summary_path(folder, key).exists()


def is_whole(folder: Path, key: str) -> bool:
  """Whether a shard has its summary, and its file if it holds any record."""
  if not is_done(folder, key):
    return False
  if shard_path(folder, key).exists():
    return True
  return not shard_summary(folder, key)["rows"]


def join(folder: Path, key: str, clips: int) -> None:
  """Writes a shard and its summary from the outcomes of all its clips.

  Raises:
    PrepareError: the disk is full. Or an outcome is missing, and no other
      machine has made the shard of it.
  """
  rejects: list[dict[str, Any]] = []
  notes: list[dict[str, str]] = []
  rows: list[dict[str, Any]] = []
  counts: list[int] = []
  kept: list[list[list[Any]] | None] = []

  def examples() -> Iterator[bytes]:
    for index in range(clips):
      outcome = load(folder, key, index)
      if outcome is None:
        raise _Missing(clip_path(folder, key, index).name)
      rejects.extend(outcome.rejects)
      notes.extend(outcome.notes)
      counts.append(len(outcome.rows))
      kept.append(outcome.stamps)
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
    summary = {
      "rows": rows,
      "rejects": rejects,
      "notes": notes,
      "counts": counts,  # records of each clip
      "stamps": kept,  # of each clip
    }
    store_summary(folder, key, summary)
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
  """Takes a finished shard apart into outcomes, without those of `again`.

  Args:
    folder: Staging folder.
    key: Key of a finished shard whose file, if it has one, is there.
    clips: Names of its clips, in order.
    again: Positions in `clips` that are to be made again.
  """
  known, row = shard_summary(folder, key), 0
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
  # In this order: until the first is gone, the shard is finished.
  summary_path(folder, key).unlink()
  shard_path(folder, key).unlink(missing_ok=True)


class _Missing(Exception):
  """A clip has no stored outcome; names its file."""


def shard_summary(folder: Path, key: str) -> dict[str, Any]:
  """Rows, rejects, notes, counts and stamps of a finished shard."""
  return json.loads(summary_path(folder, key).read_text())


def store_summary(folder: Path, key: str, summary: dict[str, Any]) -> None:
  """Writes what `shard_summary` reads."""
  files.write(summary_path(folder, key), json.dumps(summary))


def shard_path(folder: Path, key: str) -> Path:
  """File of a shard until the data set is assembled."""
  return folder / f"{key}.array_record"


def summary_path(folder: Path, key: str) -> Path:
  """File of a finished shard's summary."""
  return folder / f"{key}.json"


def clip_path(folder: Path, key: str, index: int) -> Path:
  """File of the outcome of clip `index` of an unfinished shard."""
  return folder / key / f"{index:05d}.clip"
