"""Tables of methods: rows in, text out.

One row is one method on one data set, measured here or published elsewhere;
Markdown, LaTeX, CSV, JSON and HTML are made of the same rows. The layout is
that of the paper's Table I: methods down, for every data set its metrics
across.
"""

import csv
import io
import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from speak_jax.evaluation.metric_table import MetricValue, exact, text

MEASURED, PUBLISHED = "measured", "published"


class Row(NamedTuple):
  """One method on one data set."""

  method: str  # or whatever else `Table.head` says
  data: str  # "" where there is but one
  source: str  # MEASURED, or PUBLISHED: another protocol, not comparable
  values: Mapping[str, MetricValue]  # by `Column.metric`
  sees: str = ""  # of the target; "" unknown
  clips: int | None = None
  undetected: float | None = None  # share of frames without a face found
  marks: Mapping[str, str] = {}  # a word beside a value, by metric
  needs: str = ""  # inputs that it cannot do without; "" not said
  ignores: str = ""  # inputs that were there and that it cannot use


class Column(NamedTuple):
  """One metric of every row."""

  metric: str
  title: str
  digits: int
  signed: bool = False  # a difference: + is printed
  note: str = ""  # unit, and whether more is better; HTML prints it


class Table(NamedTuple):
  """What is printed; columns that no row fills are left out."""

  title: str
  columns: Sequence[Column]
  rows: Sequence[Row]
  notes: Sequence[str] = ()
  head: str = "method"  # what a row is
  published: str = PUBLISHED  # how rows that were not measured here are marked

  def filled(self, rows: Iterable[Row]) -> list[Column]:
    """Columns that one of the rows at least has a value in."""
    rows = list(rows)
    return [x for x in self.columns if any(x.metric in r.values for r in rows)]


_SEES = "sees of the target"
# What is said of a method in words, by heading.
_WORDS: Mapping[str, Callable[[Row], str]] = {
  "needs": lambda row: row.needs,
  "ignores": lambda row: row.ignores,
  _SEES: lambda row: row.sees,
}


def changes(
  method: str,
  data: str,
  measured: Mapping[str, MetricValue],
  published: Mapping[str, float],
) -> list[Row]:
  """What an ablation moves, here and as published, as two rows.

  Args:
    method: Its name.
    data: Where it was measured.
    measured: Ablated minus full, paired over clips.
    published: The same difference as published; {} where there is none.
  """
  metrics = [metric for metric in measured if metric in published]
  marks = {x: agreement(measured[x], published[x]) for x in metrics}
  clips = max((value.clips for value in measured.values()), default=0)
  rows = [Row(method, data, MEASURED, measured, clips=clips, marks=marks)]
  if published:
    values = {k: exact(value) for k, value in published.items()}
    rows.append(Row(method, data, PUBLISHED, values))
  return rows


def agreement(measured: MetricValue, published: float) -> str:
  """Whether a change has the published sign; "unclear" if 0 is within it."""
  if not measured.low * measured.high > 0 or published == 0:
    return "unclear"
  return "same sign" if measured.value * published > 0 else "opposite"


def pipe_table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
  """A Markdown table of cells that are safe as they are."""
  return "\n".join([_pipes(head), "|---" * len(head) + "|", *map(_pipes, rows)])


def _pipes(cells: Sequence[str]) -> str:
  return "".join(f"| {cell} " if cell else "| " for cell in cells) + "|"


def markdown(table: Table) -> str:
  """A heading, one table for each block of data sets, and the notes."""
  parts = [f"## {_plain(table.title)}"]
  for names, rows in _blocks(table.rows):
    head, *body = (
      [_plain(cell) for cell in line] for line in _grid(table, names, rows)
    )
    parts.append(pipe_table(head, body))
  parts += [f"- {note}" for note in table.notes]
  return "\n\n".join(parts) + "\n"


def latex(table: Table) -> str:
  """A fragment for \\input, which needs the package booktabs."""
  parts = [f"% {' '.join(table.title.split())}"]
  for names, rows in _blocks(table.rows):
    head, *body = _grid(table, names, rows)
    sides = "".join("l" if x in (table.head, *_WORDS) else "r" for x in head)
    lines = [f"\\begin{{tabular}}{{{sides}}}", "\\toprule"]
    lines += [f"{_ampersands(head)} \\\\", "\\midrule"]
    lines += [f"{_ampersands(line)} \\\\" for line in body]
    parts.append("\n".join([*lines, "\\bottomrule", "\\end{tabular}"]))
  notes = " ".join(escaped(note) for note in table.notes)
  return "\n\n".join([*parts, f"\\footnotesize {notes}"]) + "\n"


def comma_separated(table: Table) -> str:
  """A line for every row, a value's interval in columns of their own."""
  stream = io.StringIO()
  flat = [_flat(table, row) for row in table.rows]
  writer = csv.DictWriter(stream, list(flat[0]), lineterminator="\n")
  writer.writeheader()
  writer.writerows(flat)
  return stream.getvalue()


