"""Many videos by one model: rows of a table, each a request and its output.

A table is CSV with a header, or JSONL. What is done and has not changed since
is not done again; what fails is written down, and the rest goes on.
"""

import csv
import dataclasses
import hashlib
import io
import json
import os
import typing
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from data_pipelines.faces.face_rule import parse_face_rule
from data_pipelines.media.container import check_file
from speak_jax.common import files
from speak_jax.common.files import FileError
from speak_jax.common.names import printable
from speak_jax.common.progress import Progress
from speak_jax.inference.inputs import Rules
from speak_jax.inference.model import Model
from speak_jax.inference.request import Request

KINDS = (".csv", ".jsonl")
DONE, FAILED = ".done.jsonl", ".failed.csv"  # beside the table, after its name
WRITTEN = ("output", "sheet")
# Columns that are parts of `Request.rules`.
RULES = {
  "face": "identity",
  "pose_face": "pose",
  "emotion_face": "emotion",
  "on_missing_face": "on_missing_face",
}
_TYPES = {
  name: kind
  for name, kind in typing.get_type_hints(Request).items()
  if name != "rules"
}
COLUMNS = (*WRITTEN, *_TYPES, *RULES)
_YES, _NO = ("true", "yes", "1"), ("false", "no", "0")


class Row(NamedTuple):
  """A line of a table: what it says, by column, but empty cells."""

  line: int  # from 1
  cells: Mapping[str, Any]

  @property
  def name(self) -> str:
    """What a person knows it by."""
    return str(self.cells.get("output") or f"line {self.line}")


class Job(NamedTuple):
  """One video to be made."""

  request: Request
  output: str
  sheet: str | None


class Result(NamedTuple):
  """How many rows came to what."""

  made: int
  unchanged: int  # that an earlier run has made
  failed: int


def read(path: str | os.PathLike) -> list[Row]:
  """Reads a table.

  Args:
    path: CSV or JSONL, UTF-8.

  Raises:
    FileError: it is neither, has a column that is none of COLUMNS, or no row;
      one line.
  """
  check_file(path)
  if Path(path).suffix.lower() not in KINDS:
    raise FileError(path, f"is none of {', '.join(KINDS)}")
  try:
    text = Path(path).read_text(encoding="utf-8-sig")
  except (OSError, UnicodeDecodeError) as error:
    raise FileError(path, f"cannot be read ({error})") from None
  is_csv = Path(path).suffix.lower() == ".csv"
  rows = list(_of_csv(path, text) if is_csv else _of_jsonl(path, text))
  for row in rows:
    for column in row.cells:
      if column not in COLUMNS:
        known = ", ".join(COLUMNS)
        raise FileError(
          path, f"line {row.line}: no column {column!r}; known: {known}"
        )
  if not rows:
    raise FileError(path, "has no row")
  return rows


def job(row: Row, defaults: Mapping[str, Any]) -> Job:
  """Makes a request of a row.

  Args:
    row: Of `read`.
    defaults: Fields of `Request` that its cells replace.

  Raises:
    ValueError: a cell cannot be, or one is missing; one line.
  """
  fields = {k: v for k, v in defaults.items() if v is not None}
  rules: Rules = fields.pop("rules", Rules())
  for column, value in row.cells.items():
    if column in RULES:
      rule = str(value)
      if column != "on_missing_face":
        rule = parse_face_rule(rule)
      rules = rules._replace(**{RULES[column]: rule})
    elif column not in WRITTEN:
      fields[column] = _value(column, value)
  for name in ("identity", "audio"):
    if name not in fields:
      raise ValueError(f"no {name}")
  if "output" not in row.cells:
    raise ValueError("no output")
  sheet = row.cells.get("sheet")
  return Job(
    Request(**fields, rules=rules),
    str(row.cells["output"]),
    None if sheet is None else str(sheet),
  )


def run(
  model: Model,
  path: str | os.PathLike,
  defaults: Mapping[str, Any],
  version: str,
  say: Callable[[str], None] = print,
) -> Result:
  """Makes the videos of a table, one after another.

  The two files beside the table are its state: which outputs were made of
  what, and which rows have failed and why, of the last run.

  Args:
    model: Makes all of them.
    path: The table.
    defaults: Fields of `Request` for empty cells and missing columns.
    version: Of the model, so that another one makes them anew.
    say: Takes a line for each row that is made or fails.

  Raises:
    FileError: the table cannot be read, or a file beside it be written.
  """
  rows, past = read(path), _Past(path, version)
  failures: list[tuple[str, int, str]] = []
  taken: dict[str, int] = {}  # outputs, and whose they are
  made = unchanged = 0
  _write_failures(path, failures)
  with Progress("batch", "video", len(rows)) as progress:
    for number, row in enumerate(rows, 1):
      try:
        one = job(row, defaults)
        place = os.path.realpath(one.output)
        if place in taken:
          raise ValueError(f"line {taken[place]} writes the same output")
        taken[place] = row.line
        if past.has(one):
          unchanged += 1
        else:
          result = model.write(
            one.request,
            one.output,
            sheet=one.sheet,
            say=lambda line: None,
            bar=False,
          )
          past.add(one)
          made += 1
          say(printable(f"wrote {one.output}: {result.frames} frames"))
      except Exception as error:  # whatever it is, the others go on
        reason = " ".join(str(error).split()) or type(error).__name__
        failures.append((row.name, row.line, reason))
        _write_failures(path, failures)
        say(printable(f"failed {row.name}: {reason}"))
      progress.update(number, f"{len(failures)} failed" if failures else "")
  return Result(made, unchanged, len(failures))


