"""Writes a prepared data set: shards, then what makes them one for TFDS.

`index.py` says what such a directory holds.
"""

import json
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import tensorflow_datasets as tfds
from array_record.python.array_record_module import ArrayRecordWriter
from etils import epath
from tensorflow_datasets.core import dataset_info, splits

from data_pipelines.dataset import ranges
from data_pipelines.dataset.index import (
  INDEX,
  NAME,
  SHARD,
  SPLITS,
  VERSION,
  ClipInfo,
  describe,
)
from data_pipelines.dataset.record import encode, features
from speak_jax import spec
from speak_jax.common import files

# In the metadata: what of a person is held out, where it is not all of them.
HELD_OUT = "held_out_kind"
# One record a chunk: a damaged byte costs one clip. As they are, so that parts
# of a record can be read (`ranges`); JPEG does not get smaller anyway.
WRITER_OPTIONS = "group_size:1,uncompressed"


def shard_name(split: str, index: int, count: int) -> str:
  """File name of a shard, as TFDS expects it."""
  return f"{NAME}-{split}.array_record-{index:05d}-of-{count:05d}"


def write_shard(
  path: str | os.PathLike, records: Iterable[spec.Record]
) -> list[ClipInfo]:
  """Writes one shard whole or not at all, and returns its index rows.

  The bytes depend on the records alone. Rename a shard later if its final
  name is not known yet; then give the rows the new `shard` name as well.
  """
  rows = []

  def examples() -> Iterator[bytes]:
    for record in records:
      example = encode(record)
      rows.append(describe(record, Path(path).name, len(rows)))
      yield example

  places = write_examples(path, examples())
  return [row._replace(at=at) for row, at in zip(rows, places, strict=True)]


def write_examples(
  path: str | os.PathLike, examples: Iterable[bytes]
) -> list[int]:
  """Writes a shard of what `encode` gave, whole or not at all.

  Returns:
    Each record's `ClipInfo.at`.

  Raises:
    RuntimeError: the disk is full, or what else the writer says.
  """
  path = Path(path)
  locator = ranges.Locator()
  with files.replacing(path) as partial:
    writer = ArrayRecordWriter(str(partial), WRITER_OPTIONS)
    try:
      for example in examples:
        writer.write(example)
        locator.add(example)
    finally:
      writer.close()
    return locator.places(partial)


def write_metadata(
  output: str | os.PathLike,
  rows: Sequence[ClipInfo],
  *,
  description: str = "Face clips for SPEAK.",
  meta: dict[str, Any] | None = None,
) -> None:
  """Makes a directory of finished shards a TFDS data set.

  Writes `clips.jsonl`, `features.json`, `metadata.json` (from `meta`) and,
  last, `dataset_info.json`: with it the data set is complete.

  Args:
    output: Directory that holds the shards.
    rows: Index rows of every clip; `shard` is the final file name.
    description: Text for TFDS's own page about the data.
    meta: JSON values worth keeping: source, seed, crop size.

  Raises:
    ValueError: no rows, a shard is missing, or an identity is in two splits,
      and `meta` has no HELD_OUT that says so.
  """
  output = Path(output)
  rows = sorted(rows, key=lambda row: (row.shard, row.row))
  counts, identities = _count_shards(output, rows)
  for identity, where in identities.items():
    if len(where) > 1 and HELD_OUT not in (meta or {}):
      raise ValueError(f"{output}: identity {identity} is in two splits")
  files.write(
    output / INDEX, "".join(json.dumps(row._asdict()) + "\n" for row in rows)
  )
  template = tfds.core.ShardedFileTemplate(
    data_dir=epath.Path(output),
    dataset_name=NAME,
    filetype_suffix="array_record",
  )
  infos = [
    tfds.core.SplitInfo(
      name=split,
      shard_lengths=list(lengths.values()),
      num_bytes=sum((output / name).stat().st_size for name in lengths),
      filename_template=template.replace(split=split),
    )
    for split, lengths in counts.items()
  ]
  info = tfds.core.DatasetInfo(
    builder=dataset_info.DatasetIdentity(
      name=NAME,
      version=tfds.core.Version(VERSION),
      data_dir=str(output),
      module_name="",
    ),
    features=features(),
    description=description,
    metadata=tfds.core.MetadataDict(meta or {}),
  )
  info.set_file_format(tfds.core.FileFormat.ARRAY_RECORD)
  info.set_splits(
    splits.SplitDict.from_proto(
      repeated_split_infos=[split.to_proto() for split in infos],
      filename_template=template,
    )
  )
  with tempfile.TemporaryDirectory(dir=output, prefix=".meta-") as folder:
    info.write_to_directory(folder)
    described = sorted(Path(folder).iterdir())
    # The file that declares the data set complete comes last.
    for file in sorted(described, key=lambda f: f.name == "dataset_info.json"):
      files.force(file)
      shutil.move(file, output / file.name)
  files.force(output)


def _count_shards(
  output: Path, rows: Sequence[ClipInfo]
) -> tuple[dict[str, dict[str, int]], dict[str, set[str]]]:
  """({split: {shard: clips}}, {identity: its splits})."""
  if not rows:
    raise ValueError(f"{output}: no clip was usable")
  counts: dict[str, dict[str, int]] = {}
  identities: dict[str, set[str]] = {}
  for row in rows:
    match = SHARD.fullmatch(row.shard)
    if not match:
      raise ValueError(f"{output}: {row.shard} is not the name of a shard")
    split, total = match[1], int(match[3])
    if split not in SPLITS:
      raise ValueError(f"{output}: split {split!r} is not one of {SPLITS}")
    if split not in counts:
      names = [shard_name(split, i, total) for i in range(total)]
      for name in names:
        if not (output / name).exists():
          raise ValueError(f"{output / name}: the shard is missing")
      counts[split] = dict.fromkeys(names, 0)
    counts[split][row.shard] += 1
    identities.setdefault(row.identity, set()).add(split)
  return counts, identities
