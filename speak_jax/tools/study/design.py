"""The design of a study: questions, blind and balanced order, key, page.

The three questions are those of the paper's first version (lip sync, head
motion, realness; 20 people, 30 clips). Pages know clips by number only; which
method is behind a number is in a key that raters do not get.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from speak_jax.evaluation.report import markup

BEST = 5  # marks are 1 to 5
KEY_FORMAT, VERSION = "speak-study-key", 1


class Question(NamedTuple):
  """One of the three questions."""

  title: str
  text: str


QUESTIONS = (
  Question("Lip sync", "Do the lips move with the speech?"),
  Question("Head motion", "Does the head move naturally?"),
  Question("Realness", "Does the clip look like a real video of a person?"),
)


class Item(NamedTuple):
  """One video that raters see."""

  number: str
  method: str
  clip: str


class Key(NamedTuple):
  """What was shown under which number."""

  study: str
  seed: int
  items: tuple[Item, ...]


def plan(
  methods: Sequence[str], clips: Sequence[str], seed: int, content: str = ""
) -> Key:
  """Every clip by every method, in a blind and balanced order.

  The order has as many rounds as there are methods. A round shows every clip
  once, the methods taking turns, so that a clip's versions are far apart.

  Args:
    methods: Two at least, each once.
    clips: Names that all methods have, each once.
    seed: Draws the order.
    content: Digest of the videos; other videos are another study.

  Raises:
    ValueError: there are less than two methods, or no clips.
  """
  if len(methods) < 2 or not clips:
    raise ValueError("a study compares clips of two methods at least")
  rng = np.random.default_rng(seed)
  turn = _permutation(rng, len(methods))
  place = _permutation(rng, len(clips))
  shown: list[tuple[str, str]] = []
  for r in range(len(methods)):
    order = _permutation(rng, len(clips))
    if shown and clips[order[0]] == shown[-1][1]:
      order.append(order.pop(0))
    shown += [
      (methods[turn[(place[c] + r) % len(methods)]], clips[c]) for c in order
    ]
  # Answers belong to one study: another order or other videos rename it.
  text = json.dumps([seed, content, shown])
  name = hashlib.sha256(text.encode()).hexdigest()[:16]
  items = tuple(
    Item(f"{i + 1:03d}", method, clip) for i, (method, clip) in enumerate(shown)
  )
  return Key(name, seed, items)


def page(key: Key, sources: Mapping[str, str], media: str) -> str:
  """The page that raters open.

  Args:
    key: Whose numbers, and nothing else of it, go into the page.
    sources: {number: data address or file name of the mp4}.
    media: What the page's policy lets videos come from, `data:` or `'self'`.
  """
  content = {
    "study": key.study,
    "questions": [question._asdict() for question in QUESTIONS],
    "items": [
      {"id": item.number, "src": sources[item.number]} for item in key.items
    ],
  }
  study = json.dumps(content).replace("<", "\\u003c")
  return markup.fill("study", media=media, study=study)


def key_text(key: Key) -> str:
  """The key as a JSON file."""
  content = {
    "format": KEY_FORMAT,
    "version": VERSION,
    "study": key.study,
    "seed": key.seed,
    "items": [item._asdict() for item in key.items],
  }
  return json.dumps(content, indent=1) + "\n"


def read_key(content: bytes) -> Key:
  """The key out of its file.

  Raises:
    ValueError: it is no key, or damaged.
  """
  stored = parse(content, KEY_FORMAT)
  try:
    items = tuple(
      Item(str(row["number"]), str(row["method"]), str(row["clip"]))
      for row in stored["items"]
    )
    key = Key(str(stored["study"]), int(stored["seed"]), items)
  except (KeyError, TypeError, ValueError):
    raise ValueError("damaged: no study, seed and items") from None
  if len({item.number for item in items}) != len(items) or not items:
    raise ValueError("damaged: no items, or a number twice")
  return key


def parse(content: bytes, kind: str) -> dict[str, Any]:
  """The JSON object of a key or of answers.

  Args:
    content: Of the file.
    kind: What its "format" should be.

  Raises:
    ValueError: it is no JSON, another format or another version; one line.
  """
  try:
    stored = json.loads(content)
  except (ValueError, RecursionError):
    raise ValueError("damaged: no JSON") from None
  if not isinstance(stored, dict) or stored.get("format") != kind:
    raise ValueError(f"no {kind} file")
  if stored.get("version") != VERSION:
    raise ValueError(f"version is not {VERSION}")
  return stored


def _permutation(rng: np.random.Generator, n: int) -> list[int]:
  return [int(i) for i in rng.permutation(n)]
