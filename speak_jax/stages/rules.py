"""What a value of a config may be: a few kinds of rules, in words and as code.

`training/config_validation.py` has the rules of the keys that all methods
share; a method adds those of its own keys in its `TRAINING`.
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple


class Rule(NamedTuple):
  """What a value must be, in words, and whether one is."""

  words: str
  allows: Callable[[Any], bool]


def whole(least: int, most: int | None = None) -> Rule:
  """A whole number in a range, ends included."""
  return Rule(
    f"a whole number from {least} " + (f"to {most}" if most else "on"),
    lambda x: (
      isinstance(x, int)
      and not isinstance(x, bool)
      and least <= x <= (x if most is None else most)
    ),
  )


def number(least: float, most: float = math.inf, ends: str = "[]") -> Rule:
  """A finite number in a range; a round bracket leaves its end out."""
  words = (
    f"a number from {least:g}" if ends[0] == "[" else f"a number over {least:g}"
  )
  if most < math.inf:
    words += f" to {most:g}" if ends[1] == "]" else f", below {most:g}"

  def allows(x: Any) -> bool:
    if isinstance(x, bool) or not isinstance(x, (int, float)):
      return False
    low = x >= least if ends[0] == "[" else x > least
    high = x <= most if ends[1] == "]" else x < most
    return math.isfinite(x) and low and high

  return Rule(words, allows)


def one_of(*words: str) -> Rule:
  """One of some words."""
  return Rule(f"one of {', '.join(map(repr, words))}", lambda x: x in words)


def each(rule: Rule, count: int | None = None, *, least: int = 0) -> Rule:
  """A tuple of so many, or so many at least, values of a rule."""
  many = f"{count}" if count is not None else f"{least} or more"

  def allows(x: Any) -> bool:
    if not isinstance(x, (tuple, list)) or len(x) < least:
      return False
    return all(map(rule.allows, x)) and count in (None, len(x))

  return Rule(f"{many} values in a tuple, each {rule.words}", allows)


def either(value: Any, rule: Rule) -> Rule:
  """A value that stands for something of its own, or one of a rule."""
  return Rule(
    f"{value!r} or {rule.words}",
    lambda x: (type(x) is type(value) and x == value) or rule.allows(x),
  )


def _rises(x: Any) -> bool:
  return RAMP_ENDS.allows(x) and x[0] <= x[1]


RAMP_ENDS = each(whole(0), 2)
RAMP = Rule("two steps, the second not before the first", _rises)
SWITCH = Rule("True or False", lambda x: isinstance(x, bool))
TEXT = Rule(
  "a text without line breaks",
  lambda x: isinstance(x, str) and (x == "" or x.isprintable()),
)
PLACE = Rule(
  "a path in one line, or empty",
  lambda x: (
    isinstance(x, str)
    and len(x.splitlines()) < 2
    and (x == "" or bool(x.strip()))
  ),
)
# Of methods that reckon what a frame hears in frames of 640 samples.
FPS = 25.0
AT_25 = Rule("25, as what a frame hears is", lambda x: x == FPS)
SHARE = number(0, 1)
BELOW_1 = number(0, 1, "[)")  # decay rates
POSITIVE = number(0, ends="(]")
FROM_0 = number(0)
SOME, ANY = whole(1), whole(0)
