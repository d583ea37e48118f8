"""How fast samples are made beside PyTorch's DataLoader with Pillow.

  python -m tests.benchmarks.peers.loader [--data DIR] [--stages irfd,speak]
    [--seconds 6] [--json FILE]                  needs PyTorch: CONTRIBUTING.md

The other side has what talking-head repositories have: a folder a clip with
its pictures as files of JPEG, its sound as WAV and its numbers as .npy; a
`torch.utils.data.Dataset` that opens them with Pillow; PyTorch's `DataLoader`,
which collates. The JPEGs are the very bytes that our records hold. Which clip
and which of its moments a sample shows is drawn by the same code from the same
seed, and mouths are cut and pictures moved by the same functions, so both make
the same batches, to a decoder's rounding (`test_loader`). What our loader
leaves to the device is left out of both.

SyncNet has two rows: with "frames" the other side cuts mouths out of its
pictures, as Wav2Lip's loader does; with "mouths" it has them as files of JPEG.
Ours are grey pixels in the records.

Both run in this process, on one core, batch by batch in turn, and find their
files in the system's cache. A row has the median of their time over ours with
quartiles; samples a second of the processor of both, and of theirs with a
worker of its own; and those that decoding alone would allow, by OpenCV and by
Pillow.
"""

import argparse
import importlib.util
import io
import json
import os
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import soundfile
from jaxtyping import UInt8
from PIL import Image

from data_pipelines.dataset import ranges, reader
from data_pipelines.dataset.index import Index
from data_pipelines.dataset.pictures import decode_frame, resize
from data_pipelines.sampling.batched import batched
from speak_jax import spec
from speak_jax.bench import loader
from tests.benchmarks.peers import timing
from tests.benchmarks.peers.__main__ import one_core, versions

BATCH, GOAL = 8, 2.0
WORKED = 6  # batches of the row with a worker
# {row: (stage, whether the other side has mouths as files)}.
ROWS = {
  "syncnet, frames": ("syncnet", False),
  "syncnet, mouths": ("syncnet", True),
  "irfd": ("irfd", False),
  "speak": ("speak", False),
}
QUALITY = (cv2.IMWRITE_JPEG_QUALITY, 95)  # as that of the records


class Folders(reader.Records):
  """Clips as folders of files, read as a PyTorch data set does."""

  def __init__(self, records: reader.Records, folder: Path, mouths: bool):
    """Takes the same clips, what `export` has written, whether it has mouths.

    Args:
      records: Ours.
      folder: Of the files; clips beyond those there are the same once more.
      mouths: Whether mouths are read; else they are cut out of frames.
    """
    rows = (row._asdict() for row in records.index)
    index = records.index
    if not mouths:
      index = Index(row | {"mouths": 0} for row in rows)
    super().__init__(records.name, index, self._nothing, 0, records.members)
    self._folder, self._count = folder, len(list(folder.iterdir()))

  def picture(
    self, i: int, field: str, t: int, size: int
  ) -> UInt8[np.ndarray, "h w 3"]:
    """A file of JPEG."""
    return opened(self._of(i) / field / f"{t:05d}.jpg", size)

  def frames(
    self, i: int, times: Iterable[int], size: int
  ) -> UInt8[np.ndarray, "n h w 3"]:
    """Several."""
    return np.stack([self.picture(i, "frames", t, size) for t in times])

  def lips(
    self,
    i: int,
    times: Iterable[int],
    size: int,
    image: int,
    square: tuple[float, float] = spec.LIPS_SQUARE,
  ) -> UInt8[np.ndarray, "n s s"]:
    """Files of grey JPEG, or cut out of frames."""
    row = self.index[i]
    if not row.mouths:
      return super().lips(i, times, size, image, square)
    mouths = (self.picture(i, "mouths", t, row.mouths) for t in times)
    return np.stack([resize(mouth, size) for mouth in mouths])

  def clip(self, i: int) -> reader.Clip:
    """Arrays of a clip, each a file."""

    def array(name: str) -> np.ndarray:
      if name == "audio":
        return soundfile.read(self._of(i) / "audio.wav", dtype="int16")[0]
      return np.load(self._of(i) / f"{name}.npy")

    return reader.Clip(array)

  def sound_level(self, i: int) -> np.ndarray:
    """A file of its own."""
    return getattr(self.clip(i), ranges.SOUND_LEVEL)[0]

  def _of(self, i: int) -> Path:
    return self._folder / str(i % self._count)

  def _nothing(self, i: int) -> spec.Record:
    raise AssertionError(f"clip {i} is read by its files")


