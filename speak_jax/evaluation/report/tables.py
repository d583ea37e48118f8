"""Tables of methods: rows in, text out.

One row is one method on one data set, measured here or published elsewhere;
Markdown, LaTeX, CSV and JSON are made of the same rows. The layout is that of
the paper's Table I: methods down, for every data set its figures across.
"""

import csv
import io
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from speak_jax.evaluation.ledger import Figure

MEASURED, PUBLISHED = "measured", "published"


class Row(NamedTuple):
  """One method on one data set."""

  method: str
  data: str  # "" where there is but one
  source: str  # MEASURED, or PUBLISHED: another protocol, not comparable
  figures: Mapping[str, Figure]  # by `Column.metric`
  sees: str = ""  # of the target; "" unknown
  clips: int | None = None
  undetected: float | None = None  # share of frames without a face found
  marks: Mapping[str, str] = {}  # a word beside a figure, by metric


class Column(NamedTuple):
  """One figure of every row."""

  metric: str
  title: str
  digits: int
  signed: bool = False  # a difference: + is printed


class Table(NamedTuple):
  """What is printed; columns that no row fills are left out."""

  title: str
  columns: Sequence[Column]
  rows: Sequence[Row]
  notes: Sequence[str] = ()


PAPER = (
  Column("ssim", "SSIM", 3),
  Column("psnr", "PSNR", 2),
  Column("f_lmd", "F-LMD", 2),
  Column("m_lmd", "M-LMD", 2),
  Column("sync_c", "Sync", 2),
  Column("sync_confidence", "Sync, own network", 3),
)
HONEST = (
  *PAPER,
  Column("sync_offset", "Sync offset", 1),
  Column("aligned_psnr", "PSNR, aligned 128 (ours)", 2),
  Column("aligned_ssim", "SSIM, aligned 128 (ours)", 3),
  Column("aligned_m_lmd", "M-LMD, aligned 128 (ours)", 2),
  Column("mouth_box_psnr", "mouth-box PSNR", 2),
  Column("mouth_gradient_energy", "mouth sharpness / real", 2),
  Column("silent_opening", "mouth opening in silence", 3),
  Column("lpips", "LPIPS", 3),
  Column("fid", "FID", 1),
  Column("frechet_identity", "Frechet distance, reader's identity (ours)", 3),
)
_METHOD, _SEES = "method", "sees of the target"
METRICS = tuple(column.metric for column in HONEST)


def changes(
  method: str,
  data: str,
  measured: Mapping[str, Figure],
  published: Mapping[str, float],
) -> list[Row]:
  """What an ablation moves, here and as published, as two rows.

  Args:
    method: Its name.
    data: Where it was measured.
    measured: Ablated minus full, paired over clips.
    published: The same of the published figures; {} where there are none.
  """
  metrics = [metric for metric in measured if metric in published]
  marks = {x: agreement(measured[x], published[x]) for x in metrics}
  clips = max((figure.clips for figure in measured.values()), default=0)
  rows = [Row(method, data, MEASURED, measured, clips=clips, marks=marks)]
  if published:
    figures = {k: exact(value) for k, value in published.items()}
    rows.append(Row(method, data, PUBLISHED, figures))
  return rows


def agreement(measured: Figure, published: float) -> str:
  """Whether a change has the published sign; "unclear" if 0 is within it."""
  if not measured.low * measured.high > 0 or published == 0:
    return "unclear"
  return "same sign" if measured.value * published > 0 else "opposite"


def exact(value: float) -> Figure:
  """A figure without an interval."""
  return Figure(value, float("nan"), float("nan"))


def markdown(table: Table) -> str:
  """A heading, one table for each block of data sets, and the notes."""
  parts = [f"## {_plain(table.title)}"]
  for names, rows in _blocks(table.rows):
    grid = _grid(table, names, rows)
    lines = [f"| {' | '.join(map(_plain, line))} |" for line in grid]
    lines.insert(1, "|---" * len(grid[0]) + "|")
    parts.append("\n".join(lines))
  parts += [f"- {note}" for note in table.notes]
  return "\n\n".join(parts) + "\n"


