"""The methods that can be evaluated: one file each, and a row in METHODS."""

from pathlib import Path

from speak_jax.evaluation.methods import speak
from speak_jax.evaluation.methods.base import Method

# The first that owns a path has it: SPEAK, which owns all runs, comes last.
METHODS = (speak.METHOD,)


def find(path: Path) -> Method:
  """The method that a run, a bundle or a file of weights belongs to.

  Raises:
    ValueError: it belongs to none of METHODS.
  """
  for method in METHODS:
    if method.owns(path):
      return method
  known = ", ".join(method.name for method in METHODS)
  raise ValueError(f"{path}: not a run or a bundle of a known method ({known})")
