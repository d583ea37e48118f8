"""What a data set, or one machine's share of it, holds and has rejected."""

import collections
import json
import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

from data_pipelines.dataset.index import read_index
from data_pipelines.ingest import outcomes, staging
from data_pipelines.ingest.guard import TooManyRejectsError
from data_pipelines.ingest.plan import ShardPlan

STAGING = ".parts"  # folder of unfinished shards, and of all summaries
REJECTS = "rejects.jsonl"


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


def without_numbers(reason: str) -> str:
  """A reason with N for each number: what is alike counts together."""
  return re.sub(r"\d+(\.\d+)?", "N", reason)


def read_reasons(output: str | os.PathLike) -> list[Reason]:
  """What the rejects.jsonl of a data set says, the most frequent first."""
  text = (Path(output) / REJECTS).read_text()
  return _reasons(json.loads(line) for line in text.splitlines())


def _reasons(rejects: Iterable[dict[str, Any]]) -> list[Reason]:
  """Counts lines of rejects.jsonl by reason, the most frequent first."""
  counts: dict[str, list[int]] = collections.defaultdict(lambda: [0, 0])
  for line in rejects:
    kind = without_numbers(line["reason"])
    kind = "; ".join(dict.fromkeys(kind.split("; ")))  # of many stretches
    counts[kind][0 if outcomes.is_whole_clip(line) else 1] += 1
  reasons = [
    Reason(clips, stretches, kind)
    for kind, (clips, stretches) in counts.items()
  ]
  return sorted(
    reasons, key=lambda one: (-one.clips, -one.stretches, one.reason)
  )


def whole_summary(output: Path) -> Summary:
  """Summary of a finished data set."""
  index = read_index(output)
  reasons = read_reasons(output)
  return Summary(
    clips=len(index),
    frames=sum(row.frames for row in index),
    seconds=sum(row.frames / row.fps for row in index),
    rejects=sum(one.clips for one in reasons),
    reasons=reasons,
  )


def summary_of_shards(output: Path, plans: Iterable[ShardPlan]) -> Summary:
  """Summary of finished shards of a data set that is not assembled."""
  clips = frames = 0
  seconds = 0.0
  rejects = []
  for plan in plans:
    summary = staging.shard_summary(output / STAGING, plan.key)
    clips += len(summary["rows"])
    frames += sum(row["frames"] for row in summary["rows"])
    seconds += sum(row["frames"] / row["fps"] for row in summary["rows"])
    rejects += summary["rejects"]
  reasons = _reasons(rejects)
  lost = sum(one.clips for one in reasons)
  return Summary(clips, frames, seconds, lost, reasons)


def known_rejects(
  folder: Path, plans: Iterable[ShardPlan]
) -> list[dict[str, Any]]:
  """Lines of rejects.jsonl, of finished shards and of staged clips."""
  lines = []
  for plan in plans:
    if staging.is_done(folder, plan.key):
      lines += staging.shard_summary(folder, plan.key)["rejects"]
    elif (folder / plan.key).exists():
      for j in range(len(plan.tasks)):
        outcome = staging.load(folder, plan.key, j)
        lines += outcome.rejects if outcome else []
  return lines


def with_list(
  error: TooManyRejectsError, output: Path, rejects: list[dict[str, Any]]
) -> TooManyRejectsError:
  """Writes rejects.jsonl; returns the error with its path and an example."""
  staging.write_lines(output / REJECTS, rejects)
  first = next(filter(outcomes.is_whole_clip, rejects))
  return TooManyRejectsError(
    f"{output}: {error}, such as {first['file']}: {first['reason']}; "
    f"all are in {REJECTS}"
  )
