"""How soon a new process has its first frame, and what it does until then."""

import contextlib
import io
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from typing import NamedTuple

from speak_jax.bench.figure import Figure
from speak_jax.bench.plan import Plan
from speak_jax.common import packaged

STAGES = ("Python", "imports", "model", "inputs", "first frame")
STAGED = "generate"  # the kind whose stages are told
_SERVE = "from speak_jax.bench import start; start.serve()"


class Kind(NamedTuple):
  """A way to begin."""

  begins: Callable[[str, Callable[[], None]], None]
  model: str
  says: str


class Mark(NamedTuple):
  """The end of a stage."""

  clock_s: float  # since the process was started
  processors_s: float  # used until then, by those that decode too


def figures(plan: Plan) -> Iterator[Figure]:
  """Two processes of each kind: the second finds what the first compiled."""
  for name in plan.starts:
    says = KINDS[name].says
    with tempfile.TemporaryDirectory() as folder:
      anew, kept = marks(name, folder), marks(name, folder)
    note = "programs kept, as the user's cache has them"
    yield Figure(says, "s", (kept[-1].clock_s,), note)
    note = "user and system, of all its processes"
    yield Figure(f"{says}: of processors", "s", (kept[-1].processors_s,), note)
    yield Figure(f"{says}: compiled anew", "s", (anew[-1].clock_s,))
    if name == STAGED:
      before = 0.0
      for stage, mark in zip(STAGES, kept, strict=True):
        yield Figure(f"{says}: {stage}", "s", (mark.clock_s - before,))
        before = mark.clock_s


def marks(name: str, folder: str) -> list[Mark]:
  """What one process says.

  Args:
    name: Of KINDS.
    folder: Where compiled programs are kept.
  """
  from speak_jax.inference.compilation import LEAST_S  # JAX is in the child

  environment = {
    **os.environ,
    "JAX_COMPILATION_CACHE_DIR": folder,
    "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": str(LEAST_S),
  }
  started = time.monotonic()
  done = subprocess.run(
    [sys.executable, "-c", _SERVE, name, repr(started)],
    capture_output=True,
    env=environment,
    text=True,
  )
  if done.returncode:
    lines = done.stderr.split("\n")
    raise RuntimeError(f"{name}: {[x for x in lines if x.strip()][-1]}")
  return [Mark(*x) for x in json.loads(done.stdout.splitlines()[-1])]


def serve() -> None:
  """What the process does: begins, and prints its marks."""
  _, name, started = sys.argv
  found: list[Mark] = []

  def mark() -> None:
    found.append(Mark(time.monotonic() - float(started), _processors_s()))

  mark()
  kind = KINDS[name]
  kind.begins(kind.model, mark)
  print(json.dumps(found), flush=True)


def _generate(model: str, mark: Callable[[], None]) -> None:
  import speak_jax

  assert speak_jax.load  # which imports its module
  mark()
  made = speak_jax.load(model)
  mark()
  video = made.generate(packaged.PORTRAIT, packaged.SENTENCE)
  mark()
  next(iter(video))
  mark()


def _stream(model: str, mark: Callable[[], None]) -> None:
  import soundfile

  import speak_jax

  with speak_jax.load(model).stream(packaged.PORTRAIT) as stream:
    stream.push(*soundfile.read(packaged.SENTENCE))
    next(stream.ready())
    mark()


def _command(model: str, mark: Callable[[], None]) -> None:
  from speak_jax import __main__
  from speak_jax.common import progress

  usual = progress.Progress.update

  def update(self: progress.Progress, done: int, note: str = "") -> None:
    del self, done, note
    mark()
    progress.Progress.update = usual
    raise KeyboardInterrupt

  progress.Progress.update = update  # it is told of each frame
  with tempfile.TemporaryDirectory() as folder:
    words = ["generate", "--model", model, "--identity", "example"]
    sys.argv = ["speak", *words, "--audio", "example", "-o", f"{folder}/a.mp4"]
    with (
      contextlib.redirect_stdout(io.StringIO()),
      contextlib.suppress(KeyboardInterrupt, SystemExit),
    ):
      __main__.main()


KINDS = {
  "command": Kind(_command, "photograph", "speak generate"),
  "generate": Kind(_generate, "photograph", "Model.generate"),
  "stream": Kind(_stream, "photograph", "Model.stream"),
  "reference": Kind(_command, "reference", "speak generate --model reference"),
}


def _processors_s() -> float:
  """Seconds so far; of children, those that have ended."""
  own = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
  uses = [resource.getrusage(x) for x in own]
  return sum(x.ru_utime + x.ru_stime for x in uses)
