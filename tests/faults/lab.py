"""Processes of the real command on the tiny config, and what befalls them."""

import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from tests.faults import machine

ROOT = Path(__file__).parents[2]
ENVIRONMENT = {
  "JAX_PLATFORMS": "cpu",
  "JAX_NUM_CPU_DEVICES": "1",
  "JAX_DISABLE_MOST_OPTIMIZATIONS": "1",
  "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
}
PATIENCE = 300.0  # s that a start may take on a busy machine


class Lab:
  """A folder with data that all runs share, and a cache of programs."""

  def __init__(self, folder: Path, cache: Path | None = None):
    """Makes the folder; the data are drawn by the first run."""
    self.folder = folder
    self.cache = cache or folder / "cache"
    folder.mkdir(parents=True, exist_ok=True)
    self.cache.mkdir(mode=0o700, parents=True, exist_ok=True)

  def command(self, run: Path, *flags: str) -> list[str]:
    """The real command."""
    words = [sys.executable, "-m", "speak_jax.train"]
    words += ["--config", "tests/faults/tiny.py", "--workdir", str(run)]
    data = self.folder / "data"
    if data.is_dir():
      words.append(f"--config.data.path={data}")
    return [*words, *flags]

  def environment(self) -> dict[str, str]:
    """Variables of every process."""
    cache = {"JAX_COMPILATION_CACHE_DIR": str(self.cache)}
    return {**os.environ, **ENVIRONMENT, **cache}

  def run(self, words: Sequence[str]) -> tuple[int, str]:
    """Runs a command to its end; exit code and output."""
    done = subprocess.run(
      words,
      cwd=ROOT,
      env=self.environment(),
      stdout=subprocess.PIPE,
      stderr=subprocess.STDOUT,
      text=True,
      check=False,
      timeout=2 * PATIENCE,
    )
    return done.returncode, done.stdout

  def local(self, run: Path, processes: int, *options: str) -> tuple[int, str]:
    """Runs launch/local.py to its end; exit code and output."""
    head = [sys.executable, "-m", "launch.local", "-n", str(processes)]
    flags = [option for option in options if option.startswith("--config.")]
    others = [option for option in options if option not in flags]
    return self.run([*head, *others, "--", *self.command(run, *flags)])

  def data(self) -> None:
    """Draws the data, once; what is trained with them meanwhile is lost."""
    if not (self.folder / "data").exists():
      first = self.folder / "first"
      code, output = self.run(self.command(first, "--config.syncnet.steps=1"))
      assert code == 0, output
      (first / "data").rename(self.folder / "data")

  def start(
    self,
    run: Path,
    processes: int,
    *flags: str,
    hosts: machine.Hosts | None = None,
  ) -> "Processes":
    """Starts processes that train together, without a launcher.

    Args:
      run: RUN folder.
      processes: How many.
      *flags: Of the command.
      hosts: Each on one of these; None: all on this machine.
    """
    port = free_port()
    address = hosts.address if hosts else "127.0.0.1"
    children = []
    for rank in range(processes):
      together = [
        *("--coordinator", f"{address}:{port}"),
        *("--processes", str(processes)),
        *("--process-id", str(rank)),
      ]
      words = self.command(run, *flags, *(together if processes > 1 else []))
      words = [*(hosts.words(rank) if hosts else []), *words]
      children.append(Process(words, self.environment()))
    return Processes(run, children)


class Process:
  """One process, and what it printed."""

  def __init__(self, words: Sequence[str], environment: dict[str, str]):
    """Starts it, as a group of its own."""
    self.lines: list[str] = []
    self.gone_at = 0.0  # monotonic
    self._child = subprocess.Popen(
      words,
      cwd=ROOT,
      env=environment,
      stdout=subprocess.PIPE,
      stderr=subprocess.STDOUT,
      text=True,
      errors="replace",
      start_new_session=True,
    )
    self._reader = threading.Thread(target=self._read, daemon=True)
    self._reader.start()
    self._waiter = threading.Thread(target=self._reap, daemon=True)
    self._waiter.start()

  def _read(self) -> None:
    assert self._child.stdout
    with self._child.stdout as lines:
      for line in lines:
        self.lines.append(line.rstrip())

  @property
  def pid(self) -> int:
    """Its number."""
    return self._child.pid

  def _reap(self) -> None:
    self._child.wait()
    self.gone_at = time.monotonic()

  def signal(self, number: int) -> float:
    """Sends a signal to the process alone; the time."""
    os.kill(self._child.pid, number)
    return time.monotonic()

  def wait(self, seconds: float) -> int:
    """Exit code, 128 + n for signal n; -1: it is still there."""
    self._waiter.join(seconds)
    code = self._child.returncode
    if code is None:
      return -1
    return 128 - code if code < 0 else code

  def kill(self) -> None:
    """Ends whatever is left of it, and waits for its last line."""
    if self._child.poll() is None:
      os.killpg(self._child.pid, signal.SIGKILL)
    self._waiter.join()
    self._reader.join()


class Processes:
  """Processes that train together."""

  def __init__(self, run: Path, all: list[Process]):
    """They were started just now."""
    self.run, self.all = run, all

  def until(self, done: Callable[[], bool]) -> None:
    """Waits for something that they do."""
    end = time.monotonic() + PATIENCE
    while not done():
      if any(one.gone_at for one in self.all) or time.monotonic() > end:
        raise AssertionError("\n".join(self.output()))
      time.sleep(0.02)

  def until_step(self, step: int) -> None:
    """Waits until a checkpoint of `step` or later is there."""
    self.until(lambda: newest(self.run) >= step)

  def output(self) -> list[str]:
    """All lines, with the process's number."""
    return [
      f"[{rank}] {line}"
      for rank, one in enumerate(self.all)
      for line in one.lines
    ]

  def __enter__(self) -> "Processes":
    """Itself."""
    return self

  def __exit__(self, *_: object) -> None:
    """Leaves none behind."""
    for one in self.all:
      one.kill()


def newest(run: Path) -> int:
  """Step of the newest checkpoint that orbax finished; -1: none."""
  found = [
    int(path.name)
    for path in run.glob("syncnet/checkpoints/*")
    if path.name.isdigit()
  ]
  return max(found, default=-1)


def digest(output: str) -> str:
  """SHA-256 over all leaves at the last step, as the command printed it."""
  found = re.findall(r"sha256 ([0-9a-f]{64})", output)
  assert found, output
  return found[-1]


def free_port() -> int:
  """A port that nobody listens on."""
  with socket.socket() as probe:
    probe.bind(("127.0.0.1", 0))
    return probe.getsockname()[1]
