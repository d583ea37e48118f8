"""Raters' answer files: read, checked, one kept for each rater."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from speak_jax.tools.study.design import BEST, QUESTIONS, Key, parse, read_key

ANSWERS_FORMAT = "speak-study-answers"
MAX_BYTES = 1 << 20  # of an answer file


class Answers(NamedTuple):
  """One rater's marks: {number: one for each question}."""

  rater: str
  marks: dict[str, tuple[int, ...]]


def collect(paths: Sequence[Path], key: Key) -> tuple[list[Answers], list[str]]:
  """Every rater's answers, and a line for each file that is left out.

  Of two files of a rater the one with more ratings counts: the other was
  saved halfway.
  """
  by_rater: dict[str, tuple[Path, Answers]] = {}
  refused = []
  for path in paths:
    try:
      one = _load_answers(path, key)
    except ValueError as error:
      refused.append(str(error))
      continue
    before = by_rater.get(one.rater)
    if before is None:
      by_rater[one.rater] = (path, one)
      continue
    better, worse = before, (path, one)
    if len(one.marks) > len(before[1].marks):
      better, worse = worse, better
    by_rater[one.rater] = better
    refused.append(f"{worse[0]}: the same rater as {better[0]}")
  return [answers for _, answers in by_rater.values()], refused


def read_answers(content: bytes, key: Key) -> Answers:
  """One rater's answers; clips left out or unplayable are left out.

  Raises:
    ValueError: they are damaged, or of another study; one line.
  """
  if len(content) > MAX_BYTES:
    raise ValueError(f"larger than {MAX_BYTES >> 20} MiB")
  stored = parse(content, ANSWERS_FORMAT)
  if stored.get("study") != key.study:
    raise ValueError("answers to another study")
  rater, answers = stored.get("rater"), stored.get("answers")
  if not isinstance(rater, str) or not rater or not isinstance(answers, dict):
    raise ValueError("damaged: no rater or no answers")
  known = {item.number for item in key.items}
  marks = {}
  for number, rated in answers.items():
    if number not in known:
      raise ValueError("damaged: answers to a clip that was not shown")
    if rated is None:
      continue
    if not _are_marks(rated):
      raise ValueError(
        f"damaged: clip {number} has no {len(QUESTIONS)} marks of 1 to {BEST}"
      )
    marks[number] = tuple(rated)
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


def read_file(path: Path, limit: int = -1) -> bytes:
  """Up to so many bytes, which a file given by mistake may exceed.

  Raises:
    ValueError: the file cannot be read; one line.
  """
  try:
    with path.open("rb") as stream:
      return stream.read(limit)
  except OSError as error:
    raise ValueError(f"{path}: cannot be read ({error.strerror})") from None


def load_key(path: Path) -> Key:
  """The key of a study.

  Raises:
    ValueError: it cannot be read, is no key, or damaged; one line.
  """
  content = read_file(path)
  try:
    return read_key(content)
  except ValueError as error:
    raise ValueError(f"{path}: {error}") from None


def _load_answers(path: Path, key: Key) -> Answers:
  content = read_file(path, MAX_BYTES + 1)
  try:
    return read_answers(content, key)
  except ValueError as error:
    raise ValueError(f"{path}: {error}") from None


def _are_marks(rated: Any) -> bool:
  """Whole numbers, and not JSON's true, which Python takes for 1."""
  return (
    isinstance(rated, list)
    and len(rated) == len(QUESTIONS)
    and all(type(mark) is int and 1 <= mark <= BEST for mark in rated)
  )
