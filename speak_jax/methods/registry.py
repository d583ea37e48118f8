"""Finds the method of a run, a bundle or a file of weights.

`stages.registry.METHODS` has the names. `methods/NAME.py` has METHODS: {mode:
`Method`}, the ways in which its weights are used; the first is meant where none
is asked for.
"""

import importlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from speak_jax.methods.base import Method
from speak_jax.stages import registry


class Place(NamedTuple):
  """Where weights are, and how they are to be used."""

  path: Path
  mode: str = ""  # of the method's; "" is its first


def place(text: str) -> Place:
  """Reads PATH or PATH@MODE; what is there under the whole name is a path."""
  path, sign, mode = text.rpartition("@")
  if not sign or not path or "/" in mode or Path(text).exists():
    return Place(Path(text))
  return Place(Path(path), mode)


def modes(name: str) -> Mapping[str, Method]:
  """The ways in which a method of `stages.registry.METHODS` is used."""
  return importlib.import_module(f"{__package__}.{name}").METHODS


def find(place: Place) -> Method:
  """The method that a run, a bundle or a file of weights belongs to.

  Raises:
    ValueError: it belongs to none, or the method has no such mode; one line.
  """
  known = modes(name_of(place.path))
  if not place.mode:
    return next(iter(known.values()))
  if place.mode not in known:
    named = ", ".join(filter(None, known)) or "none"
    raise ValueError(f"{place.path}@{place.mode}: the modes are {named}")
  return known[place.mode]


def name_of(path: Path) -> str:
  """The name of the method that a path belongs to.

  Raises:
    ValueError: there is none, or this code has not got it; one line.
  """
  try:
    # Runs and bundles alike; older ones, all SPEAK's, do not say.
    stored = json.loads((path / "config.json").read_text())
    name = stored.get("config", {}).get("method", "speak")
  except (OSError, ValueError, AttributeError):
    name = next((x for x in registry.METHODS if _owns(x, path)), None)
  if name in registry.METHODS:
    return name
  listed = ", ".join(registry.METHODS)
  raise ValueError(
    f"{path}: not a run or a bundle of a known method ({listed})"
  )


def _owns(name: str, path: Path) -> bool:
  return any(method.owns(path) for method in modes(name).values())
