"""Ctrl-C and SIGTERM end a command at once, in a line, and leave nothing.

A command installs this before its imports, which take seconds (`generate`).
The process ends in the handler: an exception could come between any two lines,
those that tidy up included. What was half written is removed before; processes
that decode end by themselves when nobody reads from them any more.
"""

import contextlib
import os
import signal
import sys
from types import FrameType

from speak_jax.common import files

SIGNALS = (signal.SIGINT, signal.SIGTERM)


def install(command: str) -> None:
  """From now on; exit codes are those of shells, 130 and 143.

  Args:
    command: Whose line it is.
  """

  def end(number: int, frame: FrameType | None) -> None:
    del frame
    files.discard()
    with contextlib.suppress(RuntimeError):  # it may be printing
      sys.stdout.flush()
    begin = "\n" if sys.stderr.isatty() else ""  # progress has no line's end
    line = f"{begin}{command}: stopped by {signal.Signals(number).name}\n"
    os.write(2, line.encode())
    os._exit(128 + number)

  for number in SIGNALS:
    signal.signal(number, end)