def opened(path: Path, size: int) -> UInt8[np.ndarray, "h w *c"]:
  """A picture by Pillow, which decodes half of it where half is wanted."""
  with Image.open(path) as image:
    image.draft(None, (size, size))
    if image.size != (size, size):
      image = image.resize((size, size), Image.Resampling.BOX)
    return np.array(image)


def export(records: reader.Records, count: int, folder: Path) -> None:
  """Writes the first clips of a data set as folders of files.

  Args:
    records: The data set.
    count: Clips.
    folder: Where to.
  """
  for i in range(count):
    record, out = records[i], folder / str(i)
    mouths = [cv2.imencode(".jpg", x, QUALITY)[1] for x in record.mouths]
    lists = {name: getattr(record, name) for name in ranges.PICTURES}
    for name, jpegs in (lists | {"mouths": mouths}).items():
      (out / name).mkdir(parents=True)
      for t, jpeg in enumerate(jpegs):
        (out / name / f"{t:05d}.jpg").write_bytes(jpeg)
    soundfile.write(out / "audio.wav", record.audio, spec.SAMPLE_RATE_HZ)
    level = spec.sound_level(record.audio)[None]
    arrays = record._asdict() | {ranges.SOUND_LEVEL: level}
    for name in ranges.ARRAYS:
      if name != "audio":
        np.save(out / f"{name}.npy", arrays[name])


def sides(
  data: str, folder: Path, make: Callable, mouths: bool, cache: int = 8 << 20
) -> tuple[loader.Many, Any, Any]:
  """Our records, our samples, and theirs as a PyTorch data set.

  Args:
    data: A prepared set.
    folder: What `export` has written of it.
    make: Records to samples.
    mouths: As in `Folders`.
    cache: Bytes of ours: what a sample reads, not what the next one does.
  """
  import torch

  class Samples(torch.utils.data.Dataset):
    def __init__(self, samples: Any, count: int):
      self.samples, self.count = samples, count

    def __len__(self) -> int:
      return self.count

    def __getitem__(self, k: int) -> tuple:
      return self.samples[k]

  ours = loader.Many(data, cache)
  theirs = make(Folders(ours, folder, mouths))
  return ours, make(ours), lambda count: Samples(theirs, count)


def limits(jpegs: list[bytes], samples: int) -> dict[str, float | None]:
  """Samples/s that decoding their JPEGs alone allows; None: there are none."""
  decoders = {
    "opencv": decode_frame,
    "pillow": lambda jpeg: np.array(Image.open(io.BytesIO(jpeg))),
  }
  found: dict[str, float | None] = dict.fromkeys(decoders)
  if jpegs:
    for name, decode in decoders.items():
      found[name] = samples / min(
        timing.taken(lambda decode=decode: list(map(decode, jpegs)))
        for _ in range(3)
      )
  return found


def worked(samples: Any) -> float:
  """Samples/s of the processor where PyTorch has a worker, which counts too."""
  from torch.utils.data import DataLoader

  before = sum(os.times()[:4])
  count = sum(len(x[0]) for x in DataLoader(samples, BATCH, num_workers=1))
  return count / (sum(os.times()[:4]) - before)


