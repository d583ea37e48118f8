"""How fast samples for training are made of records on disk, by one core."""

import functools
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from data_pipelines.dataset import opening, reader, writer
from data_pipelines.dataset.pictures import decode_frame, with_mouths
from data_pipelines.sampling import augment
from data_pipelines.sampling.batched import batched
from data_pipelines.sampling.clips import sample_clips
from data_pipelines.sampling.pairs import robust_mix, sample_pairs
from data_pipelines.sampling.sync_windows import sample_sync_windows
from data_pipelines.synthetic import render
from speak_jax.bench import processes
from speak_jax.bench.figure import Figure
from speak_jax.bench.plan import Plan
from speak_jax.configs import speak

PRESET = "base256"  # whose samples they are
CLIPS = 4_000
SECONDS = 5.0  # of a clip

# What makes samples of records: {name: records to samples}.
Samplers = Mapping[str, Callable]


class Result(NamedTuple):
  """Of one kind of samples."""

  name: str
  disk: float  # samples/s of one core, from the disk's cache
  memory: float  # and from memory
  pictures: float  # that a sample decodes
  kilobytes: float  # that a sample reads; 0 where the system does not tell
  decoding: float  # share of the time from the disk


class Many(reader.Records):
  """The clips again and again, each time as if they were others.

  A shuffle of a handful costs grain 1.5 ms a sample, one of thousands nothing.
  Notes what is decoded.
  """

  def __init__(self, data: str, cache_bytes: int):
    """Opens a prepared set."""
    few = opening.open_records(data, "train", cache_bytes)
    self.few = count = len(few)  # clips that are there
    index = few.index.take(np.arange(CLIPS) % count)
    table = few._table
    super().__init__(
      few.name,
      index,
      lambda i: few._load(i % count),
      cache_bytes,
      [few.members[0]._replace(stop=len(index))],
      None if table is None else lambda i: table(i % count),
    )
    self.noted: list[bytes] = []

  def jpegs(self, i: int, field: str, times: Sequence[int]) -> list[bytes]:
    """As ever."""
    data = super().jpegs(i, field, times)
    self.noted += data
    return data


def figures(plan: Plan) -> Iterator[Figure]:
  """Samples of every stage of `PRESET`, of drawn people."""
  with tempfile.TemporaryDirectory() as name:
    prepare(Path(name), plan.loaded_px)
    results = measure(name, samplers(plan.loaded_px), plan.turns, plan.samples)
  for one in results:
    note = f"{one.pictures:.1f} pictures of {plan.loaded_px} px decoded each"
    what = f"samples for {one.name}"
    yield Figure(f"{what}, from disk", "/s a core", (one.disk,), note)
    yield Figure(f"{what}, from memory", "/s a core", (one.memory,))
    yield Figure(f"{what}, share of decoding", "", (one.decoding,))


def prepare(out: Path, stored: int) -> None:
  """Two drawn people, two clips each."""
  recipes = render.recipes(
    seed=0,
    identities=2,
    held_out=0,
    clips_per_identity=2,
    seconds=SECONDS,
    size=stored,
    framing="tight",
  )
  path = out / writer.shard_name("train", 0, 1)
  clips = map(with_mouths, map(render.render_clip, recipes))
  writer.write_metadata(out, writer.write_shard(path, clips))


def samplers(
  size: int, treatment: augment.Treatment | None = None
) -> dict[str, Callable]:
  """Makes those of each stage.

  Args:
    size: Of the model, px.
    treatment: Of pictures; None: as the config says.
  """
  config = speak.get_config(PRESET)
  if treatment is None:
    treatment = augment.Treatment(**config.data.augment)
  return {
    "syncnet": functools.partial(
      sample_sync_windows,
      windows=config.syncnet.windows,
      size=size,
      lips=config.model.lips * size // config.model.image,
      seed=0,
    ),
    "irfd": lambda data: sample_pairs(
      data,
      size=size,
      mouth_size=size * config.model.mouth // config.model.image,
      mix=robust_mix(data),
      treatment=treatment,
      same_session=config.irfd.same_session,
      seed=0,
    ),
    "speak": functools.partial(
      sample_clips,
      size=size,
      frames=config.model.frames,
      context=config.model.context,
      emotion_frames=config.speak.emotion_frames,
      identity_from=config.speak.identity_from,
      treatment=treatment,
      same_session=config.speak.same_session,
      seed=0,
    ),
  }


def measure(
  data: str, makers: Samplers, turns: int, samples: int
) -> list[Result]:
  """All kinds, in turns, by the processor's clock; medians of the turns.

  Args:
    data: A prepared set.
    makers: What makes samples of its records.
    turns: Each after one that compiles and imports.
    samples: A turn.
  """
  # Room for what a sample reads, not for what the next one does.
  cold, warm = Many(data, 8 << 20), Many(data, 1 << 32)
  sets = {name: (make(cold), make(warm)) for name, make in makers.items()}
  streams = {
    name: [batched(x, samples, threads=0) for x in both]
    for name, both in sets.items()
  }
  times: dict[str, list[tuple[float, ...]]] = {name: [] for name in sets}
  shown = dict.fromkeys(sets, 0)
  read = dict.fromkeys(sets, 0)
  for turn in range(turns + 1):
    for name, (disk, memory) in streams.items():
      # The pictures that it will show, and into the cache with them.
      for k in range(turn * samples, (turn + 1) * samples):
        sets[name][1][k]
      cold.noted = []
      before = processes.read_bytes()
      first = _cpu(lambda disk=disk: next(disk))
      count = processes.read_bytes() - before
      jpegs = cold.noted
      second = _cpu(lambda memory=memory: next(memory))
      decode = _cpu(lambda jpegs=jpegs: list(map(decode_frame, jpegs)))
      if turn:
        times[name].append((first, second, decode))
        shown[name] += len(jpegs)
        read[name] += count
  many = turns * samples
  out = []
  for name, rows in times.items():
    disk, memory, decode = np.median(np.array(rows), axis=0)
    out.append(
      Result(
        name,
        samples / disk,
        samples / memory,
        shown[name] / many,
        read[name] / many / 1e3,
        decode / disk,
      )
    )
  return out


def _cpu(work: Callable[[], object]) -> float:
  begin = time.process_time()
  work()
  return time.process_time() - begin
