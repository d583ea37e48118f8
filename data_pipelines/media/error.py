"""The one error of the media layer, and its one warning."""

import os
import warnings


class MediaError(ValueError):
  """A file that cannot be used; its text is one line, `path: reason`."""

  def __init__(self, path: str | os.PathLike, reason: str):
    """Joins path and reason, whatever line breaks the reason had."""
    self.path = os.fspath(path)
    self.reason = " ".join(str(reason).split())
    super().__init__(self.path, self.reason)  # both, so that it pickles

  def __str__(self) -> str:
    """Returns `path: reason`."""
    return f"{self.path}: {self.reason}"


class MediaWarning(UserWarning):
  """A file that was used, but not as a person would expect; one line."""


def warn(path: str | os.PathLike, note: str) -> None:
  """Issues a MediaWarning, `path: note`."""
  warnings.warn(f"{os.fspath(path)}: {note}", MediaWarning, stacklevel=2)