def row(name: str, data: str, folder: Path, seconds: float) -> dict[str, Any]:
  """What is measured of a row of `ROWS`.

  Args:
    name: Of the row.
    data: A prepared set of 256 px.
    folder: What `export` has written of it.
    seconds: Of the processor, of both sides together.
  """
  from torch.utils.data import DataLoader

  stage, mouths = ROWS[name]
  make = loader.samplers(256)[stage]
  records, mine, other = sides(data, folder, make, mouths)
  ours = batched(mine, BATCH, threads=0)
  theirs = iter(DataLoader(other(1 << 30), BATCH, num_workers=0))
  ratio = timing.paired(lambda: next(ours), lambda: next(theirs), seconds)
  records.noted = []
  next(ours)
  return dict(
    stage=name,
    **ratio._asdict(),
    ours=1000 * BATCH / ratio.ours_ms,
    theirs=1000 * BATCH / ratio.theirs_ms,
    worker=worked(other(WORKED * BATCH)),
    **limits(records.noted, BATCH),
    goal=GOAL,
  )


HEAD = (
  f"{'stage':17}{'ratio':>6}  {'quartiles':13}{'pairs':>5}{'ours/s':>8}"
  f"{'theirs/s':>9}{'worker/s':>9}{'OpenCV/s':>9}{'Pillow/s':>9}  goal"
)


def line(row: dict[str, Any]) -> str:
  """A row of the table."""
  met = "met" if row["median"] >= row["goal"] else "below"
  alone = (row["opencv"], row["pillow"])
  return (
    f"{row['stage']:17}{row['median']:6.2f}"
    f"  {row['low']:5.2f} - {row['high']:5.2f}{row['pairs']:5d}"
    f"{row['ours']:8.0f}{row['theirs']:9.0f}{row['worker']:9.0f}"
    + "".join(f"{'-' if x is None else round(x):>9}" for x in alone)
    + f"  {row['goal']:.1f} {met}"
  )


def rows(names: list[str], data: str, seconds: float) -> Iterator[dict]:
  """One row after another."""
  with tempfile.TemporaryDirectory() as place:
    if not data:
      data = str(Path(place, "data"))
      Path(data).mkdir()
      loader.prepare(Path(data), 256)
    records = loader.Many(data, 0)
    export(records, records.few, Path(place, "files"))
    for name in names:
      yield row(name, data, Path(place, "files"), seconds)


def main() -> None:
  """Reads the flags and prints the table."""
  parser = argparse.ArgumentParser(
    prog="python -m tests.benchmarks.peers.loader"
  )
  parser.add_argument("--data", default="", help="a prepared set; else drawn")
  parser.add_argument("--stages", default="", help="some of the stages")
  parser.add_argument("--seconds", type=float, default=6.0, help="of a row")
  parser.add_argument("--json", type=Path, help="file for the rows")
  args = parser.parse_args()
  if importlib.util.find_spec("torch") is None:
    sys.exit(
      "peers: PyTorch is not installed: SPEAK_EXTRAS=peers, CONTRIBUTING"
    )
  wanted = (
    args.stages.split(",") if args.stages else ["syncnet", "irfd", "speak"]
  )
  names = [name for name, (stage, _) in ROWS.items() if stage in wanted]
  one_core()
  import torch

  torch.set_num_threads(1)
  found = []
  print("ratio: PyTorch's time over ours; above 1 we are faster")
  print(HEAD, flush=True)
  for one in rows(names, args.data, args.seconds):
    found.append(one)
    print(line(one), flush=True)
  facts = (
    versions()
  )  # afterwards: it starts JAX, beside which forking is unsafe
  print(", ".join(f"{name} {value}" for name, value in facts.items()))
  if args.json:
    args.json.write_text(json.dumps({"machine": facts, "rows": found}))
  met = sum(one["median"] >= one["goal"] for one in found)
  print(f"{met} of {len(found)} goals met")


if __name__ == "__main__":
  main()