def latex(table: Table) -> str:
  """A fragment for \\input, which needs the package booktabs."""
  parts = [f"% {' '.join(table.title.split())}"]
  for names, rows in _blocks(table.rows):
    head, *body = _grid(table, names, rows)
    sides = "".join("l" if x in (_METHOD, _SEES) else "r" for x in head)
    lines = [f"\\begin{{tabular}}{{{sides}}}", "\\toprule"]
    lines += [f"{_cells(head)} \\\\", "\\midrule"]
    lines += [f"{_cells(line)} \\\\" for line in body]
    parts.append("\n".join([*lines, "\\bottomrule", "\\end{tabular}"]))
  notes = " ".join(escaped(note) for note in table.notes)
  return "\n\n".join([*parts, f"\\footnotesize {notes}"]) + "\n"


def comma_separated(table: Table) -> str:
  """A line for every row, a figure's interval in columns of their own."""
  stream = io.StringIO()
  flat = [_flat(table, row) for row in table.rows]
  writer = csv.DictWriter(stream, list(flat[0]), lineterminator="\n")
  writer.writeheader()
  writer.writerows(flat)
  return stream.getvalue()


def as_json(table: Table) -> str:
  """Title, notes and the rows of `comma_separated`; null for no figure."""
  rows = [_flat(table, row) for row in table.rows]
  whole = {"title": table.title, "notes": list(table.notes), "rows": rows}
  return json.dumps(whole, indent=2) + "\n"


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
  """Cells of a block, the heading first."""
  columns = [
    column for column in table.columns if any(_has(r, column) for r in rows)
  ]
  counted = any(row.clips is not None for row in rows)
  tracked = any(row.undetected is not None for row in rows)
  seen = any(row.sees for row in rows)

  def across(data: str, row: Row | None) -> list[str]:
    cells = [_figure(row, column) for column in columns]
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
    [_METHOD]
    + [f"{data}: {x}" if data else x for data in names for x in titles]
    + [_SEES] * seen
  ]
  for method, source in _unique((row.method, row.source) for row in rows):
    of = {r.data: r for r in rows if (r.method, r.source) == (method, source)}
    label = f"{method} (published)" if source == PUBLISHED else method
    line = [x for data in names for x in across(data, of.get(data))]
    sees = next(iter(of.values())).sees or "-"
    grid.append([label, *line, *([sees] * seen)])
  return grid


def _has(row: Row, column: Column) -> bool:
  return column.metric in row.figures


def _figure(row: Row | None, column: Column) -> str:
  """0.890 [0.882, 0.898] (same sign)."""
  figure = row.figures.get(column.metric) if row else None
  if row is None or figure is None or not np.isfinite(figure.value):
    return "-"
  # The paper prints two digits.
  digits = min(column.digits, 2 if row.source == PUBLISHED else 9)
  form = f"{'+' * column.signed}.{digits}f"
  text = f"{figure.value:{form}}"
  if np.isfinite(figure.low) and np.isfinite(figure.high):
    text += f" [{figure.low:{form}}, {figure.high:{form}}]"
  mark = row.marks.get(column.metric)
  return f"{text} ({mark})" if mark else text


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
  for metric in (column.metric for column in table.columns):
    figure = row.figures.get(metric, exact(float("nan")))
    for part, value in zip(("", "_low", "_high"), figure[:3], strict=True):
      flat[metric + part] = float(value) if np.isfinite(value) else None
    if any(metric in other.marks for other in table.rows):
      flat[f"{metric}_mark"] = row.marks.get(metric)
  return flat


def _unique(items) -> list:
  return list(dict.fromkeys(items))


def _plain(text: str) -> str:
  """Text that stays in its cell of a Markdown table."""
  return " ".join(text.split()).replace("|", "\\|")


def _cells(line: Sequence[str]) -> str:
  return " & ".join(escaped(" ".join(cell.split())) for cell in line)
