"""Measures subjects, run after run; tables, JSON, and whether runs agree."""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from speak_jax.bench import figure as figures
from speak_jax.bench import subjects
from speak_jax.bench.figure import Difference, Figure
from speak_jax.bench.plan import Plan
from speak_jax.common.files import FileError

FORMAT = 1
# The rows of `--summary`, which README has.
SUMMARY = (
  ("start", "speak generate"),
  ("start", "speak generate: of processors"),
  ("photograph", "files to file, 256 px"),
  ("photograph", "files to file, 512 px"),
  ("reference", "frames alone, 64 px, 1 x 5 frames"),
  ("reference", "frames alone, 64 px, 8 x 5 frames"),
  ("streaming", "a frame behind its sound, 512 px, median"),
  ("streaming", "a frame behind its sound, 512 px, 95 %"),
  ("streaming", "look-ahead"),
  ("marking", "PSNR of marked frames"),
  ("training", "syncnet, step"),
  ("training", "irfd, step"),
  ("training", "speak, step"),
  ("loader", "samples for speak, from disk"),
  ("preparation", "a video"),
)


class Report(NamedTuple):
  """All that was measured.

  Attributes:
    machine: Of `machine.facts`.
    before, after: Of `machine.moment`.
    plan: What was done in a run.
    figures: By subject, a value a run.
    failed: A line for each run of a subject that did not come to its end.
  """

  machine: Mapping[str, Any]
  before: Mapping[str, float]
  after: Mapping[str, float]
  plan: Plan
  figures: Mapping[str, Sequence[Figure]]
  failed: Sequence[str] = ()


def measured(
  names: Sequence[str],
  plan: Plan,
  runs: int,
  measure: subjects.Measures = subjects.apart,
  say: Callable[[str], None] = lambda line: None,
) -> tuple[dict[str, list[Figure]], list[str]]:
  """Measures subjects in turn, and all of them again.

  So what disturbs the machine for a while is in one run of each, and halves of
  the runs tell of it.

  Args:
    names: Of `subjects.SUBJECTS`.
    plan: How much.
    runs: How often.
    measure: `subjects.apart`, or `here`.
    say: Takes a line for each figure as it comes.

  Returns:
    Figures by subject, and a line for each run of one that failed.
  """
  found: dict[str, list[list[Figure]]] = {name: [] for name in names}
  failed = []
  for run in range(runs):
    for name in names:
      made: list[Figure] = []
      found[name].append(made)
      try:
        for one in measure(name, plan):
          say(f"run {run + 1} of {runs}  {name}: {line(one)}")
          made.append(one)
      except subjects.FailedError as error:
        say(f"run {run + 1} of {runs}  {error}")
        failed.append(f"run {run + 1}, {error}")
  return {name: figures.gathered(x) for name, x in found.items()}, failed


# --- text ------------------------------------------------------------------


def line(one: Figure) -> str:
  """A figure in a line."""
  if not one.values:
    return f"{one.name}: {one.note}"
  return f"{one.name}: {number(one.median)} {one.unit}".rstrip()


def number(value: float) -> str:
  """Three figures of a number, without an exponent where it is usual."""
  if value and (abs(value) < 1e-3 or abs(value) >= 1e6):
    return f"{value:.1e}"
  places = 0 if abs(value) >= 100 else 1 if abs(value) >= 10 else 2
  if abs(value) < 1:
    places = 3
  text = f"{value:.{places}f}"
  return text.rstrip("0").rstrip(".") if "." in text else text


def percent(share: float) -> str:
  """A share as text."""
  return f"{100 * share:.0f} %"


def head(report: Report) -> str:
  """What the figures hang on, in four lines."""
  of = report.machine
  commit = f" ({of['commit'][:7]})" if of["commit"] else ""
  versions = f"jax {of['jax']}, jaxlib {of['jaxlib']}"
  load = f"{report.before['load']:g} before, {report.after['load']:g} after"
  product = (
    f"{report.before['products_per_s']:g} before,"
    f" {report.after['products_per_s']:g} after"
  )
  return "\n".join(
    [
      f"speak_jax {of['speak_jax']}{commit}, Python {of['python']}, {versions}",
      f"{of['cpu']}, {of['cores']} cores, {of['memory_gib']:g} GiB,"
      f" {of['system']}; JAX on {of['devices']}",
      f"load {load}; 512 px matrix products a second: {product}",
    ]
  )