def as_json(table: Table) -> str:
  """Title, notes and the rows of `comma_separated`; null for no value."""
  rows = [_flat(table, row) for row in table.rows]
  content = {"title": table.title, "notes": list(table.notes), "rows": rows}
  return json.dumps(content, indent=2) + "\n"


def escaped(text: str) -> str:
  """Text that means itself in LaTeX."""
  return re.sub(r"[\\&%$#_{}~^<>\[\]]", lambda x: _TEX[x[0]], text)


_TEX = {
  "\\": "\\textbackslash{}",
  "~": "\\textasciitilde{}",
  "^": "\\textasciicircum{}",
  "<": "\\textless{}",
  ">": "\\textgreater{}",
  # After a line's end a bracket would be an argument.
  "[": "{[}",
  "]": "{]}",
  **{sign: f"\\{sign}" for sign in "&%$#_{}"},
}


def _blocks(rows: Sequence[Row]) -> list[tuple[list[str], list[Row]]]:
  """Data sets that share a table, with their rows.

  Published rows stand beside measured ones of the data set of that name; those
  of data sets that were not measured get a table of their own.
  """
  measured = _unique(row.data for row in rows if row.source == MEASURED)
  others = _unique(row.data for row in rows if row.data not in measured)
  blocks = []
  for names in (measured, others):
    inside = [row for row in rows if row.data in names]
    if inside:
      blocks.append((names, inside))
  return blocks


def _grid(
  table: Table, names: Sequence[str], rows: Sequence[Row]
) -> list[list[str]]:
  """Cells of a block, the heading first.

  Args:
    table: The table that has the columns.
    names: Data sets, side by side.
    rows: Those of these data sets.
  """
  columns = table.filled(rows)
  counted = any(row.clips is not None for row in rows)
  tracked = any(row.undetected is not None for row in rows)
  words = {
    title: said
    for title, said in _WORDS.items()
    if any(said(row) for row in rows)
  }

  def across(row: Row | None) -> list[str]:
    cells = [_cell(row, column) for column in columns]
    if counted:
      known = row is not None and row.clips is not None
      cells.append(str(row.clips) if row and known else "-")
    if tracked:
      known = row is not None and row.undetected is not None
      cells.append(f"{row.undetected:.1%}" if row and known else "-")
    return cells

  titles = [column.title for column in columns]
  titles += ["clips"] * counted + ["undetected"] * tracked
  grid = [
    [table.head]
    + [f"{data}: {x}" if data else x for data in names for x in titles]
    + [*words]
  ]
  for method, source in _unique((row.method, row.source) for row in rows):
    own = {r.data: r for r in rows if (r.method, r.source) == (method, source)}
    label = f"{method} ({table.published})" if source == PUBLISHED else method
    line = [x for data in names for x in across(own.get(data))]
    first = next(iter(own.values()))
    said = [said(first) or "-" for said in words.values()]
    grid.append([label, *line, *said])
  return grid


def _cell(row: Row | None, column: Column) -> str:
  """0.890 [0.882, 0.898] (same sign)."""
  value = row.values.get(column.metric) if row else None
  if row is None or value is None or not np.isfinite(value.value):
    return "-"
  # The paper prints two digits.
  digits = min(column.digits, 2 if row.source == PUBLISHED else 9)
  shown = text(value, digits, signed=column.signed)
  mark = row.marks.get(column.metric)
  return f"{shown} ({mark})" if mark else shown


def _flat(table: Table, row: Row) -> dict[str, Any]:
  """A row as plain values; None where there is none."""
  flat: dict[str, Any] = {
    "method": row.method,
    "data": row.data,
    "source": row.source,
    "sees": row.sees,
    "clips": row.clips,
    "undetected": row.undetected,
  }
  if any(other.needs for other in table.rows):
    flat |= {"needs": row.needs, "ignores": row.ignores}
  for metric in (column.metric for column in table.columns):
    value = row.values.get(metric, exact(float("nan")))
    for part, number in zip(("", "_low", "_high"), value[:3], strict=True):
      flat[metric + part] = float(number) if np.isfinite(number) else None
    if any(_drawn(other, metric) for other in table.rows):
      spread = float(value.spread)
      flat[f"{metric}_spread"] = spread if np.isfinite(spread) else None
    if any(metric in other.marks for other in table.rows):
      flat[f"{metric}_mark"] = row.marks.get(metric)
  return flat


def _drawn(row: Row, metric: str) -> bool:
  """Whether a row's value has a spread between keys."""
  value = row.values.get(metric)
  return value is not None and bool(np.isfinite(value.spread))


def _unique(items: Iterable) -> list:
  return list(dict.fromkeys(items))


def _plain(text: str) -> str:
  """Text that stays in its cell of a Markdown table."""
  return " ".join(text.split()).replace("|", "\\|")


def _ampersands(line: Sequence[str]) -> str:
  return " & ".join(escaped(" ".join(cell.split())) for cell in line)
