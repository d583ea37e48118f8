"""Several processes on this machine that train as one, started again at need.

  python -m launch.local -n 2 -- python -m speak_jax.train --config ... \
    --workdir RUN

Each process gets the flags that say who it is, a device of its own where there
are GPUs, and its number before each line that it prints. Once one has ended
badly the others have three seconds to end too. All are started again after 42
and 43 and where a signal or a crash ended them, later each time that no
checkpoint was added; other codes (speak_jax/common/exit_codes.py) are final.
SIGTERM and Ctrl-C are passed on: a checkpoint is saved, and nothing is started
again.

Chaos, to see that nothing is lost: --chaos-kill-every 30 --seed 1.
"""

import argparse
import os
import random
import shlex
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from speak_jax.common import exit_codes

GRACE = 1.5  # s that the others have when one has ended badly
MOST_WAIT = 60.0  # s before another start
TICK = 0.05  # s
LAST_WORDS = 1.0  # s that is waited for lines that are still on their way


class Options(NamedTuple):
  """What the command was told."""

  processes: int
  max_restarts: int | None
  chaos_kill_every: float
  chaos_kills: int | None
  seed: int
  command: list[str]
  run: Path


def main(argv: Sequence[str] | None = None) -> int:
  """Runs the command; returns the exit code."""
  options = _options(argv)
  return Local(options).run()


class Local:
  """Starts all processes, until they are done or another start is no use."""

  def __init__(self, options: Options):
    """Nothing is started yet."""
    self._options = options
    self._children: list[subprocess.Popen] = []
    self._stopping = False
    self._random = random.Random(options.seed)
    self._kills = 0

  def run(self) -> int:
    """Until the end; the exit code."""
    for number in (signal.SIGTERM, signal.SIGINT):
      signal.signal(number, self._on)
    starts, idle, before = 0, 0, _steps(self._options.run)
    while True:
      starts += 1
      code = verdict(self._once(starts))
      if self._stopping or not restarts(code):
        return code
      most = self._options.max_restarts
      if most is not None and starts > most:
        _say(f"{most} restarts are enough")
        return code
      now = _steps(self._options.run)
      idle, before = (0 if now > before else idle + 1), now
      wait = min(2.0**idle, MOST_WAIT)
      _say(f"again in {wait:.0f} s; {now} steps are saved")
      time.sleep(wait)
      if self._stopping:
        return code

  def _on(self, number, frame) -> None:
    """Passes a wish to end on; the second one is no wish any more."""
    del number, frame
    again, self._stopping = self._stopping, True
    self._signal(signal.SIGKILL if again else signal.SIGTERM)

  def _signal(self, number: int) -> None:
    for child in self._children:
      if child.poll() is None:
        os.killpg(child.pid, number)

  def _once(self, start: int) -> list[int]:
    """One start of all processes, to their end; the exit codes."""
    options = self._options
    port = _free_port()
    _say(f"start {start}: {options.processes} x {shlex.join(options.command)}")
    self._children = [
      _child(options, rank, port) for rank in range(options.processes)
    ]
    readers = [
      threading.Thread(target=_prefix, args=(rank, child), daemon=True)
      for rank, child in enumerate(self._children)
    ]
    for reader in readers:
      reader.start()
    first, seconds = self._wait()
    for reader in readers:
      reader.join(LAST_WORDS)
    codes = [_code(child.returncode) for child in self._children]
    if any(codes):
      _say(
        f"exit codes {codes}; process {first} was the first, the others were"
        f" gone {seconds:.2f} s later"
      )
    return codes

  def _wait(self) -> tuple[int, float]:
    """Waits for all; who ended badly first, and the seconds until the last."""
    began = time.monotonic()
    kill_at = began + self._next_kill()
    first, bad = None, began
    while any(child.poll() is None for child in self._children):
      now = time.monotonic()
      if first is not None:
        if now - bad > GRACE:
          self._signal(signal.SIGKILL)
      elif (first := self._ended_badly()) is not None:
        bad = now
      elif now >= kill_at:
        self._chaos(now - began)
        kill_at = float("inf")
      time.sleep(TICK)
    if first is None:
      return self._ended_badly() or 0, 0.0
    return first, time.monotonic() - bad

  def _ended_badly(self) -> int | None:
    bad = (rank for rank, child in enumerate(self._children) if child.poll())
    return next(bad, None)

  def _next_kill(self) -> float:
    """Seconds until one process is killed."""
    every, most = self._options.chaos_kill_every, self._options.chaos_kills
    if not every or (most is not None and self._kills >= most):
      return float("inf")
    return every * self._random.uniform(0.1, 1.9)

  def _chaos(self, after: float) -> None:
    """Kills one process; no one is warned."""
    rank = self._random.randrange(len(self._children))
    if self._children[rank].poll() is None:
      self._kills += 1
      _say(f"chaos: kill -9 of process {rank} after {after:.1f} s")
      os.killpg(self._children[rank].pid, signal.SIGKILL)


