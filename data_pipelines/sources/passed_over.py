"""Files and folders that a source does not use, by kind."""

import collections
import os

from data_pipelines.sources.task import Passed
from speak_jax.common.names import printable


class PassedOver:
  """Collects what is not used."""

  def __init__(self, root: str):
    self._root = root
    self._names = collections.defaultdict(list)

  def add(self, kind: str, path: str, note: str = "") -> None:
    """Adds a path, with a note on why it is not used."""
    name = printable(os.path.relpath(path, self._root))
    self._names[kind].append(name + (f": {note}" if note else ""))

  def all(self) -> tuple[Passed, ...]:
    """By kind, the most frequent first."""
    kinds = [Passed(kind, names) for kind, names in self._names.items()]
    return tuple(sorted(kinds, key=lambda x: (-len(x.names), x.kind)))
