"""report.html: the report's figures and pictures, put on the page."""

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import UInt8

from speak_jax.evaluation.disentanglement import probes
from speak_jax.evaluation.ledger import Figure
from speak_jax.evaluation.methods import REFERENCES, Entry
from speak_jax.evaluation.reenactment import self_driven
from speak_jax.evaluation.report import html, markdown, tables

_SPREAD = (
  html.Column("effective rank", "", 1),
  html.Column("width", "dimensions", 0),
  html.Column("variance", "mean over dimensions", 3),
  html.Column("still", "share of dimensions", 2),
)


def page(
  figures: Mapping[str, Figure],
  facts: Mapping[str, str],
  words: Sequence[str],
  entries: Sequence[Entry],
  clips: Sequence[html.Clip],
  sheets: Mapping[str, UInt8[np.ndarray, "h w 3"]],
  captions: Mapping[str, str],
  curves: Sequence[html.Curve],
) -> str:
  """The page's text.

  Args:
    figures: What was measured.
    facts: How it was measured, a line each.
    words: Paragraphs to begin with.
    entries: The systems that speak.
    clips: Videos to look at.
    sheets: Pictures, by file.
    captions: What each shows.
    curves: Of the training.
  """
  shown = []
  if entries:
    shown += [
      _rows(markdown.honest(figures, entries)),
      _lines(figures, entries),
    ]
  shown += _codes(figures)
  sees = {e.method.name: e.method.sees for e in (*entries, *REFERENCES)}
  return html.page(
    title="Evaluation",
    words=words,
    facts={k: v for k, v in facts.items() if k != "reader"},
    sees=sees if entries else {},
    judge=facts["reader"],
    clips=clips,
    tables=shown,
    pictures=[
      html.Picture(captions[name], html.png(picture))
      for name, picture in sheets.items()
    ],
    curves=curves,
  )


def _rows(table: tables.Table) -> html.Table:
  """A table of methods as the page has it."""
  columns = [
    column
    for column in table.columns
    if any(column.metric in row.figures for row in table.rows)
  ]
  return html.Table(
    table.title,
    [html.Column(x.title, "", x.digits) for x in columns],
    [
      html.Row(
        row.method,
        [row.figures.get(column.metric) for column in columns],
        n=row.clips,
        undetected=row.undetected,
        published=row.source == tables.PUBLISHED,
      )
      for row in table.rows
    ],
    " ".join(table.notes),
  )


def _lines(
  figures: Mapping[str, Figure], entries: Sequence[Entry]
) -> html.Table:
  """Every speaking figure of every line."""
  lines = self_driven.lines(entries)
  kept = [
    metric
    for metric in markdown.SPEAKING
    if any(self_driven.name(line, metric.key) in figures for line in lines)
  ]
  return html.Table(
    "Every figure",
    [html.Column(x.title, x.note, x.digits) for x in kept],
    [
      html.Row(
        line.title,
        [figures.get(self_driven.name(line, metric.key)) for metric in kept],
      )
      for line in lines
    ],
  )


def _codes(figures: Mapping[str, Figure]) -> list[html.Table]:
  """What is read off each code, and how much of it is used."""
  found = []
  asked = [x for x in probes.TARGETS if f"probe/{x}/chance" in figures]
  names = [
    x
    for x in probes.SYMBOLS
    if any(f"probe/{t}_from_{x}" in figures for t in asked)
  ]
  if names:
    rows = [
      html.Row(
        probes.SYMBOLS[name],
        [figures.get(f"probe/{target}_from_{name}") for target in asked],
      )
      for name in names
    ]
    chance = [figures[f"probe/{target}/chance"] for target in asked]
    found.append(
      html.Table(
        "What a line reads off each code",
        [html.Column(target, probes.UNITS[target]) for target in asked],
        [*rows, html.Row("chance", chance)],
        of="code",
      )
    )
  held = [x for x in probes.SYMBOLS if f"code/{x}/rank" in figures]
  if held:
    keys = ("rank", "width", "variance", "still")
    found.append(
      html.Table(
        "How much of each code is used",
        _SPREAD,
        [
          html.Row(
            probes.SYMBOLS[x], [figures.get(f"code/{x}/{k}") for k in keys]
          )
          for x in held
        ],
        of="code",
      )
    )
  return found
