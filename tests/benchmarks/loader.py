"""How fast samples are made, beside what JPEG alone would allow.

  python -m tests.benchmarks.loader [--size 64]

Per stage, samples a second of one core by the processor's clock, and two
ratios: to a plain loop of Python over the same samples, which has no batching,
slicing or reading ahead; and to decoding the very pictures that the samples
show, each once, and nothing else. All three take turns and ratios are medians
of the turns, because machines are shared.

In memory: "records", as they lie on disk, no decoded picture; or "pictures",
all of them decoded. What reading a record costs is a line of its own.
"""

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from configs import speak as speak_config
from data_pipelines import augment, batches, records, shards
from data_pipelines.synthetic import render
from speak_jax import spec

STAGES = ("syncnet", "irfd", "speak")
KEPT = ("records", "pictures")
# A shuffle of a handful costs grain 20 ms, one of thousands nothing, so that
# the few clips stand for many.
COPIES = 4_000
TREATMENT = augment.Treatment(**speak_config.get_config().data.augment)


class Setting(NamedTuple):
  """What is measured."""

  size: int = 64  # of the model, px
  stored: int = 256  # of the data, px
  seconds: float = 2.0  # of a clip
  turns: int = 7
  samples: int = 8  # a turn


class Result(NamedTuple):
  """Of one stage."""

  stage: str
  kept: str
  rate: float  # samples/s of one core
  pictures: float  # that a sample shows
  of_plain: float  # rate over the plain loop's
  of_limit: float  # rate over that of JPEG alone


class _Many(records.Records):
  """A few clips again and again, read already; notes what is looked at."""

  def __init__(self, few: records.Records, decoded: bool):
    """Keeps `few`'s records, and if `decoded` its pictures."""
    read = [few[i] for i in range(len(few))]
    index = [
      row._replace(identity=f"{row.identity} {copy}")
      for copy in range(COPIES)
      for row in few.index
    ]
    super().__init__(few.name, index, lambda i: read[i % len(read)], 1)
    self._read = read
    self._few = few if decoded else None
    self.noted: dict[int, bytes] = {}

  def __getitem__(self, i: int) -> spec.Record:
    """As if the cache held it; of the pictures it holds none."""
    return self._read[i % len(self._read)]

  def picture(self, i: int, field: str, t: int, size: int) -> np.ndarray:
    """As ever."""
    jpeg = getattr(self[i], field)[t]
    self.noted[id(jpeg)] = jpeg
    if self._few is not None:
      return self._few.picture(i % len(self._few), field, t, size)
    return super().picture(i, field, t, size)


def prepare(out: Path, setting: Setting) -> None:
  """Two rendered people, two clips each."""
  recipes = render.recipes(
    seed=0,
    identities=2,
    held_out=0,
    clips_per_identity=2,
    seconds=setting.seconds,
    size=setting.stored,
    framing="tight",
    twins_every=5,
  )
  path = out / shards.shard_name("train", 0, 1)
  rows = shards.write_shard(path, map(render.render_clip, recipes))
  shards.write_metadata(out, rows)


def measure(out: Path, setting: Setting) -> list[Result]:
  """All stages, with records and then with pictures in memory."""
  few = records.open_records(out, "train", 1 << 32)
  return [
    _measure(_Many(few, kept == "pictures"), stage, kept, setting)
    for kept in KEPT
    for stage in STAGES
  ]


def reading(out: Path, turns: int) -> tuple[float, float]:
  """(records/s of one core from the disk's cache, pictures in a record)."""
  few = records.open_records(out, "train", 1)
  turn = [lambda i=i: few[i] for i in range(4)]
  times = [_cpu(read) for read in turn * turns]
  jpegs = np.mean([row.frames + 2 * row.twins for row in few.index])
  return 1 / float(np.median(times)), float(jpegs)


def _dataset(data: records.Records, stage: str, size: int):
  if stage == "syncnet":
    return batches.sync_windows(data, size=size, seed=0)
  face = size * 3 // 4
  if stage == "irfd":
    return batches.pairs(
      data,
      size=size,
      face_size=face,
      mouth_size=face // 2,
      mix=batches.robust_mix(data),
      same_session=True,
      treatment=TREATMENT,
      seed=0,
    )
  return batches.clips(
    data,
    size=size,
    face_size=face,
    frames=5,
    context=5,
    emotion_frames=4,
    same_session=True,
    treatment=TREATMENT,
    seed=0,
  )


def _measure(data: _Many, stage: str, kept: str, setting: Setting) -> Result:
  dataset = _dataset(data, stage, setting.size)
  count = setting.samples
  stream = batches.batched(dataset, count, threads=0)
  times, shown = [], 0
  for turn in range(setting.turns + 1):
    jpegs = []
    for k in range(turn * count, (turn + 1) * count):
      data.noted.clear()
      dataset[k]  # also fills the cache, where there is one
      jpegs += data.noted.values()
    begin = turn * count
    works = (
      lambda: next(stream),
      lambda begin=begin: batches.stack(
        [dataset[k] for k in range(begin, begin + count)]
      ),
      lambda jpegs=jpegs: [_decode(jpeg) for jpeg in jpegs],
    )
    times.append([_cpu(work) for work in works])
    shown += len(jpegs)
  ours, plain, jpeg = np.array(times[1:]).T
  return Result(
    stage,
    kept,
    count / float(np.median(ours)),
    shown / len(times) / count,
    float(np.median(plain / ours)),
    float(np.median(jpeg / ours)),
  )


def _decode(jpeg: bytes) -> np.ndarray:
  return cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR_RGB)


def _cpu(work: Callable[[], object]) -> float:
  begin = time.process_time()
  work()
  return time.process_time() - begin


def main() -> None:
  """Reads the flags and prints the table."""
  parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.loader")
  parser.add_argument("--size", type=int, default=64, help="px, of the model")
  parser.add_argument("--stored", type=int, default=256, help="px, of the data")
  flags = parser.parse_args()
  setting = Setting(flags.size, flags.stored)
  with tempfile.TemporaryDirectory() as name:
    out = Path(name)
    prepare(out, setting)
    print(f"{setting.stored} px stored, {setting.size} px wanted; one core")
    print(
      f"{'stage':9}{'in memory':>10}{'samples/s':>11}{'pictures':>10}"
      f"{'x plain':>9}{'of JPEG':>9}"
    )
    for r in measure(out, setting):
      print(
        f"{r.stage:9}{r.kept:>10}{r.rate:11.1f}{r.pictures:10.1f}"
        f"{r.of_plain:9.2f}{r.of_limit:9.0%}"
      )
    rate, jpegs = reading(out, setting.turns)
    print(f"records read: {rate:.0f}/s, {rate * jpegs:.0f} JPEGs/s in them")


if __name__ == "__main__":
  main()
