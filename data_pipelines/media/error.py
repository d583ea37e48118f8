"""The one error of the media layer, and its two warnings."""

import contextlib
import contextvars
import os
import warnings
from collections.abc import Iterator

from speak_jax.common.files import FileError
from speak_jax.common.names import printable


class MediaError(FileError):
  """A file that cannot be used; its text is one line, `path: reason`."""


class MediaWarning(UserWarning):
  """A file that was used, but not as a person would expect; one line."""


class Rejected(MediaWarning):
  """A stretch that was left out; its text is `path: start to stop s, reason`.

  Times are seconds of the source.
  """

  def __init__(
    self, path: str | os.PathLike, start: float, stop: float, reason: str
  ):
    """Keeps the four, so that a table of rejects can be made of them."""
    self.path, self.reason = os.fspath(path), reason
    self.start, self.stop = start, stop
    super().__init__(self.path, start, stop, reason)  # so that it pickles

  def __str__(self) -> str:
    """Returns `path: start to stop s, reason`."""
    path = printable(self.path)
    return f"{path}: {self.start:.2f} to {self.stop:.2f} s, {self.reason}"


_HEARS = contextvars.ContextVar[dict[str, None] | None]("_HEARS", default=None)


def issue(warning: MediaWarning) -> None:
  """Issues a warning, to who `heard` listens too."""
  lines = _HEARS.get()
  if lines is not None:
    lines[str(warning)] = None
  warnings.warn(warning, stacklevel=3)


def warn(path: str | os.PathLike, note: str) -> None:
  """Issues a MediaWarning, `path: note`."""
  issue(MediaWarning(printable(f"{os.fspath(path)}: {note}")))


@contextlib.contextmanager
def heard(lines: dict[str, None]) -> Iterator[None]:
  """Adds the lines of all media warnings to the keys of a dict, each once.

  Of this thread, and of those that `common.prefetch` starts meanwhile; they
  are issued all the same.
  """
  token = _HEARS.set(lines)
  try:
    yield
  finally:
    _HEARS.reset(token)


@contextlib.contextmanager
def unsaid() -> Iterator[None]:
  """Keeps media warnings back, of a look that comes before the reading."""
  with heard({}), warnings.catch_warnings():
    warnings.simplefilter("ignore", MediaWarning)
    yield


@contextlib.contextmanager
def once() -> Iterator[None]:
  """Says at its end, and once, what is said more often inside.

  A file that is read several times says what is odd about it each time.
  """
  caught: list[warnings.WarningMessage] = []
  try:
    with warnings.catch_warnings(record=True) as caught:
      warnings.simplefilter("always", MediaWarning)
      yield
  finally:
    for note in {str(x.message): x for x in caught}.values():
      warnings.warn_explicit(
        note.message, note.category, note.filename, note.lineno
      )


def reject(
  path: str | os.PathLike, start: float, stop: float, reason: str
) -> None:
  """Issues a Rejected warning."""
  issue(Rejected(path, start, stop, reason))
