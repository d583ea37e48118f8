"""Batches made in processes of their own, the same ones for any number.

Batch k depends on k alone, so worker w of n makes batches w, w + n, ... and the
reader takes them in turn; a position is one number. Threads share one
interpreter, which samples need for half of their time.

`Workers` starts one process that opens the data, and forks the workers from it:
the index of a large set is read once and shared. That process never loads JAX
and has nothing of the trainer's. Workers leave interrupts to the trainer and
end when their connection does, however the trainer ended.
"""

import contextlib
import gc
import os
import pickle
import queue
import signal
import socket
import struct
import subprocess
import sys
import threading
import weakref
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from absl import logging

from data_pipelines.dataset.damage import Damage, DamagedError

AHEAD = 2  # batches that wait with the reader, and with each worker
LEAVING_S = 5.0  # that the processes have to end
_LENGTH = struct.Struct("<Q")
_SERVE = "from data_pipelines.sampling import workers; workers.serve()"


class WorkerError(RuntimeError):
  """A worker ended that should not have; one line."""


class Recipe(NamedTuple):
  """How a process makes a stage's samples; picklable, no open files."""

  open: Callable[..., Any]  # (cache_bytes=) -> `records.Records`
  make: Callable[[Any], Any]  # of these, the sampler's `grain.MapDataset`
  cache_bytes: int  # of all workers together
  batch_size: int
  process_index: int  # of the trainer's processes
  process_count: int


class Workers:
  """An endless iterator over a stage's batches; see `batched.batched`.

  `get_state` and `set_state` give and restore the position exactly, with any
  number of workers, and are those of `batched.batched`.
  """

  def __init__(self, recipe: Recipe, count: int, damage: Damage):
    """Starts nothing yet.

    Args:
      recipe: What every worker does.
      count: Workers, 1 or more.
      damage: Is told of the damaged clips that workers have met, with the
        batch that a clip was first wanted in.
    """
    self._recipe, self._count, self._damage = recipe, count, damage
    self._position = 0
    self._running: _Running | None = None

  def __iter__(self) -> "Workers":
    """Itself."""
    return self

  def __next__(self) -> Any:
    """The next batch.

    Raises:
      TooManyDamagedError: more damaged clips than are allowed.
      WorkerError: a worker was killed.
      Exception: what a worker raised.
    """
    if self._running is None:
      self._running = _Running(self._recipe, self._count, self._position)
      # However this iterator goes, its processes go with it.
      weakref.finalize(self, self._running.close)
    batch, news = self._running.get()
    self._position += 1
    for clip, reason in news:
      self._damage.add(DamagedError(clip, reason))
    return batch

  def get_state(self) -> dict[str, int]:
    """Where it stands, plain data."""
    return {"next_index": self._position}

  def set_state(self, state: dict[str, int]) -> None:
    """Goes on from there."""
    self.close()
    self._position = int(state["next_index"])

  def close(self) -> None:
    """Ends the workers; the next batch starts others."""
    if self._running is not None:
      self._running.close()
      self._running = None

  @property
  def pids(self) -> list[int]:
    """Of the processes that run for it."""
    return self._running.pids() if self._running else []


class _Running:
  """The processes, and the thread that takes their batches in turn."""

  def __init__(self, recipe: Recipe, count: int, position: int):
    pairs = [socket.socketpair() for _ in range(count + 1)]
    self._ours = [ours for ours, _ in pairs]
    theirs = [theirs for _, theirs in pairs]
    numbers = [end.fileno() for end in theirs]
    env = {
      **os.environ,
      "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
      # A fork beside other threads is none to rely on.
      **{f"{x}_NUM_THREADS": "1" for x in ("OMP", "OPENBLAS", "MKL")},
    }
    self._process = subprocess.Popen(
      [sys.executable, "-c", _SERVE, *map(str, numbers)],
      stdin=subprocess.DEVNULL,
      pass_fds=numbers,
      env=env,
      start_new_session=True,  # Ctrl-C is for the trainer
    )
    for end in theirs:
      end.close()
    self._closed = False
    self._batches: queue.Queue[Any] = queue.Queue(AHEAD)
    control, *self._workers = self._ours
    _send(control, (recipe, position))
    self._thread = threading.Thread(
      target=self._take, args=(position,), daemon=True
    )
    self._thread.start()

  def get(self) -> tuple[Any, list[tuple[str, str]]]:
    """The next batch and the damage that was met in it."""
    kind, value, news = self._batches.get()
    if kind == "batch":
      return value, news
    self._batches.put((kind, value, news))  # for whoever asks again
    raise value

  def _take(self, position: int) -> None:
    """Takes batches in their order until the end."""
    while not self._closed:
      worker = self._workers[position % len(self._workers)]
      try:
        message = _receive(worker)
      except OSError as error:
        message = "error", error, []
      if message is None:
        code = self._process.poll()
        how = "" if code is None else f" (exit {code})"
        message = "error", WorkerError(f"a data worker was killed{how}"), []
      while not self._closed:
        with contextlib.suppress(queue.Full):
          self._batches.put(message, timeout=0.2)
          break
      if message[0] != "batch":
        return
      position += 1

  def pids(self) -> list[int]:
    """Of all processes."""
    parent = self._process.pid
    path = f"/proc/{parent}/task/{parent}/children"
    with contextlib.suppress(OSError), open(path) as file:
      return [parent, *map(int, file.read().split())]
    return [parent]

  def close(self) -> None:
    """Ends it all: workers end when their connections do."""
    self._closed = True
    for end in self._ours:
      with contextlib.suppress(OSError):
        end.shutdown(socket.SHUT_RDWR)  # wakes whoever reads
      end.close()
    try:
      self._process.wait(LEAVING_S)
    except subprocess.TimeoutExpired:
      with contextlib.suppress(ProcessLookupError):
        os.killpg(self._process.pid, signal.SIGKILL)
      self._process.wait()


