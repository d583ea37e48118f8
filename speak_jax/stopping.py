"""Ctrl-C and SIGTERM as one exception, which ends a command in one line."""

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Stopped(BaseException):
  """Somebody wants the command to end; not an Exception, as KeyboardInterrupt.

  Its text is one line.
  """

  def __init__(self, number: int):
    """Takes the signal's number."""
    super().__init__(f"stopped by {signal.Signals(number).name}")
    self.code = 128 + number  # as shells have it


def at_once(command: str) -> None:
  """Until `raising`, a signal ends the process with a line: nothing is begun.

  For the seconds in which a command loads its libraries.
  """

  def end(number: int, frame: FrameType | None) -> None:
    del frame
    stopped = Stopped(number)
    print(f"{command}: {stopped}", file=sys.stderr, flush=True)
    os._exit(stopped.code)

  for number in SIGNALS:
    signal.signal(number, end)


@contextmanager
def raising() -> Iterator[None]:
  """The first signal raises `Stopped` here; others wait for the clearing up.

  Does nothing in a thread, which gets no signals.
  """

  def stop(number: int, frame: FrameType | None) -> None:
    del frame
    for other in SIGNALS:
      signal.signal(other, signal.SIG_IGN)
    raise Stopped(number)

  try:
    before = {number: signal.signal(number, stop) for number in SIGNALS}
  except ValueError:  # not the main thread
    before = {}
  stopped = False
  try:
    yield
  except Stopped:
    stopped = True  # the process ends: signals stay ignored
    raise
  finally:
    if not stopped:
      for number, handler in before.items():
        signal.signal(number, handler)
