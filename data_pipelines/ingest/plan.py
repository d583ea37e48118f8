"""Which clips go into which shard: by their names and settings alone."""

import collections
import hashlib
import json
from collections.abc import Sequence
from typing import Any, NamedTuple

from data_pipelines.dataset.index import SPLITS
from data_pipelines.ingest.outcomes import PrepareError
from data_pipelines.sources.task import Task

# Shards of a set: 64, so that many workers share a small one, then of 32
# clips, then 4096 that grow, so that a large set stays easy to handle.
FEW, CLIPS, MANY = 64, 32, 4096


class ShardPlan(NamedTuple):
  """The raw clips of one shard."""

  key: str  # names the shard's files; changes with clips or settings
  split: str
  tasks: tuple[Task, ...]


def plan_shards(tasks: Sequence[Task], meta: dict[str, Any]) -> list[ShardPlan]:
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
  plans = []
  for split in SPLITS:
    chosen = [task for task in tasks if task.split == split]
    for start in range(0, len(chosen), count):
      group = tuple(chosen[start : start + count])
      named = [(task.clip, task.identity) for task in group]
      text = json.dumps([meta, split, named], sort_keys=True)
      key = hashlib.sha256(text.encode()).hexdigest()[:16]
      plans.append(ShardPlan(key, split, group))
  return plans