class _Past:
  """What earlier runs have made."""

  def __init__(self, path: str | os.PathLike, version: str):
    """Reads it; a line that broke off counts as none."""
    self._path, self._version = f"{os.fspath(path)}{DONE}", version
    self._made: dict[str, dict[str, Any]] = {}
    if os.path.exists(self._path):
      for line in Path(self._path).read_text(encoding="utf-8").splitlines():
        try:
          entry = json.loads(line)
          self._made[entry["output"]] = entry
        except (ValueError, KeyError, TypeError):
          continue

  def has(self, one: Job) -> bool:
    """Whether a job is done, and neither inputs nor output have changed."""
    return one.output in self._made and self._made[one.output] == self._entry(
      one
    )

  def add(self, one: Job) -> None:
    """Writes down that a job is done."""
    entry = self._made[one.output] = self._entry(one)
    with open(self._path, "a", encoding="utf-8") as out:
      out.write(json.dumps(entry) + "\n")
      out.flush()
      os.fsync(out.fileno())

  def _entry(self, one: Job) -> dict[str, Any]:
    inputs = [(os.fspath(x), *_state(x)) for x in one.request.files]
    fields = dataclasses.asdict(one.request)
    facts = repr([self._version, sorted(fields.items()), inputs, one.sheet])
    written = [x for x in (one.output, one.sheet) if x is not None]
    return {
      "output": one.output,
      "of": hashlib.sha256(facts.encode()).hexdigest(),
      "is": [list(_state(x)) for x in written],
    }


def _state(path: str | os.PathLike) -> tuple[int, int]:
  """Size and time of a file or folder; of one that is not there, none."""
  try:
    status = os.stat(path)
  except OSError:
    return -1, 0
  return status.st_size, status.st_mtime_ns


def _write_failures(
  path: str | os.PathLike, failures: list[tuple[str, int, str]]
) -> None:
  """Writes those of this run; no file, if there is none."""
  place = f"{os.fspath(path)}{FAILED}"
  try:
    if not failures:
      Path(place).unlink(missing_ok=True)
      return
    text = io.StringIO()
    csv.writer(text).writerows([("name", "line", "reason"), *failures])
    files.write(place, text.getvalue())
  except OSError as error:
    raise FileError(place, f"cannot be written ({error})") from None


def _of_csv(path: str | os.PathLike, text: str) -> Iterator[Row]:
  reader = csv.DictReader(io.StringIO(text, newline=""), strict=True)
  try:
    for cells in reader:
      if None in cells:
        raise FileError(
          path, f"line {reader.line_num}: more cells than columns"
        )
      given = {
        name.strip().replace("-", "_"): value.strip()
        for name, value in cells.items()
        if value is not None and value.strip()
      }
      if given:
        yield Row(reader.line_num, given)
  except csv.Error as error:
    raise FileError(path, f"line {reader.line_num}: {error}") from None


def _of_jsonl(path: str | os.PathLike, text: str) -> Iterator[Row]:
  for line, content in enumerate(text.splitlines(), 1):
    if not content.strip():
      continue
    try:
      cells = json.loads(content)
    except ValueError as error:
      raise FileError(path, f"line {line}: {error}") from None
    if not isinstance(cells, dict):
      raise FileError(path, f"line {line}: no object")
    given = {
      name.replace("-", "_"): value
      for name, value in cells.items()
      if value is not None
    }
    yield Row(line, given)


def _value(column: str, value: Any) -> Any:
  """A cell as its field has it.

  Raises:
    ValueError: it cannot be; one line.
  """
  kinds = typing.get_args(_TYPES[column]) or (_TYPES[column],)
  if typing.get_origin(_TYPES[column]) is tuple and isinstance(value, str):
    return tuple(part.strip() for part in value.split(";"))
  if isinstance(value, list):
    value = tuple(value)
  if not isinstance(value, str):
    wanted = (bool,) if isinstance(value, bool) else (int, float)
    if isinstance(value, tuple) or any(kind in wanted for kind in kinds):
      return value
    raise ValueError(f"{column}: {value!r} cannot be")
  try:
    if bool in kinds:
      if value.lower() not in (*_YES, *_NO):
        raise ValueError
      return value.lower() in _YES
    for kind in (int, float):
      if kind in kinds and str not in kinds:
        return kind(value)
  except ValueError:
    raise ValueError(f"{column}: {value!r} cannot be") from None
  return value
