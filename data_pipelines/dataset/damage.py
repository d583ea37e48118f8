"""Clips that cannot be used, and how many of them are borne."""

import threading
from collections.abc import Callable


class DamagedError(ValueError):
  """A clip whose bytes cannot be used: one line with file, clip and reason."""

  def __init__(self, clip: str, reason: str):
    """Keeps the clip's name; a clip counts once, whatever is wrong with it."""
    super().__init__(reason)
    self.clip = clip

  def __reduce__(self) -> tuple[type, tuple[str, str]]:
    """For another process."""
    return type(self), (self.clip, str(self))


class TooManyDamagedError(DamagedError):
  """More damaged clips than are allowed; names the first."""


class Damage:
  """Counts the clips of a split that could not be read. Thread-safe."""

  def __init__(self, limit: int = 0, say: Callable[[str], None] | None = None):
    """Allows `limit` clips; `say` is told of each, once."""
    self._limit, self._say = limit, say
    self._found: dict[str, str] = {}  # clip: reason, in the order of discovery
    self._lock = threading.Lock()

  def __len__(self) -> int:
    """Number of clips so far."""
    return len(self._found)

  def since(self, count: int) -> list[tuple[str, str]]:
    """Clips after the first `count`, each with its reason."""
    with self._lock:
      return list(self._found.items())[count:]

  def add(self, error: DamagedError) -> None:
    """Notes a clip.

    Raises:
      TooManyDamagedError: it is one too many; the data cannot be used.
    """
    with self._lock:
      new = error.clip not in self._found
      if len(self._found) <= self._limit:  # what threads find later is as much
        self._found.setdefault(error.clip, str(error))
      count = len(self._found)
      first_clip, first = next(iter(self._found.items()))
    if count > self._limit:
      raise TooManyDamagedError(
        first_clip,
        f"{first} ({count} damaged clips, {self._limit} allowed)",
      ) from error
    if new and self._say:
      self._say(f"{error}; replaced ({count} of at most {self._limit})")


def reason_of(error: Exception) -> str:
  """One line; ArrayRecord gives a file that is cut off no word at all."""
  return (str(error).splitlines() or ["not a whole shard"])[0]
