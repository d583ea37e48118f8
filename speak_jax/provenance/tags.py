"""What a video says of itself in its container's texts, and reading it back.

Anybody can write or remove these texts: they say, and prove nothing. Title and
comment are what mp4, mov and webm have, and what players show.
"""

import json
from collections.abc import Mapping
from typing import Any, NamedTuple

from speak_jax import __version__

SOURCE = "http://cv.iptc.org/newscodes/digitalsourcetype/"
# Of a person's picture, moved by what a network makes of speech: see IPTC's
# list of digital source types.
COMPOSITE = f"{SOURCE}compositeWithTrainedAlgorithmicMedia"
WHOLE = f"{SOURCE}trainedAlgorithmicMedia"
_TITLE = "Synthetic video (made by a program)"
_BEGIN = "speak-jax "  # of the comment


class Statement(NamedTuple):
  """Who made a video, by what and when.

  Attributes:
    tool: Program and version.
    weights: Name of the bundle; "": nobody knows.
    digest: SHA-256 of its weights, hexadecimal.
    commit: Of the code that trained them.
    made: UTC, ISO 8601.
    source: IPTC's digital source type.
  """

  tool: str
  weights: str
  digest: str
  commit: str
  made: str
  source: str


def tool() -> str:
  """This program and its version."""
  return f"SPEAK-JAX {__version__}"


def written(statement: Statement) -> dict[str, str]:
  """The texts of a container that state it, for people and programs."""
  facts = {"synthetic": True, **statement._asdict()}
  return {"title": _TITLE, "comment": _BEGIN + json.dumps(facts)}


def read(texts: Mapping[str, str]) -> Statement | None:
  """What texts state; None if they are not of this program.

  Args:
    texts: Of a container, names in small letters. They may be anything.
  """
  comment = texts.get("comment", "")
  if not comment.startswith(_BEGIN):
    return None
  try:
    facts: Any = json.loads(comment[len(_BEGIN) :])
  except (ValueError, RecursionError):
    return None
  return of_facts(facts)


def of_facts(facts: Any) -> Statement | None:
  """The statement that parsed JSON holds; None if it holds none."""
  if not isinstance(facts, dict):
    return None
  values = [facts.get(name) for name in Statement._fields]
  if not all(isinstance(value, str) for value in values):
    return None
  return Statement(*(str(value)[:200] for value in values))
