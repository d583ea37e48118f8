"""Reads media in processes of their own, so that a file can do little harm.

`probe`, `read_frames`, `read_audio`, `read_sound`, `audio_track` and
`read_image` are those of `video`, `audio` and `image`. What decodes is a child
with limits on memory, CPU time and files (`limits.apply`), which is killed with
its process group when it does not answer or is not needed any more. Whatever
becomes of it is a MediaError of one line.

A helper process, one for each process that reads, has the libraries loaded
and forks a child for each call: that takes milliseconds, and forking is safe
there, for it has no threads. Pictures come through a pipe.
"""

import atexit
import contextlib
import fcntl
import functools
import itertools
import json
import math
import os
import select
import signal
import socket
import struct
import subprocess
import sys
import threading
import warnings
from collections.abc import Callable, Generator, Iterator, Sequence
from typing import Any

import numpy as np
from jaxtyping import Int16, UInt8

from data_pipelines.media import audio, image, limits, video
from data_pipelines.media.error import MediaError, MediaWarning
from speak_jax import spec

_PIPE_BYTES = 1 << 20  # holds a 512 px picture, so both sides can work
_KEEP_BYTES = 512 << 20  # 27 s of 512 px
_SIZES = struct.Struct("<II")  # bytes of a message's JSON and of its array
_MOST_JSON = 1 << 20
_DTYPES = {"|u1": np.uint8, "<i2": np.int16, "<f4": np.float32}
_FPS = float(spec.FPS)
_SERVE = "from data_pipelines.media import decoder; decoder.serve()"

# What a child can be asked for; each gives one value, or several in turn.
_CALLS: dict[str, Callable[..., Any]] = {
  "probe": video.probe,
  "read_frames": video.read_frames,
  "read_audio": audio.read_audio,
  "read_sound": audio.read_sound,
  "audio_track": audio.audio_track,
  "read_image": image.read_image,
}


def probe(path: str | os.PathLike) -> video.VideoInfo:
  """`video.probe`."""
  return video.VideoInfo(*_only(path, "probe"))


def read_frames(
  path: str | os.PathLike,
  fps: float = _FPS,
  span: Sequence[float] | None = None,
  turns: int = 0,
) -> Generator[UInt8[np.ndarray, "h w 3"], None, None]:
  """`video.read_frames`; the child works ahead by a picture or so."""
  return _call(path, "read_frames", fps=fps, span=span, turns=turns)


def read_audio(
  path: str | os.PathLike,
  frames: int | None = None,
  fps: float = _FPS,
  track: int | None = None,
) -> Int16[np.ndarray, "s"]:
  """`audio.read_audio`."""
  return _only(path, "read_audio", frames=frames, fps=fps, track=track)


def audio_track(path: str | os.PathLike, number: int | None = None) -> int:
  """`audio.audio_track`."""
  return _only(path, "audio_track", number=number)


def read_sound(path: str | os.PathLike, track: int) -> audio.Sound:
  """`audio.read_sound`; the child works ahead by a chunk or so."""
  chunks = _call(path, "read_sound", track=track)
  rate, layout = next(chunks)
  return audio.Sound(rate, layout, chunks)


def read_image(path: str | os.PathLike) -> UInt8[np.ndarray, "h w 3"]:
  """`image.read_image`."""
  return _only(path, "read_image")


class Frames:
  """The pictures of a video, as often as they are wanted.

  The first pass decodes; while the pictures fit into memory they are kept,
  otherwise each pass decodes anew.
  """

  def __init__(
    self,
    path: str | os.PathLike,
    fps: float = _FPS,
    limit: int | None = None,
    span: Sequence[float] | None = None,
    turns: int = 0,
  ):
    """Names the video, as `video.read_frames`, and the most pictures of it."""
    self._path, self._fps, self._limit = path, fps, limit
    self._span, self._turns = span, turns
    self._kept: list[np.ndarray] | None = None
    self._begun: Iterator[np.ndarray] | None = None

  def again(
    self, span: Sequence[float] | None = None, turns: int = 0
  ) -> "Frames":
    """The same file, read in another way; itself, if it is no other."""
    if not span and not turns:
      return self
    span = span or self._span
    return Frames(self._path, self._fps, self._limit, span, turns)

  def first(self) -> UInt8[np.ndarray, "h w 3"]:
    """The first picture; a pass that follows goes on from there."""
    frames = self._read()
    picture = next(frames)
    self._begun = itertools.chain([picture], frames)
    return picture

  def _read(self) -> Iterator[np.ndarray]:
    if self._begun is not None:
      frames, self._begun = self._begun, None
      return frames
    return read_frames(self._path, self._fps, self._span, self._turns)

  def __iter__(self) -> Iterator[UInt8[np.ndarray, "h w 3"]]:
    """One pass."""
    if self._kept is not None:
      yield from self._kept
      return
    kept, room = [], _KEEP_BYTES
    for frame in itertools.islice(self._read(), self._limit):
      room -= frame.nbytes
      if room >= 0:
        kept.append(frame)
      yield frame
    if room >= 0:
      self._kept = kept


# --- the process that asks -------------------------------------------------


def _only(path: str | os.PathLike, name: str, **args: Any) -> Any:
  """The one value of a call."""
  (value,) = _call(path, name, **args)
  return value


def _call(
  path: str | os.PathLike, name: str, **args: Any
) -> Generator[Any, None, None]:
  """Runs a call in a child; yields its values and repeats its warnings."""
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
      message, array = _receive(path, pipe)
      kind = message.get("kind")
      if kind == "value":
        yield message["value"]
      elif kind == "array":
        yield array
      elif kind == "warning":
        warnings.warn(MediaWarning(message["text"]), stacklevel=2)
      elif kind == "error":
        raise MediaError(path, message["reason"])
      else:
        break
  finally:
    os.close(pipe)
    status = helper.finish(pid)
  if kind != "end":
    raise MediaError(path, _death(status))