# --- messages --------------------------------------------------------------


def _send(end: socket.socket, message: Any) -> None:
  """A message; arrays go beside it, as they are."""
  arrays: list[pickle.PickleBuffer] = []
  head = pickle.dumps(message, protocol=5, buffer_callback=arrays.append)
  raws = [array.raw() for array in arrays]
  sizes = [len(head), *(raw.nbytes for raw in raws)]
  end.sendall(_LENGTH.pack(len(sizes)))
  end.sendall(struct.pack(f"<{len(sizes)}Q", *sizes))
  for part in (head, *raws):
    end.sendall(part)


def _receive(end: socket.socket) -> Any:
  """The next message; None where the other side has gone."""
  start = _exactly(end, _LENGTH.size)
  if start is None:
    return None
  (count,) = _LENGTH.unpack(start)
  sizes = _exactly(end, _LENGTH.size * count)
  if sizes is None:
    return None
  parts = [_exactly(end, size) for size in struct.unpack(f"<{count}Q", sizes)]
  if any(part is None for part in parts):
    return None
  head, *arrays = parts
  return pickle.loads(head, buffers=arrays)


def _exactly(end: socket.socket, size: int) -> Any:
  """So many bytes, writable; None if the other side goes before."""
  data = np.empty(size, np.uint8)
  view = data.data
  while view:
    got = end.recv_into(view)
    if not got:
      return None
    view = view[got:]
  return data


# --- in the processes ------------------------------------------------------


def _serve(control: socket.socket, ends: list[socket.socket]) -> None:
  """Opens the data and forks a worker for each of the ends."""
  job = _receive(control)
  if job is None:
    return
  recipe, position = job
  try:
    data = recipe.open(cache_bytes=recipe.cache_bytes // len(ends))
    data.damage = Damage(sys.maxsize)  # the reader counts and judges
    samples = recipe.make(data)
  except Exception as error:
    with contextlib.suppress(OSError):
      _send(ends[position % len(ends)], ("error", _portable(error), []))
    return
  gc.collect()
  gc.freeze()  # so that a worker's collections do not copy the index
  for number in range(len(ends)):
    if os.fork() == 0:
      for other, end in enumerate(ends):
        if other != number:
          end.close()
      control.close()
      _work(ends[number], recipe, samples, data, number, len(ends), position)
      os._exit(0)
  for end in ends:
    end.close()
  _watch(control)
  while True:  # until every worker has gone
    try:
      os.wait()
    except ChildProcessError:
      return


def _work(
  end: socket.socket,
  recipe: Recipe,
  samples: Any,
  data: Any,
  number: int,
  count: int,
  position: int,
) -> None:
  """Makes every `count`-th batch from `position` on, until nobody reads."""
  from data_pipelines.sampling.batched import process_batches

  _watch(end)
  batches: queue.Queue[Any] = queue.Queue(AHEAD)
  threading.Thread(target=_post, args=(end, batches), daemon=True).start()
  mine = process_batches(
    samples, recipe.batch_size, recipe.process_index, recipe.process_count
  )
  known = 0
  # The reader asks worker k % count for batch k.
  for k in range(position + (number - position) % count, sys.maxsize, count):
    try:
      batch = mine[k]
    except Exception as error:
      batches.put(("error", _portable(error), []))
      threading.Event().wait()  # until the reader has gone
    news = data.damage.since(known)
    known += len(news)
    batches.put(("batch", batch, news))


def _post(end: socket.socket, batches: queue.Queue[Any]) -> None:
  """Sends what is made."""
  while True:
    try:
      _send(end, batches.get())
    except OSError:
      os._exit(0)  # nobody reads


def _watch(end: socket.socket) -> None:
  """Ends this process as soon as the trainer has gone; in a thread."""

  def wait() -> None:
    with contextlib.suppress(OSError):
      while end.recv(1):
        pass
    os._exit(0)

  threading.Thread(target=wait, daemon=True).start()


def _portable(error: Exception) -> Exception:
  """The error as it can be sent; what cannot is told."""
  try:
    pickle.loads(pickle.dumps(error))
  except Exception:
    return WorkerError(f"{type(error).__name__}: {error}")
  return error


def serve() -> None:
  """Makes batches until the trainer has gone; in a process of its own."""
  for number in (signal.SIGINT, signal.SIGTERM):
    signal.signal(number, signal.SIG_IGN)  # the trainer decides
  ends = [socket.socket(fileno=int(x)) for x in sys.argv[1:]]
  # grain looks for JAX, which takes a second and 140 MB, and uses none of it
  # here.
  sys.modules["jax"] = None  # type: ignore[assignment]
  logging.set_verbosity(logging.ERROR)  # grain says that there is none
  with contextlib.suppress(BrokenPipeError, ConnectionResetError):
    _serve(ends[0], ends[1:])
