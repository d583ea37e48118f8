"""Clips to make again: their raw files changed, or a retry was asked for."""

import concurrent.futures
import functools
import itertools
import json
from collections.abc import Iterable, Sequence
from pathlib import Path

from data_pipelines.dataset import offsets
from data_pipelines.ingest import outcomes, staging, stamps
from data_pipelines.ingest.plan import ShardPlan
from data_pipelines.ingest.summary import STAGING
from speak_jax.common.progress import say

LOOKING = 16  # threads that ask for files' dates, which networks answer late
NAMED = 5  # clips that are named in a line


def changed_clips(
  folder: Path, plans: Sequence[ShardPlan]
) -> dict[str, set[int]]:
  """Clips of finished shards whose raw files have changed.

  Returns:
    {key of the shard: positions of these clips in its plan}.
  """
  with concurrent.futures.ThreadPoolExecutor(LOOKING) as threads:
    look = functools.partial(_changed_in, folder)
    changes = zip(plans, threads.map(look, plans), strict=True)
    return {plan.key: others for plan, others in changes if others}


def _changed_in(folder: Path, plan: ShardPlan) -> set[int]:
  """Positions of a finished shard's clips whose raw files have changed.

  Where only dates have changed, the stored stamps are brought up to date.
  """
  path = staging.summary_path(folder, plan.key)
  if not path.exists() or not any(task.file for task in plan.tasks):
    return set()
  written_ns = path.stat().st_mtime_ns
  summary = staging.shard_summary(folder, plan.key)
  kept = summary.get("stamps") or [None] * len(plan.tasks)
  now = [
    stamps.renewed(task, one, written_ns)
    for task, one in zip(plan.tasks, kept, strict=True)
  ]
  others = {j for j, one in enumerate(now) if one is None}
  if now != kept and not others:
    staging.store_summary(folder, plan.key, {**summary, "stamps": now})
  return others


def report_changed(
  changed: dict[str, set[int]], plans: Sequence[ShardPlan]
) -> None:
  """Prints how many clips have changed raw files, and names some."""
  names = [
    plan.tasks[j].clip
    for plan in plans
    for j in sorted(changed.get(plan.key, ()))
  ]
  if names:
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    say(
      f"prepare: {len(names)} clips are made anew, for their files have"
      f" changed: {', '.join(names[:NAMED])}{more}"
    )


def reopen(
  output: Path,
  plans: Iterable[ShardPlan],
  retry: bool,
  changed: dict[str, set[int]],
) -> None:
  """Discards outcomes of changed clips, and of rejected ones to retry."""
  folder, gone = output / STAGING, set()
  for plan in plans:
    if not retry and plan.key not in changed:
      continue
    again = set(changed.get(plan.key, ()))
    if staging.is_whole(folder, plan.key):
      summary = staging.shard_summary(folder, plan.key)
      ends = list(itertools.accumulate(summary["counts"], initial=0))
      gone |= {
        row["clip"]
        for j in again
        for row in summary["rows"][ends[j] : ends[j + 1]]
      }
      if retry and any(map(outcomes.is_whole_clip, summary["rejects"])):
        again |= {j for j, count in enumerate(summary["counts"]) if not count}
      if again:
        clips = [task.clip for task in plan.tasks]
        staging.reopen(folder, plan.key, clips, again)
    elif retry and (folder / plan.key).exists():
      for j in range(len(plan.tasks)):
        outcome = staging.load(folder, plan.key, j)
        if outcome and not outcome.examples:
          staging.clip_path(folder, plan.key, j).unlink()
  # Offsets were measured on the old clip of that name.
  measured = output / offsets.NAME
  if gone and measured.exists():
    lines = map(json.loads, measured.read_text().splitlines())
    staging.write_lines(measured, [x for x in lines if x["clip"] not in gone])
