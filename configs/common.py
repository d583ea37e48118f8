"""How a config file turns `speak.py:small64,seed=3` into a locked config."""

import ast
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from ml_collections import ConfigDict


class Renamed(NamedTuple):
  """What a key is called now, and what makes its old values new ones."""

  key: str
  value: Callable[[Any], Any] = lambda old: old
  switch: bool = False  # whether its old value was True or False


# Old names of keys, understood until the version after the next: in the config
# of a run or bundle, in --config FILE:preset,key=value, and as --config.key.
RENAMED: Mapping[str, Renamed] = {
  "irfd.smoothing": Renamed("irfd.label_smoothing"),
  "irfd.printed_triplet": Renamed(
    "irfd.triplet",
    lambda printed: "printed" if printed else "crossed",
    switch=True,
  ),
  "irfd.hide_maps": Renamed("irfd.drop_maps"),
  "mesh.large": Renamed("mesh.min_shard_size"),
  "model.pose_places": Renamed("model.pose_spatial_channels"),
}
# Switches that are gone, and what they have to be.
SETTLED: Mapping[str, Any] = {
  "model.equalized": False,
  "model.mask_mouth": False,
}


def current(key: str, value: Any) -> tuple[str, Any] | None:
  """Translates a key and its value into those of today.

  Returns:
    Both; None for a switch that is gone and has the value that is left.

  Raises:
    ValueError: a switch that is gone has another value.
  """
  if key in SETTLED:
    if value != SETTLED[key]:
      raise ValueError(
        f"config.{key} = {value!r}: that is no longer supported; leave it out"
      )
    return None
  new = RENAMED.get(key)
  return (key, value) if new is None else (new.key, new.value(value))


def current_flags(words: Sequence[str]) -> list[str]:
  """Translates --config.KEY=VALUE with an old key among a command's words.

  Args:
    words: As the shell gives them. Switches may stand alone, as in
      --config.KEY and --noconfig.KEY; other values may be the next word.

  Raises:
    ValueError: see `current`.
  """
  translated = []
  for word in words:
    match = re.fullmatch(r"--?(no)?config\.([\w.]+)(?:=(.*))?", word, re.S)
    if not match or (match[2] not in RENAMED and match[2] not in SETTLED):
      translated.append(word)
      continue
    no, key, text = match.groups()
    if text is None and not _is_switch(key):
      translated.append(f"--config.{RENAMED[key].key}")  # its value comes next
      continue
    value = text if not _is_switch(key) else _as_bool(text, not no)
    new = current(key, value)
    if new is not None:
      translated.append(f"--config.{new[0]}={new[1]}")
  return translated


def _is_switch(key: str) -> bool:
  return key in SETTLED or RENAMED[key].switch


def _as_bool(text: str | None, otherwise: bool) -> bool:
  return otherwise if text is None else text.lower() in ("true", "1", "yes")


def parse_arg(arg: str, presets: tuple[str, ...]) -> tuple[str, dict]:
  """Splits `preset,key=value,...`; the preset may be left out.

  Args:
    arg: What stands behind the colon of `--config file.py:arg`; "" is fine.
    presets: Known names; the first is the default.

  Returns:
    The preset's name and {dotted key: value}, values as Python literals.

  Raises:
    ValueError: an unknown preset, named together with the known ones.
  """
  outside = r",(?![^{(\[]*[})\]])"  # not the commas of {"a": 1, "b": 2}
  parts = [part.strip() for part in re.split(outside, arg) if part.strip()]
  preset = presets[0]
  if parts and "=" not in parts[0]:
    preset = parts.pop(0)
  if preset not in presets:
    raise ValueError(f"preset {preset!r} is not one of {', '.join(presets)}")
  overrides = {}
  for part in parts:
    key, sign, text = part.partition("=")
    if not sign:
      raise ValueError(f"config argument {part!r} is not key=value")
    try:
      overrides[key] = ast.literal_eval(text)
    except (ValueError, SyntaxError):
      overrides[key] = text  # a bare word is a string
  return preset, overrides


def override(config: ConfigDict, values: dict) -> ConfigDict:
  """Sets dotted keys that exist already, each to a value of its own type."""
  for old, given in values.items():
    new = current(old, given)
    if new is None:
      continue
    dotted, value = new
    *path, last = dotted.split(".")
    node = config
    for name in path:
      if name not in node:
        raise ValueError(f"config has no key {dotted!r} (no {name!r})")
      node = node[name]
    if last not in node:
      known = ", ".join(sorted(node))
      raise ValueError(f"config has no key {dotted!r}; beside it: {known}")
    try:
      node[last] = value
    except TypeError:
      kind = type(node[last]).__name__
      raise ValueError(f"config.{dotted} = {value!r} is no {kind}") from None
  return config
