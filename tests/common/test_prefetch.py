"""A thread that works ahead, a little, and ends with who takes."""

import threading
import time

import pytest

from speak_jax.common.prefetch import prefetch


def test_it_is_so_many_ahead_and_no_more():
  made = []

  def items():
    for i in range(100):
      made.append(i)
      yield i

  with prefetch(items, 3) as taken:
    assert next(taken) == 0
    deadline = time.monotonic() + 10
    while len(made) < 4 and time.monotonic() < deadline:
      time.sleep(0.01)
    time.sleep(0.05)
    assert 4 <= len(made) <= 5  # three wait, one is in hand
    assert list(taken) == list(range(1, 100))


def test_what_it_raises_is_raised_where_it_is_taken():
  def items():
    yield 1
    raise ValueError("gone")

  with prefetch(items, 3) as taken, pytest.raises(ValueError, match="gone"):
    list(taken)


def test_it_ends_with_who_takes():
  closed = threading.Event()

  def items():
    try:
      while True:
        yield 0
    finally:
      closed.set()

  with pytest.raises(KeyError), prefetch(items, 2) as taken:
    next(taken)
    raise KeyError
  assert closed.is_set()
  assert "prefetch" not in [thread.name for thread in threading.enumerate()]
