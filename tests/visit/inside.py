"""Doors of this machine: Python's call, the command in this process and alone.

The command's `main` runs in this process, with its own reading of words and
its own lines, but with the model that Python's call has; some cases run as the
process that a user starts, and must end alike.
"""

import os
import re
import subprocess
import sys
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path

from absl import flags

from data_pipelines.media.error import MediaWarning
from speak_jax import generate
from speak_jax.common import command_line
from speak_jax.inference import aliases
from speak_jax.inference.model import Model
from tests.visit.cases import Case
from tests.visit.doors import PROGRESS, Fault, Refusal, captured

# What the command says of what it does, on stdout.
SAYS = re.compile(r"(speech|identity|pose|emotion) +\S|\d+ frames at |wrote ")


class Python:
  """`model.generate`."""

  name = "python"

  def __init__(self, model: Model, size: int):
    self._model, self._size = model, size

  def visit(self, case: Case, output: Path) -> Sequence[str]:
    lines: list[str] = []
    try:
      with captured(lines), warnings.catch_warnings():
        warnings.simplefilter("ignore", MediaWarning)
        video = self._model.generate(**case.inputs, size=self._size)
        video.save(output)
    except ValueError as error:
      raise Refusal(str(error)) from None
    finally:
      noise = [x for x in lines if x.strip() and not PROGRESS.match(x)]
    if noise:
      raise Fault(f"noise: {noise[0]}")
    return video.warnings

  def close(self) -> None:
    pass


class Command:
  """`generate.main` in this process."""

  name = "command"

  def __init__(self, model: Model, size: int):
    """Defines the command's flags, which are this process's from now on."""
    self._size = size
    generate._model = lambda: model
    generate._define_flags()
    self._names = set(flags.FLAGS)

  def visit(self, case: Case, output: Path) -> Sequence[str]:
    lines: list[str] = []
    with captured(lines):
      try:
        code = self._main(words(case, output, self._size))
      except SystemExit as end:
        code = end.code
    return read(code, lines)

  def _main(self, argv: list[str]) -> int:
    for name in self._names:
      flags.FLAGS[name].unparse()
    generate._SHOWN.clear()
    parse = command_line.parser("generate", aliases.translated)
    with warnings.catch_warnings():
      return generate.main(list(parse(["generate", *argv])))

  def close(self) -> None:
    pass


class Process:
  """`python -m speak_jax generate`."""

  name = "process"

  def __init__(self, size: int, limit_s: float):
    self._size, self._limit_s = size, limit_s

  def visit(self, case: Case, output: Path) -> Sequence[str]:
    done = subprocess.run(
      [
        *(sys.executable, "-m", "speak_jax", "generate"),
        *words(case, output, self._size),
      ],
      stdin=subprocess.DEVNULL,
      stdout=subprocess.PIPE,
      stderr=subprocess.STDOUT,
      text=True,
      errors="replace",
      timeout=self._limit_s,
    )
    return read(done.returncode, done.stdout.splitlines())

  def close(self) -> None:
    pass


def words(case: Case, output: Path, size: int) -> list[str]:
  """The words of a command."""
  out = ["--size", str(size), "--output", os.fspath(output)]
  for role, path in case.inputs.items():
    out += [f"--{role}", os.fspath(path)]
  return out


def read(code: object, lines: Sequence[str]) -> list[str]:
  """The warnings among a command's lines.

  Raises:
    Refusal: it ended with 1 and one line of error.
    Fault: it did anything else but end with 0, or said what is no line.
  """
  kept = [x for x in lines if x.strip() and not PROGRESS.match(x)]
  of: Callable[[str], list[str]] = lambda kind: [  # noqa: E731
    x for x in kept if x.startswith(kind)
  ]
  errors, said = of("error: "), of("warning: ")
  rest = [x for x in kept if x not in errors + said and not SAYS.match(x)]
  if rest:
    raise Fault(f"exit code {code}, noise: {rest[-1]}")
  if code == 0 and not errors:
    return said
  if code == 1 and len(errors) == 1:
    raise Refusal(errors[0])
  raise Fault(f"exit code {code} and {len(errors)} lines of error")