def verdict(codes: Sequence[int]) -> int:
  """The exit code of all: a final one counts more than one that asks for more.

  Args:
    codes: Of the processes.
  """
  bad = [code for code in codes if code]
  final = [code for code in bad if not restarts(code)]
  return (final or bad or [exit_codes.DONE])[0]


def restarts(code: int) -> bool:
  """Whether another start may help."""
  if code == exit_codes.INTERRUPTED:
    return False
  return code in (exit_codes.RESTART, exit_codes.PEER_LOST) or code >= 128


def _child(options: Options, rank: int, port: int) -> subprocess.Popen:
  """Starts one process, as a group of its own."""
  command, variables = list(options.command), dict(os.environ)
  if options.processes > 1:
    command += ["--coordinator", f"127.0.0.1:{port}"]
    command += ["--processes", str(options.processes)]
    command += ["--process-id", str(rank)]
    variables.setdefault("JAX_LOCAL_DEVICE_IDS", str(rank))
  return subprocess.Popen(
    command,
    stdin=subprocess.DEVNULL,
    stdout=subprocess.PIPE,
    stderr=subprocess.STDOUT,
    text=True,
    errors="replace",
    env=variables,
    start_new_session=True,
  )


def _prefix(rank: int, child: subprocess.Popen) -> None:
  """Prints a process's lines with its number."""
  assert child.stdout
  for line in child.stdout:
    print(f"[{rank}] {line}", end="", file=sys.stderr, flush=True)


def _code(returncode: int) -> int:
  """An exit code as a shell has it."""
  return 128 - returncode if returncode < 0 else returncode


def _free_port() -> int:
  with socket.socket() as probe:
    probe.bind(("127.0.0.1", 0))
    return probe.getsockname()[1]


def _steps(run: Path) -> int:
  """Steps that the checkpoints of all stages hold."""
  newest: dict[Path, int] = {}
  for path in run.glob("*/checkpoints/*"):
    if path.name.isdigit():
      step = int(path.name)
      newest[path.parent] = max(step, newest.get(path.parent, 0))
  return sum(newest.values())


def _options(argv: Sequence[str] | None) -> Options:
  parser = argparse.ArgumentParser(
    prog="python -m launch.local",
    description=__doc__,
    formatter_class=argparse.RawDescriptionHelpFormatter,
  )
  parser.add_argument("-n", type=int, default=1, metavar="N", help="processes")
  parser.add_argument("--max-restarts", type=int, metavar="R")
  parser.add_argument(
    "--chaos-kill-every", type=float, default=0.0, metavar="SECONDS"
  )
  parser.add_argument("--chaos-kills", type=int, metavar="K", help="at most")
  parser.add_argument("--seed", type=int, default=0, help="of the chaos")
  parser.add_argument("command", nargs=argparse.REMAINDER, metavar="-- COMMAND")
  arguments = parser.parse_args(argv)
  command = (
    arguments.command[1:]
    if arguments.command[:1] == ["--"]
    else arguments.command
  )
  if arguments.n < 1:
    parser.error(f"-n {arguments.n}: at least one")
  run = None
  for word, following in zip(command, [*command[1:], ""], strict=True):
    name, _, value = word.lstrip("-").partition("=")
    if name == "workdir":
      run = value or following
  if not run:
    parser.error("the command has no --workdir, where its checkpoints are")
  return Options(
    processes=arguments.n,
    max_restarts=arguments.max_restarts,
    chaos_kill_every=arguments.chaos_kill_every,
    chaos_kills=arguments.chaos_kills,
    seed=arguments.seed,
    command=command,
    run=Path(run),
  )


def _say(text: str) -> None:
  print(f"local: {text}", file=sys.stderr, flush=True)


if __name__ == "__main__":
  sys.exit(main())
