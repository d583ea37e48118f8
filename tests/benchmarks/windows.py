"""What windows of a bundle's frames cost, and whether all lengths agree.

  python -m tests.benchmarks.windows BUNDLE [--frames 5,50] [--runs 5]

BUNDLE draws frames, and `export` has written it since windows may be of any
length. For each length and batch: seconds to lower and to compile, and
milliseconds of processors a frame (median of some runs). Then by how many
levels of 255 the first frames of the longest windows differ from those of the
shortest, all from the same random codes.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jax import export

from speak_jax import bundle
from speak_jax.common import packaged

BATCHES = (1, 8)


def timed(function: Callable[[], Any]) -> tuple[Any, float, float]:
  """What a function gives; seconds by the clock and of processors."""
  clock, cpu = time.perf_counter(), time.process_time()
  result = jax.block_until_ready(function())
  return result, time.perf_counter() - clock, time.process_time() - cpu


def inputs(program: export.Exported, batch: int, frames: int) -> tuple:
  """Random inputs but for the weights: bytes, or normal codes."""
  sizes = {"b": batch, "t": frames}
  arguments, _ = jax.tree.unflatten(program.in_tree, program.in_avals)
  rng = np.random.default_rng(0)

  def drawn(aval: Any) -> np.ndarray:
    shape = [sizes.get(str(x), x) for x in aval.shape]
    return rng.normal(size=shape).astype(aval.dtype)

  return jax.tree.map(drawn, arguments[1:])


def main() -> None:
  """Reads the flags and prints the lines."""
  parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.windows")
  parser.add_argument("bundle", help="folder, or reference")
  parser.add_argument("--frames", default="5,50", help="t, of each window")
  parser.add_argument("--runs", type=int, default=5)
  args = parser.parse_args()
  content = bundle.read(packaged.model(args.bundle))
  for name, blob in content.artifacts.items():
    program = export.deserialize(bytearray(blob))
    last = [str(x.shape) for x in program.in_avals[-2:]]
    platforms = ", ".join(program.platforms)
    print(f"{name:9} {len(blob) / 1e6:.2f} MB, {platforms}; {' '.join(last)}")
  program = export.deserialize(bytearray(content.artifacts["frames"]))
  variables = jax.device_put(content.variables)
  lengths = sorted(map(int, args.frames.split(",")))
  for batch in BATCHES:
    portrait, pose, emotion, speech = inputs(program, batch, lengths[-1])
    made = {}
    for t in lengths:
      cut = (variables, portrait, pose[:, :t], emotion, speech[:, :t])
      start = time.perf_counter()
      lowered = jax.jit(program.call).lower(*cut)
      to_lower = time.perf_counter() - start
      clock, cpu = time.perf_counter(), time.process_time()
      run = lowered.compile()
      clock, cpu = time.perf_counter() - clock, time.process_time() - cpu
      runs = [
        timed(lambda cut=cut, run=run: run(*cut)) for _ in range(args.runs)
      ]
      each = statistics.median(x[2] for x in runs) * 1000 / (batch * t)
      made[t] = np.asarray(runs[0][0]).astype(int)
      print(
        f"t {t:3d}, b {batch}: lowered in {to_lower:.2f} s, compiled in"
        f" {clock:.2f} s ({cpu:.2f} of processors); {each:.2f} ms a frame",
        flush=True,
      )
    short, long = made[lengths[0]], made[lengths[-1]]
    off = np.abs(long[:, : lengths[0]] - short)
    print(
      f"b {batch}: the first {lengths[0]} of {lengths[-1]} frames differ by"
      f" {off.max()} at most, {(off > 0).mean():.4%} of the values"
    )


if __name__ == "__main__":
  main()
