"""What can be measured: a file each, and measuring it in its own process.

A file of a subject has `figures(plan)`, which yields what one run measures.
"""

import importlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from data_pipelines.faces.nets import MissingModelError
from data_pipelines.media.error import MediaWarning
from speak_jax.bench.figure import Figure, skipped
from speak_jax.bench.plan import Plan

SUBJECTS = {
  "start": "a new process, until its first frame",
  "photograph": "a photograph that talks, from files to a file",
  "reference": "the paper's method, window by window",
  "streaming": "frames while the sound comes",
  "endless": "a long video beside a short one",
  "marking": "where the watermark is found, and what it costs",
  "export": "the bundles' functions outside of JAX",
  "networks": "the forward pass of every network of a preset",
  "training": "the training step of every stage of a preset",
  "loader": "samples for training, of records on disk",
  "preparation": "videos to records",
}
Measures = Callable[[str, Plan], Iterator[Figure]]
_SERVE = "from speak_jax.bench import subjects; subjects.serve()"


class FailedError(RuntimeError):
  """A subject's process ended with an error; its last line."""


def here(name: str, plan: Plan) -> Iterator[Figure]:
  """Measures a subject in this process.

  What this machine lacks for it is a figure that was skipped.
  """
  module = importlib.import_module(f"speak_jax.bench.{name}")
  with warnings.catch_warnings():
    warnings.simplefilter("ignore", MediaWarning)
    try:
      yield from module.figures(plan)
    except MissingModelError as error:
      yield skipped("the rest", str(error))


def apart(name: str, plan: Plan) -> Iterator[Figure]:
  """Measures it in a new process, in which nothing is warm.

  Raises:
    FailedError: see there.
  """
  words = [sys.executable, "-c", _SERVE, name, json.dumps(plan._asdict())]
  with (
    tempfile.TemporaryFile() as errors,
    subprocess.Popen(
      words,
      stdin=subprocess.DEVNULL,
      stdout=subprocess.PIPE,
      stderr=errors,
      text=True,
    ) as process,
  ):
    try:
      assert process.stdout is not None
      for line in process.stdout:
        yield read_figure(json.loads(line))
      if process.wait():
        errors.seek(0)
        lines = errors.read().decode(errors="replace").split("\n")
        said = [line for line in lines if line.strip()]
        why = said[-1] if said else f"exit code {process.returncode}"
        raise FailedError(f"{name}: {why}")
    finally:
      process.terminate()  # if it still runs; it tidies up


def serve() -> None:
  """What the new process does: a line of JSON for each figure.

  What libraries print goes where errors go.
  """
  # Ctrl-C reaches both processes: the other one says when to tidy up, once.
  signal.signal(signal.SIGINT, signal.SIG_IGN)
  signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
  _, name, text = sys.argv
  with os.fdopen(os.dup(1), "w") as out:
    os.dup2(2, 1)
    for figure in here(name, read_plan(json.loads(text))):
      print(json.dumps(figure), file=out, flush=True)


def read_figure(fields: Any) -> Figure:
  """A figure of what JSON makes of one."""
  name, unit, values, note, least = fields
  return Figure(name, unit, tuple(map(float, values)), note, least)


def read_plan(fields: Mapping[str, Any]) -> Plan:
  """The same of a plan."""
  values: dict[str, Any] = {
    name: tuple(x) if isinstance(x, list) else x for name, x in fields.items()
  }
  return Plan(**values)
