"""The user study: its blind order, its page, its answers, their agreement.

The three questions are those of the paper's first version (lip sync, head
motion, realness; 20 people, 30 clips). Pages know clips by number only; which
method is behind a number is in a key that raters do not get.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from speak_jax.evaluation.report import html, published
from speak_jax.metrics import sums

BEST = 5  # marks are 1 to 5
MOST_BYTES = 1 << 20  # of an answer file
ANSWERS, KEY, VERSION = "speak-study-answers", "speak-study-key", 1


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


class Answers(NamedTuple):
  """One rater's marks: {number: one for each question}."""

  rater: str
  marks: dict[str, tuple[int, ...]]


def plan(
  methods: Sequence[str], clips: Sequence[str], seed: int, content: str = ""
) -> Key:
  """Every clip by every method, in a blind and balanced order.

  The order has as many rounds as there are methods. A round shows every clip
  once, the methods taking turns, so that a clip's versions are far apart.

  Args:
    methods: Two at least, each once.
    clips: Names that all methods have, each once.
    seed: Of the order.
    content: Digest of the videos; other videos are another study.

  Raises:
    ValueError: nothing to compare.
  """
  if len(methods) < 2 or not clips:
    raise ValueError("a study compares clips of two methods at least")
  rng = np.random.default_rng(seed)
  turn = _shuffled(rng, len(methods))
  place = _shuffled(rng, len(clips))
  shown: list[tuple[str, str]] = []
  for r in range(len(methods)):
    order = _shuffled(rng, len(clips))
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
  return html.fill("study", media=media, study=study)


def key_text(key: Key) -> str:
  """The key as a JSON file."""
  content = {
    "format": KEY,
    "version": VERSION,
    "study": key.study,
    "seed": key.seed,
    "items": [item._asdict() for item in key.items],
  }
  return json.dumps(content, indent=1) + "\n"


def read_key(content: bytes) -> Key:
  """The key out of its file.

  Raises:
    ValueError: it is none, or damaged.
  """
  found = _json(content, KEY)
  try:
    items = tuple(
      Item(str(row["number"]), str(row["method"]), str(row["clip"]))
      for row in found["items"]
    )
    key = Key(str(found["study"]), int(found["seed"]), items)
  except (KeyError, TypeError, ValueError):
    raise ValueError("damaged: no study, seed and items") from None
  if len({item.number for item in items}) != len(items) or not items:
    raise ValueError("damaged: no items, or a number twice")
  return key


def read_answers(content: bytes, key: Key) -> Answers:
  """One rater's answers; clips left out or unplayable are left out.

  Raises:
    ValueError: damaged, or the answers to another study; one line.
  """
  if len(content) > MOST_BYTES:
    raise ValueError(f"larger than {MOST_BYTES >> 20} MiB")
  found = _json(content, ANSWERS)
  if found.get("study") != key.study:
    raise ValueError("answers to another study")
  rater, answers = found.get("rater"), found.get("answers")
  if not isinstance(rater, str) or not rater or not isinstance(answers, dict):
    raise ValueError("damaged: no rater or no answers")
  known = {item.number for item in key.items}
  marks = {}
  for number, given in answers.items():
    if number not in known:
      raise ValueError("damaged: answers to a clip that was not shown")
    if given is None:
      continue
    if not _are_marks(given):
      raise ValueError(
        f"damaged: clip {number} has no {len(QUESTIONS)} marks of 1 to {BEST}"
      )
    marks[number] = tuple(given)
  if not marks:
    raise ValueError("no clip is rated")
  return Answers(rater, marks)


def scores(
  answers: Sequence[Answers], key: Key
) -> Float[np.ndarray, "raters items questions"]:
  """All marks, NaN where a rater gave none."""
  places = {item.number: i for i, item in enumerate(key.items)}
  table = np.full((len(answers), len(key.items), len(QUESTIONS)), np.nan)
  for r, one in enumerate(answers):
    for number, marks in one.marks.items():
      table[r, places[number]] = marks
  return table


