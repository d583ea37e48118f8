"""How many cores feed a GPU, and what augmentation costs the loader.

  python -m tests.benchmarks.loader [--data DIR] [--size 256]

As `speak bench --subjects loader` measures it, per stage of `base256`, from a
prepared set of your own if you like: samples a second of one core, from records
on disk and with what was decoded kept in memory; bytes that a sample reads; the
share of decoding. "plain" leaves out what `data.augment` does to pictures.

Cores: what one H100 and eight would take by the model of docs/scaling.md, at
the rate of "disk".
"""

import argparse
import tempfile
from pathlib import Path

from data_pipelines.sampling import augment
from speak_jax.bench import loader
from speak_jax.bench.loader import Result
from speak_jax.supervision import flops
from tests.benchmarks import scaling

# FLOP an example by docs/scaling.md, which counts base256's steps.
FLOP = {"syncnet": 7.2e12 / 256, "irfd": 57.5e12 / 256, "speak": 99.5e12 / 64}
GPU = "NVIDIA H100"
TURNS, SAMPLES = 7, 8


def cores(result: Result, chips: int) -> float:
  """That make as many samples as so many H100 take."""
  stage = result.name.split()[0]
  taken = scaling.USE * flops.PEAK[GPU] / FLOP[stage]  # samples/s of one
  return chips * taken / result.disk


def main() -> None:
  """Reads the flags and prints the table."""
  parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.loader")
  parser.add_argument("--data", help="a prepared set; rendered if not given")
  parser.add_argument("--size", type=int, default=256, help="px, of the model")
  parser.add_argument("--stored", type=int, default=256, help="px, rendered")
  flags = parser.parse_args()
  plain = loader.samplers(flags.size, augment.PLAIN)
  makers = loader.samplers(flags.size) | {
    f"{name} plain": plain[name] for name in ("irfd", "speak")
  }
  with tempfile.TemporaryDirectory() as name:
    if not flags.data:
      loader.prepare(Path(name), flags.stored)
    results = loader.measure(flags.data or name, makers, TURNS, SAMPLES)
  print(
    f"{'stage':13}{'disk/s':>8}{'memory/s':>10}{'pictures':>10}{'kB':>7}"
    f"{'decoding':>10}" + "".join(f"{f'{n} H100':>9}" for n in (1, 8))
  )
  for r in results:
    print(
      f"{r.name:13}{r.disk:8.0f}{r.memory:10.0f}{r.pictures:10.1f}"
      f"{r.kilobytes:7.0f}{r.decoding:10.0%}"
      + "".join(f"{cores(r, n):9.1f}" for n in (1, 8))
    )


if __name__ == "__main__":
  main()
