"""Runs a call that decodes in a child, which can do little harm.

A helper process, one for each process that reads, has the libraries loaded
and forks a child for each call (`worker`): that takes milliseconds, and forking
is safe there, for it has no threads. The child has limits on memory, CPU time
and files (`limits.apply`), and is killed with its process group when it does
not answer or is not needed any more.
"""

import atexit
import contextlib
import contextvars
import fcntl
import functools
import json
import os
import select
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Generator, Iterator
from typing import Any

from data_pipelines.media import limits, messages
from data_pipelines.media.error import MediaError, MediaWarning, issue

_PIPE_BYTES = 1 << 20  # holds a 512 px picture, so both sides can work
_SERVE = "from data_pipelines.media import worker; worker.serve()"
_LOOK_MS = 100  # between two checks while a child is silent
_CHECK = contextvars.ContextVar[Callable[[], None] | None](
  "_CHECK", default=None
)


@contextlib.contextmanager
def checked(check: Callable[[], None]) -> Iterator[None]:
  """Ends what is read inside when a check raises.

  Of this thread, and of those that `common.prefetch` starts meanwhile.

  Args:
    check: Called before each message of a child, and while none comes.
  """
  token = _CHECK.set(check)
  try:
    yield
  finally:
    _CHECK.reset(token)


def call(
  path: str | os.PathLike, name: str, **args: Any
) -> Generator[Any, None, None]:
  """Runs a call in a child; yields its values and repeats its warnings.

  Args:
    path: File to decode.
    name: One of `worker.CALLS`.
    **args: Its arguments.

  Raises:
    MediaError: The call's own, or the child was killed; one line.
  """
  helper = _helper(os.getpid())
  pid, pipe = helper.start(
    {
      "call": name,
      "path": os.fspath(path),
      "args": args,
      "cwd": os.getcwd(),
      "limits": limits.LIMITS,
    }
  )
  try:
    while True:
      _wait(pipe)
      message, array = messages.receive(path, pipe)
      kind = message.get("kind")
      if kind == "value":
        yield message["value"]
      elif kind == "array":
        yield array
      elif kind == "warning":
        issue(MediaWarning(message["text"]))
      elif kind == "error":
        raise MediaError(path, message["reason"])
      else:
        break
  finally:
    os.close(pipe)
    status = helper.finish(pid)
  if kind != "end":
    raise MediaError(path, _death(status))


def _wait(pipe: int) -> None:
  """Waits for a message, if anybody checks whether it is wanted still."""
  if (check := _CHECK.get()) is None:
    return
  look = select.poll()
  look.register(pipe, select.POLLIN)
  check()
  while not look.poll(_LOOK_MS):
    check()


def begin() -> None:
  """Starts the helper process before it is needed, and does not wait for it."""
  _helper(os.getpid())


def _death(status: int) -> str:
  """Why a child went without an answer, from its wait status."""
  if not os.WIFSIGNALED(status):
    code = os.waitstatus_to_exitcode(status)
    if code == limits.TOO_MUCH:
      return limits.too_much()
    return f"the decoder failed ({code})"
  if os.WTERMSIG(status) == signal.SIGXCPU:
    return f"takes over {limits.LIMITS.cpu_s} s to decode"
  return f"the decoder crashed ({signal.Signals(os.WTERMSIG(status)).name})"


class _Mine(threading.local):
  """What a helper knows of each thread that asks."""

  def __init__(self):
    """Of a new one."""
    self.asking = False  # has the lock, or is about to
    self.forgotten: list[int] = []  # children to be ended afterwards


class _Helper:
  """The process that forks a child for each call."""

  def __init__(self):
    """Starts it; the libraries are loaded once, in some 0.3 s."""
    self._lock = threading.Lock()
    self._mine = _Mine()
    self._socket, theirs = socket.socketpair()
    places = [os.path.abspath(place) for place in sys.path]
    single = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
    with theirs:
      number = theirs.fileno()
      self._process = subprocess.Popen(
        [sys.executable, "-P", "-c", _SERVE, f"{number}"],
        pass_fds=[number],
        env=os.environ | single | {"PYTHONPATH": os.pathsep.join(places)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        start_new_session=True,  # Ctrl-C is for the one that asks
      )
    self._answers = self._socket.makefile("rb")
    atexit.register(self._close)

  def _close(self) -> None:
    """Lets it go: it ends when nobody can ask any more."""
    self._answers.close()
    self._socket.close()
    self._process.wait()

  def start(self, request: dict[str, Any]) -> tuple[int, int]:
    """Starts a call; its process, and the pipe its messages come through."""
    ours, theirs = os.pipe()
    try:
      with contextlib.suppress(AttributeError, OSError):  # Linux only
        fcntl.fcntl(ours, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
      return self._ask(request, [theirs]), ours
    except BaseException:
      os.close(ours)
      raise
    finally:
      os.close(theirs)

  def finish(self, pid: int) -> int:
    """Kills the child's group, if it is there; returns its wait status.

    The garbage collector ends a forgotten call at any time, in the middle of
    asking too: that one's turn comes afterwards, and its status is nobody's.
    """
    if self._mine.asking:
      self._mine.forgotten.append(pid)
      return 0
    return self._ask({"finish": pid}, [])

  def _ask(self, request: dict[str, Any], files: list[int]) -> int:
    self._mine.asking = True
    try:
      answer = self._asked(request, files)
    finally:
      self._mine.asking = False
    while self._mine.forgotten:
      self.finish(self._mine.forgotten.pop())
    return answer

  def _asked(self, request: dict[str, Any], files: list[int]) -> int:
    line = json.dumps(request).encode() + b"\n"
    with self._lock:
      try:
        socket.send_fds(self._socket, [line[:1]], files)
        self._socket.sendall(line[1:])
        answer = self._answers.readline()
      except OSError:
        answer = b""
    if not answer:
      _helper.cache_clear()  # the next call starts another one
      raise MediaError(
        str(request.get("path", "")), "the decoder's process is gone"
      )
    return int(answer)


@functools.cache
def _helper(process: int) -> _Helper:
  """The helper of a process, which must not be that of its parent."""
  del process
  return _Helper()
