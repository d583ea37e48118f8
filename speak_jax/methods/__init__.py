"""The methods that can be evaluated: one file each, and that file is all.

Every module of this package has a `METHOD` (see `evaluation.methods.Method`).
"""

import importlib
import pkgutil
from pathlib import Path

from speak_jax.evaluation.methods import Method


def every() -> list[Method]:
  """The method of every module here, by name of the module."""
  names = sorted(module.name for module in pkgutil.iter_modules(__path__))
  return [
    importlib.import_module(f"{__name__}.{name}").METHOD for name in names
  ]


def find(path: Path) -> Method:
  """The method that a run, a bundle or a file of weights belongs to.

  Raises:
    ValueError: to none of those known.
  """
  methods = every()
  for method in methods:
    if method.owns(path):
      return method
  known = ", ".join(method.name for method in methods)
  raise ValueError(f"{path}: not a run or a bundle of a known method ({known})")
