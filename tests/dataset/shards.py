"""A small data set of two shards, and harm that is done to it."""

import json

from data_pipelines.dataset import writer
from data_pipelines.dataset.index import INDEX
from data_pipelines.dataset.record import encode
from tests import toy_records

COUNT = 8


def prepared(folder, clips, per_shard=4):
  """A data set of several shards; their paths."""
  folder.mkdir(exist_ok=True)
  parts = [clips[k : k + per_shard] for k in range(0, len(clips), per_shard)]
  rows, paths = [], []
  for k, part in enumerate(parts):
    paths.append(folder / writer.shard_name("train", k, len(parts)))
    rows += writer.write_shard(paths[-1], part)
  writer.write_metadata(folder, rows)
  return paths


def clips():
  return [toy_records.record(i, identity=i // 2) for i in range(COUNT)]


def rewrite(path, change):
  """A shard in which the second clip's pictures are wrong, hashes right."""
  parts = clips()[4:]
  parts[1] = parts[1]._replace(frames=list(map(change, parts[1].frames)))
  replace(path, map(encode, parts))


def replace(path, examples):
  """Writes a shard anew, whose clips' names stay."""
  places = writer.write_examples(path, examples)
  index = path.parent / INDEX
  rows = [json.loads(line) for line in index.read_text().splitlines()]
  for row in rows:
    if row["shard"] == path.name:
      row["at"] = places[row["row"]]
  index.write_text("".join(json.dumps(row) + "\n" for row in rows))
