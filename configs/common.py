"""How a config file turns `speak.py:small64,seed=3` into a locked config."""

import ast
import re

from ml_collections import ConfigDict


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
  for dotted, value in values.items():
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
