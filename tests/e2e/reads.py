"""Which keys of a config are read, and which with a default.

`recorded` watches every ConfigDict while its block runs. What writes a whole
config down, or compares two, reads nothing: only who asks for a key does, by
name, by `**` or by going through a part of it. A part that was turned into a
dict is watched on.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ml_collections import ConfigDict

# Who only writes down or compares, {function: file}.
WRITERS = {
  "check_model": "speak_jax/training/run_config.py",  # the old and the new
  "write": "speak_jax/training/run_config.py",  # RUN/config.json
  "_origin": "speak_jax/training/run.py",  # of a checkpoint
}


class Reads:
  """What was read so far."""

  def __init__(self):
    """Nothing yet."""
    self.leaves: set[str] = set()
    self.defaults: set[str] = set()  # "key, file:line"


def leaves(config: ConfigDict) -> set[str]:
  """Dotted keys of everything that is not a part; an empty part is a leaf."""
  found = set()
  for key, value in config.items():
    if isinstance(value, ConfigDict) and len(value):
      found |= {f"{key}.{rest}" for rest in leaves(value)}
    else:
      found.add(key)
  return found


@contextmanager
def recorded(reads: Reads) -> Iterator[None]:
  """Records what is read of configs that have stages."""
  whole = []  # to_dict calls under way, which ask for every key
  old = {x: getattr(ConfigDict, x) for x in ("__getitem__", "get", "to_dict")}

  def path_of(part: ConfigDict) -> str | None:
    """ "" of a whole config, "irfd.optim." of a part, None of neither."""
    if "syncnet" in part._fields:
      return ""
    return part.__dict__.get("_path")

  def read(path: str) -> None:
    frame = sys._getframe(2)
    while frame and "ml_collections" in frame.f_code.co_filename:
      frame = frame.f_back
    code = frame.f_code if frame else None
    file = WRITERS.get(code.co_name) if code else None
    if code is None or file is None or not code.co_filename.endswith(file):
      reads.leaves.add(path)

  def getitem(self, key):
    value = old["__getitem__"](self, key)
    path = path_of(self)
    if path is not None:
      if isinstance(value, ConfigDict):
        object.__setattr__(value, "_path", f"{path}{key}.")
      if not whole and not (isinstance(value, ConfigDict) and len(value)):
        read(f"{path}{key}")
    return value

  def get(self, key, default=None):
    path = path_of(self)
    if path is not None:
      frame = sys._getframe(1)
      where = f"{frame.f_code.co_filename}:{frame.f_lineno}"
      reads.defaults.add(f"{path}{key}, {where}")
    return old["get"](self, key, default)

  def to_dict(self, *args, **kwargs):
    whole.append(self)
    try:
      plain = old["to_dict"](self, *args, **kwargs)
    finally:
      whole.pop()
    path = path_of(self)
    return plain if whole or not path else _watched(plain, path, read)

  ConfigDict.__getitem__ = getitem
  ConfigDict.get = get
  ConfigDict.to_dict = to_dict
  try:
    yield
  finally:
    for name, method in old.items():
      setattr(ConfigDict, name, method)


def _watched(plain: dict, path: str, read: Any) -> dict:
  """A dict whose values are missed as those of the part it was made of."""

  class Watched(dict):
    """Asks for each key by itself, `**` as well: that needs __iter__."""

    def __getitem__(self, key):
      read(f"{path}{key}")
      return dict.__getitem__(self, key)

    def __iter__(self):
      return dict.__iter__(self)

    def pop(self, key):
      read(f"{path}{key}")
      return dict.pop(self, key)

    def keys(self):
      return list(dict.keys(self))

    def items(self):
      return [(key, self[key]) for key in self.keys()]

    def values(self):
      return [self[key] for key in self.keys()]

    def __or__(self, other):
      return Watched(dict(self) | dict(other))

    def __ior__(self, other):
      self.update(other)
      return self

  if not plain:
    read(path.removesuffix("."))
  return Watched(
    {
      key: _watched(value, f"{path}{key}.", read)
      if isinstance(value, dict)
      else value
      for key, value in plain.items()
    }
  )
