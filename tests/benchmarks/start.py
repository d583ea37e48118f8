"""How long it takes from the start of a process to the first frame.

  python -m tests.benchmarks.start [--model photograph] [--runs 7] [--cold]

The example portrait and sentence. One run goes before, which fills the caches;
then each is a process of its own: a video by `speak_jax.load().generate`, a
stream by `speak_jax.load().stream`, and the command `speak generate`. Prints
the median, the least and the most of each stage: seconds by the clock, and of
processors (user and system, of the process and of those that decode for it),
which other work on the machine hardly changes.

Compiled programs are kept in the user's cache (`inference.compilation`); with
--cold all are compiled anew.
"""

import argparse
import contextlib
import io
import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from importlib import metadata

import speak_jax

STAGES = ("python", "imports", "load", "inputs", "first frame")
KINDS = ("generate", "stream", "command")


def child(kind: str, model: str, started: float) -> None:
  """Runs one start, and prints the seconds at the end of each stage.

  Args:
    kind: Of KINDS.
    model: For `speak_jax.load`.
    started: When the process was started, by `time.monotonic`.
  """
  marks = []

  def mark() -> None:
    marks.append((time.monotonic() - started, _processors()))

  mark()
  {"generate": _generate, "stream": _stream, "command": _command}[kind](
    model, mark
  )
  print(json.dumps(marks), flush=True)


def _generate(model: str, mark: Callable[[], None]) -> None:
  assert speak_jax.load  # which imports its module
  mark()
  made = speak_jax.load(model, cache=True)
  mark()
  video = made.generate(*_example())
  mark()
  next(iter(video))
  mark()


def _stream(model: str, mark: Callable[[], None]) -> None:
  import soundfile

  assert speak_jax.load  # which imports its module
  mark()
  made = speak_jax.load(model, cache=True)
  mark()
  portrait, sentence = _example()
  stream = made.stream(portrait)
  mark()
  stream.push(*soundfile.read(sentence))
  next(stream.ready())
  mark()


def _command(model: str, mark: Callable[[], None]) -> None:
  from speak_jax import __main__
  from speak_jax.common import progress

  usual = progress.Progress.update

  def update(self: progress.Progress, done: int, note: str = "") -> None:
    mark()
    progress.Progress.update = usual
    raise KeyboardInterrupt

  progress.Progress.update = update  # it is told of each frame
  with tempfile.TemporaryDirectory() as folder:
    portrait, sentence = _example()
    words = ["generate", "--model", model, "--identity", portrait]
    sys.argv = ["speak", *words, "--audio", sentence, "-o", f"{folder}/a.mp4"]
    with (
      contextlib.redirect_stdout(io.StringIO()),
      contextlib.suppress(KeyboardInterrupt, SystemExit),
    ):
      __main__.main()


def _example() -> tuple[str, str]:
  from speak_jax.common import packaged

  return str(packaged.PORTRAIT), str(packaged.SENTENCE)


def _processors() -> float:
  """Seconds of processors so far; of children, those that have ended."""
  own = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
  uses = [resource.getrusage(x) for x in own]
  return sum(x.ru_utime + x.ru_stime for x in uses)


def run(kind: str, model: str) -> list[tuple[float, float]]:
  """Marks of one process."""
  words = ["-m", "tests.benchmarks.start", "--child", kind, "--model", model]
  started = time.monotonic()
  done = subprocess.run(
    [sys.executable, *words, "--started", repr(started)],
    capture_output=True,
    text=True,
    check=False,
  )
  if done.returncode:
    raise RuntimeError(f"{kind}: {done.stderr}")
  return [tuple(x) for x in json.loads(done.stdout.splitlines()[-1])]


def spread(values: list[float]) -> str:
  """Median (least to most)."""
  ordered = sorted(values)
  middle = ordered[len(ordered) // 2]
  return f"{middle:5.2f} ({ordered[0]:.2f} to {ordered[-1]:.2f})"


def table(kind: str, runs: list[list[tuple[float, float]]]) -> list[str]:
  """Lines of one kind: each stage, then all of them together."""
  rows = []
  if kind != "command":
    for i, stage in enumerate(STAGES):
      before = [(0.0, 0.0) if i == 0 else marks[i - 1] for marks in runs]
      pairs = list(zip(runs, before, strict=True))
      clock = spread([marks[i][0] - was[0] for marks, was in pairs])
      cpu = spread([marks[i][1] - was[1] for marks, was in pairs])
      rows.append(f"  {stage:12} {clock:24} {cpu}")
  clock = spread([marks[-1][0] for marks in runs])
  cpu = spread([marks[-1][1] for marks in runs])
  return [f"{kind:14} {clock:24} {cpu}", *rows]


def main() -> None:
  """Reads the flags and prints the lines."""
  parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.start")
  parser.add_argument("--model", default="photograph", help="bundle")
  parser.add_argument("--runs", type=int, default=7, help="of each kind")
  parser.add_argument("--cold", action="store_true", help="compile anew")
  parser.add_argument("--child", choices=KINDS, help=argparse.SUPPRESS)
  parser.add_argument("--started", type=float, help=argparse.SUPPRESS)
  args = parser.parse_args()
  if args.child:
    child(args.child, args.model, args.started)
    return
  os.environ.pop("JAX_COMPILATION_CACHE_DIR", None)
  os.environ["JAX_ENABLE_COMPILATION_CACHE"] = str(not args.cold).lower()
  print(
    f"{args.model}; Python {platform.python_version()}, jax"
    f" {metadata.version('jax')}, {os.cpu_count()} processors, load"
    f" {os.getloadavg()[0]:.1f}; programs"
    f" {'compiled anew' if args.cold else 'of the cache'}; median (least to"
    f" most) of {args.runs} after one"
  )
  print(f"{'':14} {'seconds':24} of processors")
  for kind in KINDS:
    if kind == "stream" and args.model != "photograph":
      continue  # others draw windows of frames
    run(kind, args.model)
    runs = [run(kind, args.model) for _ in range(args.runs)]
    print("\n".join(table(kind, runs)), flush=True)
  print(f"load {os.getloadavg()[0]:.1f} at the end")


if __name__ == "__main__":
  main()
