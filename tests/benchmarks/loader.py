"""How fast samples are made of records on disk, and how many cores feed a GPU.

  python -m tests.benchmarks.loader [--data DIR] [--size 256]

Per stage, as the config `base256` has it: samples a second of one core by the
processor's clock, from records on disk (in its cache, none of ours) and with
what was read and decoded kept in memory; bytes that a sample reads; and the
share of the time that decoding the very pictures that it shows would take,
each once and whole. "plain" leaves out what `data.augment` does to pictures.
Stages take turns and figures are medians of the turns, because machines are
shared. Without --data: rendered people, two clips of 5 s each.

Cores: what one H100 and eight would take by the model of docs/scaling.md, at
the rate of "disk".
"""

import argparse
import functools
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from configs import speak
from data_pipelines.dataset import opening, ranges, reader, writer
from data_pipelines.dataset.pictures import with_mouths
from data_pipelines.sampling import augment
from data_pipelines.sampling.batched import batched
from data_pipelines.sampling.clips import sample_clips
from data_pipelines.sampling.pairs import robust_mix, sample_pairs
from data_pipelines.sampling.sync_windows import sample_sync_windows
from data_pipelines.synthetic import render
from speak_jax.supervision import flops
from tests.benchmarks import scaling

# FLOP an example by docs/scaling.md, which counts base256's steps.
FLOP = {"syncnet": 7.2e12 / 256, "irfd": 57.5e12 / 256, "speak": 99.5e12 / 64}
CLIPS = 4_000
GPU = "NVIDIA H100"


class Setting(NamedTuple):
  """What is measured."""

  size: int = 256  # of the model, px
  turns: int = 7
  samples: int = 8  # a turn


class Result(NamedTuple):
  """Of one stage."""

  stage: str
  disk: float  # samples/s of one core, from the disk's cache
  memory: float  # and from memory
  pictures: float  # that a sample decodes
  kilobytes: float  # that a sample reads
  decoding: float  # share of the time from the disk


class Many(reader.Records):
  """The clips again and again, each time as if they were others.

  A shuffle of a handful costs grain 1.5 ms a sample, one of thousands nothing.
  Notes what is decoded.
  """

  def __init__(self, data: str, cache_bytes: int):
    """Opens a prepared set."""
    few = opening.open_records(data, "train", cache_bytes)
    count = len(few)
    index = few.index.take(np.arange(CLIPS) % count)
    super().__init__(
      few.name,
      index,
      lambda i: few._load(i % count),
      cache_bytes,
      [few.members[0]._replace(stop=len(index))],
      lambda i: few._table(i % count) if few._table else None,
    )
    self.noted: list[bytes] = []

  def jpegs(self, i: int, field: str, times: Sequence[int]) -> list[bytes]:
    """As ever."""
    data = super().jpegs(i, field, times)
    self.noted += data
    return data


def prepare(out: Path, stored: int) -> None:
  """Two rendered people, two clips each."""
  recipes = render.recipes(
    seed=0,
    identities=2,
    held_out=0,
    clips_per_identity=2,
    seconds=5.0,
    size=stored,
    framing="tight",
  )
  path = out / writer.shard_name("train", 0, 1)
  clips = map(with_mouths, map(render.render_clip, recipes))
  writer.write_metadata(out, writer.write_shard(path, clips))


def samplers(size: int) -> dict[str, Callable]:
  """What makes a stage's samples out of records."""
  config = speak.get_config("base256")
  out: dict[str, Callable] = {
    "syncnet": functools.partial(
      sample_sync_windows,
      windows=config.syncnet.windows,
      size=size,
      lips=config.model.lips * size // config.model.image,
      seed=0,
    )
  }
  for name, treatment in (
    ("", augment.Treatment(**config.data.augment)),
    (" plain", augment.PLAIN),
  ):
    out[f"irfd{name}"] = lambda data, treatment=treatment: sample_pairs(
      data,
      size=size,
      mouth_size=size * config.model.mouth // config.model.image,
      mix=robust_mix(data),
      treatment=treatment,
      same_session=config.irfd.same_session,
      seed=0,
    )
    out[f"speak{name}"] = functools.partial(
      sample_clips,
      size=size,
      frames=config.model.frames,
      context=config.model.context,
      emotion_frames=config.speak.emotion_frames,
      identity_from=config.speak.identity_from,
      treatment=treatment,
      same_session=config.speak.same_session,
      seed=0,
    )
  return out