def table(report: Report, only: Sequence[tuple[str, str]] = ()) -> str:
  """All figures as a Markdown table, or those named."""
  rows = [("", "figure", "median", "unit", "spread", "")]
  for subject, ones in report.figures.items():
    for one in ones:
      if only and (subject, one.name) not in only:
        continue
      rows.append((subject, one.name, *_cells(one)))
  if only:
    rows = [row[:-1] for row in rows]
  widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
  right = {2, 4}  # columns of numbers
  lines = [
    "| "
    + " | ".join(
      cell.rjust(width) if i in right else cell.ljust(width)
      for i, (cell, width) in enumerate(zip(row, widths, strict=True))
    )
    + " |"
    for row in rows
  ]
  rule = [
    f"{'-' * (width + 1)}{':' if i in right else '-'}"
    for i, width in enumerate(widths)
  ]
  return "\n".join([lines[0], f"|{'|'.join(rule)}|", *lines[1:]])


def _cells(one: Figure) -> tuple[str, str, str, str]:
  if not one.values:
    return "-", "", "", one.note
  spread = percent(one.spread) if len(one.values) > 1 else ""
  return number(one.median), one.unit, spread, one.note


def agreement(
  found: Sequence[Difference], first: str, second: str
) -> list[str]:
  """Lines that say whether two sets of figures agree."""
  limit = percent(figures.TOLERANCE)
  if not found:
    return [f"{first} and {second} agree within {limit}"]
  return [
    f"{first} and {second} DO NOT AGREE within {limit}:",
    *(
      f"  {one.subject}, {one.name}: {number(one.before)} and"
      f" {number(one.after)} {one.unit}".rstrip()
      + f", {percent(figures.share(one.before, one.after))} apart"
      for one in found
    ),
  ]


def own_agreement(report: Report) -> list[str]:
  """Whether the first runs say what the last ones do."""
  first, last = figures.halves(report.figures)
  pairs = sum(bool(one.values) for ones in first.values() for one in ones)
  if not pairs:
    return ["one run: whether it repeats is not known (--runs)"]
  found = figures.differences(first, last)
  return agreement(found, "the first half of the runs", "the second")


def other_agreement(earlier: Report, report: Report, name: str) -> list[str]:
  """Whether these runs say what earlier ones did.

  Args:
    earlier: Read from a file.
    report: Of now.
    name: Of the file.
  """
  lines = [
    f"{name} was made with another {key}: {earlier.machine.get(key)}"
    for key, value in report.machine.items()
    if earlier.machine.get(key) != value
  ]
  if earlier.plan != report.plan:
    lines.append(f"{name} was made with other amounts: {earlier.plan}")
  ones, others = (
    {(subject, one.name) for subject in x for one in x[subject] if one.values}
    for x in (report.figures, earlier.figures)
  )
  if not ones & others:
    return [*lines, f"{name} has none of these figures"]
  found = figures.differences(earlier.figures, report.figures)
  return [*lines, *agreement(found, name, "these runs")]


# --- JSON ------------------------------------------------------------------


def to_json(report: Report) -> str:
  """All of a report, and what tables say of it."""
  first, last = figures.halves(report.figures)
  return json.dumps(
    {
      "format": FORMAT,
      "machine": report.machine,
      "before": report.before,
      "after": report.after,
      "plan": report.plan._asdict(),
      "figures": {
        subject: [
          {
            **one._asdict(),
            "median": one.median if one.values else None,
            "spread": one.spread if one.values else None,
          }
          for one in ones
        ]
        for subject, ones in report.figures.items()
      },
      "failed": report.failed,
      "disagree": [x._asdict() for x in figures.differences(first, last)],
    },
    indent=1,
  )


def read(path: str | Path) -> Report:
  """A report of a file that `to_json` filled.

  Raises:
    FileError: it is not there, or is no such file; one line.
  """
  try:
    stored = json.loads(Path(path).read_text(encoding="utf-8"))
    if stored["format"] != FORMAT:
      raise FileError(path, f"format {stored['format']}, not {FORMAT}")
    return Report(
      stored["machine"],
      stored["before"],
      stored["after"],
      subjects.read_plan(stored["plan"]),
      {
        subject: [
          subjects.read_figure([one[key] for key in Figure._fields])
          for one in ones
        ]
        for subject, ones in stored["figures"].items()
      },
      stored["failed"],
    )
  except OSError as error:
    raise FileError(path, error.strerror or str(error)) from None
  except (KeyError, TypeError, AttributeError, ValueError) as error:
    if isinstance(error, FileError):
      raise
    raise FileError(path, "is no JSON of speak bench") from None
