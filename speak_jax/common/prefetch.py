"""Makes things ahead of who takes them, in a thread of their own."""

import contextlib
import contextvars
import queue
import threading
from collections.abc import Callable, Generator, Iterator
from typing import Any

_WAKE_S = 0.2  # how often a thread that waits looks whether it is still wanted


@contextlib.contextmanager
def prefetch(
  make: Callable[[], Generator[Any, None, None]], most: int
) -> Iterator[Iterator[Any]]:
  """The items that `make()` gives, at most `most` of them ahead.

  The iterator is made, run and closed in the thread. What it raises is raised
  where its items are taken. At the end of the context it is no longer run.
  """
  line: queue.Queue = queue.Queue(most)
  unwanted = threading.Event()

  def put(kind: str, value: Any) -> bool:
    while not unwanted.is_set():
      with contextlib.suppress(queue.Full):
        line.put((kind, value), timeout=_WAKE_S)
        return True
    return False

  def work() -> None:
    try:
      with contextlib.closing(make()) as items:
        for item in items:
          if not put("item", item):
            return
    except BaseException as error:
      put("error", error)
    else:
      put("end", None)

  def take() -> Iterator[Any]:
    while True:
      kind, value = line.get()
      if kind == "error":
        raise value
      if kind == "end":
        return
      yield value

  # What this thread listens to (`media.error.heard`), that one tells it.
  run = contextvars.copy_context().run
  thread = threading.Thread(
    target=run, args=(work,), name="prefetch", daemon=True
  )
  thread.start()
  try:
    yield take()
  finally:
    unwanted.set()
    thread.join()
