"""What every door has: a case goes in, a video or one line comes out."""

import contextlib
import os
import re
import signal
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple, Protocol

import av.error

from tests.visit.cases import Case
from tests.visit.film import Film, look
from tests.visit.outcome import FAULT, REFUSED, WORKS, Outcome

LONGEST = 400  # characters of a line that people read
PROGRESS = re.compile(r"generate \d+/\d+ ")


class Fault(Exception):
  """What no visitor may meet; one line."""


class Hang(BaseException):
  """It took too long; no library may catch it."""


class Refusal(Exception):
  """One line, as the visitor sees it."""

  def __init__(self, line: str, role: str | None = None):
    """Keeps the line, and the place that it stands beside, if there is one."""
    super().__init__(line)
    self.line, self.role = line, role


class Door(Protocol):
  """A way to a video."""

  name: str

  def visit(self, case: Case, output: Path) -> Sequence[str]:
    """Asks for a video, and stores it.

    Returns:
      Warnings, as the visitor sees them.

    Raises:
      Refusal: there is none.
      Fault, Exception: what should not be.
    """
    ...

  def close(self) -> None:
    """Ends what was started."""
    ...


class Visit(NamedTuple):
  """An outcome, and the video if there is one."""

  outcome: Outcome
  film: Film | None


def visited(door: Door, case: Case, folder: Path, limit_s: float) -> Visit:
  """One case at one door.

  Args:
    door: Which.
    case: Which.
    folder: Empty; for the video alone, and empty again afterwards.
    limit_s: What takes longer hangs.
  """
  output, film = folder / "made.mp4", None
  verdict, line, warnings = WORKS, "", ()
  begin = time.monotonic()
  try:
    with _at_most(limit_s):
      said = door.visit(case, output)
    waited = time.monotonic() - begin
    warnings = tuple(sorted({bare(x, case) for x in said}))
    film = look(output)
    if film.fault:
      raise Fault(film.fault)
  except Refusal as refusal:
    waited = time.monotonic() - begin
    verdict, line = REFUSED, bare(refusal.line, case)
    if wrong := _wrong(refusal, case):
      verdict, line = FAULT, f"{wrong}: {refusal.line!r}"
  except Hang:
    waited = time.monotonic() - begin
    verdict, line = FAULT, f"hangs for over {limit_s:g} s"
  except (Exception, av.error.FFmpegError) as error:
    waited = time.monotonic() - begin
    text = " ".join(str(error).split())
    kind = "" if isinstance(error, Fault) else f"{type(error).__name__}: "
    verdict, line = FAULT, f"{kind}{text}"
  left = sorted(x.name for x in folder.iterdir() if x != output)
  if verdict == REFUSED and output.exists():
    left.append(output.name)
  if left and verdict != FAULT:
    verdict, line = FAULT, f"left behind: {', '.join(left)}"
  for path in folder.iterdir():
    path.unlink()
  shape = {} if film is None else film._asdict()
  names = ("frames", "width", "height", "digest")
  return Visit(
    Outcome(
      file=case.name,
      role=case.role,
      door=door.name,
      stamp=case.stamp,
      verdict=verdict,
      seconds=round(waited, 3),
      line=line[:LONGEST],
      warnings=warnings,
      **{k: v for k, v in shape.items() if k in names},
    ),
    film,
  )


def bare(line: str, case: Case) -> str:
  """A line without what differs from door to door: the file's name."""
  line = re.sub("^(error|warning): ", "", line)
  roles = sorted(case.inputs, key=lambda role: role != case.role)
  for role, path in ((role, case.inputs[role]) for role in roles):
    for name in (str(path), path.name, f"--{role}"):
      line = line.removeprefix(f"{name}: ").replace(name, role)
  for role in case.inputs:
    line = line.removeprefix(f"{role}: ")
  return line


def _wrong(refusal: Refusal, case: Case) -> str:
  """What a visitor would not like about a line; "": nothing."""
  if "\n" in refusal.line.strip() or not refusal.line.strip():
    return "not one line"
  if len(refusal.line) > LONGEST:
    return "a long line"
  if re.search(r"Traceback|Error\b.*\(|<class|object at 0x", refusal.line):
    return "words of Python"
  if refusal.role is not None and refusal.role != case.role:
    return f"beside the wrong input ({refusal.role})"
  if refusal.role is None and case.path.name not in refusal.line:
    return "does not name the file"
  return ""


@contextlib.contextmanager
def _at_most(seconds: float) -> Iterator[None]:
  """Ends what the main thread does."""

  def late(number: int, frame: object) -> None:
    raise Hang

  before = signal.signal(signal.SIGALRM, late)
  signal.setitimer(signal.ITIMER_REAL, seconds)
  try:
    yield
  finally:
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, before)


@contextlib.contextmanager
def captured(lines: list[str]) -> Iterator[None]:
  """Adds what is written on stdout and stderr, by libraries of C too."""
  for stream in (sys.stdout, sys.stderr):
    stream.flush()
  kept = [os.dup(i) for i in (1, 2)]
  with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as file:
    for i in (1, 2):
      os.dup2(file.fileno(), i)
    try:
      with contextlib.redirect_stdout(file), contextlib.redirect_stderr(file):
        yield
    finally:
      file.flush()
      for i, handle in enumerate(kept, 1):
        os.dup2(handle, i)
        os.close(handle)
      file.seek(0)
      lines += file.read().splitlines()
