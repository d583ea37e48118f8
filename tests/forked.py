"""Runs commands as `python -m` does, from an interpreter that has begun.

A command of ours spends seconds on the import of JAX and others. Here one
process imports once what others wrote, and of ours nothing; for each command
it forks, and the child imports ours and runs it. What depends on variables
that are read on import, or on how an interpreter starts, needs a real process.
"""

import importlib
import json
import os
import runpy
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[1]
# Whose import takes longest.
HEAVY = (
  "absl.app",
  "av",
  "cv2",
  "flax.linen",
  "jax",
  "jaxtyping",
  "ml_collections.config_flags",
  "optax",
  "orbax.checkpoint",
  "scipy",
)


class Done(NamedTuple):
  """What `subprocess.run` says as well."""

  returncode: int
  stdout: str
  stderr: str


class Server:
  """The process that forks."""

  def __init__(self) -> None:
    """Starts it; it imports while others go on."""
    self._process = subprocess.Popen(
      [sys.executable, "-m", "tests.forked"],
      cwd=ROOT,
      stdin=subprocess.PIPE,
      stdout=subprocess.PIPE,
      text=True,
    )

  def run(self, module: str, *words: str, cwd: Path = ROOT) -> Done:
    """Runs `python -m MODULE WORDS` to its end."""
    assert self._process.stdin and self._process.stdout
    asked = {"words": [module, *words], "cwd": str(cwd)}
    self._process.stdin.write(json.dumps(asked) + "\n")
    self._process.stdin.flush()
    line = self._process.stdout.readline()
    assert line, f"the server has ended before {asked}"
    return Done(*json.loads(line))

  def close(self) -> None:
    """Ends it."""
    assert self._process.stdin and self._process.stdout
    self._process.stdin.close()
    self._process.wait()
    self._process.stdout.close()


@pytest.fixture(scope="session")
def forked() -> Iterator[Server]:
  """The server of this worker; it starts with the first test that asks."""
  server = Server()
  yield server
  server.close()


def _main(words: list[str]) -> int:
  """Exit status of a module that runs as the main one."""
  sys.argv = words
  try:
    runpy.run_module(words[0], run_name="__main__", alter_sys=True)
  except SystemExit as error:
    if error.code is None or isinstance(error.code, int):
      return error.code or 0
    print(error.code, file=sys.stderr)
    return 1
  except BaseException:
    traceback.print_exc()
    return 1
  return 0


def _forked(words: list[str], cwd: str) -> Done:
  """Forks, runs and waits."""
  with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
    child = os.fork()
    if not child:
      os.chdir(cwd)
      sys.path[0] = cwd
      with open(os.devnull) as nothing:
        os.dup2(nothing.fileno(), 0)
      os.dup2(out.fileno(), 1)
      os.dup2(err.fileno(), 2)
      status = _main(words)
      sys.stdout.flush()
      sys.stderr.flush()
      os._exit(status)
    _, ended = os.waitpid(child, 0)
    out.seek(0)
    err.seek(0)
    return Done(os.waitstatus_to_exitcode(ended), out.read(), err.read())


def serve() -> None:
  """Requests and answers are lines of JSON."""
  for name in HEAVY:
    importlib.import_module(name)
  ours = [x for x in sys.modules if x.startswith(("speak_jax", "data_pipe"))]
  assert not ours, ours
  for line in sys.stdin:
    asked = json.loads(line)
    print(json.dumps(_forked(asked["words"], asked["cwd"])), flush=True)


if __name__ == "__main__":
  serve()