def alpha(ratings: Float[np.ndarray, "raters units"]) -> float:
  """Krippendorff's alpha for ordinal marks; NaN where it is not defined.

  1 is full agreement, 0 that of chance. Units with fewer than two marks tell
  nothing. NaN: nobody shares a unit, or all marks are the same.

  Source: K. Krippendorff, Computing Krippendorff's Alpha-Reliability (2011),
  sections C to E.

  Args:
    ratings: Marks of any ordered numbers, NaN where there is none.
  """
  levels = np.unique(ratings[np.isfinite(ratings)])
  # counts[u, k]: how many raters gave unit u the k-th mark.
  counts = (ratings[..., None] == levels).sum(0).astype(float)
  counts = counts[counts.sum(1) >= 2]
  if not counts.size:
    return float("nan")
  per_unit = counts.sum(1)
  pairs = counts[:, :, None] * counts[:, None, :]
  pairs -= counts[:, :, None] * np.eye(len(levels))
  observed = (pairs / (per_unit - 1)[:, None, None]).sum(0)
  total = observed.sum(0)
  expected = np.outer(total, total) - np.diag(total)
  # Ranks are the middles of equal marks: their distance counts what lies
  # between two marks, each end half.
  ranks = np.cumsum(total) - total / 2
  distance = (ranks[:, None] - ranks) ** 2
  wrong = (expected * distance).sum()
  if not wrong:
    return float("nan")
  return float(1 - (total.sum() - 1) * (observed * distance).sum() / wrong)


def table(answers: Sequence[Answers], key: Key, seed: int) -> str:
  """Means with intervals over raters, and how far raters agree; Markdown.

  The paper's own means stand below, marked as published.

  Args:
    answers: Of one rater at least, each rater once.
    key: Of the study.
    seed: Of the bootstrap, which draws raters.
  """
  marks = scores(answers, key)
  methods = list(dict.fromkeys(item.method for item in key.items))
  titles = [question.title for question in QUESTIONS]
  lines = [
    "# User study",
    "",
    f"{len(answers)} raters, {len({item.clip for item in key.items})} clips,"
    f" {len(key.items)} videos of {len(methods)} methods;"
    f" {int(np.isfinite(marks[..., 0]).sum())} videos rated in all. Marks are 1"
    " (bad) to 5 (excellent). In brackets: 95 % bootstrap interval over"
    " raters; it says nothing of other clips.",
    "",
    f"| method | {' | '.join(titles)} | ratings |",
    "|---|" + "---|" * (len(QUESTIONS) + 1),
  ]
  for method in sorted(methods):
    own = marks[:, [item.method == method for item in key.items]]
    cells = [_mean(own[..., q], seed) for q in range(len(QUESTIONS))]
    n = int(np.isfinite(own[..., 0]).sum())
    lines.append(f"| {_plain(method)} | {' | '.join(cells)} | {n} |")
  for row in published.STUDY:
    cells = [f"{mark:.2f}" for mark in row.marks]
    name = f"{row.method}, {row.data} (published)"
    lines.append(f"| {name} | {' | '.join(cells)} | - |")
  agreement = [_shown(alpha(marks[..., q])) for q in range(len(QUESTIONS))]
  lines += [
    f"| *raters' agreement* | {' | '.join(agreement)} | |",
    "",
    "Agreement is Krippendorff's alpha for ordinal marks: 1 full, 0 chance;"
    " below .667 it carries no more than tentative conclusions.",
    "",
    published.STUDY_NOTE,
  ]
  return "\n".join(lines) + "\n"


def _shuffled(rng: np.random.Generator, n: int) -> list[int]:
  return [int(i) for i in rng.permutation(n)]


def _json(content: bytes, kind: str) -> dict[str, Any]:
  """A JSON object of ours."""
  try:
    found = json.loads(content)
  except (ValueError, RecursionError):
    raise ValueError("damaged: no JSON") from None
  if not isinstance(found, dict) or found.get("format") != kind:
    raise ValueError(f"no {kind} file")
  if found.get("version") != VERSION:
    raise ValueError(f"version is not {VERSION}")
  return found


def _are_marks(given: Any) -> bool:
  """Whole numbers, and not JSON's true, which Python takes for 1."""
  return (
    isinstance(given, list)
    and len(given) == len(QUESTIONS)
    and all(type(mark) is int and 1 <= mark <= BEST for mark in given)
  )


def _mean(marks: Float[np.ndarray, "raters items"], seed: int) -> str:
  rows = np.stack([np.nansum(marks, 1), np.isfinite(marks).sum(1)], 1)
  found = sums.interval(rows, sums.mean, seed)
  if not np.isfinite(found.value):
    return "-"
  if len(rows) < 2:  # one rater says nothing of others
    return f"{found.value:.2f}"
  return f"{found.value:.2f} [{found.low:.2f}, {found.high:.2f}]"


def _shown(value: float) -> str:
  return f"{value:.3f}" if np.isfinite(value) else "-"


def _plain(name: str) -> str:
  """A foreign name that cannot break out of its cell."""
  return " ".join(name.replace("|", "/").replace("<", "(").split())