def _receive(
  path: str | os.PathLike, pipe: int
) -> tuple[dict[str, Any], np.ndarray | None]:
  """The next message, empty where the child is gone, and its array."""
  text, size = _SIZES.unpack(_read(path, pipe, _SIZES.size) or bytes(8))
  # The child has read a hostile file: it is not believed either.
  if text > _MOST_JSON or size > limits.LIMITS.memory_bytes:
    raise MediaError(path, "the decoder is out of its mind")
  raw = _read(path, pipe, text)
  if not raw:
    return {}, None
  message = json.loads(bytes(raw))
  if message["kind"] != "array":
    return message, None
  shape, dtype = message["shape"], np.dtype(_DTYPES[message["dtype"]])
  if math.prod(shape) * dtype.itemsize != size:
    raise MediaError(path, "the decoder is out of its mind")
  array = np.empty(shape, dtype)
  whole = _read(path, pipe, size, _bytes(array))
  return (message, array) if whole is not None else ({}, None)


def _read(
  path: str | os.PathLike,
  pipe: int,
  size: int,
  into: memoryview | None = None,
) -> memoryview | None:
  """Reads exactly `size` bytes; None if the pipe ends before."""
  into = memoryview(bytearray(size)) if into is None else into
  wait_ms = round(limits.LIMITS.wait_s * 1000)
  poll = select.poll()
  poll.register(pipe, select.POLLIN)
  done = 0
  while done < size:
    if not poll.poll(wait_ms):
      reason = f"not decoded within {limits.LIMITS.wait_s:g} s"
      raise MediaError(path, reason)
    count = os.readv(pipe, [into[done:]])
    if count == 0:
      return None
    done += count
  return into


def _death(status: int) -> str:
  """Why a child went without an answer, from its wait status."""
  if not os.WIFSIGNALED(status):
    code = os.waitstatus_to_exitcode(status)
    if code == limits.TOO_MUCH:
      return _too_much()
    return f"the decoder failed ({code})"
  if os.WTERMSIG(status) == signal.SIGXCPU:
    return f"takes over {limits.LIMITS.cpu_s} s to decode"
  return f"the decoder crashed ({signal.Signals(os.WTERMSIG(status)).name})"


def _too_much() -> str:
  """Said of a file whose decoding wants more memory than it may have."""
  most = limits.LIMITS.memory_bytes >> 30
  return f"needs over {most} GiB of memory to decode"


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


# --- the helper and its children -------------------------------------------


def serve() -> None:
  """Forks children until the one that asks is gone."""
  control = socket.socket(fileno=int(sys.argv[1]))
  while True:
    first, files, _, _ = socket.recv_fds(control, 1, 1)
    if not first:
      return
    line = bytearray(first)
    while not line.endswith(b"\n"):
      line += control.recv(1)
    request = json.loads(line)
    if "finish" in request:
      answer = _end(request["finish"])
    else:
      answer = os.fork()
      if answer == 0:
        control.close()
        _answer(request, files[0])
      os.close(files[0])
    control.sendall(f"{answer}\n".encode())


def _end(pid: int) -> int:
  """Kills a child and what it started; its wait status."""
  for kill in (os.killpg, os.kill):  # it may not have a group yet
    with contextlib.suppress(ProcessLookupError):
      kill(pid, signal.SIGKILL)
  return os.waitpid(pid, 0)[1]


def _answer(request: dict[str, Any], pipe: int) -> None:
  """A child's life: limits, the call, its messages, the end."""
  code = 1
  try:
    os.setsid()
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # what crashing C prints
    os.chdir(request["cwd"])
    warnings.simplefilter("always", MediaWarning)
    warnings.showwarning = functools.partial(_warn, pipe)
    try:
      limits.apply(limits.Limits(*request["limits"]))
      made = _CALLS[request["call"]](request["path"], **request["args"])
      for item in made if isinstance(made, Iterator) else [made]:
        if isinstance(item, np.ndarray):
          facts = {"shape": item.shape, "dtype": item.dtype.str}
          _send(pipe, {"kind": "array", **facts}, item)
        else:
          _send(pipe, {"kind": "value", "value": item})
    except MediaError as error:
      _send(pipe, {"kind": "error", "reason": error.reason})
    except MemoryError:
      _send(pipe, {"kind": "error", "reason": _too_much()})
    except BrokenPipeError:
      pass  # nobody waits for the rest
    except Exception as error:  # a library that a hostile file has confused
      what = f"cannot be read ({type(error).__name__}: {error})"
      _send(pipe, {"kind": "error", "reason": what})
    else:
      _send(pipe, {"kind": "end"})
    code = 0
  finally:
    os._exit(code)  # nothing of the helper's may run


def _warn(pipe: int, message, category, *where, **rest) -> None:
  """Sends a media warning instead of printing it."""
  if issubclass(category, MediaWarning):
    _send(pipe, {"kind": "warning", "text": str(message)})


def _send(
  pipe: int, message: dict[str, Any], array: np.ndarray | None = None
) -> None:
  text = json.dumps(message).encode()
  size = 0 if array is None else array.nbytes
  parts = [memoryview(_SIZES.pack(len(text), size) + text)]
  if array is not None:
    parts.append(_bytes(array))
  for part in parts:
    while part:
      part = part[os.write(pipe, part) :]


def _bytes(array: np.ndarray) -> memoryview:
  """The memory of an array; of a copy, if it lies in pieces."""
  return np.ascontiguousarray(array).reshape(-1).view(np.uint8).data