def measure(data: str, setting: Setting) -> list[Result]:
  """All stages, in turns."""
  # Room for what a sample reads, not for what the next one does.
  cold, warm = Many(data, 8 << 20), Many(data, 1 << 32)
  makers = samplers(setting.size)
  sets = {name: (make(cold), make(warm)) for name, make in makers.items()}
  streams = {
    name: [batched(x, setting.samples, threads=0) for x in both]
    for name, both in sets.items()
  }
  times = {name: [] for name in sets}
  shown = dict.fromkeys(sets, 0)
  read = dict.fromkeys(sets, 0)
  for turn in range(setting.turns + 1):
    for name, (disk, memory) in streams.items():
      # The pictures that it will show, and into the cache with them.
      for k in range(turn * setting.samples, (turn + 1) * setting.samples):
        sets[name][1][k]
      cold.noted = []
      with _Bytes() as count:
        first = _cpu(lambda disk=disk: next(disk))
      jpegs = cold.noted
      second = _cpu(lambda memory=memory: next(memory))
      decode = _cpu(lambda jpegs=jpegs: list(map(_decode, jpegs)))
      if turn:  # the first one compiles and imports
        times[name].append((first, second, decode))
        shown[name] += len(jpegs)
        read[name] += count.total
  many = setting.turns * setting.samples
  out = []
  for name, rows in times.items():
    disk, memory, decode = np.median(np.array(rows), axis=0)
    out.append(
      Result(
        name,
        setting.samples / disk,
        setting.samples / memory,
        shown[name] / many,
        read[name] / many / 1e3,
        decode / disk,
      )
    )
  return out


class _Bytes:
  """Counts what is read of shards meanwhile."""

  def __enter__(self) -> "_Bytes":
    self.total, self._read = 0, ranges.Files.read

    def read(files, shard: str, begin: int, size: int) -> bytes:
      self.total += size
      return self._read(files, shard, begin, size)

    ranges.Files.read = read  # type: ignore[method-assign]
    return self

  def __exit__(self, *_: object) -> None:
    ranges.Files.read = self._read  # type: ignore[method-assign]


def _decode(jpeg: bytes) -> np.ndarray:
  return cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR_RGB)


def _cpu(work: Callable[[], object]) -> float:
  begin = time.process_time()
  work()
  return time.process_time() - begin


def cores(result: Result, chips: int) -> float:
  """That make as many samples as so many H100 take."""
  stage = result.stage.split()[0]
  taken = scaling.USE * flops.PEAK[GPU] / FLOP[stage]  # samples/s of one
  return chips * taken / result.disk


def main() -> None:
  """Reads the flags and prints the tables."""
  parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.loader")
  parser.add_argument("--data", help="a prepared set; rendered if not given")
  parser.add_argument("--size", type=int, default=256, help="px, of the model")
  parser.add_argument("--stored", type=int, default=256, help="px, rendered")
  flags = parser.parse_args()
  setting = Setting(flags.size)
  with tempfile.TemporaryDirectory() as name:
    if not flags.data:
      prepare(Path(name), flags.stored)
    results = measure(flags.data or name, setting)
  print(
    f"{'stage':13}{'disk/s':>8}{'memory/s':>10}{'pictures':>10}{'kB':>7}"
    f"{'decoding':>10}" + "".join(f"{f'{n} H100':>9}" for n in (1, 8))
  )
  for r in results:
    print(
      f"{r.stage:13}{r.disk:8.0f}{r.memory:10.0f}{r.pictures:10.1f}"
      f"{r.kilobytes:7.0f}{r.decoding:10.0%}"
      + "".join(f"{cores(r, n):9.1f}" for n in (1, 8))
    )


if __name__ == "__main__":
  main()
